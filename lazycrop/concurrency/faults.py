"""Faults: the log has one line when a fault begins and one when it is over, however often it shows in between."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque

from lazycrop.concurrency.forks import renew

_MOST, _MINUTE = 5, 60.0  # So many beginnings a minute: what fails every other time is not worth a line each time.


class Fault:
    """Something that may go wrong for a while. ``log``: where both lines go, as warnings; all others are for debugging.

    One that has begun too often of late is told of when it lasts.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._is_told = False
        self._begun: deque[float] = deque(maxlen=_MOST)

    def tell(self, text: str, *arguments: object, trace: bool = False) -> None:
        """It shows. ``trace``: with the traceback of the error at hand."""
        now = time.monotonic()
        with self._lock:
            is_often = len(self._begun) == _MOST and now - self._begun[0] < _MINUTE
            is_new = not self._is_told and not is_often
            if is_new:
                self._is_told = True
                self._begun.append(now)
        self._log.log(logging.WARNING if is_new else logging.DEBUG, text, *arguments, exc_info=trace)

    def over(self, text: str, *arguments: object) -> None:
        """It does not show any more; nothing where nobody was told of it."""
        if not self._is_told:
            return
        with self._lock:
            was_told, self._is_told = self._is_told, False
        if was_told:
            self._log.warning(text, *arguments)
