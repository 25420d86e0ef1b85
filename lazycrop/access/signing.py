"""Signatures: what opens a URL that policy keeps closed."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence

from lazycrop.errors import Forbidden
from lazycrop.model.derivatives import Derivative
from lazycrop.model.urls import EXPIRES, SIGNATURE, Asked


class Signer:
    """Signs derivatives with the first of its keys and accepts all of them, so that keys can be rotated.

    HMAC-SHA-256 (RFC 2104) over the canonical path and the time of expiry, in URL-safe base64.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = [key.encode() for key in keys]

    def sign(self, derivative: Derivative, expires: int | None = None) -> str:
        """The query string that opens ``derivative``, until ``expires`` (Unix time, seconds) when it is given."""
        when = "" if expires is None else str(expires)
        signature = _signature(self._keys[0], derivative, when)
        return f"{SIGNATURE}={signature}" + (f"&{EXPIRES}={when}" if when else "")

    def verify(self, asked: Asked) -> bool:
        """False when ``asked`` carries no signature; one that is wrong or expired raises Forbidden."""
        if asked.signature is None:
            return False
        expires = asked.expires or ""
        given = asked.signature.encode(errors="replace")  # Text that somebody made may be none in any encoding.
        right = [hmac.compare_digest(_signature(key, asked.derivative, expires).encode(), given) for key in self._keys]
        if not any(right):
            raise Forbidden("The signature of this URL is wrong; take the URL as the application gives it.")
        if expires and (asked.expires_at is None or asked.expires_at < time.time()):
            raise Forbidden("The signature of this URL has expired; take a new URL from the application.")
        return True


def _signature(key: bytes, derivative: Derivative, expires: str) -> str:
    digest = hmac.digest(key, f"{derivative.key}\n{expires}".encode(errors="replace"), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
