"""Shortcuts: answers for stored sizes that were given a moment ago, ready to be given again.

They spare a request all but one dictionary look-up. They last a minute at most, and no longer than the record is
trusted, so that a purge by another process is seen by then; one by this process at once.
"""

from __future__ import annotations

import itertools
import math
import operator
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from lazycrop.caches.process import ProcessCache
from lazycrop.concurrency.forks import renew
from lazycrop.http.answers import Answer, Headers, encoded, sooner
from lazycrop.options import option

_LONGEST = 1_000  # Characters of a URL; a signed one has fewer, and a client may make them longer for nothing.


@dataclass(frozen=True, kw_only=True)
class ShortcutSettings:
    shortcut_seconds: float = option(
        60.0, "How long a process answers for a stored size without asking the cache again."
    )
    shortcuts: int = option(20_000, "For how many URLs it may do so; each takes about a kilobyte.")
    shortcut_bytes: int = option(
        16_000_000, "Bytes of pictures that it keeps for that where it streams them: of those that have 64 KB at most."
    )


class Tick:
    """Counts by ``next(tick.steps)``: no other thread comes between, without a lock, and no number is made for it.

    (Three per cent of a redirect; a counter with a lock takes longer than the redirect does.)
    """

    def __init__(self) -> None:
        self.steps = itertools.repeat(None, sys.maxsize)
        self._left = sys.maxsize

    def read(self) -> int:
        """How many there were since the last call, which no other thread may make at the same time."""
        before, self._left = self._left, operator.length_hint(self.steps)
        return before - self._left


UNCOUNTED = Tick()


@dataclass
class Shortcut:
    """Status and headers of an answer; key and length of the object that is its body, None for a redirect.

    ``asked``: the id, size and format that are meant, and ``tick``: how often it was given, where that is counted.
    """

    status: int
    headers: Headers
    key: str | None
    length: int
    until: float
    asked: tuple[str, str, str] | None = None
    tick: Tick = field(default_factory=lambda: UNCOUNTED)

    @property
    def body_name(self) -> str:
        """Not its key alone: after a purge, and a store by another process, another object may have that."""
        return f"{self.key} {self.until}"

    @cached_property
    def encoded(self) -> list[tuple[bytes, bytes]]:
        """Its headers as ASGI has them: to encode them takes longer than all else that is done for a redirect."""
        return encoded(self.headers)


Table = dict[tuple[str, str], Shortcut]


class Shortcuts:
    """A bounded table from (path, query) to a shortcut."""

    _new_tick: Callable[[], Tick] = staticmethod(lambda: UNCOUNTED)

    def __init__(self, settings: ShortcutSettings) -> None:
        self._settings = settings
        self.table: Table = {}
        self._bodies = ProcessCache(settings.shortcut_bytes)

    def get(self, path: str, query: str) -> Shortcut | None:
        shortcut = self.table.get((path, query))
        return shortcut if shortcut is not None and shortcut.until > time.monotonic() else None

    def redirect(self, path: str, query: str) -> Shortcut | None:
        """The answer to a plain GET of this URL, where it is a redirect that was given a moment ago. Never blocks."""
        shortcut = self.table.get((path, query))
        if shortcut is None or shortcut.key is not None or shortcut.until <= time.monotonic():
            return None
        return shortcut

    def at_hand(self, path: str, query: str) -> tuple[Shortcut, bytes] | None:
        """The same, or where it is a short object that was kept: that, and its bytes. Never blocks."""
        shortcut = self.get(path, query)
        body = None if shortcut is None else self._body(shortcut)
        return None if shortcut is None or body is None else (shortcut, body)

    def keep(self, table: Table, url: tuple[str, str], answer: Answer) -> None:
        """Keep an answer for a stored size while its record is fresh; of a URL that expires, a tenth of what is left.

        ``table``: the one that there was when the request came in. After :meth:`forget` it is another one, and what was
        found out before that is lost with the old one.
        """
        outcome, now = answer.outcome, time.time()
        seconds = min(self._settings.shortcut_seconds, outcome.fresh_until - now)
        if outcome.expires is not None:  # Its max-age has to be right until the end of that time.
            seconds = min(seconds, (outcome.expires - now) / 10)
        if outcome.key is None or not outcome.shared or seconds <= 0 or len(url[0]) + len(url[1]) > _LONGEST:
            return
        while len(table) >= self._settings.shortcuts:
            try:
                table.pop(next(iter(table)), None)
            except (StopIteration, RuntimeError):  # Another thread changed the table.
                return
        headers = [*answer.headers, outcome.header]
        if outcome.expires is not None:
            headers = sooner(headers, math.ceil(seconds))
        key = outcome.key if answer.body else None
        length = int(answer.header("Content-Length") or 0)
        table[url] = Shortcut(
            answer.status, headers, key, length, time.monotonic() + seconds, outcome.asked, self._new_tick()
        )

    def taken(self, shortcut: Shortcut) -> None:
        """It was answered, by another way than :meth:`redirect`."""

    def ready(self, shortcut: Shortcut) -> Answer | None:
        """The answer for which nothing is needed but what is at hand: a redirect, or a short object that was kept."""
        body = self._body(shortcut)
        return None if body is None else Answer(shortcut.status, list(shortcut.headers), body)

    def _body(self, shortcut: Shortcut) -> bytes | None:
        if shortcut.key is None:
            return b""
        name = shortcut.body_name
        return self._bodies.get_many("", [name]).get(name)

    def keep_body(self, shortcut: Shortcut, body: bytes) -> None:
        """Keep the short object of a shortcut, as long as there is room."""
        self._bodies.set("", shortcut.body_name, body, math.ceil(self._settings.shortcut_seconds))

    def gather(self) -> None:
        """Tell of what was counted, where anything is."""

    def forget(self) -> None:
        self.table = {}
        self._bodies.clear()


class Counting(Shortcuts):
    """The same, and counts how often each of them is answered.

    ``tell``: called with what was asked for, and how often since the last time; where that is known, and when somebody
    gathers.
    """

    _new_tick = Tick

    def __init__(self, settings: ShortcutSettings, tell: Callable[[tuple[str, str, str], int], None]) -> None:
        super().__init__(settings)
        self._tell = tell
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._tally: Counter[int] = Counter()
        for shortcut in [*self.table.values()]:
            shortcut.tick.read()

    def redirect(self, path: str, query: str) -> Shortcut | None:
        shortcut = self.table.get((path, query))  # As above, for a call takes longer than all of it.
        if shortcut is None or shortcut.key is not None or shortcut.until <= time.monotonic():
            return None
        next(shortcut.tick.steps)
        return shortcut

    def at_hand(self, path: str, query: str) -> tuple[Shortcut, bytes] | None:
        found = super().at_hand(path, query)
        if found is not None:
            self.taken(found[0])
        return found

    def taken(self, shortcut: Shortcut) -> None:
        next(shortcut.tick.steps)

    def keep(self, table: Table, url: tuple[str, str], answer: Answer) -> None:
        if url in table or len(table) >= self._settings.shortcuts:  # One is about to go.
            self.gather()
        super().keep(table, url, answer)

    def forget(self) -> None:
        self.gather()
        super().forget()

    def gather(self) -> None:
        """Tell of what was counted since the last time."""
        with self._lock:
            for shortcut in [*self.table.values()]:
                if count := shortcut.tick.read():
                    self._tally[shortcut.status] += count
                    if shortcut.asked is not None:
                        self._tell(shortcut.asked, count)

    def read(self) -> Mapping[int, int]:
        """How many there were since the last call, by status."""
        self.gather()
        with self._lock:
            tally, self._tally = self._tally, Counter()
        return tally
