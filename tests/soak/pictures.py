"""Pictures that say which they are: a number in their colour, under noise, which any size and format of one tells."""

from __future__ import annotations

import io
from functools import cache

from PIL import Image

WIDTH, HEIGHT = 900, 600
COUNT = 4096  # three digits of base 16, one a channel
# The noise of what is darker, or brighter than the last, is cut off: that, and each JPEG of it, changes the mean.
_FIRST, _STEP = 40, 12  # A mean is 3 off at most, in an AVIF of 200 pixels.


@cache
def _noise() -> Image.Image:
    return Image.effect_noise((WIDTH, HEIGHT), 16)


def _digits(number: int) -> tuple[int, int, int]:
    return number >> 8, number >> 4 & 15, number & 15


def make(number: int) -> bytes:
    """A JPEG of 900x600 pixels and some 200 KB."""
    channels = []
    for digit in _digits(number % COUNT):
        value = _FIRST + _STEP * digit
        channels.append(_noise().point([max(0, min(255, grey - 128 + value)) for grey in range(256)]))
    file = io.BytesIO()
    Image.merge("RGB", channels).save(file, "JPEG", quality=85)
    return file.getvalue()


class Wrong(Exception):
    """Bytes that are no whole picture, or none of one number."""


def read(data: bytes) -> tuple[str, tuple[int, int], int]:
    """Format, pixels and number of a picture that is whole in all of its quarters. Raises :class:`Wrong`."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            format, size, quarters = (
                str(image.format),
                image.size,
                image.convert("RGB").resize((2, 2), Image.Resampling.BOX),
            )
    except Exception as error:
        raise Wrong(f"{len(data)} bytes that cannot be decoded: {error!r}") from error
    numbers = {_number(quarters.getpixel((x, y))) for x in (0, 1) for y in (0, 1)}
    if len(numbers) > 1 or None in numbers:
        raise Wrong(f"a picture of {numbers}")
    [number] = numbers
    assert number is not None
    return format, size, number


def _number(pixel: object) -> int | None:
    assert isinstance(pixel, tuple)
    number = 0
    for value in pixel:
        digit, error = divmod(value - _FIRST + _STEP / 2, _STEP)
        if not (0 <= digit <= 15 and 0.5 < error < _STEP - 0.5):
            return None
        number = number * 16 + int(digit)
    return number
