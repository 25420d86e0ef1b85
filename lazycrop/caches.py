"""Caches: what is known without asking the store. [pymemcache]

Two key-value caches, memcached and in-process, behind one protocol; and :class:`Cache`, which says what is kept in
them: records (and the memo of missing ids), markers, hot bytes, leases, and the count of failures.

Nothing here is needed for a right answer: whatever is lost is found again in the store, and while memcached is
down the process's own memory takes its place.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from lazycrop.derivatives import Derivative
from lazycrop.forks import after_fork
from lazycrop.options import option
from lazycrop.records import BadRecord, Record, record_key

logger = logging.getLogger(__name__)
T = TypeVar("T")

# memcached refuses values over 1 MiB, its own header and ours included, and with noreply it does so silently.
# (A process's own memory takes what is a quarter of it.)
LARGEST = 999_000


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    memcached: tuple[str, ...] = option((), "Addresses of memcached servers, `host:port`; none keeps all in-process.")
    memcached_seconds: float = option(0.2, "Longest wait for one memcached operation, connecting included.")
    memcached_rest_seconds: float = option(5.0, "How long a memcached server that failed is left alone.")
    cache_bytes: int = option(64_000_000, "Memory of the in-process cache, in bytes.")
    record_seconds: int = option(
        60, "How long a record is trusted before the store is asked again; also the memo of unknown ids."
    )
    marker_seconds: int = option(86_400, "How long a size is known to be stored before the store is asked again.")
    hot_seconds: int = option(
        60, "How long the bytes of a new size are kept for other requests, processes and the worker."
    )
    lease_seconds: int = option(60, "How long one process has the sole right to make a size.")
    quarantine_seconds: int = option(600, "How long an image that failed twice is not tried again.")


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


class ProcessCache:
    """In-process: bounded in bytes, the least recently used goes first; safe for threads."""

    def __init__(self, max_bytes: int = 64_000_000) -> None:
        self._max_bytes = max_bytes
        self._empty()
        after_fork(self._empty)  # Leases in it are the parent's, and its lock may be held.

    def _empty(self) -> None:
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
        self._connect()
        after_fork(self._connect)  # Two processes on one socket read each other's answers.

    def _connect(self) -> None:
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


@dataclass(frozen=True, slots=True)
class Hot:
    """The bytes of a derivative that was made a moment ago.

    ``queued``: an actor has been asked to store it. ``data``: None when they were too many to be handed over.
    """

    data: bytes | None
    queued: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the cache knows of a derivative. ``record``: None when not known.

    ``until``: until when the record (or the lack of it) need not be asked for again, in Unix time. The rest counts for
    ``record``'s picture only: with another record in its place it is another answer.
    """

    record: Record | None
    until: float
    marker: bytes | None
    staged: bytes | None
    failures: bytes | None

    @property
    def fresh(self) -> bool:
        return time.time() < self.until

    @property
    def stored(self) -> bool:
        return self.record is not None and self.marker == self.record.tag.encode()

    @property
    def hot(self) -> Hot | None:
        return _read_hot(self.staged, self.record.tag) if self.record else None

    @property
    def quarantined(self) -> bool:
        return self.record is not None and self.failures == f"{self.record.tag} 2".encode()


class Cache:
    """What lazycrop keeps, in a shared cache where there is one, else (and while that is down) in-process.

    Every value is sealed with a digest over its key and content (keyed when ``secret`` is given): junk, a value under
    another key or of another namespace reads as nothing. Nothing is unpickled.
    """

    def __init__(
        self, shared: KeyValue | None, settings: CacheSettings, *, namespace: str = "", secret: str = ""
    ) -> None:
        self._shared = shared
        self._local = ProcessCache(settings.cache_bytes)
        self._settings = settings
        self._namespace = hashlib.sha256(namespace.encode()).hexdigest()[:16]
        self._secret = secret.encode()

    def look(self, derivative: Derivative, current: bool) -> Known:
        """All that is known, in one round trip.

        ``derivative``: with its version. ``current``: is the image's current record meant, or its version's own?
        """
        record_name = _record_name(derivative.image_id, None if current else derivative.version)
        names = [
            record_name,
            f"marker {derivative.key}",
            f"hot {derivative.key}",
            f"failures {_image_name(derivative)}",
        ]
        value, *known = self._get_many(derivative.image_id, names)
        return Known(*_read_record(value), *known)

    def remember(self, record: Record, current: bool) -> None:
        """Keep a record; long, because an old one is better than none while the store is down."""
        value = json.dumps([time.time() + self._settings.record_seconds, record.to_json().decode()]).encode()
        name = _record_name(record.image_id, None if current else record.version)
        self._set(record.image_id, name, value, self._settings.marker_seconds)

    def remember_missing(self, image_id: str, version: int | None) -> None:
        """Memo that an image (or this version of it) is not there."""
        seconds = self._settings.record_seconds
        value = json.dumps([time.time() + seconds, None]).encode()
        self._set(image_id, _record_name(image_id, version), value, seconds)

    def forget(self, image_id: str, version: int | None = None) -> None:
        """Forget the record of an image, so that the next request asks the store."""
        self._call("delete", image_id, _record_name(image_id, version))

    def mark_stored(self, derivative: Derivative, tag: str) -> None:
        """Set the marker; call it after a successful put only."""
        self._set(derivative.image_id, f"marker {derivative.key}", tag.encode(), self._settings.marker_seconds)

    def unmark(self, derivative: Derivative) -> None:
        """Delete the marker: the object has been deleted."""
        self._call("delete", derivative.image_id, f"marker {derivative.key}")

    def stage(self, derivative: Derivative, tag: str, data: bytes, queued: bool) -> None:
        """Keep the bytes of a new derivative for followers, other hosts and the actor."""
        fits = len(data) <= (self._settings.cache_bytes // 4 if self._shared is None else LARGEST)
        header = json.dumps([tag, queued, fits]).encode()
        value = header + b"\n" + (data if fits else b"")
        self._set(derivative.image_id, f"hot {derivative.key}", value, self._settings.hot_seconds)

    def staged(self, derivative: Derivative, tag: str) -> Hot | None:
        """What :meth:`stage` kept."""
        (value,) = self._get_many(derivative.image_id, [f"hot {derivative.key}"])
        return _read_hot(value, tag)

    def lease(self, group: str, name: str) -> str | None:
        """The sole right to ``name`` for a while: a token to release it with, or None when somebody else has it."""
        token = secrets.token_hex(8)
        taken = self._call("add", group, f"lease {name}", token.encode(), self._settings.lease_seconds)
        return token if taken else None

    def release(self, group: str, name: str, token: str) -> None:
        """Give a lease back, if it is still ours."""
        (value,) = self._get_many(group, [f"lease {name}"])
        if value == token.encode():
            self._call("delete", group, f"lease {name}")

    def count_failure(self, derivative: Derivative, tag: str) -> None:
        """An image could not be decoded; the second time in ``quarantine_seconds`` puts it into quarantine."""
        name = f"failures {_image_name(derivative)}"
        (value,) = self._get_many(derivative.image_id, [name])
        again = value is not None and value.decode().startswith(f"{tag} ")
        self._set(derivative.image_id, name, f"{tag} {2 if again else 1}".encode(), self._settings.quarantine_seconds)

    def close(self) -> None:
        if self._shared is not None:
            self._shared.close()

    def ping(self) -> None:
        """Raise whatever the shared cache raises when it does not answer, or takes a lease twice."""
        if self._shared is None:
            return
        name = f"ping {secrets.token_hex(8)}"
        key = self._key(name)
        if not self._shared.add("ping", key, b"1", 10) or self._shared.add("ping", key, b"2", 10):
            raise ConnectionError("The cache gives one lease to two owners.")
        self._shared.delete("ping", key)

    def _get_many(self, group: str, names: Sequence[str]) -> list[bytes | None]:
        keys = [self._key(name) for name in names]
        values = self._try("get_many", group, keys)
        return [self._unseal(key, values.get(key)) for key in keys]

    def _set(self, group: str, name: str, value: bytes, seconds: int) -> None:
        self._call("set", group, name, value, seconds)

    def _call(self, operation: str, group: str, name: str, *value_and_seconds: Any) -> Any:
        key = self._key(name)
        if value_and_seconds:
            value, seconds = value_and_seconds
            value_and_seconds = (self._digest(key, value) + value, seconds)
        return self._try(operation, group, key, *value_and_seconds)

    def _try(self, operation: str, *arguments: Any) -> Any:
        if self._shared is not None:
            try:
                return getattr(self._shared, operation)(*arguments)
            except Exception as error:  # Whatever a cache raises: the picture is never worse for it.
                logger.debug("the shared cache failed, in-process memory takes its place: %r", error)
        return getattr(self._local, operation)(*arguments)

    def _key(self, name: str) -> str:
        # The number changes with the form of the values.
        return f"lazycrop:1:{self._namespace}:{hashlib.sha256(name.encode()).hexdigest()}"

    def _digest(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._secret, key.encode() + b"\n" + value, hashlib.sha256)

    def _unseal(self, key: str, sealed: bytes | None) -> bytes | None:
        if not isinstance(sealed, bytes) or len(sealed) < 32:
            return None
        digest, value = sealed[:32], sealed[32:]
        return value if hmac.compare_digest(digest, self._digest(key, value)) else None


def _image_name(derivative: Derivative) -> str:
    return record_key(derivative.image_id, derivative.version)


def _record_name(image_id: str, version: int | None) -> str:
    """``version``: None is the image's current record, wherever the store has it."""
    return f"record {image_id} {version or 'current'}"


def _read_record(value: bytes | None) -> tuple[Record | None, float]:
    """The record, and until when it (or the lack of it) is fresh."""
    if value is None:
        return None, 0.0
    expires, content = json.loads(value)
    try:
        return (Record.from_json(content.encode()) if content else None), expires
    except BadRecord:  # Another release wrote it.
        return None, 0.0


def _read_hot(value: bytes | None, tag: str) -> Hot | None:
    if value is None:
        return None
    header, _, data = value.partition(b"\n")
    of_tag, queued, fits = json.loads(header)
    return Hot(data if fits else None, queued) if of_tag == tag else None
