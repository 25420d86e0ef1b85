"""Quarantine: for how long an image that could not be made is not tried again, which is longer each time."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lazycrop.errors import Quarantined

LONGEST = 86_400.0
"""Seconds that a quarantine grows to, where the settings do not begin with more."""

_NUMBER = re.compile("[0-9]{1,10}", re.ASCII)
_NEVER = 1e10  # In Unix time.
_DOUBLINGS = 30  # More is longer than the longest, however short the first one is.


@dataclass(frozen=True, slots=True)
class Failures:
    """How often an image of this ``tag`` could not be made, and ``until`` when it is not tried, in Unix time."""

    tag: str
    count: int = 0
    until: float = 0.0

    @classmethod
    def read(cls, value: bytes | None, tag: str) -> Failures:
        """What :meth:`printed` made; none where that is of other content, which was stored under the same id."""
        match (value or b"").decode("ascii", "replace").split():
            case [of, count, until] if of == tag and _NUMBER.fullmatch(count) and _NUMBER.fullmatch(until):
                return cls(tag, int(count), float(until))
        return cls(tag)

    def printed(self) -> bytes:
        return f"{self.tag} {self.count} {self.until:.0f}".encode()

    @property
    def quarantined(self) -> bool:
        return time.time() < self.until

    def again(self, seconds: float) -> Failures:
        """With one more. The second one is the first quarantine, of ``seconds``; each later one is twice as long.

        One that was under way when the quarantine began is not counted: many of one image may be.
        """
        if self.quarantined:
            return self
        count = self.count + 1
        if count == 1:
            return Failures(self.tag, count)
        longest = max(seconds, LONGEST)
        return Failures(self.tag, count, time.time() + min(seconds * 2 ** min(count - 2, _DOUBLINGS), longest))

    def kept(self, seconds: float) -> int:
        """For how many seconds to remember it: as long again as a quarantine lasts, in which it may fail once more."""
        return int(2 * (self.until - time.time())) + 1 if self.quarantined else max(1, int(seconds))


@dataclass(frozen=True, slots=True)
class Quarantine:
    """An image, or a version of one, that is in quarantine ``until`` then. ``code``: of the last error."""

    image_id: str
    version: int
    tag: str
    until: float
    code: str

    def printed(self) -> bytes:
        return json.dumps([self.image_id, self.version, self.tag, self.until, self.code]).encode()

    @classmethod
    def read(cls, content: Any) -> Quarantine | None:
        match content:
            case [str(image_id), int(version), str(tag), float(until), str(code)] if time.time() < until < _NEVER:
                return cls(image_id, version, tag, until, code)
        return None


def refusal(image_id: str, until: float) -> Quarantined:
    """What to raise for an image that is not tried before then."""
    minutes = max(1, round((until - time.time()) / 60))
    return Quarantined(f"The image {image_id!r} could not be decoded; it is tried again in {minutes} minutes.")


PLACES: Sequence[str] = [f"quarantine {number}" for number in range(100)]
"""Where the cache has those that are in quarantine, for it cannot list: each in the first place that is free."""
