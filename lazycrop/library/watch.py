"""Watch: what an operator asks of a process: is it well, how many jobs wait, which are dead?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from lazycrop.caches.contract import KeyValue
from lazycrop.caches.layered import ping
from lazycrop.concurrency.deadlines import deadline
from lazycrop.concurrency.forks import Lock
from lazycrop.concurrency.guard import Resting
from lazycrop.library.common import Common
from lazycrop.library.jobs import Jobs
from lazycrop.library.quarantine import Quarantine
from lazycrop.queues.contract import Backlog, Inspectable, Letter

_NOWHERE = "lazycrop-health"  # What no object is named: that it is not there is an answer.
_KEPT = 1.0  # Seconds: many may ask, and each time is a round trip to three servers.
_SECONDS = 2.0  # For all of it. Who asks gives up soon, and calls that a failure too.


@dataclass(frozen=True, slots=True)
class Health:
    """``store``, ``cache``, ``queue``: empty where it answers, else why it does not.

    A process whose cache or queue does not answer is ready: its pictures are slower, or stored later.
    """

    store: str = ""
    cache: str = ""
    queue: str = ""

    @property
    def ready(self) -> bool:
        return not self.store

    @property
    def status(self) -> str:
        """``ready``, ``degraded`` or ``failing``."""
        return "failing" if self.store else "degraded" if self.cache or self.queue else "ready"


class Watch:
    """``shared``: the cache that processes have in common, if there is one."""

    def __init__(self, common: Common, shared: KeyValue | None, jobs: Jobs) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._shared = shared
        self._jobs = jobs
        self._lock = Lock()
        self._health = Health()
        self._until = 0.0

    def health(self) -> Health:
        """Asks store, cache and broker, and says how that was; the same again for a second. Raises nothing.

        Blocks for two seconds at most, of which the store may take its own share.
        """
        with self._lock:
            if time.monotonic() >= self._until:
                with deadline(_SECONDS):
                    self._health = self._look()
                self._until = time.monotonic() + _KEPT
            return self._health

    def _look(self) -> Health:
        shared = self._shared
        return Health(
            store=_reason(lambda: self._store.exists(_NOWHERE)),
            cache=_reason(lambda: ping(shared)) if shared is not None else "",
            queue=_reason(lambda: self._jobs.queue.ping()),
        )

    def backlog(self) -> Backlog | None:
        """How many jobs wait; None where the queue cannot say. Raises whatever its broker raises."""
        queue = self._jobs.queue
        return queue.backlog() if isinstance(queue, Inspectable) else None

    def letters(self, limit: int = 100) -> list[Letter]:
        """The dead jobs, the oldest first. Raises as above."""
        queue = self._jobs.queue
        return queue.letters(limit) if isinstance(queue, Inspectable) else []

    def quarantined(self) -> list[Quarantine]:
        """The images that are not tried again for a while, by the cache that processes share; a hundred at most.

        Not those that have been stored again, or purged. Blocks for a read of each. Raises StoreUnavailable.
        """
        found = {(one.image_id, one.version): one for one in self._state.quarantined()}
        return [one for one in found.values() if self._is_as_it_was(one)]

    def _is_as_it_was(self, one: Quarantine) -> bool:
        record = self._records.read_now(one.image_id)
        return record is not None and record.tag == one.tag

    def requeue(self) -> int:
        """Have the dead jobs tried again; returns how many. Raises as above."""
        queue = self._jobs.queue
        return queue.requeue() if isinstance(queue, Inspectable) else 0


def _reason(ask: Callable[[], object]) -> str:
    """What is said to strangers too: neither hosts nor paths."""
    try:
        ask()
    except Exception as error:  # Each has its own.
        rests = isinstance(error, Resting) or isinstance(error.__cause__, Resting)
        return "left alone after it failed" if rests else "no answer"
    return ""
