"""What must not outlive a fork: locks, semaphores, sockets and threads that a child inherits without their owners.

Nor may locks outlive gevent's patching of a process: a greenlet that waits for one of before stops all others, the one
that would free it too. ``gunicorn -k gevent --preload`` patches after the application was loaded, and after the fork.
"""

from __future__ import annotations

import os
import sys
import threading
import weakref
from importlib import import_module
from typing import Protocol


class Owner(Protocol):
    """Has something that a forked child has to begin anew."""

    def after_fork(self) -> None: ...


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()


def renew(owner: Owner) -> None:
    """Have ``owner.after_fork()`` called in every forked child for as long as the owner lives, and once now.

    It is called as well when gevent has patched this process, if gevent was loaded by then or at the fork.
    """
    owner.after_fork()
    _owners.add(owner)
    _heed_gevent()


def _renew_all() -> None:
    _heed_gevent()
    for owner in list(_owners):
        owner.after_fork()


def _heed_gevent() -> None:
    if "gevent" in sys.modules:
        subscribers = import_module("gevent.events").subscribers
        if _patched not in subscribers:
            subscribers.append(_patched)


def has_greenlets() -> bool:
    """Are this process's threads gevent's? Then as many as there is memory for may wait."""
    # While another thread imports it (Dramatiq does, when it can), it has patched nothing, and has not this yet.
    is_patched = getattr(sys.modules.get("gevent.monkey"), "is_module_patched", None)
    return is_patched is not None and bool(is_patched("threading"))


def _patched(event: object) -> None:
    if type(event).__name__.startswith("GeventDidPatch"):  # Zope tells all of its own events, too.
        _renew_all()


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
