"""The contract of all stores, :class:`Store`, and what those of this package have in common.
:func:`lazycrop.testing.contracts.check_store` checks it by running.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol, runtime_checkable
from urllib.parse import urlsplit

from lazycrop.errors import ConfigurationError, StoreUnavailable
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.model.urls import quoted
from lazycrop.options import option, shown


@dataclass(frozen=True, kw_only=True)
class StoreSettings:
    """Where images are kept, and how long that may take. Only what may hang is bounded; a folder answers or fails."""

    store: Any = option(
        "images",
        "Where images are kept: a folder, `s3://bucket/base/path`, `memory:`, or a Store object.",
        given="str | PathLike[str] | Store",
    )
    public_url: str | None = option(
        None, "Where anybody can fetch the store's objects. S3 derives it; a folder without it is streamed."
    )
    s3_endpoint_url: str | None = option(
        None, "The address of an S3 server that is not Amazon's; boto3's own settings count too."
    )
    s3_access_key: str | None = option(
        None, "The S3 access key; without it boto3 looks where it always does.", secret=True
    )
    s3_secret_key: str | None = option(None, "The S3 secret key.", secret=True)
    s3_region: str | None = option(None, "The S3 region.")
    s3_acl: str | None = option(None, "The ACL sent with each S3 object, such as `public-read`.")
    keep_versions: int = option(
        2, "How many versions of an image are kept: the current one, and those before it.", least=1
    )
    store_connect_seconds: float = option(1.0, "How long connecting to one address of the store may take.", rare=True)
    store_read_seconds: float = option(
        2.0, "How long the store may be silent while an object is read or looked up.", rare=True
    )
    store_write_seconds: float = option(10.0, "How long the store may be silent while objects are put or deleted.")
    store_seconds: float = option(5.0, "How long reading or looking up one object in the store may take, in all.")
    store_rest_seconds: float = option(1.0, "How long a store that did not answer is left alone by reads.", rare=True)
    store_attempts: int = option(1, "How often a request to the store is tried.", least=1, rare=True)
    store_connections: int = option(
        32, "How many objects one process reads from the store at the same time.", least=1, rare=True
    )

    def __post_init__(self) -> None:
        if self.public_url is not None and urlsplit(self.public_url).scheme not in ("http", "https"):
            raise ConfigurationError(f"'public_url' is {shown(self.public_url)}; it is an absolute http or https URL.")
        if not isinstance(self.store, str | os.PathLike):
            given = [name for name in ("public_url", "s3_endpoint_url", "s3_acl") if getattr(self, name) is not None]
            if given:
                raise ConfigurationError(
                    f"{given[0]!r} is given beside a Store object, which has its own; drop one of them."
                )


@dataclass(frozen=True, slots=True)
class Opened:
    """An object being read: ``file`` must be closed when done, ``length`` is in bytes."""

    file: BinaryIO
    length: int


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as it is listed: its key, its length in bytes, and when it was put, in Unix time; None if not known."""

    key: str
    length: int
    modified: float | None


class Store(Protocol):
    """What the rest of lazycrop asks of a store. Keys are like ``cat/v2/200x100.jpg``, text of any language in NFC.

    Every method may raise :class:`~lazycrop.errors.StoreUnavailable`; an object is visible whole or not at all.

    ``repr(store)`` names the place of the objects: it is alike in every process that has this store, another one for
    another place, without passwords, and does not change. Caches that processes share are kept apart by it.

    Each call is made on a thread, and given up when it is late. That takes about 25 µs, which a class can spare where
    its calls always end soon by themselves, with an answer or an error: it says ``bounded = True`` in its own body.
    A class below it says so again or is not trusted, for its methods may wait for something else.
    """

    @property
    def public_url(self) -> str | None:
        """Where clients find the objects: absolute, ends in ``/``. None: they are streamed, not redirected to."""

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
        """Keep ``data`` under ``key``. True when it was written.

        ``private``: nobody else may read it; asked of stores only where images are private, by an access list where the
        store has such, and by the key, which begins with ``-private/``.

        ``new``: leave an object that exists alone and return False. What may be relied on: an object that was there
        before the call began, and that this store is told of, stays. Of several at once exactly one is written where
        the store can do that in one step (see "What each store can promise" in the documentation); elsewhere the last
        one may replace the others, and all return True. A put whose answer was lost may return False for an object
        that it has written itself. So it spares work; nobody may take it for a lock.
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


@runtime_checkable
class Presigning(Protocol):
    """A store that can give a client an object which others may not read. What a Store may do besides."""

    def presigned_url(self, key: str, seconds: int) -> str:
        """Where this object can be read for so many seconds by whoever has the URL."""


@runtime_checkable
class Deleting(Protocol):
    """A store that deletes many objects in one call. What a Store may do besides."""

    def delete_many(self, keys: Sequence[str]) -> bool:
        """Remove these objects, as delete does each, and return True when none is left; raises StoreUnavailable.

        False, with any of them left, where that cannot be done in few calls: they are then deleted one by one, several
        at once.
        """


@runtime_checkable
class Preparing(Protocol):
    """A store that takes its time before its first call. What a Store may do besides."""

    def prepare(self) -> None:
        """Do that, once a process. It is called before each call; a store is not slow for it."""


@runtime_checkable
class Walking(Protocol):
    """A store that tells of many objects at once, and how long each is. What a Store may do besides.

    Without it each folder is listed and each object opened.
    """

    def walk(self, prefix: str, after: str = "", *, deep: bool = True) -> Iterator[Listed]:
        """All objects whose keys begin with ``prefix``, lazily; those after the key ``after``.

        In an order that is the same each time, and in which what is below a folder stays together: mostly that of keys.
        Not ``deep``: only what is directly in the folder that ``prefix`` names, with a slash at its end.
        """


@runtime_checkable
class Copying(Protocol):
    """A store that copies an object within itself, so that nobody reads and sends it. What a Store may do besides."""

    def copy(self, source: str, key: str, content_type: str, *, private: bool = False) -> None:
        """Keep under ``key``, which is free, what is under ``source``, as if it was put. Raises MissingObject."""


_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[!-~]*)?", re.ASCII)


def checked_url(name: str, url: str | None) -> str | None:
    """The URL with a slash at its end."""
    if url is None:
        return None
    if not _URL.fullmatch(url) or "?" in url or "#" in url or not _has_port(url):
        raise ConfigurationError(
            f"{name} is {shown(url)}; it must be an absolute URL without a query, such as https://cdn.example.com/images/."
        )
    return url.rstrip("/") + "/"


def _has_port(url: str) -> bool:
    """Is its port, if it has one, a number that ports may have? And its host, if that is one of IPv6, an address?"""
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def object_url(public_url: str, key: str) -> str:
    return public_url + quoted(key)


def unavailable(action: str, key: str, reason: object) -> StoreUnavailable:
    """The error to raise. Its reason, which may name hosts and paths, is for the log, and told there by whoever catches
    it; the client is told the kind of failure only.
    """
    error = StoreUnavailable("The image store is not available; try again in a few seconds.")
    error.__cause__ = reason if isinstance(reason, BaseException) else OSError(f"could not {action} {key!r}: {reason}")
    return error
