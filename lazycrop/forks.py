"""What must not outlive a fork: locks, semaphores, sockets and threads that a child inherits without their owners."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable


def after_fork(reset: Callable[[], None]) -> None:
    """Have the bound method ``reset`` called in every forked child, for as long as its object lives."""
    method = weakref.WeakMethod(reset)

    def in_child() -> None:
        call = method()
        if call is not None:
            call()

    os.register_at_fork(after_in_child=in_child)


class Lock:
    """A lock that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self._begin()
        after_fork(self._begin)

    def _begin(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
