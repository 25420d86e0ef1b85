"""Contents: what lies in the store of an image at this moment, whatever its records say. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress

from lazycrop.errors import BadImageId, BadRecord, MissingObject
from lazycrop.library.records import Records
from lazycrop.model import keys
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone
from lazycrop.stores.contract import Store

_CLAIM_SECONDS = 600.0  # After so long nobody is writing any more who has a claim.


class Contents:
    """The contents of one store."""

    def __init__(self, store: Store, records: Records) -> None:
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

    def found(self, image_id: str) -> dict[str, int]:
        """What is at the top of an image, each with the version that it is of; a folder is all of a version."""
        places = [keys.folder(image_id, 1, private) for private in (False, True)]
        names = [(name, _number(name.removeprefix(place))) for place in places for name in self._store.list(place)]
        return {name: number for name, number in names if number and name != keys.record(image_id)}

    def numbers(self, image_id: str) -> set[int]:
        """The versions of which anything is there, be it a claim."""
        return set(self.found(image_id).values())

    def objects(self, image_id: str, version: int) -> list[str]:
        """What is in the folders of a version, but for what says what the image is, and claims."""
        places = [keys.folder(image_id, version, private) for private in (False, True)]
        names = [name for place in places for name in self._store.list(place)]
        return [
            name
            for name in names
            if not name.endswith("/") and name != keys.record(image_id) and keys.claimed(name) is None
        ]

    def lost_mezzanines(self, image_id: str, version: int) -> list[str]:
        """Mezzanines without an origin: those that a job has put, and was killed, before the version was purged."""
        kinds = {key: found.kind for key in self.objects(image_id, version) if (found := Key.parse(key))}
        return [key for key, kind in kinds.items() if kind == "mezzanine" and "origin" not in kinds.values()]

    def fresh(self, claims: Iterable[str]) -> dict[str, bool]:
        """Of those claims that are still there: is whoever put it still to be reckoned with? It holds the time."""
        found = {}
        for claim in claims:
            with suppress(MissingObject):
                found[claim] = _is_fresh(self._store.get(claim, limit=100))
        return found


def _is_fresh(claim: bytes) -> bool:
    try:
        return time.time() - int(claim) < _CLAIM_SECONDS
    except ValueError:
        return False


def _number(name: str) -> int | None:
    """Of which version what is named so is; None for the folder of another image."""
    return keys.version_of(name) if name.endswith("/") else keys.claimed(name) or 1
