"""A cache on one or several memcached servers, of which one that dies is left alone for a while. [pymemcache]

What is answered then without it is in :mod:`lazycrop.caches.layered`.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from lazycrop.concurrency.forks import renew
from lazycrop.concurrency.guard import Guard, Resting

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Memcached:
    """One or several memcached servers, ``host:port`` each.

    A group lives on one server (rendezvous hashing), so that its keys are one round trip. A server that fails is left
    alone for ``rest_seconds``; its groups then live on the others.
    """

    def __init__(self, servers: Sequence[str], *, seconds: float = 0.2, rest_seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._guards = {
            # The sockets keep the time by themselves.
            server: Guard(
                *(f"memcached {server}", logger),
                seconds=seconds,
                threads=0,
                rest_seconds=rest_seconds,
                is_ill=_is_ill,
            )
            for server in servers
        }
        renew(self)  # Two processes on one socket read each other's answers.

    def after_fork(self) -> None:
        """Make the clients; a connection is opened when it is first needed."""
        from pymemcache.client.base import PooledClient

        seconds = self._seconds
        self._clients = {
            # With the default noreply=True, add() answers True to everybody. Client-side pooling never waits.
            server: PooledClient(server, connect_timeout=seconds, timeout=seconds, no_delay=True, default_noreply=False)
            for server in self._guards
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
        guard, client = self._guards[server], self._clients[server]
        try:
            return guard.call(lambda: ask(client))
        except Exception:
            if not guard.ready:
                _close_idle(client)
            raise

    def _server(self, group: str) -> str:
        awake = [server for server, guard in self._guards.items() if guard.ready]
        if not awake:
            raise Resting("every memcached server failed a moment ago")
        return max(awake, key=lambda server: hashlib.blake2b(f"{server} {group}".encode(), digest_size=8).digest())


def _is_ill(error: BaseException) -> bool:
    """Is the server gone, or does it speak no memcached? Not where it refuses one value, key or command."""
    from pymemcache.exceptions import MemcacheUnexpectedCloseError, MemcacheUnknownError

    # The last two are how pymemcache fails over an answer that is none, or is to another question.
    return isinstance(error, (OSError, MemcacheUnexpectedCloseError, MemcacheUnknownError, ValueError, KeyError))


def _close_idle(client: Any) -> None:
    """Close what nobody uses: it is likely to be as dead, and each would cost a rest. (close() would close all, under
    the hands of the threads that use them.)"""
    pool = client.client_pool
    while pool.free:
        pool.destroy(pool.get())


def _expiry(seconds: int) -> int:
    """memcached takes 0 for ever, and more than 30 days for a date."""
    return min(max(seconds, 1), 30 * 86_400)
