"""Keys: the layout of a store, printed and parsed here and nowhere else.

::

    <image id>/image.json                 what the image is now: its current record, or that it was purged
    <image id>/origin.<format>            the origin of its first version
    <image id>/mezzanine-<edge>.<format>  working copies
    <image id>/<size>.<format>            each derivative
    <image id>/-claim-<token>             a version that is being written
    <image id>/v2/…                       the same again for the second version; v2/image.json is its own record
    -private/<image id>/…                 the objects of a private image, its record among them; where that of a public
                                          one is, there is only the word that it is private
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from uuid import UUID

from lazycrop.errors import BadImageId

CONTENT_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}
"""Every format that can be asked for, by its extension."""

AUTO = "auto"
"""The extension of a URL whose format is chosen by the request's Accept header."""

PRIVATE = "-private/"
"""Where all that nobody may read without a signature is: what a bucket's policy has to name."""

_RECORD = "image.json"
_CLAIM = "-claim-"  # No segment of an image id begins with a hyphen.

_EXTENSION = rf"\.(?:{'|'.join(CONTENT_TYPES)}|{AUTO})"
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
# Names that mean something else below an image: its versions, its objects, and anything like a size.
_RESERVED = re.compile(
    rf"v[0-9]+|image\.json|(?:origin|mezzanine-[0-9]+){_EXTENSION}|[0-9]*x[0-9]+.*|[0-9]+x(?:[-@.].*)?", re.ASCII
)
_VERSION = re.compile(r"v([2-9]|[1-9][0-9]{1,8})", re.ASCII)
_NAME = re.compile(
    rf"(?P<record>image\.json)|(?P<claim>{_CLAIM}[0-9a-f]+)"
    r"|(?P<origin>origin)\.(?P<of>[a-z]+)|(?P<mezzanine>mezzanine-[0-9]+)\.[a-z]+|(?P<size>[0-9x][^/]*)\.[a-z]+",
    re.ASCII,
)


ImageId = str | int | UUID
"""An image id as users give it."""


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


def read_image_id(image_id: object) -> str:
    """An image id as users have it: a text, or the number or UUID of a row.

    Raises :class:`~lazycrop.errors.BadImageId`.
    """
    if isinstance(image_id, bool) or not isinstance(image_id, str | int | UUID):
        raise BadImageId(f"The image id is {_a(image_id)}; it is a text, a whole number or a UUID.")
    return check_image_id(str(image_id))


def _a(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"


def folder(image_id: str, version: int | None, private: bool = False) -> str:
    """Where the objects of this version of an image are, with a slash at the end."""
    place = f"{PRIVATE if private else ''}{image_id}/"
    return f"{place}v{version}/" if version and version > 1 else place


def record(image_id: str, version: int | None = None, private: bool = False) -> str:
    """Where what the image is now is said, or (from the second on) the record of a version."""
    return f"{folder(image_id, version, private)}{_RECORD}"


def claim(image_id: str, version: int, token: str) -> str:
    """What is there while somebody writes a version. ``token``: hexadecimal, theirs alone."""
    return f"{folder(image_id, version)}{_CLAIM}{token}"


def origin(image_id: str, version: int | None, format: str, private: bool = False) -> str:
    return f"{folder(image_id, version, private)}origin.{format}"


def mezzanine(image_id: str, version: int, edge: int, format: str, private: bool = False) -> str:
    return f"{folder(image_id, version, private)}mezzanine-{edge}.{format}"


def derivative(image_id: str, version: int | None, size: object, format: str, private: bool = False) -> str:
    """``size``: a :class:`~lazycrop.model.sizes.Size`, or its spelling."""
    return f"{folder(image_id, version, private)}{size}.{format}"


@dataclass(frozen=True, slots=True)
class Key:
    """What a key says. ``kind``: record, claim, origin, mezzanine or size."""

    image_id: str
    version: int
    kind: str
    name: str
    private: bool = False

    @classmethod
    def parse(cls, text: str) -> Key | None:
        """The reverse of the functions above; None for what is none of ours."""
        private = text.startswith(PRIVATE)
        place, _, name = text.removeprefix(PRIVATE).rpartition("/")
        image_id, _, last = place.rpartition("/")
        version = version_of(last) if image_id else None
        if version is None:
            image_id, version = place, 1
        match = _NAME.fullmatch(name)
        try:
            check_image_id(image_id)
        except BadImageId:
            return None
        kind = (
            next((kind for kind, found in match.groupdict().items() if found and kind != "of"), None) if match else None
        )
        return cls(image_id, version, kind, name, private) if kind else None


def version_of(folder_name: str) -> int | None:
    """The version whose folder is named so (``v2``); None for another folder."""
    match = _VERSION.fullmatch(folder_name.rstrip("/"))
    return int(match[1]) if match else None
