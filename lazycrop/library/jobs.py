"""Jobs: what is done by actors, on a queue that is opened when the first one is sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping

from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.forks import Lock
from lazycrop.model.derivatives import Derivative
from lazycrop.queues.contract import Actor, Queue

logger = logging.getLogger(__name__)

STORE = "store"
"""The name of the actor that stores a derivative."""

MEZZANINES = "mezzanines"
"""The name of the actor that makes the mezzanines of an image that was stored without."""

LOOK = "look"
"""The name of the actor that looks whether a source's file is still what its image was made from."""

SINCE = "since"
"""What a message says where visitors ask for what it names: since when, in Unix time."""


class Jobs:
    """``actors``: what jobs do, by their names; each may be repeated. ``open_queue``: makes the queue to them."""

    def __init__(self, actors: Mapping[str, Actor], open_queue: Callable[[Mapping[str, Actor]], Queue]) -> None:
        self.actors = actors
        self._open_queue = open_queue
        self._fault = Fault(logger)
        self._lock = Lock()
        self._queue: Queue | None = None

    @property
    def queue(self) -> Queue:
        """The queue to the actors; opened when first needed."""
        if (queue := self._queue) is not None:
            return queue
        with self._lock:
            if self._queue is None:
                self._queue = self._open_queue(self.actors)
            return self._queue

    @property
    def ready(self) -> bool:
        """False while the broker is left alone, or where there is none. Raises nothing."""
        try:
            return self.queue.ready
        except Exception as error:  # The picture is never worse for a queue that cannot be opened, whatever it raises.
            self._failed(error)
            return False

    def send(self, actor: str, derivative: Derivative, *, soon: bool = False) -> bool:
        """Ask an actor to work on ``derivative``; False when the broker does not take it. Raises nothing.

        ``soon``: visitors ask for it; the message says since when.
        """
        message = derivative.to_message() | ({SINCE: int(time.time())} if soon else {})
        try:
            taken = self.queue.send(actor, message)
        except Exception as error:  # as above
            self._failed(error)
            return False
        self._fault.over("jobs are queued again")
        return taken

    def _failed(self, error: Exception) -> None:
        self._fault.tell("no job can be queued: %r", error, trace=True)

    def close(self) -> None:
        """Let embedded jobs finish and end the queue's threads."""
        with self._lock:
            queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()
