"""Walking: every image of a store, with what it is and its stored sizes. Everything here blocks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from lazycrop.errors import BadSize, MissingObject
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.model import keys
from lazycrop.model.keys import CONTENT_TYPES, Key
from lazycrop.model.records import Record, Tombstone
from lazycrop.model.sizes import Size

Sizes = dict[Key, int]
"""The stored sizes of an image, and how many bytes each has."""


class Walking:
    """Walks through the store of one LazyCrop."""

    def __init__(self, common: Common) -> None:
        self._store = common.store
        self._contents = Contents(common.store, common.records)

    def ids(self, below: str = "") -> Iterator[str]:
        """The id of each image that there is or was, those of one folder in their order."""
        for name in sorted(self._store.list(below)):
            if name == keys.record(below.rstrip("/")):
                yield below.rstrip("/")
            elif name.endswith("/") and name != keys.PRIVATE and not keys.split_version(name[:-1])[1]:
                yield from self.ids(name)

    def look(self, image_id: str) -> tuple[Record | Tombstone | None, Sizes]:
        """What the image is, None where nothing that can be read is said, and the sizes of those versions of it that
        can be asked for.
        """
        what_is = self._contents.what_is(image_id)
        if not isinstance(what_is, Record):
            return what_is, {}
        numbers = {number for number in self._contents.numbers(image_id) if number <= what_is.version}
        found = [key for number in sorted(numbers) for key in self._contents.objects(image_id, number)]
        sizes: Sizes = {}
        for text in found:
            key = Key.parse(text)
            if key is not None and _is_size(key):
                with suppress(MissingObject):  # It has gone since.
                    sizes[key] = self._length(text)
        return what_is, sizes

    def _length(self, key: str) -> int:
        opened = self._store.open(key)
        opened.file.close()
        return opened.length


def _is_size(key: Key) -> bool:
    """Is it one that can be asked for? Others may have put what is only named like one."""
    size, _, format = key.name.rpartition(".")
    try:
        return key.kind == "size" and format in CONTENT_TYPES and bool(Size.parse(size))
    except BadSize:
        return False
