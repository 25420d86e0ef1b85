"""A queue to worker threads of this process. [dramatiq]"""

from __future__ import annotations

import atexit
import logging
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.forks import renew
from lazycrop.queues.actors import actor_name, declare
from lazycrop.queues.contract import NO_HOOKS, Actor, Backlog, Hooks, Letter, Message, QueueSettings
from lazycrop.queues.letters import open_letters
from lazycrop.queues.quiet import hush_tries

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

logger = logging.getLogger(__name__)

_EMBEDDED_BACKLOG = 1_000  # Messages; one more is dropped, which is safe for the same reason.
_EMBEDDED_DRAIN = 10_000  # Milliseconds.
_EMBEDDED_STOP = 1_000  # The same.
_EMBEDDED_LOOK = 100  # The same; how often an idle thread looks whether it is to end. close() waits for two looks.
_DEAD_LETTERS = 100


class EmbeddedQueue:
    """Worker threads of this process: started by the first message, anew in a forked child, drained at exit."""

    ready = True

    def __init__(self, settings: QueueSettings, actors: Mapping[str, Actor], hooks: Hooks = NO_HOOKS) -> None:
        self._settings = settings
        self._actors = actors
        self._hooks = hooks
        self._full = Fault(logger, "queue")
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._started: tuple[Broker, Worker] | None = None  # Its threads stayed with the parent.
        self._forgotten: weakref.finalize[..., EmbeddedQueue] | None
        if forgotten := getattr(self, "_forgotten", None):
            forgotten.detach()
        self._forgotten = None

    def send(self, actor: str, message: Message) -> bool:
        broker = self._start()
        queue = self._settings.queue
        if broker.queues[queue].qsize() >= _EMBEDDED_BACKLOG:
            self._full.tell("%d jobs are waiting; more are dropped, and made again on demand", _EMBEDDED_BACKLOG)
            return False
        self._full.over("jobs are taken again")
        broker.get_actor(actor_name(queue, actor)).send(message)
        return True

    def ping(self) -> None:
        pass

    def backlog(self) -> Backlog:
        """Of this process; and so the two below."""
        started = self._started
        return open_letters(started[0], self._settings.queue).backlog() if started else Backlog()

    def letters(self, limit: int) -> list[Letter]:
        started = self._started
        return open_letters(started[0], self._settings.queue).letters(limit) if started else []

    def requeue(self) -> int:
        started = self._started
        if started is None:
            return 0
        letters = open_letters(started[0], self._settings.queue)
        return sum(letters.requeue_one() for _ in range(letters.backlog().dead))

    def close(self) -> None:
        with self._lock:
            started, self._started = self._started, None
            forgotten, self._forgotten = self._forgotten, None
        if started is not None and forgotten is not None:
            forgotten.detach()
            _drain(*started, self._settings.queue)

    def _start(self) -> Broker:
        with self._lock:
            if self._started is None:
                self._started = self._start_worker()
                self._forgotten = weakref.finalize(self, _drain_aside, *self._started, self._settings.queue)
                self._forgotten.atexit = False
                _used.add(self)
                atexit.unregister(_close_all)
                atexit.register(_close_all)
            return self._started[0]

    def _start_worker(self) -> tuple[Broker, Worker]:
        from dramatiq import Worker
        from dramatiq.brokers.stub import StubBroker
        from dramatiq.middleware import AgeLimit, Retries

        broker = StubBroker(middleware=[AgeLimit(), Retries()])
        # A plain StubBroker keeps every dead letter for ever.
        broker.dead_letters_by_queue = defaultdict(_dead_letters)
        declare(broker, self._settings.queue, self._actors, self._hooks)
        hush_tries(broker)
        worker = Worker(broker, worker_threads=self._settings.worker_threads, worker_timeout=_EMBEDDED_LOOK)
        worker.start()
        return broker, worker


_used: weakref.WeakSet[EmbeddedQueue] = weakref.WeakSet()


def _close_all() -> None:
    for queue in list(_used):
        queue.close()


def _drain_aside(broker: Broker, worker: Worker, queue: str) -> None:
    """Whoever drops the last reference does not wait; the end of the process does, for this is no daemon."""
    threading.Thread(target=_drain, args=(broker, worker, queue), name="lazycrop-drain").start()


def _drain(broker: Broker, worker: Worker, queue: str) -> None:
    try:
        # In this order: a worker that is stopped first leaves its messages undone.
        broker.join(queue, fail_fast=False, timeout=_EMBEDDED_DRAIN)  # type: ignore[call-arg]
    except Exception as error:
        extra = {"event": "jobs-undone"}
        logger.warning("jobs were left undone at exit and are made again on demand: %r", error, extra=extra)
    worker.stop(timeout=_EMBEDDED_STOP)  # Its threads are daemons: one that hangs is left to itself.


def _dead_letters() -> Any:
    return deque(maxlen=_DEAD_LETTERS)
