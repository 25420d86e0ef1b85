"""Children: processes of our own, one for each job, that do what many images need.

Threads of one process are no substitute: Pillow holds the interpreter's lock while it encodes into memory and while it
clears the memory of a picture, so that two of them stored 57 photographs 1.25 times as fast as one, and two processes
1.9 times.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from logging.handlers import QueueHandler
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any

from lazycrop.cli.logs import OneLine
from lazycrop.errors import LazyCropError

Make = Callable[[], Callable[[Any], Any]]
"""What a child does first: it returns what is done with each item. Both, and items and results, can be pickled."""

_SIGNALS = {signal.SIGINT, signal.SIGTERM}


class Ended(LazyCropError):
    """A child was ended from outside while it did something, as by a system that is short of memory."""


def can_have(settings: dict[str, Any]) -> bool:
    """Would a child with these settings work on the same store? Objects are of this process alone."""
    try:
        json.dumps(settings, default=os.fspath)
    except TypeError:
        return False
    return not str(settings.get("store", "")).startswith("memory:")


def heed_no_signals() -> None:
    """Leave signals to the main thread; what this one starts, a child too, heeds none either.

    Ctrl-C is for all processes of a terminal: children do to its end what they are at, and then see that no more comes.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


@contextmanager
def signals_later() -> Iterator[None]:
    """Have those that come meanwhile come when it is over; for the main thread."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def children(make: Make) -> Iterator[Callable[[Any], Any]]:
    """What hands an item to a child, one for each thread that calls it, and returns what that made of it. Blocks.

    Raises :class:`Ended`; the next item of the thread has another child. They are started anew rather than forked,
    which is not safe beside the threads that an application may have. They end with the block, or with this process.
    """
    mine = threading.local()
    started: list[_Child] = []

    def do(item: Any) -> Any:
        child: _Child | None = getattr(mine, "child", None)
        if child is None:
            mine.child = child = _Child(make)
            started.append(child)
        try:
            return child.do(item)
        except (EOFError, OSError):
            mine.child = None
            raise Ended(f"The process that worked on it was ended ({child.end()}); is there enough memory?") from None

    try:
        yield do
    finally:
        for child in started:
            child.connection.close()  # It sees that nothing more comes.
        for child in started:
            child.end()


class _Child:
    def __init__(self, make: Make) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.connection, its = spawn.Pipe()
        level = logging.getLogger("lazycrop").getEffectiveLevel()
        self._process = spawn.Process(target=_work, args=(its, make, os.getcwd(), level), name="lazycrop-child")
        self._is_ready = False
        with its:
            self._process.start()

    def do(self, item: Any) -> Any:
        """Raises EOFError or OSError where it was killed, LazyCropError where it cannot start."""
        if not self._is_ready:
            self._wait()
        self.connection.send(item)
        return self._told()

    def _wait(self) -> None:
        try:
            self._told()
        except (EOFError, OSError):
            how = self.end()
            if self._process.exitcode and self._process.exitcode < 0:
                raise
            raise LazyCropError(f"A process for a job did not start ({how}); --jobs 1 needs none.") from None
        self._is_ready = True

    def _told(self) -> Any:
        while isinstance(told := self.connection.recv(), logging.LogRecord):
            logging.getLogger(told.name).handle(told)
        return told

    def end(self) -> str:
        """Wait for its end, which comes by itself once nothing more can, and say how it was."""
        self.connection.close()
        self._process.join()
        code = self._process.exitcode or 0
        return f"signal {-code}" if code < 0 else f"exit status {code}"


def _work(connection: Connection, make: Make, folder: str, level: int) -> None:
    """The life of a child: until its parent has closed the connection, or is dead.

    Then it is as dead at once: else a second run would store anew what this one is about to.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)
    sending = threading.Lock()

    def tell(told: object) -> None:
        with sending:
            connection.send(told)

    _log_by(tell, level)
    with suppress(EOFError, OSError):
        do = make()
        tell(None)
        while True:
            tell(do(connection.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _log_by(tell: Callable[[logging.LogRecord], None], level: int) -> None:
    """The parent knows where it is to go."""
    queue: Any = SimpleNamespace(put_nowait=tell)
    handler = QueueHandler(queue)
    handler.setFormatter(OneLine("%(message)s"))
    logger = logging.getLogger("lazycrop")
    logger.setLevel(level)
    logger.addHandler(handler)
