"""Contents: what lies in the store of an image at this moment, whatever its records say. Everything here blocks."""

from __future__ import annotations

import time
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

    def numbers(self, image_id: str) -> set[int]:
        """The versions of which anything is there."""
        found = set()
        for place in (keys.folder(image_id, 1), keys.folder(image_id, 1, private=True)):
            for name in self._store.list(place):
                number = keys.version_of(name[len(place) :]) if name.endswith("/") else 1
                if number is not None and name != keys.record(image_id):
                    found.add(number)
        return found

    def objects(self, image_id: str, version: int) -> list[str]:
        """What is in the folders of a version, but for what says what the image is."""
        places = [keys.folder(image_id, version, private) for private in (False, True)]
        names = [name for place in places for name in self._store.list(place)]
        return [name for name in names if not name.endswith("/") and name != keys.record(image_id)]

    def is_claimed(self, image_id: str, version: int) -> bool:
        """Is somebody writing it?"""
        return any(self._is_fresh(claim) for claim in self._claims(image_id, version))

    def is_abandoned(self, image_id: str, version: int) -> bool:
        claims = self._claims(image_id, version)
        dead = bool(claims) and not any(self._is_fresh(claim) for claim in claims)
        return dead and self._records.read_now(image_id, version) is None

    def _claims(self, image_id: str, version: int) -> list[str]:
        return [key for key in self.objects(image_id, version) if (of := Key.parse(key)) and of.kind == "claim"]

    def _is_fresh(self, claim: str) -> bool:
        """Is whoever put this claim still to be reckoned with? It holds the time when it was put."""
        try:
            return time.time() - int(self._store.get(claim, limit=100)) < _CLAIM_SECONDS
        except (MissingObject, ValueError):
            return False
