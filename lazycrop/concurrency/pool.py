"""Pool: calls that other threads make, and whose result is waited for no longer than it may take.

All of them are daemons, so that none that hangs holds up the end of the process.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, TypeVar

from lazycrop.concurrency.forks import renew

T = TypeVar("T")

_Run = Callable[[Callable[[], None]], None]
"""Makes a call, and says when it is done."""


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
        self._calls: queue.SimpleQueue[_Run | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Have ``call`` made, with the request's deadline. One that is cancelled before it begins is not made."""
        future: Future[T] = Future()
        context = copy_context()

        def run(done: Callable[[], None]) -> None:
            if future.set_running_or_notify_cancel():
                _fulfil(future, lambda: context.run(call), done)
            else:
                done()

        with self._lock:
            if self._has_thread():
                self._calls.put(run)
                return future
        run(_nothing)
        return future

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
        if not self._idle.acquire(blocking=False) and self._started < self._count:
            arguments = (self._calls, self._idle)
            try:
                threading.Thread(target=_work, args=arguments, name=self._name, daemon=True).start()
            except RuntimeError:  # as above, or there are as many threads as the system allows
                return False
            self._started += 1
        return True


def _work(calls: queue.SimpleQueue[_Run | None], idle: threading.Semaphore) -> None:
    while (run := calls.get()) is not None:
        run(idle.release)
        del run  # and what it refers to


def _fulfil(future: Future[Any], call: Callable[[], Any], done: Callable[[], None]) -> None:
    """Make the call, say that it is ``done``, and only then let anybody know of the result, who may send another."""
    try:
        result = call()
    except BaseException as error:
        done()
        future.set_exception(error)
    else:
        done()
        future.set_result(result)


def _nothing() -> None:
    pass
