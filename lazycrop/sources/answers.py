"""Answers of a site: whether a file is there, what changes when it does, and its bytes. [urllib3]"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from email.utils import parsedate_to_datetime

from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from lazycrop.errors import ImageTooLarge, SourceUnavailable
from lazycrop.sources.contract import Seen
from lazycrop.sources.download import is_encoded

BROKEN = "The source answered for this image in a way that cannot be used; try again in a few seconds."

_PIECE = 65_536  # bytes
_FROM_START = re.compile(r"bytes +0-[0-9]+/([0-9]+|\*)", re.ASCII | re.IGNORECASE)
# RFC 9110, 8.8.2.2: a date in whole seconds tells no two changes of the same second apart.
_TICK = timedelta(seconds=2)


class NotInPart(Exception):
    """A part of the file does not say enough of it: ask for all."""


def taken(response: BaseHTTPResponse, take: Callable[[BaseHTTPResponse], Seen]) -> Seen | str | None:
    """What ``take`` makes of a file; where the answer redirects to; None for what is not there."""
    if location := response.get_redirect_location():
        return location
    status = response.status
    if status == 416:  # an empty file has no first byte
        raise NotInPart
    if 400 <= status < 500 and status not in (408, 429):
        return None
    if status in (429, 503):
        raise OSError(f"the site answers {status}")
    if status not in (200, 206):
        raise SourceUnavailable(BROKEN) from OSError(f"the site answers {status}")
    if is_encoded(response):
        raise SourceUnavailable(BROKEN) from OSError("the site encodes the file, which was not asked for")
    if status == 206 and not _FROM_START.fullmatch(response.headers.get("Content-Range", "")):
        raise SourceUnavailable(BROKEN) from OSError("the site sends another part of the file")
    return take(response)


def beginning(response: BaseHTTPResponse, first: int, limit: int = 0) -> Seen:
    """The file's first bytes. ``limit``: for a file without a validator, how many bytes of all it may have; 0 raises
    :class:`NotInPart` for one.
    """
    length = _length(response)
    if validator := _validator(response, length):
        data = bytearray()
        while len(data) < first and (piece := response.read1(min(_PIECE, first - len(data)))):
            data += piece
        if len(data) < min(first, length or 0):
            raise ProtocolError("the answer ended early")
        return Seen(validator, bytes(data), length)
    if not limit:
        raise NotInPart
    seen = whole(response, limit)
    return Seen(seen.validator, seen.data[:first], seen.length)


def whole(response: BaseHTTPResponse, limit: int) -> Seen:
    if response.status != 200:
        raise ProtocolError("a part was sent that was not asked for")
    data, length = bytearray(), _length(response)
    while max(len(data), length or 0) <= limit:
        piece = response.read1(_PIECE)
        data += piece
        if not piece:
            if not data and length is None and "Transfer-Encoding" not in response.headers:
                raise ProtocolError("the answer ended within its headers")
            return Seen(_validator(response, len(data)) or _hash(data), bytes(data), len(data))
    raise ImageTooLarge(f"The image has more than {limit:,} bytes, which is the limit ('download_bytes').")


def finish(response: BaseHTTPResponse) -> None:
    """Close it. What is left of a short one is read, because one that was read to its end keeps its connection."""
    with suppress(HTTPError, OSError):
        left = response.length_remaining
        while left is not None and 0 < left <= _PIECE and response.read1(left):
            left = response.length_remaining
    response.close()


def _length(response: BaseHTTPResponse) -> int | None:
    """Of the file, if the answer says it; of a part, its Content-Length is that of the part."""
    if response.status == 206:
        match = _FROM_START.fullmatch(response.headers.get("Content-Range", ""))
        return int(match[1]) if match and match[1] != "*" else None
    length = response.headers.get("Content-Length", "").partition(",")[0].strip()
    return int(length) if length.isdecimal() else None


def _validator(response: BaseHTTPResponse, length: int | None) -> str | None:
    """A text that is another one when the file is; the same for a part of it and for all."""
    if etag := response.headers.get("ETag", "").strip():
        return etag
    changed = response.headers.get("Last-Modified", "")
    if length is None or not changed or _is_fresh(changed, response.headers.get("Date", "")):
        return None
    return f"{length}-{changed}"


def _is_fresh(changed: str, now: str) -> bool:
    try:
        return parsedate_to_datetime(now) - parsedate_to_datetime(changed) < _TICK
    except (ValueError, TypeError):  # no date, or one without a zone
        return False


def _hash(data: bytearray) -> str:
    return f"sha256-{hashlib.sha256(data).hexdigest()}"
