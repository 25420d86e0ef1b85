"""Resampling: pixels to more or fewer of them, with SIMD where the extra ``fast`` is installed; nobody else knows."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
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

Change = Callable[[Image.Image], Image.Image]
"""Pixels of any mode to those in L, RGB, RGBA, CMYK or LAB, which alone can be resampled."""


def resize(
    image: Image.Image, size: tuple[int, int], box: Box | None = None, change: Change | None = None
) -> Image.Image:
    """Lanczos from ``box`` of an image in L, RGB, RGBA, CMYK or LAB to ``size``; with SIMD where it is installed.

    Of an image in another mode ``change`` makes one of these; it is given a part of the rows at a time.
    No intermediate is larger than the source or the result, whatever their shapes.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    box = (left, top, min(right, image.width), min(bottom, image.height))  # by rounding they may be beyond
    wide, high = box[2] - box[0], box[3] - box[1]
    if size == image.size and (wide, high) == size:
        return change(image) if change else image
    if size[0] > wide and size[1] < high:  # both resamplers work on the width first
        image, box, change = (
            _resampled(image, (image.width, size[1]), (0, box[1], image.width, box[3]), change),
            (box[0], 0, box[2], size[1]),
            None,
        )
    return _resampled(image, size, box, change)


# Bytes of the picture between the two passes, one in width and one in height. A thread that resizes keeps so many; to
# get them from the system for each picture, and to give them back, took 10 of the 52 ms of a 1600x1200.
_MOST_BETWEEN = 4_000_000
# Bytes of what is copied of the source at a time: transparency is multiplied into a copy, and other modes are changed.
_MOST_COPIED = 32_000_000
_SUPPORT = 3  # Lanczos looks at so many pixels of the smaller picture on either side.

_own = threading.local()


def _resampled(image: Image.Image, size: tuple[int, int], box: Box, change: Change | None) -> Image.Image:
    """The result from top to bottom, a band at a time where it would take too much memory at once."""
    if change is not None and 4 * image.width * image.height <= _MOST_COPIED:
        image, change = change(image), None
    left, top, right, bottom = box
    height, scale = size[1], size[1] / (bottom - top)
    copies = change is not None or image.mode == "RGBA"
    rows = _rows_at_once(image, size[0], scale, copies)
    if rows >= height:
        return _at_once(change(image) if change else image, size, box)
    result: Image.Image | None = None
    for first in range(0, height, rows):
        last = min(first + rows, height)
        start, end = top + first / scale, min(top + last / scale, bottom)
        part, above = _rows(image, start, end, scale) if copies else (image, 0)
        part = change(part) if change else part
        band = _at_once(part, (size[0], last - first), (left, start - above, right, end - above))
        result = result or Image.new(band.mode, size)
        result.paste(band, (0, first))
    assert result is not None
    return result


def _rows_at_once(image: Image.Image, width: int, scale: float, copies: bool) -> int:
    """How many rows of the result, of this width, are made at a time."""
    rows = math.inf
    if simd is not None and image.mode != "RGBA":
        rows = _MOST_BETWEEN / (4 * width) * scale
    if copies:
        rows = min(rows, _MOST_COPIED / (4 * image.width) * scale)
    return max(1, int(min(rows, 1e9)))


def _rows(image: Image.Image, start: float, end: float, scale: float) -> tuple[Image.Image, int]:
    """The rows of the source that a band from ``start`` to ``end`` looks at, and the number of the first."""
    reach = _SUPPORT / min(1.0, scale) + 1
    first, last = max(0, math.floor(start - reach)), min(image.height, math.ceil(end + reach))
    return image.crop((0, first, image.width, last)), first


def _at_once(image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    if simd is None or image.mode == "LAB":
        return image.resize(size, Image.Resampling.LANCZOS, box)
    if not hasattr(_own, "resizer"):
        _own.resizer = simd.Resizer()
    # With transparency each call keeps a copy of the source, which is too much to be kept for the next picture.
    return _by_simd(simd.Resizer() if image.mode == "RGBA" else _own.resizer, image, size, box)


def _by_simd(resizer: Any, image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
    options = simd.ResizeOptions(
        resize_alg=simd.ResizeAlg.convolution(simd.FilterType.lanczos3),
        crop_box=simd.CropBox(box[0], box[1], box[2] - box[0], box[3] - box[1]),
    )
    result = Image.new(image.mode, size)
    resizer.resize_pil(image, result, options)
    return result
