"""Stores: where objects are kept. S3 and what speaks its protocol, a folder, and memory.

All three keep one contract, :class:`Store`, which :func:`lazycrop.testing.check_store` checks by running it.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn, Protocol, TypeVar, cast
from urllib.parse import quote

from lazycrop.deadlines import left
from lazycrop.derivatives import IMMUTABLE
from lazycrop.errors import BadRequest, ConfigurationError, LazyCropError, MissingObject, StoreUnavailable
from lazycrop.options import option
from lazycrop.threads import begin

log = logging.getLogger(__name__)

T = TypeVar("T")


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


class S3Store:
    """A bucket, or the part of it below ``base_path``, on S3 or a server that speaks its protocol.

    What is not given (keys, region, endpoint) is found by boto3 where it always looks: the environment, its
    configuration files, the machine's role. ``public_url`` includes the base path; without one it is the bucket's own.
    ``acl`` is sent with each object when given, such as ``public-read``.
    """

    is_remote = True

    def __init__(
        self,
        bucket: str,
        base_path: str = "",
        *,
        public_url: str | None = None,
        endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
        acl: str | None = None,
        settings: StoreSettings = StoreSettings(),
    ) -> None:
        if bool(access_key) != bool(secret_key):
            raise ConfigurationError("Only one of access_key and secret_key is given; give both, or neither.")
        self.bucket = bucket
        self.base_path = f"{base_path.strip('/')}/".lstrip("/")
        self._public_url = _checked_url("public_url", public_url)
        self._settings = settings
        self._acl = {"ACL": acl} if acl else {}
        given = {
            "endpoint_url": _checked_url("endpoint_url", endpoint_url),
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "region_name": region,
        }
        self._client_arguments = {name: value for name, value in given.items() if value}
        # By process id: after a fork neither the client may be used, nor a lock that another thread held.
        self._processes: dict[int, _Process] = {}
        self._warned = False

    def __repr__(self) -> str:
        server = self._client_arguments.get("endpoint_url", "")
        return f"S3Store('s3://{self.bucket}/{self.base_path}'{server and f', {server!r}'})"

    @property
    def public_url(self) -> str:
        if self._public_url is None:
            self._public_url = self._in_time("find the URL of", self.bucket, self._derive_public_url)
        return self._public_url

    def url(self, key: str) -> str:
        return _object_url(self.public_url, key)

    def put(
        self, key: str, data: bytes, content_type: str, *, cache_control: str = IMMUTABLE, new: bool = False
    ) -> bool:
        condition = {"IfNoneMatch": "*"} if new else {}
        try:
            with self._failures("put", key):
                self._patient_client().put_object(
                    **self._named(key),
                    Body=data,
                    ContentType=content_type,
                    CacheControl=cache_control,
                    **self._acl,
                    **condition,
                )
        except _AlreadyThere:
            return False
        return True

    def get(self, key: str, limit: int) -> bytes:
        return self._in_time("get", key, lambda: self._read(key, limit))

    def open(self, key: str) -> Opened:
        body = self._in_time("open", key, lambda: self._body(key))
        return Opened(io.BufferedReader(body, 65536), body.length)

    def exists(self, key: str) -> bool:
        return self._in_time("look for", key, lambda: self._exists(key))

    def delete(self, key: str) -> None:
        with suppress(MissingObject), self._failures("delete", key):
            self._patient_client().delete_object(**self._named(key))

    def list(self, folder: str) -> Iterator[str]:
        prefix = self.base_path + folder
        with self._failures("list", folder):
            pages = self._patient_client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
                found = [entry["Key"] for entry in page.get("Contents", ())]
                found += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
                # Consoles make an empty object named as the folder itself.
                yield from (name.removeprefix(self.base_path) for name in found if name != prefix)

    def _read(self, key: str, limit: int) -> bytes:
        deadline = time.monotonic() + self._settings.store_seconds
        data = bytearray()
        with closing(self._body(key)) as body:
            if body.length > limit:
                _fail("get", key, f"it has {body.length} bytes, more than {limit}")
            while chunk := body.read(65536):
                data += chunk
                if time.monotonic() > deadline:
                    _fail("get", key, "its time is over")
        return bytes(data)

    def _body(self, key: str) -> _Body:
        with self._failures("get", key):
            response = self._client().get_object(**self._named(key))
            return _Body(response["Body"], response["ContentLength"], key)

    def _exists(self, key: str) -> bool:
        try:
            with self._failures("look for", key):
                self._client().head_object(**self._named(key))
        except MissingObject:
            return False
        return True

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.base_path + key}

    def _in_time(self, action: str, key: str, call: Callable[[], T]) -> T:
        """What ``call`` returns, or StoreUnavailable after ``store_seconds``, whatever holds it up.

        boto3's own timeouts hold for one address and one read of the socket: of a name with eight addresses that do
        not answer each is tried, looking a name up has no timeout, and headers may drip for ever. So the call has a
        thread of its own, which is left to itself when it is late.
        """
        process, seconds = self._process(), left(self._settings.store_seconds)
        slots = process.slots
        if time.monotonic() < process.resting_until:
            _fail(action, key, "it did not answer a moment ago")
        started = time.monotonic()
        if not slots.acquire(timeout=seconds):
            _fail(action, key, f"all connections stayed taken for {seconds} s")
        future = begin("lazycrop-store", call)
        future.add_done_callback(lambda _: slots.release())
        try:
            return future.result(max(0, seconds - (time.monotonic() - started)))
        except TimeoutError:
            if seconds >= self._settings.store_read_seconds:  # And not because little of the request's time was left.
                self._rest()
            _fail(action, key, f"it took more than {seconds:.1f} s")

    def _rest(self) -> None:
        """Leave the server alone for a while, so that not every request waits for it in turn."""
        self._process().resting_until = time.monotonic() + self._settings.store_rest_seconds

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        """Turn what boto3 raises into errors of ours."""
        from botocore.exceptions import ClientError, HTTPClientError

        try:
            yield
        except LazyCropError:
            raise
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            code = error.response.get("Error", {}).get("Code")
            if status == 412 and action == "put":
                raise _AlreadyThere from None
            if status == 404 and action != "put" and code != "NoSuchBucket":
                raise MissingObject("The store has no such object.") from None
            # Who may not list a bucket is not told what is missing in it. A HEAD has no body, hence no better code.
            if status == 403 and action in ("get", "look for") and code in ("AccessDenied", "Forbidden", "403"):
                self._warn_of_403()
                raise MissingObject("The store has no such object.") from None
            _fail(action, key, error)
        except Exception as error:  # BotoCoreError, and those that belong to no family, as of an answer that is no XML
            if isinstance(error, HTTPClientError):  # It did not answer at all.
                self._rest()
            _fail(action, key, error)

    def _warn_of_403(self) -> None:
        if not self._warned:
            self._warned = True
            log.warning(
                "The bucket %s answers 403, which is taken for a missing object. Grant the permission s3:ListBucket "
                "to tell the two apart. If objects that exist are not found, the keys or s3:GetObject are at fault.",
                self.bucket,
            )

    def _process(self) -> _Process:
        return self._processes.setdefault(os.getpid(), _Process(threading.Semaphore(self._settings.store_connections)))

    def _client(self) -> Any:
        """The client that requests wait for."""
        return self._client_with(self._settings.store_read_seconds)

    def _patient_client(self) -> Any:
        """The client for what workers do: a write is answered when the data is safe, which takes longer than a read."""
        return self._client_with(self._settings.store_write_seconds)

    def _client_with(self, read_seconds: float) -> Any:
        """This process's client, built at the first use: it may be shared by threads, building it may not."""
        process = self._process()
        with process.lock:
            if read_seconds not in process.clients:
                process.clients[read_seconds] = self._build_client(read_seconds)
        return process.clients[read_seconds]

    def _build_client(self, read_seconds: float) -> Any:
        # Imported here: it takes 0.3 s, and only some need it.
        from boto3.session import Session
        from botocore.config import Config

        settings = self._settings
        config = Config(
            signature_version="s3v4",
            connect_timeout=settings.store_connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": settings.store_attempts},
            max_pool_connections=settings.store_connections,
            # Other servers choke on the checksums that are otherwise added; TLS guards the way already.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        # A session of our own: boto3's default one belongs to the application.
        return Session().client("s3", config=config, **self._client_arguments)

    def _derive_public_url(self) -> str:
        with self._failures("find the URL of", self.bucket):
            scheme, _, host = self._client().meta.endpoint_url.rstrip("/").partition("://")
        # As boto3 asks itself: below the endpoint where one is set, or where TLS would not match a bucket with dots.
        virtual = host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and "." not in self.bucket
        place = f"{self.bucket}.{host}" if virtual else f"{host}/{self.bucket}"
        return _object_url(f"{scheme}://{place}/", self.base_path)


@dataclass(slots=True)
class _Process:
    """What one process has of a bucket.

    ``slots``: one for each call under way, so that late ones do not pile up. ``resting_until``: until when reads fail
    at once. ``clients``: by their read timeout.
    """

    slots: threading.Semaphore
    resting_until: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)
    clients: dict[float, Any] = field(default_factory=dict)


class _AlreadyThere(LazyCropError):
    """The object that should have been new exists."""


class _Body(io.RawIOBase):
    """The body of an S3 answer: a read returns what has arrived, and a body that ends early is an error."""

    def __init__(self, body: Any, length: int, key: str) -> None:
        # boto3's own read blocks until all bytes asked for are there, so that no clock could be looked at; what
        # its context manager hands out is urllib3's response, which has read1.
        self._response = body.__enter__()
        self.length = length
        self._left = length
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._response.read1(len(buffer))
        except Exception as error:  # urllib3's, http.client's, ssl's and the socket's come through here
            _fail("read", self._key, error)
        self._left -= len(data)
        if not data and self._left > 0:
            _fail("read", self._key, f"it ended {self._left} bytes early")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()


_WAYS = 10_000  # Folders that are remembered to have no symbolic link on the way.


def _open_itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _read(descriptor: int, length: int) -> bytes:
    """All of a file, which a file system that is far away may give in parts."""
    data = os.read(descriptor, length)
    while len(data) < length and (more := os.read(descriptor, length - len(data))):
        data += more
    return data


class FolderStore:
    """A folder of this machine, or one that several machines share. It is made when the first object is put.

    A web server may serve it under ``public_url``. Names that begin with a dot are not objects. A symbolic link
    below the folder is never followed; the folder itself may be one.
    """

    is_remote = False

    def __init__(self, path: str | os.PathLike[str], public_url: str | None = None) -> None:
        self.path = os.path.realpath(path)
        self._ways: set[str] = set()
        self.public_url = _checked_url("public_url", public_url)

    def __repr__(self) -> str:
        return f"FolderStore({self.path!r})"

    def url(self, key: str) -> str | None:
        return _object_url(self.public_url, key) if self.public_url else None

    def put(
        self, key: str, data: bytes, content_type: str, *, cache_control: str = IMMUTABLE, new: bool = False
    ) -> bool:
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, f"{_TEMPORARY}{uuid.uuid4().hex}")
        with self._failures("put", key):
            try:
                with self._create(temporary) as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                written = _link(temporary, path) if new else _rename(temporary, path)
                with suppress(FileNotFoundError):  # deleted again already, and its folder with it
                    _sync_folder(folder)
                return written
            finally:
                with suppress(OSError):
                    os.unlink(temporary)
                self._prune(folder)

    def get(self, key: str, limit: int) -> bytes:
        with self._failures("get", key):
            # A file object of Python's makes nine calls to the system of these four.
            descriptor = _open_itself(self._path(key, reading=True), os.O_RDONLY)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise IsADirectoryError
                if status.st_size > limit:
                    _fail("get", key, f"it has {status.st_size} bytes, more than {limit}")
                return _read(descriptor, status.st_size)
            finally:
                os.close(descriptor)

    def open(self, key: str) -> Opened:
        with self._failures("open", key):
            # Unbuffered, because whoever sends it reads large pieces.
            file = open(self._path(key, reading=True), "rb", buffering=0, opener=_open_itself)  # noqa: SIM115 - the caller closes it
            return Opened(cast(BinaryIO, file), os.fstat(file.fileno()).st_size)

    def exists(self, key: str) -> bool:
        try:
            with self._failures("look for", key):
                return stat.S_ISREG(os.lstat(self._path(key, reading=True)).st_mode)
        except MissingObject:
            return False

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(MissingObject), self._failures("delete", key):
            os.unlink(path)
            folder = os.path.dirname(path)
            _remove_leftovers(folder)
            self._prune(folder)

    def list(self, folder: str) -> Iterator[str]:
        path = self._path(folder.removesuffix("/")) if folder else self.path
        found = []
        with suppress(MissingObject), self._failures("list", folder), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.append(f"{folder}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    found.append(f"{folder}{entry.name}")
        return iter(found)

    def _remember_way(self, way: str) -> None:
        if len(self._ways) >= _WAYS:
            self._ways.clear()
        self._ways.add(way)

    def _path(self, key: str, *, reading: bool = False) -> str:
        """The object's file. Keys are checked long before; this makes sure that none ever leaves the folder."""
        segments = key.split("/")
        if "\0" in key or any(not segment or segment.startswith(".") for segment in segments):
            raise BadRequest(f"The key {key[:80]!r} is malformed; it is names joined by '/', none beginning with '.'.")
        path = os.path.join(self.path, key)
        # To look for links takes half of the time of a hit. Only who may write there can put one on a way that was
        # looked at before, and a read does not follow the object itself; whoever writes looks each time.
        way = os.path.dirname(path) if reading else path
        if not reading or way not in self._ways:
            if os.path.realpath(way) != way:
                _fail("reach", key, "there is a symbolic link on the way")
            if reading:
                self._remember_way(way)
        return path

    def _create(self, path: str) -> BinaryIO:
        """A new file at ``path``, and the folders above it, which a delete may be removing just now."""
        attempts = 100
        while True:
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                return open(path, "xb")
            except (FileNotFoundError, FileExistsError):
                attempts -= 1
                if not attempts:
                    raise

    def _prune(self, folder: str) -> None:
        """Remove the folder and those above it as long as they are empty."""
        with suppress(OSError):
            while folder != self.path:
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if action != "put" and isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
                raise MissingObject("The store has no such object.") from None
            _fail(action, key, error)


_TEMPORARY = ".lazycrop-"
_LEFTOVER_SECONDS = 60


def _rename(temporary: str, path: str) -> bool:
    os.replace(temporary, path)
    return True


def _link(temporary: str, path: str) -> bool:
    """Unlike a rename, a link never replaces what is there, and exactly one of several succeeds."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        if os.path.isdir(path):
            raise
        return False
    return True


def _sync_folder(folder: str) -> None:
    """Make the new name last through a power cut, which syncing the file alone does not."""
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: str) -> None:
    """Remove what killed puts have left in a folder, if that is all there is.

    If one is still being written after all, that put fails and is tried again.
    """
    with os.scandir(folder) as entries:
        leftovers = []
        for entry in entries:
            if not entry.name.startswith(_TEMPORARY):
                return
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < _LEFTOVER_SECONDS:
                return
            leftovers.append(entry.path)
    for path in leftovers:
        os.unlink(path)


class MemoryStore:
    """Objects in this process's memory, for tests and demonstrations."""

    is_remote = False

    def __init__(self, public_url: str | None = None) -> None:
        self.public_url = _checked_url("public_url", public_url)
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryStore({len(self._objects)} objects)"

    def url(self, key: str) -> str | None:
        return _object_url(self.public_url, key) if self.public_url else None

    def put(
        self, key: str, data: bytes, content_type: str, *, cache_control: str = IMMUTABLE, new: bool = False
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
            _fail("get", key, f"it has more than {limit} bytes")
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


_URL = re.compile(r"https?://[A-Za-z0-9._:\[\]-]+(?:/[!-~]*)?", re.ASCII)


def _checked_url(name: str, url: str | None) -> str | None:
    """The URL with a slash at its end."""
    if url is None:
        return None
    if not _URL.fullmatch(url) or "?" in url or "#" in url:
        raise ConfigurationError(
            f"{name} is {url!r}; it must be an absolute URL without a query, such as https://cdn.example.com/images/."
        )
    return url.rstrip("/") + "/"


def _object_url(public_url: str, key: str) -> str:
    return public_url + quote(key, safe="/@")


def _fail(action: str, key: str, reason: object) -> NoReturn:
    """The reason, which may name hosts and paths, is for the log; the client is told the kind of failure only."""
    log.warning("The store could not %s %r: %s", action, key, reason)
    raise StoreUnavailable("The image store is not available; try again in a few seconds.") from (
        reason if isinstance(reason, BaseException) else None
    )
