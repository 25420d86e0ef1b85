"""A cache in this process's memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence

from lazycrop.concurrency.forks import renew


class ProcessCache:
    """In-process: bounded in bytes, the least recently used goes first; safe for threads."""

    def __init__(self, max_bytes: int = 64_000_000) -> None:
        self._max_bytes = max_bytes
        renew(self)  # Leases in it are the parent's, and its lock may be held.

    def after_fork(self) -> None:
        self._bytes = 0
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def get_many(self, group: str, keys: Sequence[str]) -> dict[str, bytes]:
        with self._lock:
            return {key: value for key in keys if (value := self._get(key)) is not None}

    def set(self, group: str, key: str, value: bytes, seconds: int) -> None:
        with self._lock:
            self._put(key, value, seconds)

    def add(self, group: str, key: str, value: bytes, seconds: int) -> bool:
        with self._lock:
            if self._get(key) is not None:
                return False
            self._put(key, value, seconds)
            return True

    def delete(self, group: str, key: str) -> None:
        with self._lock:
            self._drop(key)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._bytes = 0

    def close(self) -> None:
        pass

    def _get(self, key: str) -> bytes | None:
        value, expires = self._entries.get(key, (None, 0.0))
        if value is None:
            return None
        if expires < time.monotonic():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return value

    def _put(self, key: str, value: bytes, seconds: int) -> None:
        self._drop(key)
        self._entries[key] = (value, time.monotonic() + seconds)
        self._bytes += _weight(key, value)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        value, _ = self._entries.pop(key, (None, 0.0))
        if value is not None:
            self._bytes -= _weight(key, value)


def _weight(key: str, value: bytes) -> int:
    return len(key) + len(value) + 300  # Measured: what the entry's objects take beside their content.
