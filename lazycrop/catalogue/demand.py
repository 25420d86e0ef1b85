"""Demand: what is asked for, counted in memory and handed to an actor once a minute. A listener of events.

What a process has counted since is lost when it is killed. However much is asked for, what is kept is bounded: where
there is no room for one more, one is taken from each count, and what has none left goes. So whatever makes up more than
a ten-thousandth of what is asked for in a minute is there at its end (Misra and Gries, 1982).
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from lazycrop.concurrency.forks import renew
from lazycrop.events import Asked, Events, Refused

_SECONDS = 60.0
_MOST = 10_000  # Sizes of images.
_MOST_REFUSED = 1_000
_TOLD_REFUSED = 100  # of these, the most wanted: each is a row a day, and anybody may ask for any size
_IN_MESSAGE = 1_000

Counts = dict[tuple[str, str, str], int]
"""How often, by image id, size and format."""


class Demand:
    """Counts for one LazyCrop.

    ``send``: hands a message over, False where it is not taken. ``end``: has what was sent be done, at the end of the
    process.
    """

    def __init__(self, send: Callable[[dict[str, Any]], bool], end: Callable[[], None]) -> None:
        self._send = send
        self._end = end
        self.gather: Callable[[], None] = _nothing
        """Has told what others have counted, whom it would cost too much to tell of each."""
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._asked: Counts = {}
        self._refused: Counts = {}
        self._ended = threading.Event()
        self._has_thread = False

    def listen(self, events: Events) -> None:
        events.listen(Asked, self._count)
        events.listen(Refused, self._count_refused)

    def flush(self) -> None:
        """Hand over what was counted; what is not taken is counted again."""
        self.gather()
        with self._lock:
            asked, self._asked = self._asked, {}
            refused, self._refused = self._refused, {}
        top = sorted(refused.items(), key=lambda item: -item[1])[:_TOLD_REFUSED]
        rows = [(*name, count) for name, count in asked.items()]
        parts = [rows[start : start + _IN_MESSAGE] for start in range(0, len(rows), _IN_MESSAGE)]
        for part in parts or ([[]] if top else []):
            self._hand_over(part, [(*name[1:], count) for name, count in top])
            top = []

    def close(self) -> None:
        """Hand over what there is, and end the thread."""
        self._ended.set()
        self.flush()

    def _hand_over(self, asked: list[tuple[str, str, str, int]], refused: list[tuple[str, str, int]]) -> None:
        day = datetime.now(UTC).date().isoformat()
        if not self._send({"day": day, "asked": asked, "refused": refused}):
            for *name, count in asked:
                self._add(False, (name[0], name[1], name[2]), count)
            for size, format, count in refused:
                self._add(True, ("", size, format), count)

    def _count(self, event: Asked) -> None:
        self._add(False, (event.image_id, event.size, event.format), event.count)

    def _count_refused(self, event: Refused) -> None:
        self._add(True, ("", event.size, event.format), event.count)

    def _add(self, is_refused: bool, name: tuple[str, str, str], count: int) -> None:
        with self._lock:
            counts, most = (self._refused, _MOST_REFUSED) if is_refused else (self._asked, _MOST)
            while name not in counts and len(counts) >= most:
                _take_one_of_each(counts)
            counts[name] = counts.get(name, 0) + count
            if self._has_thread:
                return
            self._has_thread = True
        _open.add(self)
        atexit.unregister(_close_all)  # It has to come before that of queues: what is registered last is called first.
        atexit.register(_close_all)
        arguments = (weakref.ref(self), self._ended)
        threading.Thread(target=_run, args=arguments, name="lazycrop-demand", daemon=True).start()


def _take_one_of_each(counts: Counts) -> None:
    left = {name: count - 1 for name, count in counts.items() if count > 1}
    counts.clear()
    counts.update(left)


def _run(demand: weakref.ref[Demand], ended: threading.Event) -> None:
    while not ended.wait(_SECONDS) and (one := demand()) is not None:
        one.flush()
        del one


_open: weakref.WeakSet[Demand] = weakref.WeakSet()


def _close_all() -> None:
    for demand in list(_open):
        demand.close()
        demand._end()


def _nothing() -> None:
    pass
