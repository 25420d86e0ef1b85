"""Headers: what a file says of itself, read by hand.

A decoder would decode, allocate or warn to find out, and refuse a good picture for broken words beside it. So each
format's container is walked once, under the clock, and the decoder is given what makes pixels and nothing else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lazycrop.errors import UnsupportedImage

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

STORED_FORMATS = ("jpg", "png", "webp", "gif")
"""What origins and mezzanines are stored as: they are read whatever is accepted of others."""


def format_of(data: bytes, accepted: tuple[str, ...]) -> str:
    """The format that the first bytes announce. Raises UnsupportedImage when it is none of ``accepted``."""
    kind = next((kind for kind, (offset, magic) in _MAGIC.items() if magic.match(data[:64], offset)), None)
    if kind is None or kind not in accepted:
        raise UnsupportedImage(
            f"The file is {kind or 'no image of a known format'}; accepted are {', '.join(accepted)}."
        )
    return kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What is known of a file before anything is decoded.

    ``data``: what the decoder is given. ``size``: width and height as stored, where they have to be known before the
    decoder is made. ``exif``: as a TIFF file, whose orientation is used. ``profile``: an ICC profile, the file's own or
    one that says the same. ``hole``: the samples of the one colour of a PNG that is transparent, of ``depth`` bits.
    """

    data: bytes
    size: tuple[int, int] = (0, 0)
    frames: int = 1
    lossless: bool = False
    exif: bytes = b""
    profile: bytes | None = None
    hole: tuple[int, ...] | None = None
    depth: int = 8


_EXIF_INTEGERS = {3: 2, 4: 4}
"""The types SHORT and LONG, and the bytes they take."""


def orientation_of(exif: bytes) -> int:
    """1..8 as EXIF counts; 1 when there is none or it is broken. (TIFF and HEIC are turned by their readers.)"""
    exif = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], order)

    # Read by hand: Pillow reads every entry, and warns of broken ones through the process-wide filters.
    directory = number(4, 4)
    for at in range(directory + 2, min(directory + 2 + 12 * number(directory, 2), len(exif)), 12):
        if number(at, 2) == 0x0112:
            orientation = number(at + 8, _EXIF_INTEGERS.get(number(at + 2, 2), 0))
            return orientation if 1 <= orientation <= 8 else 1
    return 1
