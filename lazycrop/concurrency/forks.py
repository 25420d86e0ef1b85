"""What must not outlive a fork: locks, semaphores, sockets and threads that a child inherits without their owners."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Owner(Protocol):
    """Has something that a forked child has to begin anew."""

    def after_fork(self) -> None: ...


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def renew(owner: Owner) -> None:
    """Have ``owner.after_fork()`` called in every forked child for as long as the owner lives, and once now."""
    owner.after_fork()
    _owners.add(owner)


def _renew_all() -> None:
    for owner in list(_owners):
        owner.after_fork()


# Once a process: what is registered here can never be taken back (Python has no such call).
os.register_at_fork(after_in_child=_renew_all)


class Lock:
    """A lock that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()
