"""JPEG: what its segments say (ITU-T T.81).

Pillow looks at the segments before the first scan, then libjpeg reads the file from its beginning. libjpeg is at ease
with whatever is in it; Pillow refuses good pictures for what nobody needs, and is shown what makes pixels alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

from lazycrop.errors import ImageTooLarge
from lazycrop.pictures.headers import Header
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.settings import Limits

_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset((0xC3, 0xC7, 0xCB, 0xCF))
_TABLES = frozenset((0xC4, 0xCC, 0xDB, 0xDD))
_BETWEEN_SCANS = _TABLES | {0xDC, 0xFE} | set(range(0xE0, 0xF0))

# 0xFF00 is a byte of the picture; TEM, RST and SOI have no length after them (table B.1).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")
_END_OF_SCAN = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_STEP = 1 << 20  # Bytes that are searched between looks at the clock: 0.1 s where all of them are 0xFF00.


def read(data: bytes, clock: Clock, limits: Limits) -> Header:
    """The header of a JPEG; its ``data`` ends where the first scan begins."""
    kept = [b"\xff\xd8"]
    exif, lossless = b"", False
    profile: dict[int, bytes] = {}
    for code, start, end in _segments(data, 2, clock):
        content = data[start + 4 : end]
        if code in _FRAMES or code in _TABLES or code == _SOS or _tells_colours(code, content):
            kept.append(data[start:end])
        elif code == _APP1 and content.startswith(b"Exif\0\0"):
            exif = exif or content
        elif code == _APP2 and content.startswith(b"ICC_PROFILE\0") and len(content) > 14:
            profile[content[12]] = content  # by its number
        lossless |= code in _LOSSLESS
        if code == _SOS:
            break
    _check_scans(data, clock, limits)
    return Header(data=b"".join(kept), lossless=lossless, exif=exif, profile=_joined(profile))


def _segments(data: bytes, at: int, clock: Clock) -> Iterator[tuple[int, int, int]]:
    """(code, start, end) of each segment from ``at`` on; what lies between them is passed over. Ends before EOI."""
    while marker := _found(_NEXT_MARKER, data, at, clock):
        code = data[marker.end() - 1]
        at = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))
        if code == _EOI:
            return
        yield code, marker.end() - 2, at


def _found(marker: re.Pattern[bytes], data: bytes, at: int, clock: Clock) -> re.Match[bytes] | None:
    """The first such marker from ``at`` on."""
    while at < len(data):
        clock.check()
        if found := marker.search(data, at, at + _STEP):
            return found
        at += _STEP - 1  # It may begin with the last byte.
    return None


def _tells_colours(code: int, content: bytes) -> bool:
    """Is it one of the two that say whether colours are YCbCr or RGB, and as long as libjpeg asks for?"""
    is_jfif = code == _APP0 and content.startswith(b"JFIF\0") and len(content) >= 14
    return is_jfif or (code == _APP14 and content.startswith(b"Adobe") and len(content) >= 12)


def _joined(parts: dict[int, bytes]) -> bytes | None:
    """The profile in its parts, each with the number of all of them."""
    whole = parts and sorted(parts) == list(range(1, len(parts) + 1)) and parts[1][13] == len(parts)
    return b"".join(parts[number][14:] for number in sorted(parts)) if whole else None


def _check_scans(data: bytes, clock: Clock, limits: Limits) -> None:
    """Each scan is a pass over the whole picture: a JPEG of 634 KB with 20,000 of them takes 51 s."""
    if data.count(b"\xff\xda") <= limits.max_scans:
        return  # Those of thumbnails, and of a video after the picture's end, are counted in.
    found = 0
    for code, _, _ in _segments(data, 2, clock):
        found += code == _SOS
        if found > limits.max_scans:
            raise ImageTooLarge(f"The image has more than {limits.max_scans} scans; save it as an ordinary JPEG.")


# What follows a scan does not change it, and what is missing of it is taken from what follows: a picture that is alike
# with two different ends has all its pixels.
END = b"\xff\xd9"
OTHER_END = bytes(random.Random(1).choices(range(255), k=32_768)) + END


def without_end(data: bytes, clock: Clock) -> bytes | None:
    """The file up to the end of its last scan, when it lacks its EOI, and as far as its headers tell nothing else.

    What comes after it is dropped. None for a file that ends as it should, or has too few scans to be whole.
    """
    missing: set[_Coefficient] = set()
    is_progressive = False
    at = end = 0
    for code, start, at in _segments(data, 2, clock):
        if code in _FRAMES and not missing:
            is_progressive = code & 3 == 2
            missing = _of_frame(data[start:at], is_progressive)
        elif code == _SOS:
            missing -= _of_scan(data[start:at], is_progressive)
            following = _found(_END_OF_SCAN, data, at, clock)
            end = following.start() if following else len(data)
            if following and following[0][-1] == _SOI:
                break
        elif end and code not in _BETWEEN_SCANS:
            break
    else:
        if _found(_NEXT_MARKER, data, at, clock):  # the one at which the segments end, EOI
            return None
    return data[:end].rstrip(b"\xff") if end and not missing else None


_Coefficient = tuple[int, int]
"""The component that it is of, and its number from 0 to 63; but for progressive files 0 stands for all of them."""


def _of_frame(header: bytes, is_progressive: bool) -> set[_Coefficient]:
    """What a picture with this frame header is made of."""
    components = header[10::3][: int.from_bytes(header[9:10], "big")]
    return {(component, number) for component in components for number in range(64 if is_progressive else 1)}


def _of_scan(header: bytes, is_progressive: bool) -> set[_Coefficient]:
    """What is known to the last bit after a scan with this header."""
    most = 5 + 2 * int.from_bytes(header[4:5], "big")
    first, last, bits = (header[most : most + 3] + bytes(3))[:3]
    numbers = range(first, min(last, 63) + 1) if is_progressive else range(1)
    return {(component, number) for component in header[5:most:2] for number in numbers} if bits & 15 == 0 else set()
