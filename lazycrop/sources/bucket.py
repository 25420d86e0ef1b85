"""Buckets: a source in a bucket of S3, or of a server that speaks its protocol. Keys that may read are enough."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from lazycrop.errors import ImageTooLarge, MissingObject, SourceUnavailable, StoreUnavailable
from lazycrop.sources.contract import Seen
from lazycrop.sources.names import is_name
from lazycrop.stores.contract import StoreSettings
from lazycrop.stores.listing import status_of
from lazycrop.stores.s3 import S3Store

_PIECE = 65_536  # bytes


class BucketSource:
    """The objects below ``s3://bucket/prefix/``. What is not given (keys, region, endpoint) is found by boto3 where it
    always looks. ``settings``: how long a look or read may take, as of a store.

    s3:GetObject is enough to look and read; without s3:ListBucket a missing object is a 403, which the log tells once.
    A validator is the ETag.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint_url: str | None = None,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: str | None = None,
        settings: StoreSettings = StoreSettings(),
    ) -> None:
        self.objects = S3Store(
            bucket,
            prefix,
            endpoint_url=endpoint_url,
            access_key=access_key,
            secret_key=secret_key,
            region=region,
            settings=settings,
        )

    def __repr__(self) -> str:
        return repr(self.objects).replace("S3Store", "BucketSource", 1)

    def describe(self, name: str) -> str:
        return f"s3://{self.objects.bucket}/{self.objects.base_path}{name}"

    def look(self, name: str, first: int = 0) -> Seen | None:
        # Not a HEAD, whose refusals do not say whether it is the key that is missing or the permission.
        try:
            return self._seen(name, max(first, 1), first)
        except OSError as error:
            if not isinstance(error.__cause__, Exception) or status_of(error.__cause__) != 416:
                raise
        return self._seen(name, None, first)  # It is empty.

    def read(self, name: str, limit: int) -> Seen | None:
        return self._seen(name, None, limit, is_whole=True)

    def walk(self, below: str = "") -> Iterator[str]:
        try:
            yield from filter(is_name, (one.key for one in self.objects.walk(below)))
        except StoreUnavailable as error:
            raise SourceUnavailable("The source cannot be listed; its bucket has to allow it.") from error.__cause__

    def _seen(self, name: str, part: int | None, limit: int, *, is_whole: bool = False) -> Seen | None:
        """The first ``limit`` bytes; a whole object that has more raises ImageTooLarge."""
        if not is_name(name):
            return None
        try:
            etag, length, body = self.objects.etag_and_body(name, part)
            with closing(body):
                if is_whole and length > limit:
                    raise ImageTooLarge(
                        f"The image has more than {limit:,} bytes, which is the limit ('download_bytes')."
                    )
                data = bytearray()
                while len(data) < limit and (piece := body.read(min(_PIECE, limit - len(data)))):
                    data += piece
                return Seen(etag, bytes(data), length)
        except MissingObject:
            return None
        except StoreUnavailable as error:
            # That of a source has another name; its reason is for the log.
            raise OSError("the bucket did not answer as it should") from error.__cause__
