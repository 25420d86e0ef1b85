"""PNG: what its chunks say (PNG specification, third edition).

A chunk that nobody needs cannot spoil a picture: one that is broken, too large, unknown, or after the pixels is left
out of what the decoder is given. An ancillary chunk with a wrong checksum is as good as none, as it is to libpng.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from lazycrop.errors import BrokenImage
from lazycrop.pictures.headers import Header
from lazycrop.pictures.profiles import Chromaticities, are_known, of_code_points, of_gamma
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.settings import Limits

_GREY, _COLOUR, _PALETTE = 0, 2, 3
# Profiles of screens have some kilobytes, of printers some hundreds; to unpack more takes memory for nothing.
_MOST_PROFILE = 4_000_000

_WANTED = frozenset((b"tRNS", b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"))
_END = b"\0\0\0\0IEND\xaeB`\x82"


def read(data: bytes, clock: Clock, limits: Limits) -> Header:
    """The header of a PNG; of an animated one its default image."""
    if data[12:16] != b"IHDR" or len(data) < 33:
        raise BrokenImage("The PNG does not begin with its header.")
    depth, colour = data[24:26]
    kept, said = _sorted(data, colour == _PALETTE, clock)
    hole = None
    if colour in (_GREY, _COLOUR):
        hole = _hole(said.get(b"tRNS", b""), 1 if colour == _GREY else 3, depth)
    return Header(
        data=_cut(data, kept),
        lossless=True,
        exif=said.get(b"eXIf", b""),
        profile=_profile(said),
        hole=hole,
        depth=depth,
    )


def _chunks(data: bytes, clock: Clock) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk, its length and checksum included; the last one may end beyond the file."""
    at = 8
    while len(data) >= at + 8:
        clock.check()
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8], at, end
        at = end


def _sorted(data: bytes, has_palette: bool, clock: Clock) -> tuple[list[tuple[int, int]], dict[bytes, bytes]]:
    """Where the chunks are that make the pixels, and what the first good one of each other wanted kind holds."""
    kept: list[tuple[int, int]] = []
    said: dict[bytes, bytes] = {}
    colours = 0
    is_late = False
    for kind, start, end in _chunks(data, clock):
        is_kept = kind in (b"IDAT", b"IEND") or not kept  # the first one is IHDR
        is_late = is_late or kind == b"IDAT"
        if kind == b"PLTE" and has_palette and not colours and not is_late:
            colours, is_kept = (end - start - 12) // 3, True
        elif kind in _WANTED and kind not in said and (not is_late or kind == b"eXIf") and _is_sound(data, start, end):
            said[kind] = data[start + 8 : end - 4]
            is_kept = kind == b"tRNS" and 0 < len(said[kind]) <= colours  # alphas; the tRNS of others is read by hand
        if is_kept:
            kept.append((start, end))
        if kind == b"IEND":
            break
    return kept, said


def _is_sound(data: bytes, start: int, end: int) -> bool:
    """Is the chunk whole, and its checksum right?"""
    view = memoryview(data)
    return end <= len(data) and zlib.crc32(view[start + 4 : end - 4]).to_bytes(4, "big") == view[end - 4 : end]


def _cut(data: bytes, kept: list[tuple[int, int]]) -> bytes:
    """The file with these chunks only; itself where no others come before its end."""
    ends = [8, *(end for _, end in kept)]
    if ends[:-1] == [start for start, _ in kept] and data.startswith(b"IEND", ends[-1] - 8):
        return data
    view = memoryview(data)
    return b"".join((view[:8], *(view[start:end] for start, end in kept), _END))


def _hole(content: bytes, samples: int, depth: int) -> tuple[int, ...] | None:
    """The samples of the transparent colour, of which the low bits count (as libpng has it)."""
    if len(content) < 2 * samples:
        return None
    most = (1 << depth) - 1
    return tuple(int.from_bytes(content[at : at + 2], "big") & most for at in range(0, 2 * samples, 2))


def _profile(said: dict[bytes, bytes]) -> bytes | None:
    """What says most of the colours comes first: cICP, iCCP, sRGB, then gAMA and cHRM (section 4.3)."""
    if len(cicp := said.get(b"cICP", b"")) == 4 and cicp[2] == 0 and are_known(*cicp[:2]):
        return of_code_points(cicp[0], cicp[1], is_full=cicp[3] != 0)
    if (profile := _unpacked(said.get(b"iCCP", b""))) is not None:
        return profile
    if b"sRGB" in said or len(gamma := said.get(b"gAMA", b"")) != 4:
        return None
    points: Chromaticities | None = None
    if len(content := said.get(b"cHRM", b"")) == 32:
        values = [int.from_bytes(content[at : at + 4], "big") / 100_000 for at in range(0, 32, 4)]
        white, red, green, blue = zip(values[::2], values[1::2], strict=True)
        points = (red, green, blue, white)
    return of_gamma(int.from_bytes(gamma, "big") / 100_000, points)


def _unpacked(content: bytes) -> bytes | None:
    """The profile in iCCP: a name, a zero, the method, and the profile deflated."""
    _, _, packed = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], _MOST_PROFILE)
    except zlib.error:
        return None
    return profile if unpacker.eof else None
