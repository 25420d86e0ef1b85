"""Crops: the part of an image that an editor has chosen, for all sizes of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd
from typing import Any

from lazycrop.errors import BadRequest
from lazycrop.model.sizes import Size

Rectangle = tuple[float, float, float, float]
"""Left, top, width and height, in per cent of the image's width and height."""


@dataclass(frozen=True, slots=True)
class Crop:
    """``shape``: width and height in lowest terms; of each size of this shape, ``part`` of the image is shown."""

    shape: tuple[int, int]
    part: Rectangle

    def is_of(self, size: Size) -> bool:
        """Has a size this shape, but for the half of a pixel by which its sides were rounded; and uses it a crop?"""
        width, height = size.box
        if size.fit != "cover" or size.gravity is not None or not width or not height:
            return False
        return 2 * abs(width * self.shape[1] - height * self.shape[0]) <= max(self.shape)


def shape_of(size: Size) -> tuple[int, int]:
    """The shape that a size stands for. Raises :class:`~lazycrop.errors.BadRequest` where it has none."""
    width, height = size.width, size.height
    if not width or not height or size.fit not in ("inside", "cover") or size.gravity is not None:
        raise BadRequest(
            f"The size {str(size)!r} is of no shape that can be cropped; give a width and a height, or a preset that "
            "is cover and has no gravity of its own."
        )
    common = gcd(width, height)
    return width // common, height // common


def read_part(part: Any) -> Rectangle:
    """A part of an image as users give it. Raises :class:`~lazycrop.errors.BadRequest`."""
    match part:
        case (int() | float(), int() | float(), int() | float(), int() | float()) if not any(
            isinstance(one, bool) for one in part
        ):
            left, top, width, height = (float(one) for one in part)
            if min(left, top) >= 0 and min(width, height) >= 1 and max(left + width, top + height) <= 100:
                return left, top, width, height
    raise BadRequest(
        f"The crop {part!r} is malformed; it is (left, top, width, height) in per cent of the image, of which it is a "
        "part of 1 per cent at least on each side."
    )


def pixels(part: Rectangle, width: int, height: int) -> tuple[int, int]:
    """How many pixels on each side there are of a part of a picture of ``width`` × ``height``."""
    return max(1, round(width * part[2] / 100)), max(1, round(height * part[3] / 100))


def with_crop(crops: tuple[Crop, ...], shape: tuple[int, int], part: Rectangle | None) -> tuple[Crop, ...]:
    """``crops`` with another part for a shape; without any where that is None."""
    others = [crop for crop in crops if crop.shape != shape]
    return tuple(sorted([*others, *([Crop(shape, part)] if part else [])], key=lambda crop: crop.shape))


def to_json(crops: tuple[Crop, ...]) -> dict[str, Rectangle]:
    return {f"{crop.shape[0]}x{crop.shape[1]}": crop.part for crop in crops}


def from_json(content: dict[str, Any]) -> tuple[Crop, ...]:
    """The reverse; raises BadRequest or ValueError."""
    sizes = [(Size.parse(text), part) for text, part in content.items()]
    return tuple(Crop(shape_of(size), read_part(tuple(part))) for size, part in sizes)
