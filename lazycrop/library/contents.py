"""Contents: what lies in the store of an image at this moment, whatever its records say. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lazycrop.errors import BadImageId, BadRecord, MissingObject
from lazycrop.library.records import Records
from lazycrop.model import keys
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone
from lazycrop.stores.guarded import Guarded

_CLAIM_SECONDS = 600.0  # After so long nobody is writing any more who has a claim.


@dataclass(frozen=True, slots=True)
class Look:
    """An image at one moment: what it is by its own word, and what is at its top, as :meth:`Contents.found` has it."""

    what_is: Record | Tombstone | None
    found: dict[str, int]

    @property
    def next(self) -> int:
        """The lowest number that is higher than all of it."""
        return max(self.what_is.version if self.what_is else 0, *self.found.values(), 0) + 1


class Contents:
    """The contents of one store."""

    def __init__(self, store: Guarded, records: Records) -> None:
        self._store = store
        self._records = records

    def what_is(self, image_id: str) -> Record | Tombstone | None:
        """What the image is by its own word; None where nothing that can be read is said."""
        with suppress(BadRecord):
            found = self._records.whoever_is(image_id)
            if found is None or found.image_id == image_id:
                return found
            if found.image_id.casefold() == image_id.casefold():
                raise BadImageId(
                    f"The image ids {image_id!r} and {found.image_id!r} are one to this store, which does not tell "
                    "upper from lower case; choose another id."
                )
        return None

    def look(self, image_id: str) -> Look:
        """What the image is *after* what is found of it, and both in one round trip where that is the same.

        It is what it said at the same time if what it said is still found then: a purge takes its claim away when
        nothing is found any more. And it is nothing if nothing is found that says so.
        """
        places = _places(image_id)
        asked: list[Any] = [*map(self._store.begin_list, places), self._records.begin_whoever_is(image_id)]
        try:
            *listed, said = self._store.together(*asked)
        except BadRecord:
            found = self.found(image_id)
            return Look(self.what_is(image_id), found)
        found = _numbered(image_id, listed)
        if said is None:
            is_same = keys.record(image_id) not in listed[0]
        else:
            versions = {number for name, number in found.items() if keys.claimed(name) is None}
            is_same = isinstance(said, Record) and said.image_id == image_id and said.version in versions
        return Look(said if is_same else self.what_is(image_id), found)

    def found(self, image_id: str) -> dict[str, int]:
        """What is at the top of an image, each with the version that it is of; a folder is all of a version."""
        return _numbered(image_id, self._store.together(*map(self._store.begin_list, _places(image_id))))

    def numbers(self, image_id: str) -> set[int]:
        """The versions of which anything is there, be it a claim."""
        return set(self.found(image_id).values())

    def objects(self, image_id: str, *versions: int) -> list[str]:
        """What is in the folders of versions, but for what says what the image is, and claims."""
        places = [place for version in versions for place in _places(image_id, version)]
        names = [name for names in self._store.together(*map(self._store.begin_list, places)) for name in names]
        return [name for name in names if name != keys.record(image_id) and is_object(name)]

    def lost_mezzanines(self, image_id: str, version: int) -> list[str]:
        """Mezzanines without an origin: those that a job has put, and was killed, before the version was purged."""
        kinds = {key: found.kind for key in self.objects(image_id, version) if (found := Key.parse(key))}
        return [key for key, kind in kinds.items() if kind == "mezzanine" and "origin" not in kinds.values()]

    def fresh(self, claims: Iterable[str]) -> dict[str, bool]:
        """Of those claims that are still there: is whoever put it still to be reckoned with? It holds the time."""
        found = {}
        for claim in sorted(claims):
            with suppress(MissingObject):
                found[claim] = _is_fresh(self._store.get(claim, limit=100))
        return found


def is_object(name: str) -> bool:
    """Is what is listed under this name neither a folder nor a claim?"""
    return not name.endswith("/") and keys.claimed(name) is None


def _places(image_id: str, version: int = 1) -> list[str]:
    return [keys.folder(image_id, version, private) for private in (False, True)]


def _numbered(image_id: str, listed: Iterable[Iterable[str]]) -> dict[str, int]:
    """Of what is listed in the places of an image, that which is of one of its versions."""
    places = zip(_places(image_id), listed, strict=True)
    names = [(name, _number(name.removeprefix(place))) for place, names in places for name in names]
    return {name: number for name, number in names if number and name != keys.record(image_id)}


def _is_fresh(claim: bytes) -> bool:
    try:
        return time.time() - int(claim) < _CLAIM_SECONDS
    except ValueError:
        return False


def _number(name: str) -> int | None:
    """Of which version what is named so is; None for the folder of another image."""
    return keys.version_of(name) if name.endswith("/") else keys.claimed(name) or 1
