"""A thumbnail in the admin: ``list_display = [thumbnail("photo"), "name"]``, also in ``readonly_fields``."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from django.utils.safestring import SafeString

from django_lazycrop.helpers import helpers
from django_lazycrop.pictures import image_id
from lazycrop import BadImageId, ImageError, Unavailable, UnknownImage


def thumbnail(field: str, size: str = "100x100", **options: Any) -> Callable[[Any], str | None]:
    """A column that shows the picture in ``field`` of a row (``author.photo``, of another one), in a size that policy
    has. ``options``: as for ``lazycrop_img``. Where there is none, the admin says so.
    """

    def show(row: Any) -> str | None:
        picture = image_id(attrgetter(field)(row))
        try:
            return SafeString(helpers()["lazycrop_img"](picture, size, **options)) if picture else None
        except (UnknownImage, BadImageId, ImageError, Unavailable):
            return None

    show.__name__ = field.replace(".", "_")
    show.short_description = field.replace(".", " ").replace("_", " ")  # type: ignore[attr-defined]
    return show
