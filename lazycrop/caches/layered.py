"""A cache that several processes share, and this process's own for as long as that one fails."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence

from lazycrop.caches.contract import KeyValue
from lazycrop.caches.process import ProcessCache

logger = logging.getLogger(__name__)


class Layered:
    """``shared`` where it answers, else ``local``: the picture is never worse for a cache that is down."""

    def __init__(self, shared: KeyValue, local: ProcessCache) -> None:
        self._shared = shared
        self._local = local

    def get_many(self, group: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        try:
            return self._shared.get_many(group, keys)
        except Exception as error:  # Each cache has its own.
            _say(error)
            return self._local.get_many(group, keys)

    def set(self, group: str, key: str, value: bytes, seconds: int) -> None:
        try:
            self._shared.set(group, key, value, seconds)
        except Exception as error:
            _say(error)
            self._local.set(group, key, value, seconds)

    def add(self, group: str, key: str, value: bytes, seconds: int) -> bool:
        try:
            return self._shared.add(group, key, value, seconds)
        except Exception as error:
            _say(error)
            return self._local.add(group, key, value, seconds)

    def delete(self, group: str, key: str) -> None:
        try:
            self._shared.delete(group, key)
        except Exception as error:
            _say(error)
        self._local.delete(group, key)  # What was kept here while the other one was down is as old.

    def close(self) -> None:
        self._shared.close()


def _say(error: Exception) -> None:
    logger.debug("the shared cache failed, this process's memory takes its place: %r", error)


def ping(cache: KeyValue) -> None:
    """Raise whatever ``cache`` raises when it does not answer, and ConnectionError when it gives a lease twice."""
    key = f"lazycrop:ping:{secrets.token_hex(8)}"
    if not cache.add("ping", key, b"1", 10) or cache.add("ping", key, b"2", 10):
        raise ConnectionError("The cache gives one lease to two owners.")
    cache.delete("ping", key)
