"""Listing: which images a store has, and what lies of each, by what the store says. All of it blocks, and is lazy:
however many there are, some are kept at a time.

The order is that in which the store lists: by keys, so that ``a/b`` comes before ``a`` (``a/b/image.json``,
``a/image.json``); SeaweedFS goes through one folder after the other. It is the same each time.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from lazycrop.errors import BadImageId, BadRecord, BadRequest, UnknownImage
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.model import keys
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import PRIVATE, Key, check_image_id
from lazycrop.model.records import Record, Tombstone
from lazycrop.stores.contract import Listed

logger = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_AHEAD = 32  # Records that are read at the same time, where a read is a round trip.
_LAST = "\U0010ffff"  # Comes after all that an id may have.


@dataclass(frozen=True, slots=True)
class StoredSize:
    """A size that is stored. ``key``: of its object; ``length``: of that in bytes."""

    version: int
    size: str
    format: str
    length: int
    key: str


@dataclass(frozen=True, slots=True)
class Info:
    """An image: its current record, its sizes in all of its versions, and the bytes of all its objects."""

    record: Record
    sizes: tuple[StoredSize, ...]
    length: int


@dataclass(slots=True)
class Usage:
    """How many images there are, how many sizes and objects of them, and the bytes of all."""

    images: int = 0
    sizes: int = 0
    objects: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True)
class Lying:
    """What lies of an image in the store, where everybody may read or where nobody else may."""

    image_id: str
    private: bool
    objects: list[tuple[Key, Listed]] = field(default_factory=list)

    @property
    def folder(self) -> str:
        return keys.folder(self.image_id, 1, self.private)

    def has(self, kind: str, version: int | None = None) -> bool:
        return any(key.kind == kind and version in (None, key.version) for key, _ in self.objects)

    @property
    def versions(self) -> dict[int, list[tuple[Key, Listed]]]:
        """What lies of each version; claims are of none."""
        found: dict[int, list[tuple[Key, Listed]]] = {}
        for key, listed in self.objects:
            if key.kind != "claim":
                found.setdefault(key.version, []).append((key, listed))
        return found


WhatIs = Record | Tombstone | BadRecord | None
"""What is said where an image is said to be what it is, of whichever image; the error of what cannot be read."""


class Listing:
    """The images of one store."""

    def __init__(self, common: Common) -> None:
        self._store, self._records = common.store, common.records
        self._contents = Contents(common.store, common.records)

    def records(self, prefix: str = "", after: str = "") -> Iterator[Record]:
        """The current records of all images whose ids begin with ``prefix``, after that of the id ``after``.

        A record that cannot be read is left out, and the log says so.
        """
        check_prefix(prefix, after)
        return self._of(self._named(prefix, after and keys.record(after)))

    def _of(self, ids: Iterable[str]) -> Iterator[Record]:
        for image_id, result in _ahead(ids, self._begin):
            what_is = result()
            if isinstance(what_is, BadRecord):
                said = {"event": "bad-record", "image_id": image_id}
                logger.warning("the record of %r cannot be read; verify says what can be done", image_id, extra=said)
            elif isinstance(what_is, Record) and what_is.image_id == image_id:
                yield self._records.with_url(what_is)

    def _named(self, prefix: str, after: str) -> Iterator[str]:
        for one in self._store.walk(prefix, after):
            key = Key.parse(one.key)
            if key is not None and one.key == keys.record(key.image_id):
                yield key.image_id

    def _begin(self, image_id: str) -> Callable[[], WhatIs]:
        """What it is said to be, in two steps, the first of which does not wait."""
        read = self._records.begin_whoever_is(image_id)

        def result() -> WhatIs:
            try:
                return read()
            except BadRecord as error:
                return error

        return result

    def ids(self) -> Iterator[str]:
        """The id of each image that there is or was."""
        return self._named("", "")

    def look(self, image_id: str) -> tuple[Record | Tombstone | None, dict[Key, int]]:
        """What an image is, None where nothing that can be read is said; and the sizes of those versions of it that
        can be asked for, each with its bytes.
        """
        what_is = self._contents.what_is(image_id)
        if not isinstance(what_is, Record):
            return what_is, {}
        found = [one for private in (False, True) for one in self.lying(image_id, private).objects]
        askable = [(key, one) for key, one in found if key.version <= what_is.version and Derivative.of_key(key)]
        return what_is, {key: one.length for key, one in askable}

    def exists(self, image_id: str) -> bool:
        """Is there an image of this id in the store, at this moment?"""
        return self._records.read_now(image_id) is not None

    def info(self, image_id: str) -> Info:
        """All that the store has of an image. Raises :class:`~lazycrop.errors.UnknownImage`."""
        record = self._records.read_now(image_id)
        if record is None:
            raise UnknownImage(f"There is no image {image_id!r}.")
        found = [one for private in (False, True) for one in self.lying(image_id, private).objects]
        sizes = [
            StoredSize(key.version, key.name.rpartition(".")[0], key.name.rpartition(".")[2], listed.length, listed.key)
            for key, listed in found
            if key.kind == "size"
        ]
        sizes.sort(key=lambda one: (-one.version, one.key))
        return Info(self._records.with_url(record), tuple(sizes), sum(listed.length for _, listed in found))

    def usage(self, prefix: str = "") -> Usage:
        """What all images take whose ids begin with ``prefix``. An image is counted where its origin is."""
        total = Usage()
        for lying in self.all_lying(prefix):
            total.images += lying.has("origin")
            total.sizes += sum(key.kind == "size" for key, _ in lying.objects)
            total.objects += len(lying.objects)
            total.length += sum(listed.length for _, listed in lying.objects)
        return total

    def lying(self, image_id: str, private: bool) -> Lying:
        """What lies of one image."""
        found = Lying(image_id, private)
        for number in sorted({1, *self._contents.numbers(image_id)}):
            for one in self._store.walk(keys.folder(image_id, number, private), deep=False):
                key = Key.parse(one.key)
                if key is not None and key.image_id == image_id:
                    found.objects.append((key, one))
        return found

    def lying_and_said(self, prefix: str = "", after: str = "") -> Iterator[tuple[Lying, WhatIs]]:
        """:meth:`all_lying`, each with what the image is said to be."""
        for lying, result in _ahead(self.all_lying(prefix, after), lambda lying: self._begin(lying.image_id)):
            yield lying, result()

    def all_lying(self, prefix: str = "", after: str = "") -> Iterator[Lying]:
        """What lies of each image whose id begins with ``prefix``; images below one come before it.

        ``after``: the ``folder`` of the last one that is done. What was put while this lasts may be missing.
        """
        check_prefix(prefix, "")
        places = [prefix] if not prefix else [PRIVATE + prefix, prefix]
        if prefix and after and not after.startswith(PRIVATE):
            places = [prefix]
        for place in places:
            begin = after + _LAST if after and after.startswith(place) else ""
            yield from self._grouped(self._store.walk(place, begin), after if begin else "", prefix)

    def _grouped(self, objects: Iterable[Listed], after: str, prefix: str) -> Iterator[Lying]:
        # Of whom more may come, each below the one before it.
        begun = [above for above in _above(after) if above.image_id.startswith(prefix)]
        for one in objects:
            while begun and not one.key.startswith(begun[-1].folder):
                yield from self._whole(begun.pop(), after)
            key = Key.parse(one.key)
            if key is None:
                continue
            if not begun or begun[-1].image_id != key.image_id:
                begun.append(Lying(key.image_id, key.private))
            begun[-1].objects.append((key, one))
        for lying in reversed(begun):
            yield from self._whole(lying, after)

    def _whole(self, lying: Lying, after: str) -> Iterator[Lying]:
        """Of an image above the one that was done last, a part came before it, or all."""
        if after.startswith(lying.folder):
            lying = self.lying(lying.image_id, lying.private)
        if lying.objects:
            yield lying


def _ahead(items: Iterable[T], begin: Callable[[T], R]) -> Iterator[tuple[T, R]]:
    """Each item with what was begun for it, some items before it is wanted."""
    window: deque[tuple[T, R]] = deque()
    for item in items:
        window.append((item, begin(item)))
        if len(window) == _AHEAD:
            yield window.popleft()
    yield from window


def _above(folder: str) -> Iterator[Lying]:
    """The images that may be there above the one in a folder, the highest first."""
    names = folder.removeprefix(PRIVATE).split("/")[:-1]
    return (Lying("/".join(names[:count]), folder.startswith(PRIVATE)) for count in range(1, len(names)))


def check_prefix(prefix: str, after: str) -> None:
    """Raise :class:`~lazycrop.errors.BadRequest` for what no image id can begin with."""
    try:
        for text in filter(None, (prefix.removesuffix("/"), after)):
            check_image_id(text, is_adopted=True)
    except BadImageId as error:
        raise BadRequest(f"No image id begins with {prefix or after!r}. {error}") from None
    if prefix.startswith("/") or not after.startswith(prefix if after else ""):
        raise BadRequest(f"{after!r} is not among the images whose ids begin with {prefix!r}; give one that is.")
