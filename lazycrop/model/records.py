"""Record: what is known of one version of an image, kept as one small JSON object beside its origin."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from lazycrop.errors import LazyCropError
from lazycrop.model.derivatives import CONTENT_TYPES, RECORD, folder


class BadRecord(LazyCropError):
    """A stored record cannot be read: it was cut, or written by something else."""

    code = "bad-record"


@dataclass(frozen=True, slots=True)
class Mezzanine:
    """A working copy of the origin: its longer side, its own pixels, format and length in bytes."""

    edge: int
    width: int
    height: int
    format: str
    length: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is known of one version of an image.

    ``width``, ``height``: pixels as displayed. ``length``: of the origin in bytes. ``sha256``: of the origin, hex.
    ``stored_at``: when, in ISO 8601, UTC. ``source``: from where, without query and credentials.
    ``frames``: more than 1 for an animation. ``transparent``: some pixel may be.
    ``placeholder``: a data URI, None when not made. ``colour``: the dominant colour, ``rrggbb``.
    ``focal``: where the subject is, per cent of width and height. ``url``: of the origin; not stored.
    """

    image_id: str
    version: int
    format: str
    width: int
    height: int
    length: int
    sha256: str
    stored_at: str
    source: str
    frames: int = 1
    transparent: bool = False
    mezzanines: tuple[Mezzanine, ...] = ()
    placeholder: str | None = None
    colour: str | None = None
    focal: tuple[int, int] | None = None
    url: str = ""

    @property
    def folder(self) -> str:
        """Where this version's objects are, with a slash at the end."""
        return folder(self.image_id, self.version)

    @property
    def origin_key(self) -> str:
        return f"{self.folder}origin.{self.format}"

    def mezzanine_key(self, mezzanine: Mezzanine) -> str:
        return f"{self.folder}mezzanine-{mezzanine.edge}.{mezzanine.format}"

    @property
    def tag(self) -> str:
        """Names this version's content: two images, or two stores of one, never share it."""
        identity = f"{self.version} {self.sha256} {self.focal} {self.stored_at}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    @property
    def modified(self) -> datetime:
        """When the origin was stored; the Last-Modified of all that is made from it."""
        return datetime.fromisoformat(self.stored_at).astimezone(UTC).replace(microsecond=0)

    def _is_sound(self) -> bool:
        """Are the parts of the types and values that all else relies on? Others may write to the bucket."""
        numbers = (self.version, self.width, self.height, self.length, self.frames)
        kinds = (self.format, *(mezzanine.format for mezzanine in self.mezzanines))
        edges = [n for one in self.mezzanines for n in (one.edge, one.width, one.height, one.length)]
        return (
            all(type(number) is int and number > 0 for number in (*numbers, *edges))
            and all(kind in CONTENT_TYPES for kind in kinds)
            and all(isinstance(text, str) for text in (self.image_id, self.sha256, self.stored_at, self.source))
            and all(isinstance(text, str | None) for text in (self.placeholder, self.colour))
        )

    def to_json(self) -> bytes:
        """The stored form, without ``url``."""
        content = {name: getattr(self, name) for name in _STORED}
        content["mezzanines"] = [
            {name: getattr(mezzanine, name) for name in Mezzanine.__slots__} for mezzanine in self.mezzanines
        ]
        return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """The reverse of :meth:`to_json`. Unknown names are ignored: a newer release may have written them.

        Raises :class:`BadRecord`.
        """
        try:
            content: dict[str, Any] = json.loads(data)
            content = {name: value for name, value in content.items() if name in _STORED}
            content["mezzanines"] = tuple(Mezzanine(**m) for m in content.get("mezzanines", ()))
            if content.get("focal") is not None:
                x, y = content["focal"]
                content["focal"] = (int(x), int(y))
            record = cls(**content)
            if not record._is_sound():
                raise ValueError
            record.modified
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise BadRecord("A stored record is not readable; store the image again.") from error
        return record


_STORED = frozenset(field.name for field in fields(Record)) - {"url"}


def record_key(image_id: str, version: int | None = None) -> str:
    """Where a record is: the current one, or (from the second on) that of a version."""
    return f"{folder(image_id, version)}{RECORD}"
