"""URLs: path ⇄ Derivative, and the signatures that open what policy keeps closed.

Two forms, one parser, one derivative::

    <image_id>/[v<n>/]<size>.<ext>       cat/200x100.jpg · cat/v2/card.webp · cat/origin.jpg
    <image_id>.<ext>?size=<size>         cat.jpg?size=200x100

``<size>`` is a spelling of :mod:`lazycrop.sizes` or the name of a preset; either way the derivative, its key and
its signature are the same.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs

from lazycrop.derivatives import Derivative
from lazycrop.errors import BadRequest, BadSize, Forbidden
from lazycrop.sizes import Size

SIGNATURE = "s"
EXPIRES = "e"

_VERSION = re.compile(r"v([2-9]|[1-9][0-9]{1,8})", re.ASCII)
_TIME = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_FORM = "an image's URL is <image id>/<size>.<format>, like cat/200x100.jpg"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a URL asks for, and the signature that it carries."""

    derivative: Derivative
    signature: str | None = None
    expires: str | None = None

    @property
    def until(self) -> int | None:
        """When the signature expires, in Unix time; None where it does not, or there is none."""
        return int(self.expires) if self.expires and _TIME.fullmatch(self.expires) else None


def parse(path: str, query: str, presets: Mapping[str, Size]) -> Asked:
    """Read the part of the path below the prefix (one leading slash may stand) and the raw query string.

    Raises :class:`~lazycrop.errors.BadRequest` or one of its subclasses; parameters that mean nothing here are ignored.
    """
    fields = _query(query)
    path = path.removeprefix("/")
    size = fields.get("size")
    if size is None:
        folder, _, name = path.rpartition("/")
        if not folder:
            raise BadRequest(f"The path {path[:80]!r} names no size; {_FORM}.")
        size, dot, extension = name.rpartition(".")
        image_id, version = _split_version(folder)
    else:
        image_id, dot, extension = path.rpartition(".")
        version = None
    if not dot:
        raise BadRequest(f"The path {path[:80]!r} ends in no format; {_FORM}.")
    derivative = Derivative(image_id, read_size(size, presets), extension, version)
    return Asked(derivative, fields.get(SIGNATURE), fields.get(EXPIRES))


def read_size(text: str, presets: Mapping[str, Size]) -> Size | None:
    """A size from its spelling or a preset's name; None for ``origin``."""
    if text == "origin":
        return None
    if text in presets:
        return presets[text]
    try:
        return Size.parse(text)
    except BadSize as error:
        if presets:
            raise BadSize(f"{error} The presets are {', '.join(presets)}.") from None
        raise


def _split_version(folder: str) -> tuple[str, int | None]:
    image_id, _, last = folder.rpartition("/")
    version = _VERSION.fullmatch(last)
    return (image_id, int(version[1])) if version and image_id else (folder, None)


def _query(query: str) -> dict[str, str]:
    if not query:
        return {}
    try:
        # A query arrives as the bytes of the wire, read as latin-1 (PEP 3333), and they are ASCII or an error.
        fields = parse_qs(
            query.encode("latin-1").decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50
        )
    except ValueError:
        raise BadRequest("The query string is not made of UTF-8 name=value pairs.") from None
    for name in ("size", SIGNATURE, EXPIRES):
        if len(fields.get(name, ())) > 1:
            raise BadRequest(f"The parameter {name!r} stands more than once in the query string.")
    return {name: values[0] for name, values in fields.items()}


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
        given = asked.signature.encode()
        right = [hmac.compare_digest(_signature(key, asked.derivative, expires).encode(), given) for key in self._keys]
        if not any(right):
            raise Forbidden("The signature of this URL is wrong; take the URL as the application gives it.")
        if expires and (asked.until is None or asked.until < time.time()):
            raise Forbidden("The signature of this URL has expired; take a new URL from the application.")
        return True


def _signature(key: bytes, derivative: Derivative, expires: str) -> str:
    digest = hmac.digest(key, f"{derivative.key}\n{expires}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
