"""Derivative: which picture is meant, by names alone, and its key in the store."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import Any

from lazycrop.errors import BadImageId, BadRequest
from lazycrop.model.sizes import Size

CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}
"""Every format that can be asked for, by its extension."""

IMMUTABLE = "public, max-age=31536000, immutable"
"""The Cache-Control of what never changes: an object's key, and a URL with a version, have one content for ever."""

AUTO = "auto"
"""The extension of a URL whose format is chosen by the request's Accept header."""

RECORD = "image.json"

_EXTENSION = rf"\.(?:{'|'.join(CONTENT_TYPES)}|{AUTO})"
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
# Names that mean something else below an image: its versions, its objects, and anything like a size.
_RESERVED = re.compile(
    rf"v[0-9]+|image\.json|(?:origin|mezzanine-[0-9]+){_EXTENSION}|[0-9]*x[0-9]+.*|[0-9]+x(?:[-@.].*)?", re.ASCII
)


def check_image_id(image_id: str) -> str:
    """Return ``image_id`` as it is, or raise :class:`~lazycrop.errors.BadImageId`.

    One or more segments of ``[A-Za-z0-9_][A-Za-z0-9_.-]*`` joined by ``/``, 200 characters at most; no segment
    is a version (``v2``), looks like a size (``200x100.jpg``) or is named as an object below an image is.
    """
    if len(image_id) > 200:
        raise BadImageId(f"The image id {image_id[:40]!r}… has {len(image_id)} characters; 200 are allowed.")
    for segment in image_id.split("/"):
        if not _SEGMENT.fullmatch(segment):
            raise BadImageId(
                f"The image id {image_id!r} is malformed; it is one or more segments joined by '/', each of letters, "
                "digits, '_', '.' and '-', the first character a letter, digit or '_'."
            )
        if _RESERVED.fullmatch(segment):
            raise BadImageId(f"The image id {image_id!r} uses the reserved name {segment!r}; choose another one.")
    return image_id


@dataclass(frozen=True, slots=True)
class Derivative:
    """One picture of one image: (image id, size, format, version).

    ``size``: None is the origin itself. ``format``: a key of CONTENT_TYPES, or ``auto`` until one is chosen.
    ``version``: None is whichever version is current.
    """

    image_id: str
    size: Size | None
    format: str
    version: int | None = None

    def __post_init__(self) -> None:
        check_image_id(self.image_id)
        if self.format not in CONTENT_TYPES and self.format != AUTO:
            allowed = ", ".join([*CONTENT_TYPES, AUTO])
            raise BadRequest(f"The format {self.format[:40]!r} is unknown; the formats are {allowed}.")
        if self.version is not None and self.version < 1:
            raise BadRequest(f"The version {self.version} does not exist; versions count from 1.")

    @property
    def key(self) -> str:
        """The object's key below the store's base path, which is the URL's path below its prefix too."""
        return f"{folder(self.image_id, self.version)}{self.size or 'origin'}.{self.format}"

    def at(self, version: int) -> Derivative:
        """The same picture at this very version."""
        return replace(self, version=version)

    def etag(self, record_tag: str, fingerprint: str) -> str:
        """The strong ETag, quoted, known before any work.

        It names the picture (key), the origin (``record_tag``) and the settings that change bytes (``fingerprint``).
        """
        identity = "\n".join((self.key, record_tag, fingerprint))
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


def folder(image_id: str, version: int | None) -> str:
    """Where the objects of this version of an image are, with a slash at the end."""
    return f"{image_id}/v{version}/" if version and version > 1 else f"{image_id}/"
