"""Record: what is known of one version of an image, kept as one small JSON object beside its origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any, Literal

from lazycrop.errors import BadRecord, BadRequest
from lazycrop.model import crops, keys
from lazycrop.model.crops import Crop, Rectangle
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import CONTENT_TYPES
from lazycrop.model.sizes import Size

Focal = tuple[int, int] | Literal["auto"] | None
"""Where the subject is: per cent of width and height, or to be looked for."""


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
    ``focal``: where the subject is, per cent of width and height. ``crops``: of sizes of some shapes, the part of the
    image that they show. ``recipe``: the fingerprint of the settings by which sizes were made when it was stored.
    ``private``: only who has a signed URL gets anything of it. ``made_from``: SHA-256 of the file that all of it was
    made from, hex. ``validator``: of an adopted image, what its source said of that file; ``at_source``: and its origin
    is there still, not in the store. ``url``: of the origin; not stored.
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
    crops: tuple[Crop, ...] = ()
    recipe: str = ""
    private: bool = False
    made_from: str = ""
    validator: str = ""
    at_source: bool = False
    url: str = ""

    @property
    def is_adopted(self) -> bool:
        """Was it made of a file that a source has? Such an image follows its file."""
        return bool(self.validator)

    @property
    def is_provisional(self) -> bool:
        """Has nobody stored anything of it yet? It is what the header of a source's file says."""
        return self.is_adopted and not self.sha256

    @property
    def is_unseen(self) -> bool:
        """Has nobody looked yet whether there is such an image? Nothing but its id is known then."""
        return not self.stored_at

    @property
    def folder(self) -> str:
        """Where this version's objects are, with a slash at the end."""
        return keys.folder(self.image_id, self.version, self.private)

    @property
    def origin_key(self) -> str:
        """What is there for as long as the version is: its origin, or a word of where that is."""
        format = keys.AT_SOURCE if self.at_source else self.format
        return keys.origin(self.image_id, self.version, format, self.private)

    def mezzanine_key(self, mezzanine: Mezzanine) -> str:
        return keys.mezzanine(self.image_id, self.version, mezzanine.edge, mezzanine.format, self.private)

    def key_of(self, derivative: Derivative) -> str:
        """Where a derivative of this very version is, or will be."""
        size, format = derivative.size or "origin", derivative.format
        return keys.derivative(self.image_id, self.version, size, format, self.private)

    def part_of(self, size: Size) -> Rectangle | None:
        """The part of the image that an editor has chosen for a size."""
        return next((crop.part for crop in self.crops if crop.is_of(size)), None) if self.crops else None

    def pixels_for(self, size: Size) -> tuple[int, int]:
        """Width and height in pixels of what a size is made from: all of the image, or the part chosen for it."""
        part = self.part_of(size)
        return crops.pixels(part, self.width, self.height) if part else (self.width, self.height)

    @property
    def tag(self) -> str:
        """Names this version's content: two images, or two stores of one, never share it."""
        identity = f"{self.version} {self.sha256} {self.focal} {self.stored_at}"
        if self.is_adopted:  # The same before it is adopted, when nobody has read all of the file.
            identity = f"{self.version} {self.validator} {self.focal}"
        return hashlib.sha256(identity.encode()).hexdigest()[:16]

    @property
    def modified(self) -> datetime:
        """When the origin was stored; the Last-Modified of all that is made from it."""
        return datetime.fromisoformat(self.stored_at).astimezone(UTC).replace(microsecond=0)

    def _is_sound(self) -> bool:
        """Are the parts of the types and values that all else relies on? Others may write to the bucket."""
        numbers = [self.version, self.width, self.height, self.length, self.frames]
        numbers += [n for one in self.mezzanines for n in (one.edge, one.width, one.height, one.length)]
        kinds = (self.format, *(mezzanine.format for mezzanine in self.mezzanines))
        texts = (self.image_id, self.sha256, self.stored_at, self.source, self.recipe, self.made_from, self.validator)
        return (
            all(type(number) is int and 0 < number < _LARGEST for number in numbers)
            and all(kind in CONTENT_TYPES for kind in kinds)
            and all(isinstance(text, str) for text in texts)
            and all(isinstance(text, str | None) for text in (self.placeholder, self.colour))
            and isinstance(self.transparent, bool)
            and isinstance(self.private, bool)
            and isinstance(self.at_source, bool)
            and (self.focal is None or all(0 <= part <= 100 for part in self.focal))
        )

    def to_json(self) -> bytes:
        """The stored form, without ``url``."""
        content = {name: getattr(self, name) for name in _STORED}
        content["mezzanines"] = [
            {name: getattr(mezzanine, name) for name in Mezzanine.__slots__} for mezzanine in self.mezzanines
        ]
        content["crops"] = crops.to_json(self.crops)
        return json.dumps(content, separators=(",", ":"), sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Record:
        """The reverse of :meth:`to_json`. Unknown names are ignored: a newer release may have written them.

        Raises :class:`~lazycrop.errors.BadRecord`.
        """
        with _reading():
            return cls._of(json.loads(data))

    @classmethod
    def _of(cls, content: dict[str, Any]) -> Record:
        content = {name: value for name, value in content.items() if name in _STORED}
        content["mezzanines"] = tuple(Mezzanine(**m) for m in content.get("mezzanines", ()))
        content["crops"] = crops.from_json(content.get("crops", {}))
        if content.get("focal") is not None:
            x, y = content["focal"]
            content["focal"] = (int(x), int(y))
        record = cls(**content)
        if not record._is_sound():
            raise ValueError
        record.modified
        return record


@dataclass(frozen=True, kw_only=True)
class Tombstone:
    """What is left of an image that was purged: the number of its last version, which is never used again.

    ``purged_at``: when, in ISO 8601, UTC. ``private``: an image that is adopted again stays so.
    """

    image_id: str
    version: int
    purged_at: str
    private: bool = False

    def to_json(self) -> bytes:
        content = {"image_id": self.image_id, "purged": self.version, "purged_at": self.purged_at}
        return json.dumps({**content, "private": True} if self.private else content).encode()


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """What is said of a private image where anybody may read: that it has a record among what is private."""

    image_id: str
    version: int

    def to_json(self) -> bytes:
        return json.dumps({"image_id": self.image_id, "private": self.version}).encode()


def read(data: bytes) -> Record | Tombstone | Pointer:
    """What an image is now, from the object that says so. Raises :class:`~lazycrop.errors.BadRecord`."""
    with _reading():
        content = json.loads(data)
        if "format" in content:
            return Record._of(content)
        image_id, version = content["image_id"], content.get("purged", content.get("private"))
        if type(version) is not int or not 0 < version < _LARGEST or not isinstance(image_id, str):
            raise ValueError
        if "purged" in content:
            private = content.get("private") is True
            return Tombstone(image_id=image_id, version=version, purged_at=str(content["purged_at"]), private=private)
        return Pointer(image_id=image_id, version=version)


@contextmanager
def _reading() -> Iterator[None]:
    """Anything may be in an object: cut, deeply nested, with numbers and dates beyond all bounds."""
    try:
        yield
    except (ArithmeticError, ValueError, TypeError, AttributeError, LookupError, RecursionError) as error:
        raise BadRecord("A stored record is not readable; store the image again.") from error


_STORED = frozenset(field.name for field in fields(Record)) - {"url"}
_UNSEEN = 100_000  # Pixels on a side.
_LARGEST = 1 << 53  # of the whole numbers that every reader of JSON agrees on (RFC 8259, 6)


def unseen(image_id: str, version: int | None, private: bool) -> Record:
    """What stands for an image of which nothing is known yet: as large as one may be, so that any size can be named."""
    return Record(
        image_id=image_id,
        version=version or 1,
        format="jpg",
        width=_UNSEEN,
        height=_UNSEEN,
        length=0,
        sha256="",
        stored_at="",
        source="",
        private=private,
    )


def now() -> str:
    """In ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()


def read_focal(focal: Any) -> Focal:
    """A focal point as it is when its record is read again. Raises :class:`~lazycrop.errors.BadRequest`."""
    match focal:
        case None | "auto":
            return focal
        case (int(x), int(y)) if 0 <= x <= 100 and 0 <= y <= 100:
            return int(x), int(y)
    raise BadRequest(f"The focal point {focal!r} is malformed; it is (x, y) in whole per cent, or 'auto'.")
