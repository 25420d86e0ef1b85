"""Single flight: of all threads that want the same thing at once, one makes it and the others wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from lazycrop.errors import Overloaded

T = TypeVar("T")


class Flights(Generic[T]):
    """One running call a key."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[str, Future[T]] = {}

    def run(self, key: str, make: Callable[[], T], seconds: float) -> tuple[T, bool]:
        """What ``make()`` returns or raises, and whether this very call made it.

        A caller that waits longer than ``seconds`` for another one's gets :class:`~lazycrop.errors.Overloaded`.
        """
        with self._lock:
            flight = self._running.get(key)
            leads = flight is None
            if flight is None:
                flight = self._running[key] = Future()
        if not leads:
            try:
                return flight.result(seconds), False
            except TimeoutError:
                raise Overloaded("This picture is still being made; ask again in a moment.") from None
        try:
            made = make()
        except BaseException as error:
            flight.set_exception(error)
            raise
        else:
            flight.set_result(made)
            return made, True
        finally:
            with self._lock:
                del self._running[key]
