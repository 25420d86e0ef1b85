"""The contract of all stores, :class:`Store`, and what those of this package have in common.
:func:`lazycrop.testing.contracts.check_store` checks it by running.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NoReturn, Protocol
from urllib.parse import quote

from lazycrop.errors import ConfigurationError, StoreUnavailable
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.options import option

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """How long the store may take. They bound S3; a folder answers or fails at once."""

    store_connect_seconds: float = option(1.0, "How long connecting to one address of the store may take.")
    store_read_seconds: float = option(2.0, "How long the store may be silent while an object is read or looked up.")
    store_write_seconds: float = option(10.0, "How long the store may be silent while objects are put or deleted.")
    store_seconds: float = option(5.0, "How long reading or looking up one object in the store may take, in all.")
    store_rest_seconds: float = option(1.0, "How long a store that did not answer is left alone by reads.")
    store_attempts: int = option(1, "How often a request to the store is tried.", least=1)
    store_connections: int = option(32, "How many objects one process reads from the store at the same time.", least=1)


@dataclass(frozen=True, slots=True)
class Opened:
    """An object being read: ``file`` must be closed when done, ``length`` is in bytes."""

    file: BinaryIO
    length: int


class Store(Protocol):
    """What the rest of lazycrop asks of a store. Keys are like ``cat/v2/200x100.jpg``.

    Every method may raise :class:`~lazycrop.errors.StoreUnavailable`; an object is visible whole or not at all.
    """

    is_remote: bool
    """Does an answer take a round trip through a network? Then questions that belong together are asked at once."""

    @property
    def public_url(self) -> str | None:
        """Where clients find the objects: absolute, ends in ``/``. None: they are streamed, not redirected to."""

    def put(
        self, key: str, data: bytes, content_type: str, *, cache_control: str = IMMUTABLE, new: bool = False
    ) -> bool:
        """Keep ``data`` under ``key``. True when it was written.

        ``new``: leave an object that exists alone and return False. Some S3 servers ignore this: it is a second
        guard, never the only one.
        """

    def get(self, key: str, limit: int) -> bytes:
        """The object's bytes. Raises MissingObject, and StoreUnavailable when there are more than ``limit``."""

    def open(self, key: str) -> Opened:
        """The object as a file, for streaming. Raises MissingObject."""

    def exists(self, key: str) -> bool:
        """Whether there is an object under this key."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is missing is fine."""

    def list(self, folder: str) -> Iterator[str]:
        """What is directly below ``folder`` (``a/b/``, or ``""`` for the root), in any order.

        Full keys of objects, and of the folders below, which end in ``/``.
        """

    def url(self, key: str) -> str | None:
        """Where clients find this object, percent-quoted; None without a ``public_url``."""


_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[!-~]*)?", re.ASCII)


def checked_url(name: str, url: str | None) -> str | None:
    """The URL with a slash at its end."""
    if url is None:
        return None
    if not _URL.fullmatch(url) or "?" in url or "#" in url:
        raise ConfigurationError(
            f"{name} is {url!r}; it must be an absolute URL without a query, such as https://cdn.example.com/images/."
        )
    return url.rstrip("/") + "/"


def object_url(public_url: str, key: str) -> str:
    return public_url + quote(key, safe="/@")


def fail(action: str, key: str, reason: object) -> NoReturn:
    """The reason, which may name hosts and paths, is for the log; the client is told the kind of failure only."""
    log.warning("The store could not %s %r: %s", action, key, reason)
    raise StoreUnavailable("The image store is not available; try again in a few seconds.") from (
        reason if isinstance(reason, BaseException) else None
    )
