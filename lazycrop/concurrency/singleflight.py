"""Single flight: of all threads that want the same thing at once, one makes it and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, TypeVar

from lazycrop.concurrency import waits
from lazycrop.concurrency.forks import renew
from lazycrop.errors import Overloaded

T = TypeVar("T")


class _Flight(Future[T]):
    """A call that is under way for ``leader``."""

    def __init__(self) -> None:
        super().__init__()
        self.leader = waits.current()

    def wait(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            self.exception(seconds)
        return self.done()

    def is_slow(self) -> bool:
        """Does the leader wait for something slow, so that all who follow it do?"""
        return self.leader is not None and self.leader.is_long


class SingleFlight(Generic[T]):
    """One running call a key. A forked child begins without any."""

    def __init__(self) -> None:
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, _Flight[T]] = {}

    def run(self, key: str, make: Callable[[], T], seconds: float) -> tuple[T, bool]:
        """What ``make()`` returns or raises, and whether this call made it. Blocks ``seconds`` at most for another.

        Raises :class:`~lazycrop.errors.Overloaded` to a caller that waited for longer, that would wait for long
        where too many do already (:mod:`lazycrop.concurrency.waits`), or whose leader was ended by
        what ends a thread or a process (SystemExit, KeyboardInterrupt): that is the leader's own.
        """
        lock, running = self._lock, self._running
        with lock:
            flight = running.get(key)
            leads = flight is None
            if flight is None:
                flight = running[key] = _Flight()
        if not leads:
            if not waits.ended(flight.wait, seconds, flight.is_slow, waits.wait_long):
                raise Overloaded("This picture is still being made; ask again in a moment.")
            return flight.result(), False
        try:
            made = make()
        except Exception as error:
            flight.set_exception(error)
            raise
        except BaseException:
            flight.set_exception(Overloaded("Whoever made this picture was stopped; ask again in a moment."))
            raise
        else:
            flight.set_result(made)
            return made, True
        finally:
            with lock:
                del running[key]
            del flight  # It has the error, whose traceback has this frame.
