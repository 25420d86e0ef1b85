"""Render: bytes and a size to bytes, a pure function; and which stored copy to start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from lazycrop.concurrency.timing import measure
from lazycrop.errors import BadSize
from lazycrop.model.crops import Rectangle
from lazycrop.model.crops import pixels as pixels_of
from lazycrop.model.records import Mezzanine, Record
from lazycrop.model.sizes import Size
from lazycrop.pictures.decoding import Picture, Reserve, open_picture, unbounded
from lazycrop.pictures.encoding import encode
from lazycrop.pictures.pixels import Pixels, padded
from lazycrop.pictures.resampling import Box
from lazycrop.pictures.settings import ANIMATED_FORMATS, LONGEST_SIDE, TRANSPARENT_FORMATS, Limits, Recipe, Stage

# A mezzanine is large enough when this many times the target's pixels are left of it on each axis. For what is kept
# more counts: SSIMULACRA2 of a 320 made from 512, before it is encoded, is 86 to 95, and from 1024 it is 95 to 97, for
# 5 ms more of a render whose last stage takes 20 to 1,000.
MEZZANINE_GAP = {Stage.FIRST: 1.25, Stage.LAST: 2.0}

T = TypeVar("T")

_GRAVITY = {
    "nw": (0, 0), "n": (50, 0), "ne": (100, 0),
    "w": (0, 50), "e": (100, 50),
    "sw": (0, 100), "s": (50, 100), "se": (100, 100),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rendered:
    """A derivative's bytes, its width and height in pixels."""

    data: bytes
    width: int
    height: int


def render(
    data: bytes,
    size: Size,
    format: str,
    recipe: Recipe,
    limits: Limits,
    stage: Stage = Stage.FIRST,
    *,
    focal: tuple[int, int] | None = None,
    part: Rectangle | None = None,
    dimensions: tuple[int, int] | None = None,
    reserve: Reserve = unbounded,
) -> Rendered:
    """Make the derivative of ``size`` and ``format`` from the file in ``data``.

    ``focal``: the subject in per cent of width and height; ``cover`` keeps it when the size has no gravity.
    ``part``: the part of the picture that is made smaller, in per cent; all of it when not given.
    ``dimensions``: the origin's displayed width and height when ``data`` is a mezzanine of it; the result has the
    pixels that the origin would have given. ``reserve``: as of :func:`~lazycrop.pictures.decoding.open_picture`.
    An animation stays one in gif and webp; else its first frame is taken.

    Raises UnsupportedImage, BrokenImage, ImageTooLarge; BadSize when the result would be too large.
    """
    asked = Asked(size, format, recipe, part)
    with open_picture(data, limits, reserve) as picture:
        plan = _plan(picture, asked, limits, focal, dimensions)
        pixels = picture.pixels(plan.inner, plan.box, plan.frames)
    return _encoded(pixels, asked, plan, stage)


@dataclass(frozen=True, slots=True)
class Asked:
    """One of several derivatives of one file, as :func:`render` has it."""

    size: Size
    format: str
    recipe: Recipe
    part: Rectangle | None = None


def render_all(
    data: bytes,
    asked: Sequence[Asked],
    limits: Limits,
    stage: Stage,
    *,
    focal: tuple[int, int] | None = None,
    dimensions: tuple[int, int] | None = None,
    reserve: Reserve = unbounded,
) -> list[Rendered | Exception]:
    """As :func:`render`, of several: the file is decoded once, but for animations, whose frames are too many to keep.

    Instead of one that cannot be made there is the error. What cannot be decoded raises. A JPEG is decoded as the
    largest needs it, so that smaller ones are not quite, though at least, what each would have been by itself.
    """
    with open_picture(data, limits, reserve) as picture:
        plans = [_tried(partial(_plan, picture, one, limits, focal, dimensions)) for one in asked]
        stills = [plan for plan in plans if isinstance(plan, _Plan) and plan.frames == 1]
        made = picture.stills([(plan.inner, plan.box) for plan in stills]) if stills else []
    made.reverse()  # Each is let go once it is encoded.

    def result(one: Asked, plan: _Plan | Exception) -> Rendered:
        if isinstance(plan, Exception):
            raise plan
        if plan.frames == 1:
            return _encoded(made.pop(), one, plan, stage)
        given = (data, one.size, one.format, one.recipe, limits, stage)
        return render(*given, focal=focal, part=one.part, dimensions=dimensions, reserve=reserve)

    return [_tried(partial(result, one, plan)) for one, plan in zip(asked, plans, strict=True)]


@dataclass(frozen=True, slots=True)
class _Plan:
    """``inner``: the picture's pixels, ``outer``: with its padding. ``box``: what of the source it shows."""

    inner: tuple[int, int]
    outer: tuple[int, int]
    box: Box
    frames: int


def _plan(
    picture: Picture,
    asked: Asked,
    limits: Limits,
    focal: tuple[int, int] | None,
    dimensions: tuple[int, int] | None,
) -> _Plan:
    size, part = asked.size, asked.part
    width, height = dimensions or (picture.width, picture.height)
    within = pixels_of(part, width, height) if part else (width, height)
    inner, outer = size.scaled(*within), size.dimensions(*within)
    frames = picture.frames if asked.format in ANIMATED_FORMATS else 1
    _check_result(outer, frames, size, asked.format, limits)
    box = _zoomed(crop_box(size, width, height, focal, part), picture.width / width, picture.height / height)
    return _Plan(inner, outer, box, frames)


def _encoded(pixels: Pixels, asked: Asked, plan: _Plan, stage: Stage) -> Rendered:
    size, format, recipe = asked.size, asked.format, asked.recipe
    if plan.outer != plan.inner:
        at = place_of(size, plan.inner, plan.outer)
        background = size.background or (None if format in TRANSPARENT_FORMATS else recipe.background)
        pixels = pixels.map(lambda image: padded(image, plan.outer, at, background))
    with measure("encode"):
        return Rendered(encode(pixels, format, recipe, stage), *plan.outer)


def _tried(do: Callable[[], T]) -> T | Exception:
    try:
        return do()
    except Exception as error:
        return error


def best_source(record: Record, size: Size, stage: Stage = Stage.FIRST) -> Mezzanine | None:
    """The smallest mezzanine that leaves MEZZANINE_GAP times the target's pixels; None: start from the origin.

    No last stage asks a source for the file, which may be far away, where a first one would not.
    """
    best = _smallest(record, size, MEZZANINE_GAP[stage])
    return best or (_smallest(record, size, MEZZANINE_GAP[Stage.FIRST]) if record.at_source else None)


def _smallest(record: Record, size: Size, gap: float) -> Mezzanine | None:
    target = size.scaled(*record.pixels_for(size))
    left, top, right, bottom = crop_box(size, record.width, record.height, None, record.part_of(size))
    for mezzanine in sorted(record.mezzanines, key=lambda mezzanine: mezzanine.edge):
        scale = mezzanine.edge / max(record.width, record.height)
        if min((right - left) * scale / target[0], (bottom - top) * scale / target[1]) >= gap:
            return mezzanine
    return None


def crop_box(size: Size, width: int, height: int, focal: tuple[int, int] | None, part: Rectangle | None = None) -> Box:
    """The part of a picture of ``width`` × ``height`` that ``size`` shows: all of it but for ``cover``.

    Of ``part``, where an editor has chosen one, it is the middle.
    """
    if part is not None:
        x, y = part[0] * width / 100, part[1] * height / 100
        left, top, right, bottom = crop_box(size, *pixels_of(part, width, height), None)
        return (x + left, y + top, min(width, x + right), min(height, y + bottom))
    box_width, box_height = size.box
    if size.fit != "cover" or not box_width or not box_height:
        return (0, 0, width, height)
    factor = min(width / box_width, height / box_height)
    wide, high = min(width, box_width * factor), min(height, box_height * factor)
    x, y = _gravity(size, focal)
    left, top = _start(width, wide, x), _start(height, high, y)
    return (left, top, left + wide, top + high)


def place_of(size: Size, inner: tuple[int, int], outer: tuple[int, int]) -> tuple[int, int]:
    """Where in its padding a picture is: left and top, in pixels."""
    x, y = _gravity(size, None)
    return int(_start(outer[0], inner[0], x) + 0.5), int(_start(outer[1], inner[1], y) + 0.5)


def _gravity(size: Size, focal: tuple[int, int] | None) -> tuple[int, int]:
    """Where the middle of what is kept shall be, in per cent."""
    if size.gravity is None:
        return focal or (50, 50)
    if size.gravity in _GRAVITY:
        return _GRAVITY[size.gravity]
    x, y = size.gravity[1:].split("x")
    return int(x), int(y)


def _start(space: float, length: float, per_cent: int) -> float:
    """Where ``length`` begins in ``space`` so that its middle is at ``per_cent`` of it, or as near as it fits."""
    return max(0.0, min(space * per_cent / 100 - length / 2, space - length))


def _zoomed(box: Box, x: float, y: float) -> Box:
    return (box[0] * x, box[1] * y, box[2] * x, box[3] * y)


def _check_result(outer: tuple[int, int], frames: int, size: Size, format: str, limits: Limits) -> None:
    """Enlarging and padding, frame by frame, make much of little."""
    width, height = outer
    longest = LONGEST_SIDE[format]
    if width * height * frames > limits.max_pixels or max(outer) > longest:
        times = f" in {frames} frames" if frames > 1 else ""
        raise BadSize(
            f"The size {size} would make {width} x {height} pixels{times}; as {format} at most "
            f"{limits.max_pixels:,} are made, and {longest:,} on a side. Ask for less."
        )
