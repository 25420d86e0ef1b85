"""What files say of themselves, in every format that is read. Nothing is decoded here: that is for the mutants."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from lazycrop.errors import ImageError
from lazycrop.pictures import gif, heif, jpeg, png, webp
from lazycrop.pictures.headers import FORMATS, format_of, orientation_of
from lazycrop.pictures.ingest import outline
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.settings import Limits

LIMITS = Limits(input_formats=FORMATS, max_pixels=100_000)
READERS: dict[str, Callable[[bytes, Clock, Limits], Any]] = {
    "png": png.read,
    "jpg": jpeg.read,
    "gif": gif.read,
    "webp": webp.read,
    "avif": heif.read,
    "heic": heif.read,
}


def headers_of(format: str, data: bytes) -> None:
    if format_of(data, FORMATS) != format:
        return
    if read := READERS.get(format):
        read(data, Clock(5), LIMITS)
    if format == "jpg":
        jpeg.without_end(data, Clock(5))
    outline(data, LIMITS)


def exif(data: bytes) -> None:
    assert orientation_of(data) in range(1, 9)


TARGETS = {**{format: partial(headers_of, format) for format in FORMATS}, "exif": exif}
ALLOWED = ImageError
