"""Budget: which of the sizes that visitors ask for are worth to be stored. One that is not is rendered all the same.

A scan asks for thousands of sizes, each of them once. So a size may have to be asked for several times before it is
stored (``store_after``), and where any size may be asked for, an image may have only so many (``max_sizes``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from lazycrop.access.policy import Policy
from lazycrop.library.records import Found
from lazycrop.library.state import State
from lazycrop.library.stored_sizes import Sizes, StoredSizes
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.settings import Config

_WAIT = 10.0  # Seconds for another job that stores a size of the same image; after that it was killed, or is very slow.
_POLL = 0.02


class Budget:
    """Decides it, for requests and for the jobs that they have sent. What the application has stored, it may."""

    def __init__(self, state: State, stored: StoredSizes, policy: Policy, config: Config) -> None:
        self._state, self._stored, self._policy = state, stored, policy
        self._store_after = config.store_after
        self._most = config.policy.max_sizes if policy.any else 0

    @property
    def counts(self) -> bool:
        """Does it matter how often a size is asked for?"""
        return self._store_after > 1

    def takes(self, found: Found) -> bool:
        """A visitor asks for a size that is not stored: is it to be, by now? Asks the cache and nobody else."""
        derivative, record = found.derivative, found.record
        if self.counts and not self._state.is_asked_more(derivative, record.tag, self._store_after - 1):
            return False
        return not self._bounds(derivative) or self._has_room(derivative, self._stored.remembered(record))

    @contextmanager
    def room(self, derivative: Derivative, record: Record) -> Iterator[bool]:
        """May a job put this size of an image, in the block? Jobs of one image come one after the other for that, as
        far as a lease can say so. Blocks for those, and for a look at the store.
        """
        if not self._bounds(derivative):
            yield True
            return
        until = time.monotonic() + _WAIT
        while True:
            with self._state.lease(record.image_id, f"budget {record.image_id}") as lease:
                if lease.ours or time.monotonic() >= until:
                    yield self._has_room(derivative, self._stored.look(record))
                    return
            time.sleep(_POLL)

    def is_full(self, derivative: Derivative, record: Record) -> bool:
        """Is it known that :meth:`room` will say no? Spares a job the work. Asks the cache and nobody else."""
        return self._bounds(derivative) and not self._has_room(derivative, self._stored.remembered(record))

    def _bounds(self, derivative: Derivative) -> bool:
        return self._most > 0 and derivative.size is not None and derivative.size not in self._policy.listed

    def _has_room(self, derivative: Derivative, stored: Sizes) -> bool:
        """A size is one in however many formats; those of presets are not counted."""
        sizes = {one.size for one in stored} - self._policy.listed
        return derivative.size in sizes or len(sizes) < self._most
