"""What an application writes to show a picture: made by the helpers themselves, so that it is what they give."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from lazycrop.errors import NotAllowed
from lazycrop.images import LazyCrop
from lazycrop.markup import Helpers
from lazycrop.model.derivatives import AUTO
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size


def snippets(images: LazyCrop, mount: str, record: Record, asked: str, format: str) -> dict[str, str]:
    """URL, ``<img srcset>``, ``<picture>`` and Python for one picture. Raises BadSize, NotAllowed."""
    helpers = Helpers(images, mount)
    size = images.size(asked)
    box = replace(size, dpr=1) if size else None
    other = "" if format == images.config.format else f", format={_literal(format)}"
    options: dict[str, Any] = {"alt": "", "placeholder": False}
    return {
        "url": helpers.url(record.image_id, asked, format=format),
        "img": _with_widths(helpers.img, record, box, format=format, **options),
        "picture": _with_widths(helpers.picture, record, box, **options),
        "python": f"images.url({_literal(record.image_id)}, {_literal(asked)}{other})",
    }


def _literal(text: str) -> str:
    """A text as Python and as people write it: with double quotes."""
    return json.dumps(text, ensure_ascii=False)


def _with_widths(helper: Any, record: Record, box: Size | None, **options: Any) -> str:
    """To be chosen from by width; where policy does not permit those, by what else it does."""
    size = box or "origin"
    if box is not None and (widths := _widths(record, box)):
        try:
            return str(helper(record.image_id, size, widths=widths, **options))
        except NotAllowed:
            pass
    return str(helper(record.image_id, size, **options))


def _widths(record: Record, box: Size) -> list[int]:
    """Half, once and twice as wide as it is shown, and no wider than the image is."""
    shown = box.dimensions(*record.pixels_for(box))[0]
    widest = record.width if not box.enlarge else 2 * shown
    return [width for width in (shown // 2, shown, min(2 * shown, widest)) if width > 0]


def formats_of(images: LazyCrop) -> list[str]:
    """What the page offers: the formats that policy permits, and the best of them."""
    return [*images.config.policy.formats, AUTO]
