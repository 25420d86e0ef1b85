"""Keys: the layout of a store, printed and parsed here and nowhere else.

::

    <image id>/image.json                 what the image is now: its current record, or that it was purged
    <image id>/origin.<format>            the origin of its first version
    <image id>/origin.source              in its place: of an adopted image, whose origin is at its source
    <image id>/mezzanine-<edge>.<format>  working copies
    <image id>/<size>.<format>            each derivative
    <image id>/-claim-<version>-<token>   the number of whoever is changing the image, in the order of the numbers
    <image id>/v2/…                       the same again for the second version; v2/image.json is its own record
    -changes/<seconds>-<digest>           the word that an image is going to change
    -private/<image id>/…                 the objects of a private image, its record among them; where that of a public
                                          one is, there is only the word that it is private
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
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

CHANGES = "-changes/"
"""Where the words of changes are; see :mod:`lazycrop.library.changes`."""

AT_SOURCE = "source"
"""In place of an origin's format where it is not in the store."""

_RECORD = "image.json"
_CLAIM = "-claim-"
_CHANGED = re.compile(rf"{CHANGES}([1-9][0-9]{{0,10}})-([0-9a-f]+)", re.ASCII)
_CLAIMED = re.compile(rf"{_CLAIM}([1-9][0-9]{{0,8}})-[0-9a-f]+", re.ASCII)

_LONGEST = 200
_MOST_DECOMPOSED = 4  # characters for one of NFC (Unicode Standard Annex 15, 9)

# What no name has: control characters and line separators, which forge lines of a log and end a header; halves of
# characters, which are no UTF-8; what Unicode says is no character, which the XML of S3 cannot hold; and what separates
# names, somewhere. Signs that turn the direction of a text are in real names, of files in Hebrew above all: to refuse
# them would help nobody, since an id is escaped wherever it is shown.
_NO_CHARACTERS = "".join(chr(plane + last) for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF))
_SEGMENT = rf"(?!\.)[^\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufdd0-\ufdef{_NO_CHARACTERS}/\\]+"
_IMAGE_ID = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})*")

_EXTENSION = rf"\.(?:{'|'.join(CONTENT_TYPES)}|{AUTO})"
# Names that mean something else below an image: its versions, its objects, and anything like a size.
_RESERVED = re.compile(
    rf"v[0-9]+|image\.json|{_CLAIM}[0-9a-f-]+|(?:origin|mezzanine-[0-9]+){_EXTENSION}"
    r"|[0-9]*x[0-9]+[\w@.-]*|[0-9]+x(?:[-@.][\w@.-]*)?",
    re.ASCII,
)
_VERSION = re.compile(r"v([2-9]|[1-9][0-9]{1,8})", re.ASCII)
_NAME = re.compile(
    rf"(?P<record>image\.json)|(?P<claim>{_CLAIM}[0-9a-f-]+)"
    r"|(?P<origin>origin)\.(?P<of>[a-z]+)|(?P<mezzanine>mezzanine-[0-9]+)\.[a-z]+|(?P<size>[0-9x][\w@-]*)\.[a-z]+",
    re.ASCII,
)


ImageId = str | int | UUID
"""An image id as users give it."""


def composed(name: str) -> str:
    """The name in the one form of Unicode that ids have, NFC. Old Macs take names apart, and keyboards do."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


@lru_cache(maxsize=1024)  # One request checks its id five times.
def check_image_id(image_id: str, *, is_adopted: bool = False) -> str:
    """The id in NFC; one that is malformed or reserved raises :class:`~lazycrop.errors.BadImageId`.

    One or more names joined by ``/``, 200 characters at most, each a name that a file may have: no control character,
    no ``\\``, no dot at its beginning.

    None is a version (``v2``), looks like a size (``200x100.jpg``) or is named as an object below an image is, so that
    nobody takes one for the other. ``is_adopted``: the id of an image of a source, whose files have such names. Then
    all is allowed that can be told apart. An object's name is always the last one of a key or URL and an id never is,
    so these are no trouble; what cannot be told apart is refused of all ids: ``a/v2`` is the second version of ``a``
    (but ``v2`` alone is nobody's version, nor is ``a/v2/b``), and what is below ``-private/`` or ``-changes/`` is ours.
    """
    # Nothing that is longer can be within the limit in NFC; to compose very long texts takes time.
    if len(image_id) > _LONGEST * _MOST_DECOMPOSED or len(text := composed(image_id)) > _LONGEST:
        raise BadImageId(f"The image id {image_id[:40]!r}… has {len(image_id)} characters; {_LONGEST} are allowed.")
    if not _IMAGE_ID.fullmatch(text):
        raise BadImageId(
            f"The image id {text!r} is malformed; it is one or more names joined by '/', of any characters but control "
            "characters, line separators, backslashes and what is no UTF-8, and none beginning with a dot."
        )
    if (reserved := _reserved(text, is_adopted)) is not None:
        raise BadImageId(f"The image id {text!r} uses the reserved name {reserved!r}; choose another one.")
    return text


def _reserved(image_id: str, is_adopted: bool) -> str | None:
    """The first name in it that has another meaning."""
    names = image_id.split("/")
    if f"{names[0].lower()}/" in (PRIVATE, CHANGES):  # Also in capitals: there are folders that take both for one.
        return names[0]
    if is_adopted:
        return names[-1] if split_version(image_id)[1] else None
    return next((name for name in names if _RESERVED.fullmatch(name)), None)


def read_image_id(image_id: object, is_adopted: Callable[[str], bool] = lambda image_id: False) -> str:
    """An image id as users have it: a text, or the number or UUID of a row; see :func:`check_image_id`.

    ``is_adopted``: may a text be the id of an image of a source? Raises :class:`~lazycrop.errors.BadImageId`.
    """
    if isinstance(image_id, bool) or not isinstance(image_id, str | int | UUID):
        raise BadImageId(f"The image id is {_a(image_id)}; it is a text, a whole number or a UUID.")
    text = check_image_id(str(image_id), is_adopted=True)
    return text if is_adopted(text) else check_image_id(text)


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
    """What is there while somebody has this number. ``token``: hexadecimal, theirs alone."""
    return f"{folder(image_id, 1)}{_CLAIM}{version}-{token}"


def claimed(key: str) -> int | None:
    """The number that is claimed by this object; None where it is no claim."""
    match = _CLAIMED.fullmatch(key.rpartition("/")[2])
    return int(match[1]) if match else None


def change(seconds: int, digest: str) -> str:
    """What says that an image is going to change. ``seconds``: in Unix time. ``digest``: of its id, hexadecimal."""
    return f"{CHANGES}{seconds}-{digest}"


def changed(key: str) -> tuple[int, str] | None:
    """The seconds and the digest of such a word; None for what is none."""
    match = _CHANGED.fullmatch(key)
    return (int(match[1]), match[2]) if match else None


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
        image_id, version = split_version(place)
        match = _NAME.fullmatch(name)
        try:
            if match is None or check_image_id(image_id, is_adopted=True) != image_id:
                return None
        except BadImageId:
            return None
        kind = next(kind for kind, found in match.groupdict().items() if found and kind != "of")
        return cls(image_id, claimed(text) or version or 1, kind, name, private)


def split_version(place: str) -> tuple[str, int | None]:
    """The image id and the version of ``<image id>/v2``; None where no version is said."""
    image_id, _, last = place.rpartition("/")
    version = version_of(last) if image_id else None
    return (place, None) if version is None else (image_id, version)


def version_of(folder_name: str) -> int | None:
    """The version whose folder is named so (``v2``); None for another folder."""
    match = _VERSION.fullmatch(folder_name.rstrip("/"))
    return int(match[1]) if match else None
