"""AVIF and HEIC: what their boxes say (ISO/IEC 14496-12 and 23008-12).

A decoder refuses the file for EXIF or XMP that is broken; in the file that it is given no item is of that kind. The
orientation is a property of the picture here, and EXIF's is not to be used.
"""

from __future__ import annotations

from collections.abc import Iterator

from lazycrop.pictures.headers import Header
from lazycrop.pictures.profiles import of_code_points
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.settings import Limits

Span = tuple[int, int]
"""Where the content of a box starts and ends in the file."""

_METADATA = (b"Exif", b"mime")
_UNKNOWN = b"none"
"""An item of a kind that no reader knows is left alone by all of them."""


def read(data: bytes, clock: Clock, limits: Limits) -> Header:
    """The header of an AVIF or HEIC; ``profile`` is of the colours that it says without an ICC profile."""
    boxes = _File(data, clock)
    meta = boxes.first((0, len(data)), b"meta")
    meta = meta and (meta[0] + 4, meta[1])  # Version and flags come first.
    colour = boxes.colour_of_track() if data[8:12] == b"avis" else None
    if colour is None and meta:
        colour = boxes.colour_of_item(meta)
    profile = None
    if colour and data[colour[0] : colour[0] + 4] == b"nclx":
        profile = of_code_points(boxes.number(colour[0] + 4, 2), boxes.number(colour[0] + 6, 2))
    return Header(data=_without(data, boxes.kinds_of_items(meta) if meta else []), profile=profile)


def _without(data: bytes, kinds: list[int]) -> bytes:
    """The file with its metadata said to be something else; ``kinds``: where the kind of each item is written."""
    places = [at for at in kinds if data[at : at + 4] in _METADATA]
    if not places:
        return data
    changed = bytearray(data)
    for at in places:
        changed[at : at + 4] = _UNKNOWN
    return bytes(changed)


class _File:
    """The boxes of a file, which are looked at under a clock."""

    def __init__(self, data: bytes, clock: Clock) -> None:
        self._data = data
        self._clock = clock

    def number(self, at: int, length: int) -> int:
        return int.from_bytes(self._data[at : at + length], "big")

    def boxes(self, within: Span) -> Iterator[tuple[bytes, Span]]:
        at, end = within
        while at + 8 <= end:
            self._clock.check()
            length, start = self.number(at, 4), at + 8
            if length == 1:
                length, start = self.number(at + 8, 8), at + 16
            last = min(at + length, end) if length else end  # 0: to the end
            if last < start:
                return
            yield self._data[at + 4 : at + 8], (start, last)
            at = last

    def first(self, within: Span, *path: bytes) -> Span | None:
        """The first box at this path."""
        for wanted in path:
            found = next((span for kind, span in self.boxes(within) if kind == wanted), None)
            if found is None:
                return None
            within = found
        return within

    def kinds_of_items(self, meta: Span) -> list[int]:
        """Where the kind of each item is written (23008-12, 8.11.6)."""
        items = self.first(meta, b"iinf")
        if items is None:
            return []
        entries = (items[0] + (8 if self.number(items[0], 1) else 6), items[1])
        return [start + (10 if self.number(start, 1) >= 3 else 8) for _, (start, _) in self.boxes(entries)]

    def colour_of_item(self, meta: Span) -> Span | None:
        """The colours of the picture that is to be shown: the first such property that it has."""
        primary, properties = self.first(meta, b"pitm"), self.first(meta, b"iprp", b"ipco")
        if primary is None or properties is None:
            return None
        item = self.number(primary[0] + 4, 4 if self.number(primary[0], 1) else 2)
        all_of_them = list(self.boxes(properties))
        for index in self._properties_of(item, meta):
            if 0 < index <= len(all_of_them) and all_of_them[index - 1][0] == b"colr":
                return all_of_them[index - 1][1]
        return None

    def _properties_of(self, item: int, meta: Span) -> Iterator[int]:
        """The numbers of an item's properties, from 1 on (23008-12, 9.3)."""
        associations = self.first(meta, b"iprp", b"ipma")
        if associations is None:
            return
        at, end = associations
        id_length = 4 if self.number(at, 1) else 2
        index_length = 2 if self.number(at + 3, 1) & 1 else 1
        at += 8
        while at < end:
            self._clock.check()
            owner, count = self.number(at, id_length), self.number(at + id_length, 1)
            at += id_length + 1
            if owner == item:  # The highest bit says that the property is essential.
                most = (1 << 8 * index_length - 1) - 1
                yield from (self.number(at + n * index_length, index_length) & most for n in range(count))
            at += count * index_length

    def colour_of_track(self) -> Span | None:
        """The colours of the first track of an image sequence (14496-12, 12.1.3: a sample entry has 78 bytes ahead)."""
        samples = self.first((0, len(self._data)), b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
        entry = samples and self.first((samples[0] + 8, samples[1]), b"av01")
        return self.first((entry[0] + 78, entry[1]), b"colr") if entry else None
