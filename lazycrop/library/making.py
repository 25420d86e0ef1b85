"""Making: a derivative is rendered once, whoever asks for it, and handed over to an actor that stores it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from lazycrop.concurrency import waits
from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.concurrency.timing import measure
from lazycrop.library.budget import Budget
from lazycrop.library.common import Common
from lazycrop.library.jobs import LOOK, MEZZANINES, STORE, Jobs
from lazycrop.library.records import Found
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.ingest import lacks_mezzanines
from lazycrop.pictures.settings import Stage
from lazycrop.settings import Config

_LOOKS_LIMIT = 100_000  # Image ids.
_LOOK_SHARED = 60.0  # Seconds until it is asked again whether a look is due that another process had it done.
_POLL = 0.02  # Seconds between two looks for another process's bytes.


@dataclass(frozen=True, slots=True)
class Made:
    """The bytes of a derivative; None when it turned out to be stored already. ``collapsed``: another request made
    them.
    """

    data: bytes | None
    collapsed: bool = False


class Maker:
    """Makes derivatives for requests."""

    def __init__(self, common: Common, jobs: Jobs, budget: Budget, config: Config) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._origins, self._renders = common.origins, common.renders
        self._jobs, self._budget = jobs, budget
        self._config = config
        self._flights: SingleFlight[Made] = SingleFlight()
        self._looks: dict[str, float] = {}  # until when no look is due, by image id

    def make(self, found: Found) -> Made:
        """The bytes of a derivative, rendered at most once by all threads, processes and hosts that ask at once.

        Blocks, within the request's deadline, for those who are making it already, for the store and for a render.
        Raises :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.Overloaded`,
        :class:`~lazycrop.errors.StoreUnavailable`, :class:`~lazycrop.errors.UnknownImage`.
        """
        seconds = left(self._config.request_seconds)
        made, led = self._flights.run(self._name(found), lambda: self._lead(found), seconds)
        made = made if led else replace(made, collapsed=True)
        if made.collapsed and made.data is not None and self._budget.counts:
            self.store_hot(found, made.data)
        return made

    def order(self, found: Found) -> None:
        """Have a derivative made and stored without waiting for it, and without having others wait.

        That is for a visitor who asks for it, so that it may be too early.
        """
        if not self._budget.takes(found):
            return
        with self._state.lease(found.record.image_id, f"order {self._name(found)}") as lease:
            if lease.ours and self._jobs.send(STORE, found.derivative, soon=True):
                lease.keep()

    def store_hot(self, found: Found, data: bytes) -> None:
        """Have bytes stored that are hot because no broker took them when they were made, or it was too early."""
        if not self._jobs.ready or not self._budget.takes(found):
            return
        with self._state.lease(found.record.image_id, self._name(found)) as lease:
            if lease.ours and self._handed_over(found, data):
                lease.keep()

    def look_again(self, record: Record) -> None:
        """Have an actor look, once in ``source_seconds``, whether a source's file is still what it was."""
        now = time.monotonic()
        if record.is_provisional or now < self._looks.get(record.image_id, 0.0):
            return
        seconds = self._config.sources.source_seconds
        if len(self._looks) >= _LOOKS_LIMIT:
            self._looks.clear()
        self._looks[record.image_id] = now + min(seconds, _LOOK_SHARED)  # Another process may have it looked at.
        with self._state.lease(record.image_id, f"look {record.image_id}", seconds) as lease:
            if lease.ours and self._look(record):
                lease.keep()

    def order_adoption(self, record: Record) -> None:
        """Have a file adopted that a page shows, whether or not a size of it will be asked for."""
        with self._state.lease(record.image_id, f"adopt {record.tag}") as lease:
            if lease.ours and self._look(record):
                lease.keep()

    def _look(self, record: Record) -> bool:
        return self._jobs.send(LOOK, Derivative(record.image_id, None, record.format, record.version))

    def _lead(self, found: Found) -> Made:
        derivative, tag = found.derivative, found.record.tag
        with self._state.lease(derivative.image_id, self._name(found)) as lease:
            if not lease.ours and (data := self._follow(found)) is not None:
                return Made(data, collapsed=True)
            data = self._render_unless_stored(found)
            if data is None:
                self._state.mark_stored(derivative, tag, self._records.as_stored(found).recipe)
                return Made(None)
            if not lease.ours:  # Its holder is late or dead: spare the others the wait.
                self._state.keep_hot(derivative, tag, data, queued=False)
                return Made(data)
            with measure("enqueue"):
                if not self._budget.takes(found):
                    self._state.keep_hot(derivative, tag, data, queued=False)
                elif self._handed_over(found, data):
                    lease.keep()
                self._order_mezzanines(found)
            return Made(data)

    def _follow(self, found: Found) -> bytes | None:
        """The bytes that the holder of the lease makes; None when they do not come in time or are too many."""
        began = time.monotonic()
        until = began + left(self._config.follow_seconds)
        while time.monotonic() < until:
            if time.monotonic() > began + waits.LONG:
                waits.wait_long()
            hot = self._state.hot(found.derivative, found.record.tag)
            if hot is not None:
                return hot.data
            time.sleep(_POLL)
        return None

    def _render_unless_stored(self, found: Found) -> bytes | None:
        """None where it is stored after all.

        The look at the store and the read of what it is made from are under way at the same time: with 10 ms of
        latency, SeaweedFS and 200x100, a miss took 45 ms one after the other, 28 so, and 23 without the look. But then
        all that a cache forgets would be rendered again.
        """
        derivative, record = found.derivative, found.record
        with measure("fetch"):
            source = self._origins.begin_reading(record, derivative.size)
            if self._store.exists(found.key):
                return None
            data = source()
        return self._renders.size(derivative, record, data, Stage.FIRST, left(self._config.render_wait_seconds))

    def _handed_over(self, found: Found, data: bytes) -> bool:
        """Keep the bytes hot and have them stored; False where no broker takes the job."""
        derivative, tag = found.derivative, found.record.tag
        self._state.keep_hot(derivative, tag, data, queued=True)
        if self._jobs.send(STORE, derivative, soon=True):
            return True
        self._state.keep_hot(derivative, tag, data, queued=False)
        return False

    def _order_mezzanines(self, found: Found) -> None:
        record = found.record
        if record.is_provisional or not lacks_mezzanines(record, self._config.ingest):
            return
        with self._state.lease(record.image_id, f"{MEZZANINES} {record.tag}") as lease:
            if lease.ours and self._jobs.send(MEZZANINES, found.derivative):
                lease.keep()

    def _name(self, found: Found) -> str:
        return self._state.making_name(found.derivative, found.record.tag)
