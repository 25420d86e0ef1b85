"""Body: what an S3 server answers to a read, as a file."""

from __future__ import annotations

import io
from typing import Any

from lazycrop.stores.contract import unavailable


class Body(io.RawIOBase):
    """The body of an S3 answer: a read returns what has arrived, and a body that ends early is an error.

    ``length``: None of one that is sent in chunks, as by a proxy; urllib3 finds its end.
    """

    def __init__(self, body: Any, length: int | None, key: str) -> None:
        # boto3's own read blocks until all bytes asked for are there, so that no clock could be looked at; what
        # its context manager hands out is urllib3's response, which has read1.
        self._response = body.__enter__()
        self.length = length
        self._left = length or 0
        self._key = key

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._response.read1(len(buffer))
        except Exception as error:  # urllib3's, http.client's, ssl's and the socket's come through here
            raise unavailable("read", self._key, error) from error
        self._left -= len(data)
        if not data and self._left > 0:
            raise unavailable("read", self._key, f"it ended {self._left} bytes early")
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._response.close()
        super().close()
