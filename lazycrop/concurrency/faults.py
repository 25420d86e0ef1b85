"""Faults: the log has one line when a fault begins and one when it is over, however often it shows in between."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable

from lazycrop.concurrency.forks import renew

_MOST, _MINUTE = 5, 60.0  # So many beginnings a minute: what fails every other time is not worth a line each time.

BEGUN, OVER, REST = "begun", "over", "rest"

_listeners: list[Callable[[str, str], object]] = []


def listen(call: Callable[[str, str], object]) -> None:
    """Have ``call(part, what)`` called in this process, and in those that it forks, whenever a fault has begun or is
    over, told of or not, and whenever something outside is left alone for a while. It must raise nothing.
    """
    if call not in _listeners:
        _listeners.append(call)


def tell(part: str, what: str) -> None:
    """``what``: BEGUN, OVER or REST."""
    for call in _listeners:
        call(part, what)


class Fault:
    """Something that may go wrong for a while. ``log``: where both lines go, as warnings; all others are for debugging.

    ``part``: of what, in one word, for who counts; the module's when not given. ``event``: the name of its lines.
    One that has begun too often of late, ``most`` times a minute, is told of when it lasts.
    """

    def __init__(self, log: logging.Logger, part: str = "", event: str = "fault", *, most: int = _MOST) -> None:
        self._log = log
        self._part = part or log.name.rpartition(".")[2]
        self._event = event
        self._most = most
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._is_on = self._is_told = False
        self._begun: deque[float] = deque(maxlen=self._most)

    def tell(self, text: str, *arguments: object, trace: bool = False) -> None:
        """It shows. ``trace``: with the traceback of the error at hand."""
        now = time.monotonic()
        with self._lock:
            was_on, self._is_on = self._is_on, True
            is_often = len(self._begun) == self._most and now - self._begun[0] < _MINUTE
            is_new = not self._is_told and not is_often
            if is_new:
                self._is_told = True
                self._begun.append(now)
        level = logging.WARNING if is_new else logging.DEBUG
        self._log.log(level, text, *arguments, exc_info=trace, extra={"event": self._event, "part": self._part})
        if not was_on:
            self._tell(BEGUN)

    def over(self, text: str, *arguments: object) -> None:
        """It does not show any more; nothing where nobody was told of it."""
        if not self._is_on:
            return
        with self._lock:
            was_on, self._is_on = self._is_on, False
            was_told, self._is_told = self._is_told, False
        if was_told:
            self._log.warning(text, *arguments, extra={"event": f"{self._event}-over", "part": self._part})
        if was_on:
            self._tell(OVER)

    def __del__(self) -> None:
        """What nobody has any more is at fault no longer."""
        if getattr(self, "_is_on", False):
            self._tell(OVER)

    def _tell(self, what: str) -> None:
        if self._event == "fault":
            tell(self._part, what)
