"""Values that are known to be ours, under names that no other application of the same cache has."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from lazycrop.caches.contract import KeyValue


class Sealed:
    """A cache of values that are each sealed with a digest over key and content, keyed where there is a ``secret``.

    Junk, a value under another key or of another namespace reads as nothing. ``namespace``: what all of it is about.
    Who has another secret has other names too: while a secret is exchanged, the processes with the old one and those
    with the new one neither read each other's values as junk nor wait for each other's leases.
    """

    def __init__(self, cache: KeyValue, namespace: str, secret: str = "") -> None:
        self._cache = cache
        self._secret = secret.encode()
        self._namespace = hmac.digest(self._secret, namespace.encode(), hashlib.sha256).hex()[:16]

    def get_many(self, group: str, names: Sequence[str]) -> list[bytes | None]:
        """The values under ``names``, None where there is none of ours. ``group``: what they are kept together by."""
        keys = [self._key(name) for name in names]
        values = self._cache.get_many(group, keys)
        return [self._unseal(key, values.get(key)) for key in keys]

    def set(self, group: str, name: str, value: bytes, seconds: int) -> None:
        key = self._key(name)
        self._cache.set(group, key, self._seal(key, value), seconds)

    def add(self, group: str, name: str, value: bytes, seconds: int) -> bool:
        """Set unless there is a value; exactly one of many callers at once gets True."""
        key = self._key(name)
        return self._cache.add(group, key, self._seal(key, value), seconds)

    def delete(self, group: str, name: str) -> None:
        self._cache.delete(group, self._key(name))

    def close(self) -> None:
        self._cache.close()

    def _key(self, name: str) -> str:
        # The number changes with the form of the values.
        return f"lazycrop:2:{self._namespace}:{hashlib.sha256(name.encode()).hexdigest()}"

    def _seal(self, key: str, value: bytes) -> bytes:
        return self._digest(key, value) + value

    def _unseal(self, key: str, sealed: object) -> bytes | None:
        if not isinstance(sealed, bytes) or len(sealed) < 32:
            return None
        digest, value = sealed[:32], sealed[32:]
        return value if hmac.compare_digest(digest, self._digest(key, value)) else None

    def _digest(self, key: str, value: bytes) -> bytes:
        return hmac.digest(self._secret, key.encode() + b"\n" + value, hashlib.sha256)
