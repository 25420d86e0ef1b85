"""A cache on one or several memcached servers. [pymemcache]"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lazycrop.concurrency.forks import renew

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Memcached:
    """One or several memcached servers, ``host:port`` each.

    A group lives on one server (rendezvous hashing), so that its keys are one round trip. A server that fails is left
    alone for ``rest_seconds``; its groups then live on the others.
    """

    def __init__(self, servers: Sequence[str], *, seconds: float = 0.2, rest_seconds: float = 5.0) -> None:
        self._servers = tuple(servers)
        self._seconds = seconds
        self._rest_seconds = rest_seconds
        self._resting: dict[str, float] = {}
        renew(self)  # Two processes on one socket read each other's answers.

    def after_fork(self) -> None:
        """Make the clients; a connection is opened when it is first needed."""
        from pymemcache.client.base import PooledClient

        seconds = self._seconds
        self._clients = {
            # With the default noreply=True, add() answers True to everybody. Client-side pooling never waits.
            server: PooledClient(server, connect_timeout=seconds, timeout=seconds, no_delay=True, default_noreply=False)
            for server in self._servers
        }

    def get_many(self, group: str, keys: Sequence[str]) -> Mapping[str, bytes]:
        return self._on_server(group, lambda client: client.get_many(keys))

    def set(self, group: str, key: str, value: bytes, seconds: int) -> None:
        self._on_server(group, lambda client: client.set(key, value, expire=_expiry(seconds)))

    def add(self, group: str, key: str, value: bytes, seconds: int) -> bool:
        return bool(self._on_server(group, lambda client: client.add(key, value, expire=_expiry(seconds))))

    def delete(self, group: str, key: str) -> None:
        self._on_server(group, lambda client: client.delete(key))

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _on_server(self, group: str, ask: Callable[[Any], T]) -> T:
        server = self._server(group)
        try:
            return ask(self._clients[server])
        except Exception as error:
            self._resting[server] = time.monotonic() + self._rest_seconds
            self._clients[server].close()  # The other connections to it are as dead, and would each cost a rest.
            logger.warning("memcached %s failed and is left alone for %.0f s: %r", server, self._rest_seconds, error)
            raise

    def _server(self, group: str) -> str:
        now = time.monotonic()
        awake = [server for server in self._clients if self._resting.get(server, 0.0) <= now]
        if not awake:
            raise ConnectionError("Every memcached server failed a moment ago.")
        return max(awake, key=lambda server: hashlib.blake2b(f"{server} {group}".encode(), digest_size=8).digest())


def _expiry(seconds: int) -> int:
    """memcached takes 0 for ever, and more than 30 days for a date."""
    return min(max(seconds, 1), 30 * 86_400)
