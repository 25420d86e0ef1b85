"""Ledger: what was done to each image, and which pictures somebody may see of it at a moment."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from soak.pictures import COUNT

NOBODY_KNOWS = 40.0  # Seconds in which a change whose answer is lost may still take effect.


@dataclass
class Change:
    """A store of picture ``number``, or a purge, which has none. ``said``: whether it was acknowledged, as ``version``.

    One that was not may take effect all the same, until ``ended``.
    """

    image_id: str
    number: int | None
    began: float
    ended: float = float("inf")
    said: bool = False
    version: int | None = None


class Ledger:
    """``seen_after``: given when a change was acknowledged, when every process has to show it."""

    def __init__(self, seen_after: Callable[[float], float]) -> None:
        self._lock = threading.Lock()
        self._seen_after = seen_after
        self._next = 0
        self.owners: dict[int, str] = {}
        self.changes: dict[str, list[Change]] = defaultdict(list)
        self.asked: dict[tuple[str, str], set[int]] = defaultdict(set)
        """By image id and name of a size: the pictures that were shown in it."""

    def number(self, image_id: str) -> int:
        """One that no other picture has."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            assert number < COUNT, "there are no colours left"
            self.owners[number] = image_id
            return number

    def begin(self, image_id: str, number: int | None, now: float) -> Change:
        change = Change(image_id, number, now)
        with self._lock:
            self.changes[image_id].append(change)
        return change

    def end(self, change: Change, now: float, *, said: bool, is_sure: bool = True, version: int | None = None) -> None:
        change.ended, change.said, change.version = now if is_sure else now + NOBODY_KNOWS, said, version

    def possible(self, image_id: str, began: float = float("inf"), ended: float = float("inf")) -> list[Change]:
        """The changes whose effect a request of that time may show; without one, those that may have been the last."""
        with self._lock:
            changes = [change for change in self.changes[image_id] if change.began <= ended]
        known = [change for change in changes if change.said and self._is_known(change, began)]
        latest = max((change.began for change in known), default=float("-inf"))
        return [change for change in changes if change.ended >= latest]

    def _is_known(self, change: Change, began: float) -> bool:
        return change.ended < began and (began == float("inf") or self._seen_after(change.ended) < began)

    def history(self, image_id: str) -> str:
        """Its last changes, as a person reads them; seconds are of time.monotonic()."""
        return "; ".join(
            f"{change.number} {change.began:.1f}-{change.ended:.1f} "
            + (f"acknowledged as v{change.version}" if change.said else "unknown")
            for change in self.changes[image_id][-8:]
        )

    def versions(self, image_id: str) -> dict[int, int]:
        """The number of each acknowledged version."""
        with self._lock:
            return {
                change.version: change.number
                for change in self.changes[image_id]
                if change.said and change.version is not None and change.number is not None
            }
