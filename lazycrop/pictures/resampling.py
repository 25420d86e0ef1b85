"""Resampling: pixels to more or fewer of them, with SIMD where the extra ``fast`` is installed; nobody else knows."""

from __future__ import annotations

import threading
from typing import Any

from PIL import Image

try:
    import cykooz_resizer as simd
except ImportError:  # the extra `fast` is not installed
    simd = None

RESAMPLER = "pillow" if simd is None else "cykooz"
"""What resizes here."""

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def resize(image: Image.Image, size: tuple[int, int], box: Box | None = None) -> Image.Image:
    """Lanczos from ``box`` of an image in L, RGB, RGBA or CMYK to ``size``; with SIMD where it is installed.

    No intermediate is larger than the source or the result, whatever their shapes.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    box = (left, top, min(right, image.width), min(bottom, image.height))  # by rounding they may be beyond
    wide, high = box[2] - box[0], box[3] - box[1]
    if size == image.size and (wide, high) == size:
        return image
    if size[0] > wide and size[1] < high:  # both resamplers work on the width first
        image, box = (
            _resampled(image, (image.width, size[1]), (0, box[1], image.width, box[3])),
            (box[0], 0, box[2], size[1]),
        )
    return _resampled(image, size, box)


def _resampled(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    if simd is None or image.mode == "LAB":
        return image.resize(size, Image.Resampling.LANCZOS, box)
    if image.mode == "RGBA":  # Each call makes a copy of it with the colours multiplied.
        return _by_simd(simd.Resizer(), image, size, box)
    return _in_bands(image, size, box)


# Bytes of the picture between the two passes, one in width and one in height. A thread that resizes keeps so many; to
# get them from the system for each picture, and to give them back, took 10 of the 52 ms of a 1600x1200.
_MOST_BETWEEN = 4_000_000

_own = threading.local()


def _in_bands(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    """The result from top to bottom, so much at a time that no more than _MOST_BETWEEN lie between the passes."""
    if not hasattr(_own, "resizer"):
        _own.resizer = simd.Resizer()
    width, height = size
    left, top, right, bottom = box
    rows = max(1, int(_MOST_BETWEEN / (4 * width) * height / (bottom - top)))
    if rows >= height:
        return _by_simd(_own.resizer, image, size, box)
    result = Image.new(image.mode, size)
    for first in range(0, height, rows):
        last = min(first + rows, height)
        start, end = (top + (bottom - top) * row / height for row in (first, last))
        band = _by_simd(_own.resizer, image, (width, last - first), (left, start, right, min(end, bottom)))
        result.paste(band, (0, first))
    return result


def _by_simd(resizer: Any, image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    options = simd.ResizeOptions(
        resize_alg=simd.ResizeAlg.convolution(simd.FilterType.lanczos3),
        crop_box=simd.CropBox(box[0], box[1], box[2] - box[0], box[3] - box[1]),
    )
    result = Image.new(image.mode, size)
    resizer.resize_pil(image, result, options)
    return result
