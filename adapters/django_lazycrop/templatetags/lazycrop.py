"""``{% load lazycrop %}``: the helpers as tags, and a block for a picture that may be missing.

::

    {% lazycrop_img photo.file "400x300-cover" alt="…" widths="400 800" %}
    {% lazycrop photo.file "400x300-cover" as shown %}
        <img src="{{ shown }}" width="{{ shown.width }}" height="{{ shown.height }}">
    {% empty %}
        no photo
    {% endlazycrop %}
"""

from __future__ import annotations

from typing import Any

from django.template import Context, Library, Node, NodeList, TemplateSyntaxError
from django.template.base import FilterExpression, Parser, Token, token_kwargs

from django_lazycrop.helpers import helpers
from django_lazycrop.pictures import get_images, image_id
from django_lazycrop.serving import mount
from lazycrop import BadImageId, ImageError, Unavailable, UnknownImage

register = Library()
for _name, _helper in helpers().items():
    register.simple_tag(_helper, name=_name)


class Shown(str):
    """A picture's URL; ``width`` and ``height`` as it is shown, in CSS pixels; None where they are not known yet."""

    width: int | None = None
    height: int | None = None

    @property
    def url(self) -> str:
        return str(self)


def show(picture: Any, size: str, **options: Any) -> Shown | None:
    """The picture in this size; None where there is none, or it cannot be read now."""
    images = get_images()
    if (found := image_id(picture)) in (None, ""):
        return None
    try:
        record = images.pages.record(images.read_id(found))
    except (UnknownImage, BadImageId, ImageError, Unavailable):
        return None
    shown = Shown(images.url_of(record, size, mount=mount(), **options))
    if not record.is_unseen:
        box = images.size(size)
        width, height = box.dimensions(record.width, record.height) if box else (record.width, record.height)
        density = box.dpr if box else 1
        shown.width, shown.height = round(width / density), round(height / density)
    return shown


class _ShowNode(Node):  # type: ignore[misc]
    child_nodelists = ("nodelist", "nodelist_empty")

    def __init__(
        self,
        arguments: list[FilterExpression],
        options: dict[str, FilterExpression],
        name: str,
        nodelists: tuple[NodeList, NodeList],
    ) -> None:
        self.arguments, self.options, self.name = arguments, options, name
        self.nodelist, self.nodelist_empty = nodelists

    def render(self, context: Context) -> str:
        picture, size = (argument.resolve(context) for argument in self.arguments)
        shown = show(picture, size, **{name: value.resolve(context) for name, value in self.options.items()})
        if shown is None:
            return str(self.nodelist_empty.render(context))
        with context.push(**{self.name: shown}):
            return str(self.nodelist.render(context))


@register.tag("lazycrop")  # type: ignore[untyped-decorator]
def lazycrop_block(parser: Parser, token: Token) -> Node:
    name, *bits = token.split_contents()
    if len(bits) < 4 or bits[-2] != "as":
        raise TemplateSyntaxError(f'It is written {{% {name} picture "400x300" as shown %}}, not {token.contents!r}.')
    options = token_kwargs(rest := bits[2:-2], parser)
    if rest:
        raise TemplateSyntaxError(f"In {token.contents!r} {rest[0]!r} is no option: those are written name=value.")
    shown = parser.parse(("empty", f"end{name}"))
    empty = NodeList()
    if parser.next_token().contents == "empty":
        empty = parser.parse((f"end{name}",))
        parser.delete_first_token()
    return _ShowNode([parser.compile_filter(bit) for bit in bits[:2]], options, bits[-1], (shown, empty))
