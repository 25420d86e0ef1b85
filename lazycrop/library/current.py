"""Current: what an image is said to be, and is right to be; see :mod:`lazycrop.library.versions`. All of it blocks."""

from __future__ import annotations

from contextlib import suppress

from lazycrop.errors import BadRecord
from lazycrop.library.changes import Changes
from lazycrop.library.claims import Claim
from lazycrop.library.contents import Contents
from lazycrop.library.origins import put
from lazycrop.library.records import Records
from lazycrop.model import keys
from lazycrop.model.records import Pointer, Record, Tombstone
from lazycrop.stores.contract import unavailable
from lazycrop.stores.guarded import Guarded

_LOOKS = 100  # More than there are others who store or purge the same image at once.


class Current:
    """What the images of one store are."""

    def __init__(self, store: Guarded, records: Records, contents: Contents, changes: Changes) -> None:
        self._store = store
        self._changes = changes
        self._records = records
        self._contents = contents

    def settle(self, mine: Record | Tombstone, claim: Claim) -> Record | Tombstone:
        """See to it that the image is what it is right to be, now that there is ``mine``; returns that.

        As long as its claim holds that is ``mine``, and nobody else changes it: there is nothing to look for. Else it
        looks again, as all others do, after each put.
        """
        if claim.holds():
            self.put(keys.record(mine.image_id), mine)
            if claim.holds():
                return mine
        for _ in range(_LOOKS):
            self._changes.begin_telling(mine.image_id)()  # What was said before may be gone by now.
            right, what_is = self.right_now(mine)
            if what_is == right:
                return right
            self.put(keys.record(mine.image_id), right)
        raise unavailable("put", keys.record(mine.image_id), "what is put into the store is not what is read")

    def right_now(self, mine: Record | Tombstone) -> tuple[Record | Tombstone, Record | Tombstone | None]:
        """Of all that there is the highest number, of equal ones the tombstone; and what the image is said to be."""
        what_is = self._contents.what_is(mine.image_id)
        if isinstance(what_is, Tombstone) and what_is.version >= mine.version:
            mine = what_is
        for number in sorted(self._contents.numbers(mine.image_id), reverse=True):
            if number <= mine.version:
                break
            with suppress(BadRecord):
                later = self._records.what_is(mine.image_id, number)
                if later is not None and later.version == number:
                    return later, what_is
        return mine, what_is

    def put(self, key: str, what: Record | Tombstone) -> None:
        """Say what an image is; of a private one only that, where anybody may read."""
        said: Record | Tombstone | Pointer = what
        if isinstance(what, Record) and what.private:
            said = Pointer(image_id=what.image_id, version=what.version)
        self._store.put(key, said.to_json(), "application/json", cache_control="no-cache")

    def put_own(self, record: Record) -> None:
        """Put the record of a version beside it; the first one's is what the image is, unless it is private."""
        if record.private:
            own = keys.record(record.image_id, record.version, private=True)
            put(self._store, record, own, record.to_json(), "application/json")
        if record.version > 1:
            self.put(keys.record(record.image_id, record.version), record)
