"""A store in this process's memory."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator

from lazycrop.concurrency.forks import Lock
from lazycrop.errors import MissingObject
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.stores.contract import Listed, Opened, checked_url, object_url, unavailable


class MemoryStore:
    """Objects in this process's memory, for tests and demonstrations."""

    bounded = True

    def __init__(self, public_url: str | None = None) -> None:
        self.public_url = checked_url("public_url", public_url)
        self._objects: dict[str, bytes] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({id(self):#x})"  # its place: no other process has it

    def url(self, key: str) -> str | None:
        return object_url(self.public_url, key) if self.public_url else None

    def put(
        self,
        key: str,
        data: bytes,
        content_type: str,
        *,
        cache_control: str = IMMUTABLE,
        new: bool = False,
        private: bool = False,
    ) -> bool:
        with self._lock:
            if new and key in self._objects:
                return False
            self._objects[key] = bytes(data)
            return True

    def get(self, key: str, limit: int) -> bytes:
        try:
            data = self._objects[key]
        except KeyError:
            raise MissingObject("The store has no such object.") from None
        if len(data) > limit:
            raise unavailable("get", key, f"it has more than {limit} bytes")
        return data

    def open(self, key: str) -> Opened:
        data = self.get(key, limit=sys.maxsize)
        return Opened(io.BytesIO(data), len(data))

    def exists(self, key: str) -> bool:
        return key in self._objects

    def delete(self, key: str) -> None:
        self._objects.pop(key, None)

    def list(self, folder: str) -> Iterator[str]:
        with self._lock:
            below = [key.removeprefix(folder) for key in self._objects if key.startswith(folder)]
        return iter({folder + name + slash for name, slash, _ in (key.partition("/") for key in below)})

    def walk(self, prefix: str, after: str = "", *, deep: bool = True) -> Iterator[Listed]:
        with self._lock:
            found = [key for key in self._objects if key.startswith(prefix) and key > after]
        for key in sorted(found):
            data = self._objects.get(key)
            if data is not None and (deep or "/" not in key.removeprefix(prefix)):
                yield Listed(key, len(data), None)
