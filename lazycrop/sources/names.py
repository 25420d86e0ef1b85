"""Names of files in a source: the one check that every source makes before it asks for anything."""

from __future__ import annotations

import re

_LONGEST = 1024  # bytes; what a key of S3 may have, and more than any image id
_NO_PART = re.compile(r"\..*|.*[\x00-\x1f\x7f-\x9f\ud800-\udfff\\].*|", re.DOTALL)


def segments(name: str) -> list[str] | None:
    """The segments of a name that an image may have; None for one that means something else, as ``..`` does.

    Ids were checked long before: this makes sure that no name ever leaves its source, whoever asks.
    """
    parts = name.split("/")
    if any(map(_NO_PART.fullmatch, parts)):
        return None
    return parts if len(name.encode()) <= _LONGEST else None


def is_name(name: str) -> bool:
    return segments(name) is not None
