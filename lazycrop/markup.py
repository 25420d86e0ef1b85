"""Helpers: what a page says of an image, complete and escaped, so that it neither jumps nor loads too much."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from html import escape
from typing import Any

from lazycrop.errors import BadImageId, BadRequest, ImageError, NotAllowed, Unavailable, UnknownImage
from lazycrop.images import LazyCrop
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES, Derivative
from lazycrop.model.keys import ImageId
from lazycrop.model.records import Record
from lazycrop.model.sizes import Asks, Size

# For 3x the bytes would double again, and hardly anybody sees it.
_DENSITIES = (1, 2)

# What is an option of some helper, method or setting, and of no HTML element: not to be lost as an attribute.
_OPTIONS = frozenset(
    [
        *("background", "bound", "direct", "dpr", "fit", "focal", "format", "formats", "gravity"),
        *("image_id", "mount", "placeholder", "prefix", "quality", "query", "secret", "version", "widths"),
    ]
)
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]*", re.ASCII)
# What goes into a style is read from the bucket, and others may write there.
_DATA_URI = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", re.ASCII)
_COLOUR = re.compile(r"[0-9a-f]{6}", re.ASCII)


class Html(str):
    """HTML as it stands: templates that escape leave alone what has ``__html__``."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


Expires = int | timedelta | None
"""How long a URL is good for, in seconds or as a timedelta; for ever when None."""


@dataclass(frozen=True, slots=True)
class _Links:
    """What the URLs are like. ``direct``: the store's own where it is known to be there; not of what ``expires``."""

    direct: bool
    expires: Expires = None


@dataclass(frozen=True, slots=True)
class _Offer:
    """What an element offers to the browser, of whichever image and in whichever format.

    ``box``: the size of ``src``, None for the origin. ``widths`` and ``sizes``: as for :meth:`Helpers.img`.
    """

    box: Size | None
    widths: Sequence[int | Asks]
    sizes: str | None
    links: _Links


class Helpers:
    """The helpers of templates for the images of a LazyCrop; cheap enough to be made for each request.

    ``mount``: where the images are mounted, percent-encoded; the setting ``prefix`` when not given; begins with
    SCRIPT_NAME where there is one.

    ``image_id``, in every helper: a text, the number or UUID of a row, or None for an image that there is not.

    Each call of a helper is one look at the record, so one at the cache. Where there is no such image, or no store to
    ask, a helper shows the setting ``fallback_url``, or else the image that ``fallback_image`` names; without both it
    raises :class:`~lazycrop.errors.UnknownImage`, :class:`~lazycrop.errors.BadImageId` or
    :class:`~lazycrop.errors.Unavailable`. A size that may not be asked for is the template's mistake and always raises
    :class:`~lazycrop.errors.NotAllowed`.

    ``expires``, in every helper: how long its URLs are good for, in seconds or as a timedelta; each is signed then.
    ``direct=True``, in every helper, too: the store's own URL of what is known to be stored, which saves a
    redirect. It costs a look at the cache for each URL, and has no effect on the format ``auto``, on private images
    and on what expires.
    """

    def __init__(self, images: LazyCrop, mount: str | None = None) -> None:
        self._images = images
        self._mount = mount

    @property
    def helpers(self) -> dict[str, Callable[..., str]]:
        """The helpers under their names in templates."""
        return {
            "lazycrop_url": self.url,
            "lazycrop_srcset": self.srcset,
            "lazycrop_img": self.img,
            "lazycrop_picture": self.picture,
        }

    def url(
        self,
        image_id: ImageId | None,
        size: Asks,
        *,
        format: str | None = None,
        version: int | None = None,
        expires: Expires = None,
        direct: bool = False,
    ) -> str:
        """The URL of a picture; see :meth:`lazycrop.LazyCrop.url`."""
        record = self._record(image_id, version)
        if record is None:
            return self._fallback
        return self._url(record, self._images.size(size), format or self._images.config.format, _Links(direct, expires))

    def srcset(
        self,
        image_id: ImageId | None,
        widths: Iterable[int | Asks],
        format: str = AUTO,
        *,
        version: int | None = None,
        expires: Expires = None,
        direct: bool = False,
    ) -> str:
        """The value of an attribute ``srcset``: ``… 400w, … 800w``. ``widths``: in pixels, or sizes."""
        record = self._record(image_id, version)
        if record is None:
            return self._fallback
        return self._by_width(record, format, _Offer(None, tuple(widths), None, _Links(direct, expires)))

    def img(
        self,
        image_id: ImageId | None,
        size: Asks,
        *,
        alt: str = "",
        widths: Sequence[int | Asks] = (),
        sizes: str | None = None,
        format: str = AUTO,
        version: int | None = None,
        expires: Expires = None,
        direct: bool = False,
        placeholder: bool = True,
        **attributes: Any,
    ) -> Html:
        """An ``<img>`` of ``size``, and of twice as many pixels for screens that have them, where policy allows that.

        ``widths``: what the browser may choose from instead: widths in pixels (``size`` in its own shape), or sizes.
        ``sizes``: how wide it is shown; as wide as the window and at most as ``size`` when not given.
        ``placeholder``: show a blurred miniature, by a ``style``, until the picture is there.
        ``attributes``: any others (``class_``, ``data_id``), also in place of ``loading`` and ``decoding``.
        """
        offer = _Offer(self._images.size(size), widths, sizes, _Links(direct, expires))
        record = self._record(image_id, version)
        return Html(self._img(record, format, offer, placeholder, {"alt": alt, **attributes}))

    def picture(
        self,
        image_id: ImageId | None,
        size: Asks,
        *,
        alt: str = "",
        widths: Sequence[int | Asks] = (),
        sizes: str | None = None,
        formats: Sequence[str] | None = None,
        version: int | None = None,
        expires: Expires = None,
        direct: bool = False,
        placeholder: bool = True,
        **attributes: Any,
    ) -> Html:
        """A ``<picture>``: a source for each of ``formats``, then an ``<img>`` in the image's own format.

        ``formats``: those of the setting ``auto_formats`` that may be asked for, when not given. The URL says the
        format, other than with ``auto``: for caches that do not heed Vary, and for ``direct``.
        """
        offer = _Offer(self._images.size(size), widths, sizes, _Links(direct, expires))
        record = self._record(image_id, version)
        img = self._img(record, record.format if record else AUTO, offer, placeholder, {"alt": alt, **attributes})
        config = self._images.config
        formats = formats or config.offered_formats
        sources = "".join(self._source(record, format, offer) for format in formats if record)
        return Html(f"<picture>{sources}{img}</picture>")

    @property
    def _fallback(self) -> str:
        return self._images.config.fallback_url or ""

    def _record(self, image_id: ImageId | None, version: int | None) -> Record | None:
        """That of the fallback image where it is to be shown; None where the fallback's URL is."""
        if image_id is None and (self._fallback or self._images.config.answers.fallback_image):
            return self._instead()
        if not isinstance(image_id, str):
            image_id = self._images.read_id(
                image_id
            )  # Of another type is the template's mistake, and no missing picture.
        try:
            return self._images.pages.record(self._images.read_id(image_id), version)
        except (UnknownImage, BadImageId, ImageError, Unavailable):
            instead = self._instead()
            if instead is None and not self._fallback:
                raise
            return instead

    def _instead(self) -> Record | None:
        return None if self._fallback else self._images.fallback()

    def _img(
        self, record: Record | None, format: str, offer: _Offer, placeholder: bool, attributes: dict[str, Any]
    ) -> str:
        attributes = {"loading": "lazy", "decoding": "async", **_in_html(attributes)}
        box = offer.box
        if record is None:
            sides = {"width": box.width, "height": box.height} if box and box.width and box.height else {}
            return _tag("img", {"src": self._fallback, **sides, **attributes})
        width, height = (None, None) if record.is_unseen else _shown(record, box)
        if placeholder and (background := _background(record, box)):
            attributes["style"] = ";".join(filter(None, (background, attributes.get("style"))))
        src = self._url(record, box, format, offer.links)
        choice = self._choice(record, format, offer)
        return _tag("img", {"src": src, **choice, "width": width, "height": height, **attributes})

    def _source(self, record: Record, format: str, offer: _Offer) -> str:
        choice = self._choice(record, format, offer) or {"srcset": self._url(record, offer.box, format, offer.links)}
        return _tag("source", {"type": CONTENT_TYPES[format], **choice})

    def _choice(self, record: Record, format: str, offer: _Offer) -> dict[str, str]:
        """The attributes by which the browser chooses; none when there is nothing to choose."""
        if offer.widths:
            width, _ = _shown(record, offer.box)
            sizes = offer.sizes or f"(max-width: {width}px) 100vw, {width}px"
            return {"srcset": self._by_width(record, format, offer), "sizes": sizes}
        candidates = self._by_density(record, format, offer.box, offer.links) if offer.box else {}
        if len(candidates) < 2:
            return {}
        return {"srcset": ", ".join(f"{url} {density:g}x" for density, url in candidates.items())}

    def _by_width(self, record: Record, format: str, offer: _Offer) -> str:
        candidates: dict[int, str] = {}
        for asked in offer.widths:
            size = _at_width(offer.box, asked) if isinstance(asked, int) else self._images.size(asked)
            width = _dimensions(size, *record.pixels_for(size))[0] if size else record.width
            candidates.setdefault(width, self._url(record, size, format, offer.links))
        return ", ".join(f"{url} {width}w" for width, url in candidates.items())

    def _by_density(self, record: Record, format: str, box: Size, links: _Links) -> dict[float, str]:
        shown, _ = _shown(record, box)
        candidates: dict[float, str] = {}
        for dpr in _DENSITIES:
            size = replace(box, dpr=dpr)
            # Less than dpr where the origin has no more pixels: from this the browser derives the natural size.
            density = _dimensions(size, *record.pixels_for(size))[0] / shown
            try:
                candidates.setdefault(density, self._url(record, size, format, links))
            except NotAllowed:
                continue
        return candidates

    def _url(self, record: Record, size: Size | None, format: str, links: _Links) -> str:
        format = format if size else record.format
        direct = links.direct and links.expires is None
        if direct and (url := self._images.stored_url(Derivative(record.image_id, size, format, record.version))):
            return url
        return self._images.url_of(record, size or "origin", format=format, expires=links.expires, mount=self._mount)


def _shown(record: Record, box: Size | None) -> tuple[int, int]:
    """Width and height in CSS pixels."""
    if box is None:
        return record.width, record.height
    return _dimensions(box if box.dpr == 1 else replace(box, dpr=1), *record.pixels_for(box))


@lru_cache(10_000)
def _dimensions(size: Size, width: int, height: int) -> tuple[int, int]:
    """Exact arithmetic takes a third of the time of an img, and a page asks for the same few over and over."""
    return size.dimensions(width, height)


def _at_width(box: Size | None, width: int) -> Size:
    """``box`` in its own shape, ``width`` wide."""
    if box is None or box.width is None:
        return Size(width, None)
    height = box.height and max(1, round(box.height * width / box.width))
    return replace(box, width=width, height=height, dpr=1)


def _background(record: Record, box: Size | None) -> str | None:
    """The placeholder as a style; none where it would be seen through the picture, or around it."""
    if record.transparent or (box and box.fit == "contain") or not _DATA_URI.fullmatch(record.placeholder or ""):
        return None
    colour = f"#{record.colour} " if _COLOUR.fullmatch(record.colour or "") else ""
    return f"background:{colour}url({record.placeholder}) center/cover no-repeat"


def _in_html(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Python's names as HTML's: ``class_`` → ``class``, ``data_id`` → ``data-id``."""
    for name in attributes:
        if not _ATTRIBUTE.fullmatch(name):
            raise BadRequest(f"{name!r} is no attribute's name; it is letters, digits, '-', '_', ':' and '.'.")
        if name in _OPTIONS:
            raise BadRequest(f"{name!r} is no option of this helper, and no attribute of HTML.")
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}


def _tag(name: str, attributes: Mapping[str, Any]) -> str:
    """A tag. An attribute that is True stands alone, one that is None or False is left out."""
    parts = [name]
    for attribute, value in attributes.items():
        if value is True:
            parts.append(attribute)
        elif value is not None and value is not False:
            parts.append(f'{attribute}="{escape(str(value))}"')
    return f"<{' '.join(parts)}>"
