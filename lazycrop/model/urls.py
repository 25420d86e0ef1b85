"""URLs: path ⇄ Derivative.

Two forms, one parser, one derivative::

    <image_id>/[v<n>/]<size>.<ext>       cat/200x100.jpg · cat/v2/card.webp · cat/origin.jpg
    <image_id>.<ext>?size=<size>         cat.jpg?size=200x100

``<size>`` is a spelling of :mod:`lazycrop.model.sizes` or the name of a preset; either way the derivative, its key and
its signature are the same. An image id is text of any language: percent-encoded in every URL that goes out
(:func:`quoted`), and decoded once when it comes in here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote

from lazycrop.errors import BadRequest, BadSize
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import check_image_id, split_version
from lazycrop.model.sizes import Size

SIZE = "size"
SIGNATURE = "s"
EXPIRES = "e"

_TIME = re.compile(r"[1-9][0-9]{0,11}", re.ASCII)
_FORM = "an image's URL is <image id>/<size>.<format>, like cat/200x100.jpg"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a URL asks for, and the signature that it carries. ``moved``: its path as it should have been
    spelled, percent-encoded.
    """

    derivative: Derivative
    signature: str | None = None
    expires: str | None = None
    moved: str | None = None

    @property
    def expires_at(self) -> int | None:
        """When the signature expires, in Unix time; None where it does not, or there is none."""
        return int(self.expires) if self.expires and _TIME.fullmatch(self.expires) else None


def parse(
    path: str, query: str, presets: Mapping[str, Size], is_adopted: Callable[[str], bool] = lambda image_id: False
) -> Asked:
    """Read the part of the path below the prefix (one leading slash may stand) and the raw query string.

    ``path``: text, percent-decoded. ``is_adopted``: may this be the id of an image of a source? Its names may be others
    then, see :func:`~lazycrop.model.keys.check_image_id`.
    Raises :class:`~lazycrop.errors.BadRequest` or one of its subclasses; parameters that mean nothing here are ignored.
    """
    fields = _query(query)
    path = path.removeprefix("/")
    size = fields.get(SIZE)
    if size is None:
        folder, _, name = path.rpartition("/")
        if not folder:
            raise BadRequest(f"The path {path[:80]!r} names no size; {_FORM}.")
        size, dot, extension = name.rpartition(".")
        image_id, version = split_version(folder)
    else:
        image_id, dot, extension = path.rpartition(".")
        version = None
    if not dot:
        raise BadRequest(f"The path {path[:80]!r} ends in no format; {_FORM}.")
    format = "jpg" if extension == "jpeg" else extension  # It names what everybody knows.
    derivative = Derivative(image_id, read_size(size, presets), format, version)
    if not is_adopted(derivative.image_id):
        check_image_id(derivative.image_id)
    moved = None
    if (derivative.image_id, format) != (image_id, extension):  # A picture has one URL.
        rest = path[len(image_id) :].removesuffix(extension)
        moved = quoted(f"/{derivative.image_id}{rest}{format}")
    return Asked(derivative, fields.get(SIGNATURE), fields.get(EXPIRES), moved)


def quoted(path: str) -> str:
    """A key, or a path, as it stands in a URL. A comma too is encoded, which would end a URL in a ``srcset``."""
    return quote(path, safe="/@")


def read_size(text: str, presets: Mapping[str, Size]) -> Size | None:
    """A size from its spelling or a preset's name; None for ``origin``."""
    if text == "origin":
        return None
    if text in presets:
        return presets[text]
    try:
        return Size.parse(text)
    except BadSize as error:
        if presets:
            raise BadSize(f"{error} The presets are {', '.join(presets)}.") from None
        raise


def _query(query: str) -> dict[str, str]:
    if not query:
        return {}
    ours: dict[str, str] = {}
    # What others append (?utm_source=…) may be in any encoding, or in none.
    for name, value in parse_qsl(query, keep_blank_values=True, errors="replace"):
        if name in (SIZE, SIGNATURE, EXPIRES):
            if name in ours:
                raise BadRequest(f"The parameter {name!r} stands more than once in the query string.")
            ours[name] = value
    return ours
