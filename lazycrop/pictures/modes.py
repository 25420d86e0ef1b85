"""Modes: the ways in which a decoder holds pixels, and from each of them to one that can be resampled."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageChops

from lazycrop.errors import UnsupportedImage
from lazycrop.pictures.reading import decoding


def is_straight(image: Image.Image) -> bool:
    """Can it be resampled as it is? Palettes, 1 bit, 16 bits, and one colour that is transparent cannot."""
    return image.mode in ("RGBA", "LAB") or (image.mode in ("L", "RGB", "CMYK") and "transparency" not in image.info)


def straight(image: Image.Image) -> Image.Image:
    """A loaded image, or some of its rows, in L, RGB, RGBA, CMYK or LAB. Raises UnsupportedImage, BrokenImage."""
    if is_straight(image):
        return image
    if image.mode == "F":
        raise UnsupportedImage("The image has floating-point pixels; only 8 and 16 bits are accepted.")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    with decoding():  # a palette may be anything, or missing
        mode = "RGBA" if image.has_transparency_data else "L" if image.mode == "1" else "RGB"
        return image.convert(mode)


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8; Pillow's own convert() clips everything above 255."""
    transparent = image.info.get("transparency")
    if image.mode != "I":
        image = image.convert("I")
    grey = image.point([value >> 8 for value in range(65536)], "L")
    grey.info.pop("transparency", None)  # A number of 16 bits, which no other mode can be saved with.
    if not isinstance(transparent, int):
        return grey
    alpha = image.point([0 if value == transparent else 255 for value in range(65536)], "L")
    return Image.merge("RGBA", (grey, grey, grey, alpha))


def differing(image: Image.Image, colour: Sequence[int]) -> Image.Image:
    """255 where the image has another colour, else 0."""
    bands = zip(image.split(), colour, strict=True)
    first, *others = (band.point([255 * (level != value) for level in range(256)]) for band, value in bands)
    for other in others:
        first = ImageChops.lighter(first, other)
    return first


_ROWS = 256


def are_alike(one: Image.Image, other: Image.Image) -> bool:
    """Have two images the same pixels? Compared some rows at a time."""
    boxes = [(0, top, one.width, min(top + _ROWS, one.height)) for top in range(0, one.height, _ROWS)]
    return one.size == other.size and not any(
        ImageChops.difference(one.crop(box), other.crop(box)).getbbox() for box in boxes
    )
