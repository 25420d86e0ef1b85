"""Headers: what the first bytes of a file say, read by hand where Pillow would decode, allocate or warn to find out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from lazycrop.errors import BrokenImage

# Where each format announces itself (offset, bytes).
_MAGIC: dict[str, tuple[int, re.Pattern[bytes]]] = {
    "jpg": (0, re.compile(rb"\xff\xd8\xff")),
    "png": (0, re.compile(rb"\x89PNG\r\n\x1a\n")),
    "gif": (0, re.compile(rb"GIF8[79]a")),
    "webp": (0, re.compile(rb"RIFF....WEBP", re.DOTALL)),
    "avif": (4, re.compile(rb"ftyp(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4})*?avi[fs])", re.DOTALL)),
    "heic": (4, re.compile(rb"ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)")),
    "tiff": (0, re.compile(rb"II\x2a\0|MM\0\x2a|II\x2b\0|MM\0\x2b")),
    "bmp": (0, re.compile(rb"BM")),
}

FORMATS = tuple(_MAGIC)
"""The formats that can be read."""


def format_of(data: bytes) -> str | None:
    """The format that the first bytes announce: a key of the input formats, or None."""
    for kind, (offset, magic) in _MAGIC.items():
        if magic.match(data[:64], offset):
            return kind
    return None


# 0xFF00 is a byte of the picture; TEM, RST and SOI have no length after them (ITU T.81, table B.1).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def scans(data: bytes, most: int) -> int:
    """The scans of the first image in a JPEG; thumbnails, and a video after its end, have such bytes too."""
    found, at = 0, 2
    while found <= most and (marker := _NEXT_MARKER.search(data, at)):
        code = data[marker.start() + 1]
        if code == 0xD9:
            break
        found += code == 0xDA
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return found


def webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header (RFC 9649), since Pillow's reader allocates before it tells."""
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise BrokenImage("The WebP begins with an unknown chunk.")


def gif_frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Width and height of the canvas as each frame needs it; Pillow would decode up to a late one before it tells."""
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 13 + _colour_table(data[10])
    while at < len(data) and data[at] in b"!,":
        if data[at] == ord("!"):
            at += 2
        else:
            left, top, wide, high = (int.from_bytes(data[at + n : at + n + 2], "little") for n in (1, 3, 5, 7))
            width, height = max(width, left + wide), max(height, top + high)
            yield width, height
            at += 11 + _colour_table(data[at + 9])
        while data[at]:
            at += data[at] + 1
        at += 1


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


_EXIF_INTEGERS = {3: 2, 4: 4}
"""The types SHORT and LONG, and the bytes they take."""


def late_exif(data: bytes) -> bytes:
    """The EXIF chunk of a PNG, which may come after the pixels: then Pillow would have to decode them first."""
    at = data.rfind(b"eXIf")
    return data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")] if at > 0 else b""


def orientation_of(exif: bytes) -> int:
    """1..8 as EXIF counts; 1 when there is none or it is broken. (TIFF and HEIC are turned by their readers.)"""
    exif = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], order)

    # Read by hand: Pillow reads every entry, and warns of broken ones through the process-wide filters.
    directory = number(4, 4)
    for at in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(at, 2) == 0x0112:
            orientation = number(at + 8, _EXIF_INTEGERS.get(number(at + 2, 2), 0))
            return orientation if 1 <= orientation <= 8 else 1
    return 1
