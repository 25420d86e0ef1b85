"""The contract of all caches, :class:`KeyValue`, and their settings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from lazycrop.errors import ConfigurationError
from lazycrop.options import option, shown

# A host, perhaps with a port, or the socket of one on this machine.
_SERVER = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?|(?:unix:)?/\S+", re.ASCII)

LONGEST_TRUST = 3600
"""Seconds: for so long at most a record is trusted of an image that has not changed."""

_METHODS = ("get_many", "set", "add", "delete", "close")


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Where what is known is kept, and for how long."""

    cache: Any | None = option(
        None,
        "A cache of your own that processes share, in place of memcached; it keeps KeyValue's contract.",
        given="KeyValue | None",
    )
    memcached: tuple[str, ...] = option((), "Addresses of memcached servers, `host:port`; none keeps all in-process.")
    memcached_seconds: float = option(0.2, "Longest wait for one memcached operation, connecting included.")
    memcached_rest_seconds: float = option(5.0, "How long a memcached server that failed is left alone.")
    cache_bytes: int = option(64_000_000, "Memory of the in-process cache, in bytes.")
    record_seconds: int = option(
        60, "How long a record is trusted before the store is asked again; also the memo of unknown ids."
    )
    trust_seconds: int = option(
        LONGEST_TRUST,
        "How long a record is trusted while the store's list of changes, which is looked at every `record_seconds`, "
        "does not name its image; 3600 at most, 0 asks for each record again.",
        rare=True,
    )
    marker_seconds: int = option(86_400, "How long a size is known to be stored before the store is asked again.")
    hot_seconds: int = option(
        60, "How long the bytes of a new size are kept for other requests, processes and the worker."
    )
    lease_seconds: int = option(60, "How long one process has the sole right to make a size.")
    quarantine_seconds: int = option(
        600,
        "How long an image that failed twice is not tried again; each time that it fails after that it is twice as "
        "long, up to a day.",
    )

    def __post_init__(self) -> None:
        if isinstance(self.cache, str):
            raise ConfigurationError("'cache' is a text; it is an object, and a server of memcached is in 'memcached'.")
        if self.cache is not None and not all(hasattr(self.cache, method) for method in _METHODS):
            raise ConfigurationError(f"'cache' is {self.cache!r}; it is an object that keeps KeyValue's contract.")
        if self.trust_seconds > LONGEST_TRUST:  # The words of changes do not stay for ever.
            raise ConfigurationError(f"'trust_seconds' is {self.trust_seconds}; it is {LONGEST_TRUST} at most.")
        for server in self.memcached:
            if not _SERVER.fullmatch(server):
                raise ConfigurationError(
                    f"{shown(server)} in 'memcached' is no server; one is written host:port, as 10.0.0.1:11211."
                )


class KeyValue(Protocol):
    """A cache of bytes. ``group`` is what keys of one image share, so that they are kept (and read) together.

    Every method may raise any Exception when the cache cannot answer; none may take long.
    ``seconds`` is how long a value may be kept.
    """

    def get_many(self, group: str, keys: Sequence[str]) -> Mapping[str, bytes]: ...

    def set(self, group: str, key: str, value: bytes, seconds: int) -> None: ...

    def add(self, group: str, key: str, value: bytes, seconds: int) -> bool:
        """Set unless there is a value; exactly one of many callers at once gets True."""
        ...

    def delete(self, group: str, key: str) -> None: ...

    def close(self) -> None:
        """End the connections that are open; a later call may open new ones."""
        ...
