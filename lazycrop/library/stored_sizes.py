"""Stored sizes: which there are of an image, by one bounded call to the store that is remembered for some seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache

from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import Unavailable
from lazycrop.library.state import State
from lazycrop.model import keys
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import Key
from lazycrop.model.records import Record
from lazycrop.stores.guarded import Guarded

_FRESH = 5.0  # Seconds: whoever comes when too much is asked for comes with many others.
_WAIT = 2.0  # Seconds for another thread's look.
_MOST = 1000  # Objects that are looked at: what S3 lists in one round trip.

Sizes = frozenset[Derivative]


class StoredSizes:
    """The sizes in one store. ``most``: so many are looked for, where that is more than a round trip brings."""

    def __init__(self, store: Guarded, state: State, most: int = 0) -> None:
        self._store, self._state = store, state
        self._most = max(_MOST, most)
        self._flights: SingleFlight[str] = SingleFlight()

    def remembered(self, record: Record) -> Sizes:
        """What was found of this very version some seconds or minutes ago. Asks the cache and nobody else."""
        names, _ = self._state.sizes(record)
        return _parsed(record.image_id, record.version, names or "")

    def find(self, record: Record) -> Sizes:
        """What there is of this version, or was some seconds ago; or some minutes, where the store does not say now.

        Blocks for one call to the store. Raises nothing.
        """
        names, is_fresh = self._state.sizes(record)
        if not is_fresh:
            with suppress(Unavailable):  # What was there is a better guess than nothing.
                names, _ = self._flights.run(record.tag, lambda: self._look(record), left(_WAIT))
        return _parsed(record.image_id, record.version, names or "")

    def look(self, record: Record) -> Sizes:
        """What there is at this moment. Blocks; raises :class:`~lazycrop.errors.StoreUnavailable`."""
        return _parsed(record.image_id, record.version, self._look(record))

    def _look(self, record: Record) -> str:
        folder = keys.folder(record.image_id, record.version, record.private)
        found = (Key.parse(key) for key in self._store.list_now(folder, self._most) if not key.endswith("/"))
        names = " ".join(sorted(key.name for key in found if key is not None and key.kind == "size"))
        self._state.remember_sizes(record, names, _FRESH)
        return names


# To read a thousand of them takes some milliseconds, and all who come at once ask for one image.
@lru_cache(maxsize=64)
def _parsed(image_id: str, version: int, names: str) -> Sizes:
    return frozenset(_each(image_id, version, names))


def _each(image_id: str, version: int, names: str) -> Iterator[Derivative]:
    for name in names.split():
        derivative = Derivative.of_key(Key(image_id, version, "size", name))
        if derivative is not None:
            yield derivative
