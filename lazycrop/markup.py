"""Markup: what a page says of an image, complete and escaped, so that the page neither jumps nor loads too much."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from html import escape
from typing import Any

from lazycrop.derivatives import AUTO, CONTENT_TYPES, Derivative
from lazycrop.errors import BadImageId, BadRequest, NotAllowed, StoreUnavailable, UnknownImage
from lazycrop.records import Record
from lazycrop.service import Asks, LazyCrop
from lazycrop.sizes import Size

# A third of a CSS pixel is no longer seen: the picture for 3x would be more than twice the bytes for nothing.
_DENSITIES = (1, 2)

_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9_:.-]*", re.ASCII)
# What is written into a style comes from the bucket, which others may write to.
_DATA_URI = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", re.ASCII)
_COLOUR = re.compile(r"[0-9a-f]{6}", re.ASCII)


class Html(str):
    """HTML as it stands. Templates that escape leave alone what has ``__html__``."""

    __slots__ = ()

    def __html__(self) -> str:
        return str(self)


@dataclass(frozen=True, slots=True)
class _Asked:
    """An image and how its URLs are to be made."""

    record: Record
    format: str
    direct: bool
    expires: int | None = None


class Markup:
    """The helpers of a template, for the images of one LazyCrop.

    ``mount``: where they are mounted, as for :meth:`lazycrop.LazyCrop.url`, percent-encoded; cheap enough to be made
    for each request. One look at the record is one look at the cache, whatever the number of URLs made from it.

    ``image_id`` of every helper: where there is no such image, or no store to ask, the helper shows the setting
    ``fallback_url``; without that it raises :class:`~lazycrop.errors.UnknownImage` or what else was wrong. A size that
    is not allowed always raises :class:`~lazycrop.errors.NotAllowed`: it is the template's mistake.
    ``direct``: give the store's own URL, which saves the redirect, where the size is known to be stored already; it
    costs one look at the cache for each URL. Not for the format ``auto``.
    """

    def __init__(self, images: LazyCrop, mount: str | None = None) -> None:
        self._images = images
        self._mount = mount

    @property
    def helpers(self) -> dict[str, Callable[..., str]]:
        """The helpers by the names that templates know them by."""
        return {
            "lazycrop_url": self.url,
            "lazycrop_srcset": self.srcset,
            "lazycrop_img": self.img,
            "lazycrop_picture": self.picture,
        }

    def url(
        self,
        image_id: str,
        size: Asks,
        *,
        format: str | None = None,
        version: int | None = None,
        expires: int | None = None,
        direct: bool = False,
    ) -> str:
        """The URL of a picture. The arguments are those of :meth:`lazycrop.LazyCrop.url`."""
        record = self._record(image_id, version)
        if record is None:
            return self._fallback
        asked = _Asked(record, format or self._images.config.format, direct, expires)
        return self._url(asked, self._images._size(size))

    def srcset(
        self,
        image_id: str,
        widths: Iterable[int | Asks],
        format: str = AUTO,
        *,
        version: int | None = None,
        direct: bool = False,
    ) -> str:
        """The value of a ``srcset``: ``… 400w, … 800w``. ``widths``: in pixels, or sizes of any kind."""
        record = self._record(image_id, version)
        if record is None:
            return self._fallback
        sizes = [Size(width, None) if isinstance(width, int) else self._images._size(width) for width in widths]
        return self._by_width(_Asked(record, format, direct), sizes)

    def img(
        self,
        image_id: str,
        size: Asks,
        *,
        alt: str = "",
        widths: Sequence[int | Asks] = (),
        sizes: str | None = None,
        format: str = AUTO,
        version: int | None = None,
        direct: bool = False,
        placeholder: bool = True,
        **attributes: Any,
    ) -> Html:
        """An ``<img>`` of ``size``, also for screens with two pixels per CSS pixel where policy allows that size.

        ``widths``: other widths in pixels of the same shape (or sizes) that the browser may choose from, by ``sizes``:
        as wide as the window and ``size`` at most when not given. ``placeholder``: show the image's blurred miniature
        until it is loaded, by a ``style``. ``attributes``: more of them, ``class_`` and ``data_x`` without the
        underscores; these may replace ``loading`` and ``decoding`` too, and None takes one away.
        """
        record = self._record(image_id, version)
        box = self._images._size(size)
        attributes = {"alt": alt, "loading": "lazy", "decoding": "async", **_named(attributes)}
        if record is None:
            width, height = (box.width, box.height) if box and box.width and box.height else (None, None)
            return Html(_tag("img", {"src": self._fallback, "width": width, "height": height, **attributes}))
        asked = _Asked(record, format, direct)
        width, height = _displayed(record, box)
        background = _background(record, box) if placeholder else None
        attributes["style"] = ";".join(filter(None, (background, attributes.get("style")))) or None
        return Html(
            _tag(
                "img",
                {
                    "src": self._url(asked, box),
                    **self._choices(asked, box, widths, sizes),
                    "width": width,
                    "height": height,
                    **attributes,
                },
            )
        )

    def picture(
        self,
        image_id: str,
        size: Asks,
        *,
        formats: Sequence[str] | None = None,
        widths: Sequence[int | Asks] = (),
        sizes: str | None = None,
        version: int | None = None,
        direct: bool = False,
        **attributes: Any,
    ) -> Html:
        """A ``<picture>`` with a source for each of ``formats`` and :meth:`img` in the image's own format.

        ``formats``: those of the settings' ``auto_formats`` that may be asked for, when not given. Unlike with
        ``auto``, the URL alone decides the format: for caches that do not heed Vary, and for ``direct``.
        """
        record = self._record(image_id, version)
        box = self._images._size(size)
        sources = []
        if record is not None:
            config = self._images.config
            wanted = formats or [format for format in config.auto_formats if format in config.formats]
            for format in wanted:
                asked = _Asked(record, format, direct)
                choices = {"srcset": self._url(asked, box), **self._choices(asked, box, widths, sizes)}
                sources.append(_tag("source", {"type": CONTENT_TYPES[format], **choices}))
        img = self.img(
            image_id,
            size,
            widths=widths,
            sizes=sizes,
            format=record.format if record else AUTO,
            version=version,
            direct=direct,
            **attributes,
        )
        return Html(f"<picture>{''.join(sources)}{img}</picture>")

    @property
    def _fallback(self) -> str:
        return self._images.config.fallback_url or ""

    def _record(self, image_id: str, version: int | None) -> Record | None:
        try:
            return self._images.record(image_id, version)
        except (UnknownImage, BadImageId, StoreUnavailable):
            if not self._fallback:
                raise
            return None

    def _url(self, asked: _Asked, size: Size | None) -> str:
        record = asked.record
        format = record.format if size is None else asked.format
        if asked.direct and (stored := self._stored_url(Derivative(record.image_id, size, format, record.version))):
            return stored
        return self._images.url(
            record.image_id,
            size or "origin",
            format=format,
            version=record.version,
            expires=asked.expires,
            mount=self._mount,
        )

    def _stored_url(self, derivative: Derivative) -> str | None:
        if derivative.format == AUTO or self._images.config.answer != "redirect":
            return None
        if derivative.size is not None and not self._images.library.look(derivative)[2].stored:
            return None
        return self._images.store.url(derivative.key)

    def _choices(
        self, asked: _Asked, box: Size | None, widths: Sequence[int | Asks], sizes: str | None
    ) -> dict[str, str]:
        """The attributes that let the browser choose."""
        if widths:
            choices = [
                _at_width(box, width) if isinstance(width, int) else self._images._size(width) for width in widths
            ]
            width, _ = _displayed(asked.record, box)
            return {
                "srcset": self._by_width(asked, choices),
                "sizes": sizes or f"(max-width: {width}px) 100vw, {width}px",
            }
        by_density = self._by_density(asked, box) if box else ""
        return {"srcset": by_density} if by_density else {}

    def _by_width(self, asked: _Asked, sizes: Iterable[Size | None]) -> str:
        record = asked.record
        candidates: dict[int, str] = {}
        for size in sizes:
            width = size.dimensions(record.width, record.height)[0] if size else record.width
            candidates.setdefault(width, self._url(asked, size))
        return ", ".join(f"{url} {width}w" for width, url in candidates.items())

    def _by_density(self, asked: _Asked, box: Size) -> str:
        """Empty when there is nothing to choose."""
        width, _ = _displayed(asked.record, box)
        candidates: dict[Fraction, str] = {}
        for dpr in _DENSITIES:
            size = replace(box, dpr=dpr)
            # A small origin ends somewhere between: the browser derives the natural size from what is said here.
            density = Fraction(size.dimensions(asked.record.width, asked.record.height)[0], width)
            try:
                candidates.setdefault(density, self._url(asked, size))
            except NotAllowed:
                continue
        if len(candidates) < 2:
            return ""
        return ", ".join(f"{url} {float(density):g}x" for density, url in candidates.items())


def _displayed(record: Record, box: Size | None) -> tuple[int, int]:
    """Width and height in CSS pixels."""
    if box is None:
        return record.width, record.height
    return replace(box, dpr=1).dimensions(record.width, record.height)


def _at_width(box: Size | None, width: int) -> Size:
    """``box`` in its own shape, ``width`` wide."""
    if box is None or box.width is None:
        return Size(width, None)
    height = box.height and max(1, round(box.height * width / box.width))
    return replace(box, width=width, height=height, dpr=1)


def _background(record: Record, box: Size | None) -> str | None:
    """The placeholder as a style; none where it would shine through the picture, or around it."""
    if record.transparent or (box and box.fit == "contain") or not _DATA_URI.fullmatch(record.placeholder or ""):
        return None
    colour = f"#{record.colour} " if _COLOUR.fullmatch(record.colour or "") else ""
    return f"background:{colour}url({record.placeholder}) center/cover no-repeat"


def _named(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Python's names as HTML's: ``class_`` → ``class``, ``data_id`` → ``data-id``."""
    for name in attributes:
        if not _ATTRIBUTE.fullmatch(name):
            raise BadRequest(f"{name!r} is no name of an attribute.")
    return {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}


def _tag(name: str, attributes: Mapping[str, Any]) -> str:
    """A void element. An attribute that is True stands alone; None or False leaves it out."""
    parts = [name]
    for attribute, value in attributes.items():
        if value is True:
            parts.append(attribute)
        elif value is not None and value is not False:
            parts.append(f'{attribute}="{escape(str(value))}"')
    return f"<{' '.join(parts)}>"
