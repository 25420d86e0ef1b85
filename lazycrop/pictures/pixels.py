"""Pixels: decoded pictures, what can be done with them, and the settings of all that makes and saves them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from PIL import Image, ImageChops, ImageFilter

from lazycrop.errors import ConfigurationError
from lazycrop.options import option
from lazycrop.pictures.headers import FORMATS
from lazycrop.pictures.resampling import resize

TRANSPARENT_FORMATS = frozenset(("png", "webp", "avif", "gif"))
ANIMATED_FORMATS = frozenset(("gif", "webp"))

QUALITY = MappingProxyType({"jpg": 80, "webp": 80, "avif": 60})
# Measured on photographs of 800 x 600: WebP of effort 4 takes three times as long for the same bytes and 0.3 dB more,
# AVIF of effort 2 up to five times as long for the same bytes and 0.2 dB more.
EFFORT = MappingProxyType({"jpg": 0, "png": 3, "webp": 1, "avif": 1})
MOST_EFFORT = {"jpg": 1, "png": 9, "webp": 6, "avif": 10}
# The longest side that a file of the format can have, in pixels.
LONGEST_SIDE = {"jpg": 65_500, "png": 65_535, "webp": 16_383, "avif": 65_535, "gif": 65_535}


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """Raises :class:`~lazycrop.errors.ConfigurationError` for a value that cannot be right."""

    input_formats: tuple[str, ...] = option(
        ("jpg", "png", "webp", "avif", "gif"), "The formats that are accepted; `tiff`, `bmp` and `heic` may be added."
    )
    quality: Mapping[str, int] = option(
        QUALITY, "Quality of each lossy format, 0 to 100; those not named keep their default: `jpg=80,webp=80,avif=60`."
    )
    effort: Mapping[str, int] = option(
        EFFORT,
        "Time spent for fewer bytes: jpg 0 or 1 (progressive), png 0 to 9, webp 0 to 6, avif 0 to 10; "
        "those not named keep their default: `jpg=0,png=3,webp=1,avif=1`.",
    )
    jpeg_subsampling: str = option("4:2:0", "Colour resolution of JPEG: `4:2:0`, or `4:4:4` for sharp coloured edges.")
    background: str = option("ffffff", "What shows through where a format has no transparency, as `rrggbb`.")
    max_pixels: int = option(50_000_000, "Most pixels of a source, times its frames.", least=1)
    max_pixels_webp: int = option(
        25_000_000, "The same of WebP, AVIF and HEIC, which need up to 16 bytes a pixel.", least=1
    )
    max_side: int = option(30_000, "Longest side of a source, in pixels.", least=1)
    max_frames: int = option(500, "Most frames of an animation.", least=1)
    max_scans: int = option(100, "Most scans of a progressive JPEG; each one costs a pass over the picture.", least=1)
    decode_seconds: float = option(5.0, "Longest time that reading one source may take.")
    pixel_memory: int = option(
        64_000_000, "Bytes of pixels that one process works on at the same time; an image that needs more takes turns."
    )
    mezzanine_edges: tuple[int, ...] = option(
        (256, 512, 1024, 2048), "Longer sides of the working copies made of each image, or `none`."
    )
    mezzanine_quality: int = option(95, "JPEG quality of the working copies, 0 to 100.")

    def __post_init__(self) -> None:
        _check("input_formats", self.input_formats, FORMATS)
        _check("jpeg_subsampling", [self.jpeg_subsampling], ("4:2:0", "4:4:4"))
        _check("quality", self.quality, QUALITY)
        _check("effort", self.effort, EFFORT)
        for format, value in [*self.quality.items(), ("mezzanine_quality", self.mezzanine_quality)]:
            _check(f"quality of {format}", [value], range(101))
        for format, value in self.effort.items():
            _check(f"effort of {format}", [value], range(MOST_EFFORT[format] + 1))
        for edge in self.mezzanine_edges:
            _check("mezzanine_edges", [edge], range(1, LONGEST_SIDE["jpg"] + 1))
        if not re.fullmatch("[0-9a-f]{6}", self.background, re.ASCII):
            raise ConfigurationError(f"'background' is {self.background!r}; it is six hexadecimal digits, `rrggbb`.")
        if "heic" in self.input_formats and find_spec("pillow_heif") is None:
            raise ConfigurationError("'input_formats' names heic, which needs: pip install 'lazycrop[heic]'.")


def _check(name: str, values: Iterable[Any], allowed: Collection[Any]) -> None:
    for value in values:
        if value not in allowed:
            shown = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(allowed)
            raise ConfigurationError(f"{value!r} in {name!r} is not possible; it is one of: {shown}.")


@dataclass(slots=True)
class Pixels:
    """Upright sRGB in mode L, RGB or RGBA: one image, or the frames of an animation.

    ``delays``: milliseconds of each frame. ``plays``: how often, 0 for ever. ``lossless``: as :class:`Picture` has it.
    """

    images: list[Image.Image]
    delays: list[int]
    plays: int = 0
    lossless: bool = True

    def map(self, change: Callable[[Image.Image], Image.Image]) -> Pixels:
        return replace(self, images=[change(image) for image in self.images])

    def resized(self, size: tuple[int, int]) -> Pixels:
        return self.map(lambda image: resize(image, size))

    def sketch(self) -> Pixels:
        """The first image in 256 to 511 pixels: enough to see what it is about, at a hundredth of the cost."""
        first = self.images[0]
        return replace(self, images=[first.reduce(max(1, max(first.size) // 256))], delays=self.delays[:1])

    def opaque(self) -> Pixels:
        """Without the transparency that no pixel uses."""
        return self.map(lambda image: image.convert("RGB") if image.mode == "RGBA" else image)


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Without transparency, on this colour (``rrggbb``)."""
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, f"#{background}")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def padded(image: Image.Image, size: tuple[int, int], at: tuple[int, int], background: str | None) -> Image.Image:
    """The image on a canvas of ``size``: of this colour (``rrggbb`` or ``ddd``), or transparent."""
    if background is None:
        canvas = Image.new("RGBA", size)
        canvas.paste(image, at)
        return canvas
    canvas = Image.new("RGB", size, f"#{background}")
    canvas.paste(image, at, image.getchannel("A") if image.mode == "RGBA" else None)
    return canvas


def is_transparent(image: Image.Image) -> bool:
    return image.mode == "RGBA" and ImageChops.invert(image.getchannel("A")).getbbox() is not None


def rgba(pixels: Pixels, size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Red, green, blue and alpha of each pixel of the first image, shrunk to ``size``."""
    data = resize(pixels.images[0], size).convert("RGBA").tobytes()
    yield from zip(*(data[band::4] for band in range(4)), strict=True)


def detail(pixels: Pixels, cells: int) -> list[list[int]]:
    """How much the first image changes within each of ``cells`` × ``cells`` parts of it, as rows of numbers."""
    image = flatten(pixels.images[0], "808080").convert("L")
    edges = image.resize((256, 256), Image.Resampling.BOX, reducing_gap=1.0).filter(ImageFilter.FIND_EDGES)
    data = edges.resize((cells, cells), Image.Resampling.BOX, (1, 1, 255, 255)).tobytes()
    return [list(data[row * cells : (row + 1) * cells]) for row in range(cells)]
