"""Derivative: which picture is meant, by names alone, and its key in the store."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from lazycrop.errors import BadRequest, BadSize
from lazycrop.model import keys
from lazycrop.model.keys import AUTO as AUTO
from lazycrop.model.keys import CONTENT_TYPES as CONTENT_TYPES
from lazycrop.model.keys import Key, check_image_id
from lazycrop.model.sizes import Size

IMMUTABLE = "public, max-age=31536000, immutable"
"""The Cache-Control of what never changes: an object's key, and a URL with a version, have one content for ever."""

PRIVATE = "private, no-store"
"""The Cache-Control of an object that only who has a signed URL may read."""


@dataclass(frozen=True, slots=True)
class Derivative:
    """One picture of one image: (image id, size, format, version).

    ``image_id``: as :func:`~lazycrop.model.keys.check_image_id` takes it of a source's images; it is put into NFC.
    ``size``: None is the origin itself. ``format``: a key of CONTENT_TYPES, or ``auto`` until one is chosen.
    ``version``: None is whichever version is current.
    """

    image_id: str
    size: Size | None
    format: str
    version: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_id", check_image_id(self.image_id, is_adopted=True))
        if self.format not in CONTENT_TYPES and self.format != AUTO:
            allowed = ", ".join([*CONTENT_TYPES, AUTO])
            raise BadRequest(f"The format {self.format[:40]!r} is unknown; the formats are {allowed}.")
        if self.version is not None and self.version < 1:
            raise BadRequest(f"The version {self.version} does not exist; versions count from 1.")

    @property
    def key(self) -> str:
        """The object's key below the store's base path, which is the URL's path below its prefix too."""
        return keys.derivative(self.image_id, self.version, self.size or "origin", self.format)

    def at(self, version: int) -> Derivative:
        """The same picture at this very version."""
        return replace(self, version=version)

    def etag(self, record_tag: str, recipe: str) -> str:
        """The strong ETag, quoted, known before any work.

        It names the picture (key), the origin (``record_tag``) and the fingerprint of the ``recipe`` of its bytes.
        """
        identity = "\n".join((self.key, record_tag, recipe))
        return f'"{hashlib.sha256(identity.encode()).hexdigest()[:24]}"'

    def to_message(self) -> dict[str, Any]:
        """What is sent to an actor: names only, JSON types only."""
        return {
            "image_id": self.image_id,
            "size": str(self.size) if self.size else None,
            "format": self.format,
            "version": self.version,
        }

    @classmethod
    def from_message(cls, message: dict[str, Any]) -> Derivative:
        """The reverse of :meth:`to_message`; junk raises :class:`~lazycrop.errors.BadRequest`."""
        match message:
            case {
                "image_id": str(image_id),
                "size": str() | None as size,
                "format": str(format),
                "version": int(version),
            }:
                return cls(image_id, Size.parse(size) if size is not None else None, format, version)
        raise BadRequest(f"The message {str(message)[:200]!r} names no derivative.")

    @classmethod
    def of_key(cls, key: Key) -> Derivative | None:
        """The derivative whose object has this key; None for another object, and for what is no size of ours."""
        size, _, format = key.name.rpartition(".")
        if key.kind != "size" or format not in CONTENT_TYPES:
            return None
        with suppress(BadSize):
            return cls(key.image_id, Size.parse(size), format, key.version)
        return None
