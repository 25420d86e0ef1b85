"""Changes: which images have changed of late, so that what is known of all others is trusted for longer.

A record is read from the store again when it is ``record_seconds`` old. For an image that is asked for all the time
and never changes that is a GET a minute for nothing, in each process. So whoever is going to change an image says so
before: puts ``-changes/<time>-<digest of its id>``. One listing of that folder, once in ``record_seconds`` for all
images, says of which ones nothing of the kind is there; and their records are trusted for ``trust_seconds``.

The promise is that a replaced or purged image is seen by all who are told so within ``record_seconds``. Why it holds:

- An image that is named is trusted no longer than without all this: its record is read when it is ``record_seconds``
  old. So it is enough that each listing that is begun after the change names it, for as long as somebody may have a
  record of before the change.
- It is put with the claim (:mod:`lazycrop.library.claims`), *before* the change: so who dies between leaves a change
  that is named, or none. Put after the change it would not do; and whoever reads the old record between the two is no
  trouble, for the image is named from then on.
- It stays for twice as long as any record is trusted: the second half is for those whose clocks differ, and for whoever
  is slow with the change. Who is slower than others wait for a claim puts it again *after* the change too.
- How old a record is counts from before it was read, or claimed: so one that was overtaken on its way into the cache
  is not trusted for longer than if it had not been.
- Nothing of this is in the cache but a listing, with the time when it ends: a cache that is flushed, full, split, or
  back with old values, can only lose it. Neither can a write to the cache be missed, for none is relied on.
- Where the folder cannot be listed, or is too long, each image is as if it were named.

A version that is an image's first needs no word, for there was nothing to be known. What remains: a process that is
late by more than ``trust_seconds`` between its word and its change, and is killed before it gives it again; and objects
that somebody deletes by other means. These are seen within ``trust_seconds``.

Where a call to the store is no round trip, as to a folder, there is no need of it.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from lazycrop.caches.contract import LONGEST_TRUST
from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import LazyCropError, Overloaded
from lazycrop.library.state import State
from lazycrop.model import keys
from lazycrop.stores.guarded import Guarded

logger = logging.getLogger(__name__)

_KEPT = 2 * LONGEST_TRUST  # Seconds that a word is left there.
_MOST = 20_000  # Words, of 16 bytes each; so many in two hours are three changes a second.
_UNLISTED = 10  # times as long it is not tried again where it failed: who only reads may not be permitted to list.
_WAIT = 10.0  # Seconds for another thread's listing.


@dataclass(frozen=True, slots=True)
class _Listing:
    """``names``: the digests of the images of which there is a word; None: it may be any. ``until``: in Unix time."""

    names: frozenset[str] | None
    until: float


class Changes:
    """The words of changes in one store."""

    def __init__(self, store: Guarded, state: State, record_seconds: int) -> None:
        self._store = store
        self._state = state
        self._seconds = record_seconds
        self._listing = _Listing(None, 0.0)
        self._flights: SingleFlight[_Listing] = SingleFlight()

    def begin_telling(self, image_id: str) -> Callable[[], object]:
        """Say that an image is going to change; it is under way when this returns."""
        if not self._store.is_remote:
            return lambda: None
        return self._store.begin_put(keys.change(int(time.time()), _digest(image_id)), b"1", "text/plain")

    def quiet_until(self, image_id: str) -> float:
        """Until when an old record of an image is as good as a new one, in Unix time; 0 where it is not.

        Blocks for the store once in ``record_seconds``, for as long as for an object.
        """
        if not self._store.is_remote:
            return 0.0
        listing = self._listing
        if time.time() >= listing.until:
            try:
                listing, _ = self._flights.run("", self._listed, left(_WAIT))
            except Overloaded:  # Who has no time to wait for that asks for the record.
                return 0.0
        is_quiet = listing.names is not None and _digest(image_id) not in listing.names
        return listing.until if is_quiet else 0.0

    def _listed(self) -> _Listing:
        """As another process has it, or as it is now."""
        names, until = self._state.changes()
        if time.time() >= until:
            until = time.time() + self._seconds
            try:
                names = self._read()
                self._state.remember_changes(names, until)
            except LazyCropError as error:
                names, until = None, time.time() + _UNLISTED * self._seconds
                logger.debug("the changes are not known, so that each record is asked for: %r", error)
        self._listing = _Listing(names, until)
        return self._listing

    def _read(self) -> frozenset[str] | None:
        words = {key: keys.changed(key) for key in self._store.list_now(keys.CHANGES)}
        ended = time.time() - _KEPT
        old = [key for key, word in words.items() if word and word[0] < ended]
        if old:
            self._store.discard(old)
        return frozenset(word[1] for word in words.values() if word) if len(words) <= _MOST else None


def _digest(image_id: str) -> str:
    return hashlib.blake2b(image_id.encode(), digest_size=8).hexdigest()
