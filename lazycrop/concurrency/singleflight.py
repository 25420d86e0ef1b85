"""Single flight: of all threads that want the same thing at once, one makes it and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from lazycrop.concurrency.forks import renew
from lazycrop.errors import Overloaded

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """One running call a key. A forked child begins without any."""

    def __init__(self) -> None:
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Future[T]] = {}

    def run(self, key: str, make: Callable[[], T], seconds: float) -> tuple[T, bool]:
        """What ``make()`` returns or raises, and whether this call made it. Blocks ``seconds`` at most for another.

        Raises :class:`~lazycrop.errors.Overloaded` to a caller that waited for longer, or whose leader was ended by
        what ends a thread or a process (SystemExit, KeyboardInterrupt): that is the leader's own.
        """
        lock, running = self._lock, self._running
        with lock:
            flight = running.get(key)
            leads = flight is None
            if flight is None:
                flight = running[key] = Future()
        if not leads:
            try:
                return flight.result(seconds), False
            except TimeoutError:
                if flight.done():  # then it is the leader's own, or came in the last moment
                    return flight.result(), False
                raise Overloaded("This picture is still being made; ask again in a moment.") from None
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
