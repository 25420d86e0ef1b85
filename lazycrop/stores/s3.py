"""S3: a store in a bucket of S3, or of a server that speaks its protocol."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any

from lazycrop.concurrency.forks import renew
from lazycrop.errors import ConfigurationError, LazyCropError, MissingObject, StoreUnavailable
from lazycrop.model.derivatives import IMMUTABLE, PRIVATE
from lazycrop.stores.batches import MOST, delete_together
from lazycrop.stores.body import Body
from lazycrop.stores.buckets import checked_bucket, checked_endpoint, checked_region
from lazycrop.stores.clients import build_client
from lazycrop.stores.contract import Listed, Opened, StoreSettings, checked_url, object_url, unavailable
from lazycrop.stores.listing import objects, pages, status_of

logger = logging.getLogger(__name__)

_TRIES = 3  # Of a put that another one was in the way of.
# What servers answer to a condition that they do not know: 501, 400, 405 and others; 409 where the object exists or is
# being put; 403 for a signature over a header that a proxy has taken away. All but what says something else: that it
# is not there, that it takes too long, that there are too many.
_REFUSALS = frozenset((*range(400, 500), 501, 505)) - {404, 408, 410, 412, 429}


class S3Store:
    """A bucket, or the part of it below ``base_path``, on S3 or a server that speaks its protocol.

    What is not given (keys, region, endpoint) is found by boto3 where it always looks: the environment, its
    configuration files, the machine's role. ``public_url`` includes the base path; without one it is the bucket's own.
    ``acl`` is sent with each object when given, such as ``public-read``.

    Calls keep boto3's timeouts only, which hold for one address and one read of the socket; :class:`Guarded` bounds
    them in all. ``conditional_puts``: whether the server puts what is new in one step, and refuses what is not; None
    as long as that is not known. ``deletes_many``: whether it deletes many objects in one call, as far as is known.
    """

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
        self.bucket = checked_bucket(bucket)
        self.base_path = f"{base_path.strip('/')}/".lstrip("/")
        self._public_url = checked_url("public_url", public_url)
        self._settings = settings
        self._acl = {"ACL": acl} if acl else {}
        given = {
            "endpoint_url": checked_endpoint(endpoint_url),
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "region_name": checked_region(region),
        }
        self._client_arguments = {name: value for name, value in given.items() if value}
        self._warned = False
        self.conditional_puts: bool | None = None
        self.deletes_many = True
        renew(self)

    def after_fork(self) -> None:
        """Neither a client of the parent may be used, nor a lock that another thread of it held."""
        self._lock = threading.Lock()
        self._clients: dict[float, Any] = {}

    def __repr__(self) -> str:
        server = self._client_arguments.get("endpoint_url", "")
        return f"S3Store('s3://{self.bucket}/{self.base_path}'{server and f', {server!r}'})"

    def overlaps(self, other: S3Store) -> bool:
        """Is one within the other, as far as can be told without asking boto3 for its settings?"""
        servers = {store._client_arguments.get("endpoint_url", "").lower() for store in (self, other)}
        paths = sorted((self.base_path, other.base_path), key=len)
        return self.bucket == other.bucket and len(servers) == 1 and paths[1].startswith(paths[0])

    @property
    def public_url(self) -> str:
        if self._public_url is None:
            self._public_url = self._derive_public_url()
        return self._public_url

    def url(self, key: str) -> str:
        return object_url(self.public_url, key)

    def presigned_url(self, key: str, seconds: int) -> str:
        with self._failures("presign", key):
            url: str = self._client().generate_presigned_url("get_object", Params=self._named(key), ExpiresIn=seconds)
            return url

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
        def send(**condition: str) -> None:
            with self._failures("put", key):
                self._patient_client().put_object(
                    **self._named(key),
                    Body=data,
                    ContentType=content_type,
                    CacheControl=cache_control,
                    **({} if private else self._acl),
                    **condition,
                )

        if new:
            return self._put_new(key, send)
        send()
        return True

    def _put_new(self, key: str, send: Callable[..., None]) -> bool:
        """Put what is not there: in one step, or in two where the server refuses the condition."""
        refused: _Refused | None = None
        for _ in range(0 if self.conditional_puts is False else _TRIES):
            try:
                send(IfNoneMatch="*")
                return True
            except _AlreadyThere:
                self.conditional_puts = True
                return False
            except _Refused as error:
                refused = error
                if not error.is_conflict:
                    break
        if self.exists(key):
            return False
        send()
        if refused and not refused.is_conflict:  # Had it refused the object itself, it would have done so again.
            self._warn_of_conditions(refused)
        return True

    def probe_conditional_puts(self, key: str) -> bool:
        """Does the server itself leave an object alone that is there? Puts and deletes ``key``, which must be free.

        ``conditional_puts`` is the answer from then on. Blocks for four requests. Raises StoreUnavailable.
        """
        try:
            self.put(key, b"first", "text/plain", new=True)
            if self.put(key, b"second", "text/plain", new=True):
                self.conditional_puts = False
        finally:
            self.delete(key)
        return self.conditional_puts is True

    def get(self, key: str, limit: int) -> bytes:
        deadline = time.monotonic() + self._settings.store_seconds
        data = bytearray()
        with closing(self._body(key)) as body:
            while chunk := body.read(65536):
                data += chunk
                if max(len(data), body.length or 0) > limit:
                    raise unavailable("get", key, f"it has more than {limit} bytes")
                if time.monotonic() > deadline:
                    raise unavailable("get", key, TimeoutError("its time is over"))
        return bytes(data)

    def open(self, key: str) -> Opened:
        body = self._body(key)
        if body.length is None:
            with closing(body):
                data = body.read()
            return Opened(io.BytesIO(data), len(data))
        return Opened(io.BufferedReader(body, 65536), body.length)

    def exists(self, key: str) -> bool:
        try:
            with self._failures("look for", key):
                self._client().head_object(**self._named(key))
        except MissingObject:
            return False
        return True

    def delete(self, key: str) -> None:
        with suppress(MissingObject), self._failures("delete", key):
            self._patient_client().delete_object(**self._named(key))

    def delete_many(self, keys: Sequence[str]) -> bool:
        """In calls of 1,000; False where the server does not know the call, or not in the form that it has."""
        for start in range(0, len(keys) if self.deletes_many else 0, MOST):
            batch = keys[start : start + MOST]
            with self._failures("delete", batch[0]):
                try:
                    delete_together(self._patient_client(), self.bucket, [self.base_path + key for key in batch])
                except Exception as error:
                    if status_of(error) not in _REFUSALS:
                        raise
                    said = "The bucket %s deletes one object at a time: %s"
                    logger.info(said, self.bucket, error, extra={"event": "deletes-one-by-one"})
                    self.deletes_many = False
        return self.deletes_many

    def list(self, folder: str) -> Iterator[str]:
        prefix = self.base_path + folder
        with self._failures("list", folder):
            for found in pages(self._patient_client(), self.bucket, prefix):
                # Consoles make an empty object named as the folder itself.
                yield from (name.removeprefix(self.base_path) for name in found if name != prefix)

    def etag_and_body(self, key: str, first: int | None = None) -> tuple[str, int, io.RawIOBase]:
        """Of an object that somebody else has put: its ETag, its length, and its bytes, or its ``first`` ones, from 1
        on, to be read and closed. An empty object has no first byte, which is StoreUnavailable.
        """
        part = {} if first is None else {"Range": f"bytes=0-{first - 1}"}
        with self._failures("get", key):
            response = self._client().get_object(**self._named(key), **part)
            length = int(response.get("ContentRange", f"/{response['ContentLength']}").rpartition("/")[2])
            return response["ETag"], length, Body(response["Body"], response["ContentLength"], key)

    def walk(self, prefix: str, after: str = "", *, deep: bool = True) -> Iterator[Listed]:
        place = (self.bucket, self.base_path + prefix, after and self.base_path + after, "" if deep else "/")
        with self._failures("list", prefix):
            for one in objects(self._patient_client(), *place):
                yield replace(one, key=one.key.removeprefix(self.base_path))

    def copy(self, source: str, key: str, content_type: str, *, private: bool = False) -> None:
        with self._failures("copy", source):
            self._patient_client().copy_object(
                **self._named(key),
                CopySource=self._named(source),
                ContentType=content_type,
                CacheControl=PRIVATE if private else IMMUTABLE,
                MetadataDirective="REPLACE",
                **({} if private else self._acl),
            )

    def _body(self, key: str) -> Body:
        with self._failures("get", key):
            response = self._client().get_object(**self._named(key))
            headers = response["ResponseMetadata"]["HTTPHeaders"]
            is_chunked = headers.get("transfer-encoding", "").lower() == "chunked"  # which says where its end is
            return Body(response["Body"], None if is_chunked else response["ContentLength"], key)

    def _named(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.base_path + key}

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        """Turn what boto3 raises into errors of ours."""
        from botocore.exceptions import ClientError, ConnectTimeoutError, ReadTimeoutError

        try:
            yield
        except LazyCropError:
            raise
        except ClientError as error:
            status = status_of(error)
            code = error.response.get("Error", {}).get("Code")
            if status == 412 and action == "put":
                raise _AlreadyThere from None
            if status in _REFUSALS and action == "put":
                raise _Refused(str(unavailable(action, key, error)), code) from error
            if status in (404, 410) and action != "put" and code != "NoSuchBucket":
                raise MissingObject("The store has no such object.") from None
            # Who may not list a bucket is not told what is missing in it. A HEAD has no body, hence no better code.
            if status == 403 and action in ("get", "look for") and code in ("AccessDenied", "Forbidden", "403"):
                self._warn_of_403()
                raise MissingObject("The store has no such object.") from None
            raise unavailable(action, key, error) from error
        except Exception as error:  # BotoCoreError, and those that belong to no family, as of an answer that is no XML
            if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
                raise unavailable(action, key, error) from TimeoutError(str(error))
            raise unavailable(action, key, error) from error

    def _warn_of_conditions(self, refused: Exception) -> None:
        if self.conditional_puts is not False:
            self.conditional_puts = False
            logger.warning(
                "The bucket %s refuses puts with the condition that nothing is there (%s); it is looked for instead, "
                "so that of two processes that store the same at once both may do so.",
                self.bucket,
                refused.__cause__,
                extra={"event": "conditions-refused"},
            )

    def _warn_of_403(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "The bucket %s answers 403, which is taken for a missing object. Grant the permission s3:ListBucket "
                "to tell the two apart. If objects that exist are not found, the keys or s3:GetObject are at fault.",
                self.bucket,
                extra={"event": "missing-or-forbidden"},
            )

    def _client(self) -> Any:
        """The client that requests wait for."""
        return self._client_with(self._settings.store_read_seconds)

    prepare = _client  # To load boto3 and have it make one takes the better part of a second.

    def _patient_client(self) -> Any:
        """The client for what workers do: a write is answered when the data is safe, which takes longer than a read."""
        return self._client_with(self._settings.store_write_seconds)

    def _client_with(self, read_seconds: float) -> Any:
        """This process's client, built at the first use: it may be shared by threads, building it may not."""
        with self._lock:
            if read_seconds not in self._clients:
                self._clients[read_seconds] = build_client(self._settings, read_seconds, self._client_arguments)
            return self._clients[read_seconds]

    def _derive_public_url(self) -> str:
        with self._failures("find the URL of", self.bucket):
            scheme, _, host = self._client().meta.endpoint_url.rstrip("/").partition("://")
        # As boto3 asks itself: below the endpoint where one is set, or where TLS would not match a bucket with dots.
        virtual = host.endswith((".amazonaws.com", ".amazonaws.com.cn")) and "." not in self.bucket
        place = f"{self.bucket}.{host}" if virtual else f"{host}/{self.bucket}"
        return object_url(f"{scheme}://{place}/", self.base_path)


class _AlreadyThere(LazyCropError):
    """The object that should have been new exists."""


class _Refused(StoreUnavailable):
    """The server refuses this put as it was asked for. ``is_conflict``: somebody else puts it just now; ask again."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.is_conflict = code == "ConditionalRequestConflict"
