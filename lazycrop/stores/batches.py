"""Batches: many objects of a bucket deleted in one call."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Any

MOST = 1000
"""Objects in one call (Amazon's API reference, DeleteObjects)."""


def delete_together(client: Any, bucket: str, keys: Sequence[str]) -> None:
    """Delete up to MOST objects. Raises what boto3 raises, and OSError with what the server says of the first one that
    is left.
    """
    objects = [{"Key": key} for key in keys]
    answer = client.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
    for error in answer.get("Errors", ()):
        if error.get("Code") not in ("NoSuchKey", "NotFound"):
            raise OSError(f"{error.get('Key')!r} is left: {error.get('Code')} {error.get('Message')}")


def add_digest(request: Any, **event: Any) -> None:
    """Send Content-MD5 as well: boto3 sends a CRC32 since 1.36, and other servers refuse the call without the former.

    For the event before a request is signed.
    """
    body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    request.headers["Content-MD5"] = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
