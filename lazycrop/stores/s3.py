"""S3: a store in a bucket of S3, or of a server that speaks its protocol."""

from __future__ import annotations

import io
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any

from lazycrop.concurrency.forks import renew
from lazycrop.errors import ConfigurationError, LazyCropError, MissingObject
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.stores.contract import Opened, StoreSettings, checked_url, object_url, unavailable

logger = logging.getLogger(__name__)


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
        self._public_url = checked_url("public_url", public_url)
        self._settings = settings
        self._acl = {"ACL": acl} if acl else {}
        given = {
            "endpoint_url": checked_url("endpoint_url", endpoint_url),
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
            "region_name": region,
        }
        self._client_arguments = {name: value for name, value in given.items() if value}
        self._warned = False
        renew(self)

    def after_fork(self) -> None:
        """Neither a client of the parent may be used, nor a lock that another thread of it held."""
        self._lock = threading.Lock()
        self._clients: dict[float, Any] = {}

    def __repr__(self) -> str:
        server = self._client_arguments.get("endpoint_url", "")
        return f"S3Store('s3://{self.bucket}/{self.base_path}'{server and f', {server!r}'})"

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
        condition = {"IfNoneMatch": "*"} if new else {}
        try:
            with self._failures("put", key):
                self._patient_client().put_object(
                    **self._named(key),
                    Body=data,
                    ContentType=content_type,
                    CacheControl=cache_control,
                    **({} if private else self._acl),
                    **condition,
                )
        except _AlreadyThere:
            return False
        return True

    def get(self, key: str, limit: int) -> bytes:
        deadline = time.monotonic() + self._settings.store_seconds
        data = bytearray()
        with closing(self._body(key)) as body:
            if body.length > limit:
                raise unavailable("get", key, f"it has {body.length} bytes, more than {limit}")
            while chunk := body.read(65536):
                data += chunk
                if time.monotonic() > deadline:
                    raise unavailable("get", key, TimeoutError("its time is over"))
        return bytes(data)

    def open(self, key: str) -> Opened:
        body = self._body(key)
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

    def list(self, folder: str) -> Iterator[str]:
        prefix = self.base_path + folder
        with self._failures("list", folder):
            pages = self._patient_client().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.bucket, Prefix=prefix, Delimiter="/"):
                found = [entry["Key"] for entry in page.get("Contents", ())]
                found += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
                # Consoles make an empty object named as the folder itself.
                yield from (name.removeprefix(self.base_path) for name in found if name != prefix)

    def _body(self, key: str) -> _Body:
        with self._failures("get", key):
            response = self._client().get_object(**self._named(key))
            return _Body(response["Body"], response["ContentLength"], key)

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
            raise unavailable(action, key, error) from error
        except Exception as error:  # BotoCoreError, and those that belong to no family, as of an answer that is no XML
            if isinstance(error, ConnectTimeoutError | ReadTimeoutError):
                raise unavailable(action, key, TimeoutError(str(error))) from None
            raise unavailable(action, key, error) from None

    def _warn_of_403(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "The bucket %s answers 403, which is taken for a missing object. Grant the permission s3:ListBucket "
                "to tell the two apart. If objects that exist are not found, the keys or s3:GetObject are at fault.",
                self.bucket,
            )

    def _client(self) -> Any:
        """The client that requests wait for."""
        return self._client_with(self._settings.store_read_seconds)

    def _patient_client(self) -> Any:
        """The client for what workers do: a write is answered when the data is safe, which takes longer than a read."""
        return self._client_with(self._settings.store_write_seconds)

    def _client_with(self, read_seconds: float) -> Any:
        """This process's client, built at the first use: it may be shared by threads, building it may not."""
        with self._lock:
            if read_seconds not in self._clients:
                self._clients[read_seconds] = self._build_client(read_seconds)
            return self._clients[read_seconds]

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
        return object_url(f"{scheme}://{place}/", self.base_path)


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
            raise unavailable("read", self._key, error)
        self._left -= len(data)
        if not data and self._left > 0:
            raise unavailable("read", self._key, f"it ended {self._left} bytes early")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()
