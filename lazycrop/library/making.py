"""Making: a derivative is rendered once, whoever asks for it, and an actor stores it."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from lazycrop.access.policy import Policy
from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.forks import renew
from lazycrop.concurrency.pool import Pool
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.concurrency.timing import recorded
from lazycrop.errors import BadRequest, ImageError, ImageTooLarge, MissingObject, Overloaded
from lazycrop.library.state import State
from lazycrop.library.versions import Library
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES, Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.ingest import lacks_mezzanines
from lazycrop.pictures.render import best_source, render
from lazycrop.queues.brokers import open_queue
from lazycrop.queues.contract import Queue
from lazycrop.settings import Config
from lazycrop.stores.contract import Store

logger = logging.getLogger(__name__)

STORE = "store"
"""The name of the actor that stores a derivative."""

MEZZANINES = "mezzanines"
"""The name of the actor that makes the mezzanines of an image that was stored without."""

_POLL = 0.02  # Seconds between two looks for another process's bytes.
_ACTOR_WAIT = 30.0  # Seconds that an actor waits for a slot: nobody waits for it, and its job is not to be lost.


@dataclass(frozen=True, slots=True)
class Made:
    """The bytes of a derivative, None when it turned out to be stored already.

    ``collapsed``: another request made them. ``timings``: seconds of fetch, decode, resize, encode and enqueue.
    """

    data: bytes | None
    collapsed: bool = False
    timings: Mapping[str, float] = field(default_factory=dict)


class Maker:
    """Makes derivatives, for requests and in actors."""

    def __init__(self, store: Store, cache: State, library: Library, policy: Policy, config: Config) -> None:
        self._store = store
        self._cache = cache
        self._library = library
        self._policy = policy
        self._config = config
        self._queue: Queue | None = None
        self._most_renders = config.renders or os.cpu_count() or 1
        self._threads = Pool("lazycrop-render", self._most_renders)
        self._flights: SingleFlight[Made] = SingleFlight()
        self._ahead = Pool("lazycrop-ahead", 32)
        renew(self)  # Whoever held a slot or the lock stayed with the parent.
        if not isinstance(config.broker, str):
            self.queue  # An application's own broker knows the actors from the start.

    def after_fork(self) -> None:
        self._slots = threading.BoundedSemaphore(self._most_renders)
        self._lock = threading.Lock()

    @property
    def actors(self) -> dict[str, Callable[[Any], None]]:
        """What jobs do, by their names; each may be repeated."""
        return {STORE: self.store_derivative, MEZZANINES: self.add_mezzanines}

    @property
    def queue(self) -> Queue:
        """The queue to the actors; opened when first needed."""
        with self._lock:
            if self._queue is None:
                self._queue = open_queue(self._config, self.actors)
            return self._queue

    def close(self) -> None:
        """Let embedded jobs finish and end the queue's threads."""
        with self._lock:
            queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()
        self._threads.close()

    def make(self, derivative: Derivative, record: Record) -> Made:
        """The bytes of ``derivative``, rendered at most once by all threads, processes and hosts that ask at once.

        Raises :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.Overloaded`,
        :class:`~lazycrop.errors.StoreUnavailable`, :class:`~lazycrop.errors.UnknownImage`.
        """
        made, led = self._flights.run(
            _lease(derivative, record), lambda: self._lead(derivative, record), left(self._config.request_seconds)
        )
        return made if led else replace(made, collapsed=True, timings={})

    def order(self, derivative: Derivative, record: Record) -> None:
        """Have ``derivative`` made and stored without waiting for it."""
        lease = _lease(derivative, record)
        token = self._cache.lease(derivative.image_id, lease)
        if token is not None and not self.enqueue(derivative):
            self._cache.release(derivative.image_id, lease, token)

    def store_hot(self, derivative: Derivative, record: Record, data: bytes) -> None:
        """Have bytes stored that are hot because no broker took them when they were made."""
        lease = _lease(derivative, record)
        if self._is_ready() and (token := self._cache.lease(derivative.image_id, lease)) is not None:
            self._hand_over(derivative, record, data, lease, token)

    def enqueue(self, derivative: Derivative) -> bool:
        """Ask an actor to store ``derivative``; False when the broker does not take it. Raises nothing."""
        return self._send(STORE, derivative)

    def _send(self, actor: str, derivative: Derivative) -> bool:
        try:
            return self.queue.send(actor, derivative.to_message())
        except Exception:  # The picture is never worse for a queue that cannot be opened, whatever it raises.
            logger.exception("the job %s for %s could not be queued", actor, derivative.key)
            return False

    def _is_ready(self) -> bool:
        try:
            return self.queue.ready
        except Exception:  # as above
            logger.exception("the queue cannot be opened")
            return False

    def store_derivative(self, message: Any) -> None:
        """What the actor does. Safe to repeat: an object that is there stays as it is."""
        derivative = Derivative.from_message(message)
        if derivative.size is None or derivative.format == AUTO:
            raise BadRequest(f"The message {derivative.key!r} is no size in a format; only those are stored by a job.")
        self._policy.check(derivative)
        record = self._library.read(derivative.image_id, derivative.version)
        if record is None:  # Purged or replaced since it was asked for, perhaps after an earlier try had put it.
            if not self._library.has_origin(derivative.image_id, derivative.version):
                self._store.delete(derivative.key)
            return
        self._put(derivative, record)
        now = self._library.read(derivative.image_id, derivative.version)
        if now is None or now.tag != record.tag:  # Purged or replaced while it was made: leave nothing behind.
            self._store.delete(derivative.key)
            self._cache.unmark(derivative)
        else:
            self._cache.mark_stored(derivative, record.tag)

    def add_mezzanines(self, message: Any) -> None:
        """What the other actor does. Safe to repeat, too."""
        derivative = Derivative.from_message(message)
        assert derivative.version is not None
        self._library.add_mezzanines(derivative.image_id, derivative.version)

    def _put(self, derivative: Derivative, record: Record) -> None:
        staged = self._cache.staged(derivative, record.tag)
        data = staged.data if staged else None
        if data is None and not self._store.exists(derivative.key):
            data = self._render(derivative, record, self._source(derivative, record), {}, _ACTOR_WAIT)
        if data is not None and self._store.put(derivative.key, data, CONTENT_TYPES[derivative.format], new=True):
            logger.info("stored %s, %d bytes", derivative.key, len(data))

    def _lead(self, derivative: Derivative, record: Record) -> Made:
        lease = _lease(derivative, record)
        token = self._cache.lease(derivative.image_id, lease)
        try:
            if token is None and (data := self._follow(derivative, record)) is not None:
                return Made(data, collapsed=True)
            timings: dict[str, float] = {}
            with _measured(timings, "fetch"):
                stored, source = self._look_and_fetch(derivative, record)
            if stored:
                self._cache.mark_stored(derivative, record.tag)
                if token is not None:
                    self._cache.release(derivative.image_id, lease, token)
                return Made(None)
            data = self._render(derivative, record, source(), timings, left(self._config.render_wait_seconds))
        except BaseException:
            if token is not None:
                self._cache.release(derivative.image_id, lease, token)
            raise
        if token is not None:
            with _measured(timings, "enqueue"):
                self._hand_over(derivative, record, data, lease, token)
                if lacks_mezzanines(record, self._config):
                    self._order_mezzanines(derivative, record)
        else:  # The holder of the lease is late or dead: spare the others the wait.
            self._cache.stage(derivative, record.tag, data, queued=False)
        return Made(data, timings=timings)

    def _follow(self, derivative: Derivative, record: Record) -> bytes | None:
        """The bytes that the holder of the lease stages, None when they do not come in time or are too many."""
        deadline = time.monotonic() + left(self._config.follow_seconds)
        while time.monotonic() < deadline:
            hot = self._cache.staged(derivative, record.tag)
            if hot is not None:
                return hot.data
            time.sleep(_POLL)
        return None

    def _hand_over(self, derivative: Derivative, record: Record, data: bytes, lease: str, token: str) -> None:
        """Stage the bytes and have them stored. The lease stays until it expires: it keeps others from asking again."""
        self._cache.stage(derivative, record.tag, data, queued=True)
        if not self.enqueue(derivative):
            self._cache.stage(derivative, record.tag, data, queued=False)
            self._cache.release(derivative.image_id, lease, token)

    def _order_mezzanines(self, derivative: Derivative, record: Record) -> None:
        if self._cache.lease(derivative.image_id, f"{MEZZANINES} {record.tag}") is not None:
            self._send(MEZZANINES, derivative)

    def _look_and_fetch(self, derivative: Derivative, record: Record) -> tuple[bool, Callable[[], bytes]]:
        """Is it stored after all? And what to render it from if it is not.

        Both at once where each takes a round trip: with 10 ms of latency, SeaweedFS and 200x100, a miss took 45 ms one
        after the other, 28 so, and 23 without the look. But then all that a cache forgets would be rendered again.
        """
        source: Callable[[], bytes] = partial(self._source, derivative, record)
        if getattr(self._store, "is_remote", True):
            source = self._ahead.submit(source).result
        return self._store.exists(derivative.key), source

    def _render(
        self, derivative: Derivative, record: Record, source: bytes, timings: dict[str, float], wait: float
    ) -> bytes:
        assert derivative.size is not None
        try:
            with recorded() as spans, self._slot(wait):
                rendered = self._threads.submit(
                    partial(
                        render,
                        source,
                        derivative.size,
                        derivative.format,
                        self._config,
                        self._config,
                        focal=record.focal,
                        dimensions=(record.width, record.height),
                        reserve=self._library.memory.use,
                    )
                ).result()
        except ImageError as error:
            if not isinstance(error, ImageTooLarge):  # which a busy machine may cause: time and memory
                self._cache.count_failure(derivative, record.tag)
            raise
        timings.update(spans)
        logger.info("rendered %s, %d bytes", derivative.key, len(rendered.data))
        return rendered.data

    def _source(self, derivative: Derivative, record: Record) -> bytes:
        """The smallest mezzanine that is large enough, else the origin."""
        assert derivative.size is not None
        mezzanine = best_source(record, derivative.size)
        if mezzanine is not None:
            try:
                return self._store.get(record.mezzanine_key(mezzanine), limit=2 * mezzanine.length)
            except MissingObject:
                pass  # Somebody deleted it; the origin has all that it had.
        try:
            return self._store.get(record.origin_key, limit=2 * record.length)
        except MissingObject:
            raise self._library.lost(record) from None

    @contextmanager
    def _slot(self, wait: float) -> Iterator[None]:
        slots = self._slots
        if not slots.acquire(timeout=wait):
            raise Overloaded("All renders that this process does at once are taken; ask again in a moment.")
        try:
            yield
        finally:
            slots.release()


def _lease(derivative: Derivative, record: Record) -> str:
    return f"{derivative.key} {record.tag}"


@contextmanager
def _measured(timings: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[name] = time.perf_counter() - start
