"""State: what the cache knows of the life of a derivative: records, markers, hot bytes, leases, failures.

Nothing here is needed for a right answer: whatever is lost is found again in the store, and while memcached is
down the process's own memory takes its place.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lazycrop.caches.contract import CacheSettings, KeyValue
from lazycrop.caches.process import ProcessCache
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import BadRecord, Record, record_key

logger = logging.getLogger(__name__)

# memcached refuses values over 1 MiB, its own header and ours included, and with noreply it does so silently.
# (A process's own memory takes what is a quarter of it.)
LARGEST = 999_000


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


class State:
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
