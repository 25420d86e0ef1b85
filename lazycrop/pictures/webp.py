"""WebP: what its chunks say (RFC 9649). The decoder is given those that make pixels, in a file of the right length."""

from __future__ import annotations

from collections.abc import Iterator

from lazycrop.errors import BrokenImage
from lazycrop.pictures.headers import Header
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.settings import Limits

_PIXELS = frozenset((b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"))
_WANTED = frozenset((b"ICCP", b"EXIF"))
_NO_METADATA = 0xFF ^ 0x20 ^ 0x08 ^ 0x04
"""The flags of VP8X without those of ICCP, EXIF and XMP."""
_ALPHA = 0x10
"""The flag of VP8X that says of transparency."""
_TO_NOTHING = 0x01
"""The flag of a frame that is taken away before the next one."""


def read(data: bytes, clock: Clock, limits: Limits) -> Header:
    """The header of a WebP. Its decoder takes memory for the canvas as soon as it is made."""
    kept: list[tuple[int, int]] = []
    said: dict[bytes, bytes] = {}
    frames, lossless, has_gaps = 0, False, False
    size = _size(data)
    for kind, start, end in _chunks(data, clock):
        if kind in _PIXELS:
            kept.append((start, end))
            if kind == b"ANMF":
                frames += 1
                has_gaps |= bool(data[start + 23 : start + 24] and data[start + 23] & _TO_NOTHING)
                has_gaps |= frames == 1 and _box(data, start) != (0, 0, *size)
            lossless |= b"VP8L" in (kind, data[start + 24 : start + 28] if kind == b"ANMF" else b"")
        elif kind in _WANTED:
            said.setdefault(kind, data[start + 8 : start + 8 + _length(data, start)])
    return Header(
        data=with_alpha(_cut(data, kept)) if has_gaps else _cut(data, kept),
        size=size,
        frames=max(1, frames),
        lossless=lossless,
        exif=said.get(b"EXIF", b""),
        profile=said.get(b"ICCP"),
    )


def _length(data: bytes, start: int) -> int:
    return int.from_bytes(data[start + 4 : start + 8], "little")


def _chunks(data: bytes, clock: Clock) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk with its padding, all within the file."""
    at, most = 12, min(len(data), 8 + _length(data, 0))
    while at + 8 <= most:
        clock.check()
        end = min(most, at + 8 + _length(data, at) + _length(data, at) % 2)
        yield data[at : at + 4], at, end
        at = end


def _cut(data: bytes, kept: list[tuple[int, int]]) -> bytes:
    """The file with these chunks only; itself where there are no others."""
    length = 4 + sum(end - start for start, end in kept)
    if length == len(data) - 8 == _length(data, 0):
        return data
    view = memoryview(data)
    file = bytearray().join((b"RIFF", length.to_bytes(4, "little"), b"WEBP", *(view[a:b] for a, b in kept)))
    if file[12:16] == b"VP8X" and len(file) > 20:
        file[20] &= _NO_METADATA
    return bytes(file)


def _box(data: bytes, frame: int) -> tuple[int, int, int, int]:
    """Left, top, width and height of a frame."""
    left, top, width, height = (int.from_bytes(data[at : at + 3], "little") for at in range(frame + 8, frame + 20, 3))
    return 2 * left, 2 * top, width + 1, height + 1


def with_alpha(data: bytes) -> bytes:
    """The file, which says that there is transparency in it.

    libwebp says so of frames alone, and fills what no frame covers of a canvas that is said to have none.
    """
    if data[12:16] != b"VP8X" or len(data) < 21 or data[20] & _ALPHA:
        return data
    return data[:20] + bytes((data[20] | _ALPHA,)) + data[21:]


def _size(data: bytes) -> tuple[int, int]:
    """Width and height of the canvas."""
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise BrokenImage("The WebP begins with an unknown chunk.")
