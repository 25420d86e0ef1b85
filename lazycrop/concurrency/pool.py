"""Pool: calls that other threads make, and whose result is waited for no longer than it may take.

All of them are daemons, so that none that hangs holds up the end of the process.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, Generic, TypeVar

from lazycrop.concurrency.forks import renew

T = TypeVar("T")


class Call(Generic[T]):
    """A call of ``do`` that another thread makes, with the request's deadline of this one.

    (A Future of concurrent.futures, whose parts are written in Python, takes 33 µs of CPU from thread to thread, where
    this takes 23.)
    """

    def __init__(self, do: Callable[[], T]) -> None:
        self._do = do
        self._context = copy_context()
        self._begun, self._ended = threading.Lock(), threading.Lock()
        self._ended.acquire()

    def make(self, idle: deque[None]) -> None:
        """Make it unless it was cancelled; and say that there is an ``idle`` thread before anybody has the result."""
        self._error: Exception | None = None
        if self._begun.acquire(blocking=False):
            try:
                self._result = self._context.run(self._do)
            except Exception as error:
                self._error = error
            except BaseException as error:  # What ends a thread or the process is to end nobody else's who waits.
                self._error = RuntimeError(f"the call was ended by {error!r}")
        idle.append(None)
        self._ended.release()
        del self  # The traceback of an error has this frame, and would keep what has the error.

    def cancel(self) -> bool:
        """See to it that it is not made; False where it has begun."""
        return self._begun.acquire(blocking=False)

    def wait(self, seconds: float) -> bool:
        """Wait for its end, ``seconds`` at most. Has it ended?"""
        ended = self._ended.acquire(timeout=seconds)
        if ended:
            self._ended.release()
        return ended

    def result(self, seconds: float = -1) -> T:
        """What it returned or raised. Blocks, for ``seconds`` at most where they are given, and raises TimeoutError."""
        if not self.wait(seconds):
            raise TimeoutError
        try:
            if self._error is not None:
                raise self._error
            return self._result
        finally:
            del self  # as above


class Pool:
    """At most ``count`` threads that make calls in the order in which they come; each starts when all others are busy.

    They stay, and with them what libraries keep for a thread. A forked child starts its own. (The pool of
    concurrent.futures takes no call once the interpreter ends, when embedded jobs are still to be done.)
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        # Not imported by its name: gevent puts another one in its place, and may come later.
        self._calls: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._idle: deque[None] = deque(maxlen=self._count)
        self._started = 0

    def submit(self, do: Callable[[], T]) -> Call[T]:
        """Have ``do()`` called. One that is cancelled before it begins is not made."""
        call = Call(do)
        with self._lock:
            if self._has_thread():
                self._calls.put(call)
                return call
        call.make(deque())
        return call

    def close(self) -> None:
        """End the threads once they have done what they were given; a later call starts new ones."""
        with self._lock:
            for _ in range(self._started):
                self._calls.put(None)
            self._forget()

    def __del__(self) -> None:
        self.close()  # Else they would wait for ever for somebody who is gone.

    def _has_thread(self) -> bool:
        """Is there one that takes the next call, sooner or later?"""
        if self._idle:
            self._idle.pop()
        elif self._started < self._count:
            arguments = (self._calls, self._idle)
            try:
                threading.Thread(target=_work, args=arguments, name=self._name, daemon=True).start()
            except RuntimeError:  # as above, or there are as many threads as the system allows
                return False
            self._started += 1
        return True


def _work(calls: queue.SimpleQueue[Call[Any] | None], idle: deque[None]) -> None:
    while (call := calls.get()) is not None:
        call.make(idle)
        del call  # and what it refers to
