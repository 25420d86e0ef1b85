"""Waits: of the threads that bring requests, some stay free whatever is slow outside of this process.

A web server has a few threads, and the application that images are mounted in has to answer on the same ones. So the
requests that wait for long are counted, and where there are too many, one more is refused at once.

Only long waits count, because a refused picture is a hole in a page, and a store that answers in 30 ms may well have
all threads wait for it: they are back before anybody notices. A wait becomes long by lasting, or by being for something
whose calls take long at this time; so a store that becomes slow takes all threads once, for :data:`LONG` seconds.

Four threads, a store that takes 1.5 s a call, 16 clients that want new pictures: a request to the application took 12 s
without this, and 2 ms with it, as long as without those clients.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lazycrop.concurrency.forks import has_greenlets, renew
from lazycrop.errors import Overloaded

Wait = Callable[[float], bool]
"""Waits so many seconds at most for something to end; has it?"""

LONG = 0.5
"""Seconds for one call: S3 answers nearly all reads in much less, also where this machine has too much to do."""

_LEAST = 2  # of four threads, which is what gunicorn's documentation and waitress begin with
_RECENT = 60.0  # Seconds after which a thread that brought no request may have ended.
_SEEN_LIMIT = 1_000  # Threads; more are no pool's, but a new one for each request.


class Room:
    """Where the requests of one process wait that do so for long: ``most`` at once; 0 is half of its threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._waiting: set[Visit] = set()
        self._seen: dict[int, float] = {}
        self._working = 0
        self._full_since = float("inf")

    @contextmanager
    def visit(self) -> Iterator[None]:
        """What the block waits for, it does as one request, on the server's thread."""
        if len(self._seen) > _SEEN_LIMIT:
            self._seen = {}
        self._seen[threading.get_ident()] = time.monotonic()
        visit = Visit(self)
        with resumed(visit):
            try:
                yield
            finally:
                visit.leave()

    @contextmanager
    def work(self) -> Iterator[None]:
        """In the block a picture is made for a request, on the server's thread or while that waits."""
        self._moved(1)
        try:
            yield
        finally:
            self._moved(-1)

    def _moved(self, by: int) -> None:
        with self._lock:
            self._working += by
            if self._working < self.most():
                self._full_since = float("inf")
            else:
                self._full_since = min(self._full_since, time.monotonic())

    @property
    def is_crowded(self) -> bool:
        """Is it long that pictures are made on as many threads as may wait for long?

        None of them may have waited for long: where 100 requests are in the server's own queue, 16 threads take them
        one after the other, and nobody else has a turn for 3 s. A page's own pictures are over before.
        """
        return time.monotonic() - self._full_since >= LONG

    def most(self) -> float:
        """No server says how many threads it has; those that have brought a request of late are known."""
        if self._most:
            return self._most
        if has_greenlets():  # A wait takes no thread.
            return float("inf")
        since = time.monotonic() - _RECENT
        return max(_LEAST, sum(seen > since for seen in list(self._seen.values())) // 2)

    def enter(self, visit: Visit) -> None:
        with self._lock:
            if len(self._waiting) >= self.most() and not visit.is_answered:
                raise Overloaded("Too many others wait for what is slow at this time; ask again in a moment.")
            self._waiting.add(visit)

    def has(self, visit: Visit) -> bool:
        return visit in self._waiting

    def leave(self, visit: Visit) -> None:
        with self._lock:
            self._waiting.discard(visit)


class Visit:
    """One request, until its body has been read. ``is_answered``: it is counted, but too late to be refused."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._holders = 1
        self.is_answered = False

    @property
    def is_long(self) -> bool:
        """Has it a place in the room?"""
        return self._room.has(self)

    def wait_long(self) -> None:
        """Take a place in the room, until the end; raises :class:`~lazycrop.errors.Overloaded` where none is free."""
        if not self.is_long:
            self._room.enter(self)

    def stay(self) -> None:
        """Be there until one more call of :meth:`leave`, for a body that is read after the request."""
        self._holders += 1
        self.is_answered = True

    def leave(self) -> None:
        self._holders -= 1
        if not self._holders:
            self._room.leave(self)


_visit: ContextVar[Visit | None] = ContextVar("lazycrop_visit", default=None)


def current() -> Visit | None:
    """The request at hand; None for who stores, and for workers, which may wait as they like."""
    return _visit.get()


@contextmanager
def resumed(visit: Visit | None) -> Iterator[None]:
    """What the block waits for is a part of this request."""
    token = _visit.set(visit)
    try:
        yield
    finally:
        _visit.reset(token)


def wait_long() -> None:
    """Say that a long wait begins. Raises :class:`~lazycrop.errors.Overloaded` where too many do so already."""
    if (visit := _visit.get()) is not None:
        visit.wait_long()


def ended(wait: Wait, seconds: float, is_slow: Callable[[], bool], wait_long: Callable[[], None]) -> bool:
    """``wait(seconds)``, before most of which ``wait_long`` is called as soon as ``is_slow``."""
    until = time.monotonic() + seconds
    if wait(0):
        return True
    while (left := until - time.monotonic()) > 0:
        if is_slow():
            wait_long()
            return wait(left)
        if wait(min(LONG, left)):
            return True
    return False
