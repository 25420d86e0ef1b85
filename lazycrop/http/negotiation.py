"""What a request's headers ask for: the format by Accept, nothing at all by If-None-Match. [WebOb]"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from webob.acceptparse import create_accept_header
from webob.datetime_utils import parse_date
from webob.etag import ETagMatcher

from lazycrop.model.derivatives import CONTENT_TYPES


def named_formats(accept: str | None, formats: Sequence[str]) -> list[str]:
    """Those of ``formats`` that ``accept`` (RFC 9110, 12.5.1) names itself, best first; ties keep the order given.

    A wildcard names nothing: every browser sends ``*/*``, also one that cannot show AVIF.
    """
    ranges = create_accept_header(accept).parsed or ()
    quality = {media_range.lower(): q for media_range, q, _, _ in ranges}
    named = [format for format in formats if quality.get(CONTENT_TYPES[format], 0) > 0]
    return sorted(named, key=lambda format: -quality[CONTENT_TYPES[format]])


def is_unchanged(
    etag: str, modified: datetime | None, if_none_match: str | None, if_modified_since: str | None
) -> bool:
    """May a GET be answered with 304? (RFC 9110, 13.2.2: the date counts only where no tag is sent.)

    ``etag``: quoted. ``modified``: whole seconds, with a zone; None where no date says which bytes are meant. Only
    the very date counts that was sent with them: some clients send the time of their answer, and that may have had
    other bytes.
    """
    if if_none_match is not None:
        return etag.strip('"') in ETagMatcher.parse(if_none_match, strong=False)
    try:
        since = parse_date(if_modified_since)
    except (ValueError, OverflowError):  # A year that no calendar has.
        return False
    return since is not None and modified == since
