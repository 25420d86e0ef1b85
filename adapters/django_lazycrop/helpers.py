"""Helpers: those of templates, for whatever a template has in its hands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django_lazycrop.pictures import get_images, image_id
from django_lazycrop.serving import mount
from lazycrop import Helpers


def helpers() -> dict[str, Callable[..., str]]:
    """The helpers by name, each for a ``FieldFile``, a URL or an image id; also for the globals of Jinja2."""
    return {name: _helper(name) for name in ("lazycrop_url", "lazycrop_srcset", "lazycrop_img", "lazycrop_picture")}


def _helper(name: str) -> Callable[..., str]:
    def helper(picture: Any, *arguments: Any, **options: Any) -> str:
        for listed in {"widths", "formats"} & options.keys():
            options[listed] = _list(options[listed])
        if name == "lazycrop_srcset":  # Its widths stand without a name.
            arguments = tuple(map(_list, arguments))
        return Helpers(get_images(), mount()).helpers[name](image_id(picture), *arguments, **options)

    return helper


def _list(value: Any) -> Any:
    """Several values in one text, as Django's templates have no lists: ``320 640``."""
    if not isinstance(value, str):
        return value
    return [int(one) if one.isdecimal() else one for one in value.replace(",", " ").split()]
