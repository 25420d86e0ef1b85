"""Sizes: what is asked of a picture, and the one spelling that each has.

The grammar, in order; every part has exactly one spelling, and centre and ``inside`` are not written::

    <width>x<height>            pixels 1..99999, one of the two may be missing: 200x100 · 200x · x100
    -cover | -contain | -fill   the fit; inside when none is written
    -n … -nw | -f<x>x<y>        gravity of cover and contain: a compass point, or a focal point in per cent
    -bg<rrggbb> | -bg<ddd>      background of contain, lower-case hexadecimal; three where all six are alike
    -up                         enlarging is permitted
    @2x | @3x                   device pixels per pixel

So ``400x300``, ``400x300-cover-ne@2x``, ``400x300-contain-bg336699``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cmp_to_key
from typing import Literal, cast

from lazycrop.errors import BadRequest, BadSize

Fit = Literal["inside", "cover", "contain", "fill"]

Parts = tuple[int | None, int | None, Fit, str | None, str | None, bool, int]

COMPASS = ("n", "ne", "e", "se", "s", "sw", "w", "nw")

_GRAMMAR = re.compile(
    r"(?P<width>[1-9][0-9]{0,4})?x(?P<height>[1-9][0-9]{0,4})?"
    r"(?:-(?P<fit>cover|contain|fill))?"
    rf"(?:-(?P<gravity>{'|'.join(sorted(COMPASS, key=len, reverse=True))}"
    r"|f(?:0|[1-9][0-9]?|100)x(?:0|[1-9][0-9]?|100)))?"
    r"(?:-bg(?P<background>(?P<digit>[0-9a-f])(?P=digit){2}|(?!(?P<same>[0-9a-f])(?P=same){5})[0-9a-f]{6}))?"
    r"(?P<enlarge>-up)?"
    r"(?:@(?P<dpr>[23])x)?",
    re.ASCII,
)

_HELP = "a size is written like 200x100, 200x, x100, 400x300-cover-ne or 400x300-contain-bgfff@2x"


@dataclass(frozen=True, slots=True)
class Size:
    """A box in pixels and how a picture is fitted into it.

    ``width``, ``height``: 1..99999 CSS pixels, one of them may be None for ``inside``.
    ``gravity``: None (the record's focal point, else the centre), a compass point, or ``f<x>x<y>``.
    ``background``: ``rrggbb``, or ``fff`` for ``ffffff``; None for transparent where the format can, else white.
    ``enlarge``: a picture smaller than the box may grow. ``dpr``: 1, 2 or 3 device pixels per pixel.
    Raises :class:`~lazycrop.errors.BadSize` when the parts do not make a size.
    """

    width: int | None
    height: int | None
    fit: Fit = "inside"
    gravity: str | None = None
    background: str | None = None
    enlarge: bool = False
    dpr: int = 1

    def __post_init__(self) -> None:
        spelling = str(self)
        if self.width is None and self.height is None:
            raise BadSize(f"The size {spelling!r} has neither width nor height; {_HELP}.")
        match = _GRAMMAR.fullmatch(spelling)
        # The parts must be those that the spelling has: a fit of "cover-n" prints like a cover and a gravity.
        if match is None or _parts(match) != self._parts():
            raise BadSize(f"The size {spelling!r} is malformed; {_HELP}.")
        if self.fit != "inside" and (self.width is None or self.height is None):
            raise BadSize(f"The size {spelling!r} needs both width and height, because it is {self.fit}.")
        if self.gravity is not None and self.fit not in ("cover", "contain"):
            raise BadSize(f"The size {spelling!r} has a gravity, which only cover and contain use.")
        if self.background is not None and self.fit != "contain":
            raise BadSize(f"The size {spelling!r} has a background, which only contain uses.")

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read a size from its canonical spelling; anything else raises :class:`~lazycrop.errors.BadSize`."""
        match = _GRAMMAR.fullmatch(text)
        if match is None:
            raise BadSize(f"The size {text[:80]!r} is malformed; {_HELP}.")
        return cls(*_parts(match))

    def _parts(self) -> Parts:
        return self.width, self.height, self.fit, self.gravity, self.background, self.enlarge, self.dpr

    def __str__(self) -> str:
        text = f"{self.width or ''}x{self.height or ''}"
        if self.fit != "inside":
            text += f"-{self.fit}"
        if self.gravity is not None:
            text += f"-{self.gravity}"
        if self.background is not None:
            text += f"-bg{self.background}"
        if self.enlarge:
            text += "-up"
        return text + (f"@{self.dpr}x" if self.dpr != 1 else "")

    @property
    def box(self) -> tuple[int | None, int | None]:
        """Width and height in device pixels."""
        return (self.width and self.width * self.dpr, self.height and self.height * self.dpr)

    @property
    def options(self) -> tuple[object, ...]:
        """All but its box: two sizes that have the same differ by their pixels alone."""
        return self.fit, self.gravity, self.background, self.enlarge

    @property
    def edge(self) -> int:
        """The longer side of the box in device pixels."""
        return max(side for side in self.box if side)

    def scaled(self, width: int, height: int) -> tuple[int, int]:
        """The pixels that a picture of ``width`` × ``height`` becomes, before ``contain`` pads it.

        inside, contain: the largest of the picture's shape in the box. cover, fill: the box itself.
        Never larger than the picture unless ``enlarge``: a cover or fill box shrinks in its own shape
        until it is. Rounded half up, each side at least 1.
        """
        box_width, box_height = self.box
        if self.fit in ("inside", "contain"):
            ratios = [(box, side) for box, side in ((box_width, width), (box_height, height)) if box]
        else:
            assert box_width and box_height
            if self.enlarge:
                return box_width, box_height
            ratios = [(width, box_width), (height, box_height)]
            width, height = box_width, box_height
        if not self.enlarge:
            ratios.append((1, 1))
        smallest = min(ratios, key=cmp_to_key(_compare))
        return _times(width, smallest), _times(height, smallest)

    def dimensions(self, width: int, height: int) -> tuple[int, int]:
        """The pixels that the derivative of a picture of ``width`` × ``height`` has."""
        if self.fit == "contain":
            assert self.width and self.height
            return self.width * self.dpr, self.height * self.dpr
        return self.scaled(width, height)


def _parts(match: re.Match[str]) -> Parts:
    width, height = match["width"], match["height"]
    return (
        int(width) if width else None,
        int(height) if height else None,
        cast(Fit, match["fit"] or "inside"),
        match["gravity"],
        match["background"],
        match["enlarge"] is not None,
        int(match["dpr"] or 1),
    )


def _compare(one: tuple[int, int], other: tuple[int, int]) -> int:
    """Of two ratios, exactly, and in a tenth of the time that fractions take."""
    return one[0] * other[1] - other[0] * one[1]


def _times(side: int, ratio: tuple[int, int]) -> int:
    return max(1, (2 * side * ratio[0] + ratio[1]) // (2 * ratio[1]))


DEFAULT_BOUND = "4000x4000"
"""The box that an origin is shrunk to where nobody says another."""


Asks = str | Size | tuple[int | None, int | None]
"""A size as users give it: its spelling or a preset's name, a Size, or (width, height)."""


def as_size(given: Asks) -> Size:
    """A size that may be given as its parts, or as no preset. Raises :class:`~lazycrop.errors.BadSize`."""
    if isinstance(given, Size):
        return given
    if isinstance(given, str):
        return Size.parse(given)
    try:
        return Size(*given)
    except TypeError:
        raise BadSize(f"The size {given!r} is no text, Size or (width, height); {_HELP}.") from None


def read_bound(bound: Asks) -> tuple[int, int]:
    """The box that an origin must fit in, in pixels; a side that is not given does not bind. Raises BadRequest."""
    size = as_size(bound)
    if size != Size(size.width, size.height):
        raise BadRequest(
            f"The bound {str(bound)!r} has a fit or options; it is a width and a height alone, like {DEFAULT_BOUND!r}."
        )
    return size.width or 99_999, size.height or 99_999
