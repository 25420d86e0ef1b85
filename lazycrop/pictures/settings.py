"""Settings of pictures: what changes a derivative's bytes, what does not, and what is made at store time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from lazycrop.errors import ConfigurationError, ImageTooLarge
from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
from lazycrop.model.sizes import Size
from lazycrop.options import option
from lazycrop.pictures.headers import FORMATS
from lazycrop.pictures.quality import alike
from lazycrop.pictures.resampling import RESAMPLER
from lazycrop.pictures.small import SHRINKERS

RECIPE = 2
"""Raised by a release that makes other bytes of the same file and the same settings."""

TRANSPARENT_FORMATS = frozenset(("png", "webp", "avif", "gif"))
ANIMATED_FORMATS = frozenset(("gif", "webp"))
DEAR_FORMATS = frozenset(("webp", "avif", "heic"))
"""Their decoders hold the whole picture several times."""

# A JPEG of 78 looks like one of 80 with the tables of the standard, which is what most are saved with.
QUALITY = MappingProxyType(alike(78))
# What answers a request. Measured on photographs of 800 x 600: WebP of effort 4 takes three times as long for the same
# bytes and 0.3 dB more, AVIF of effort 2 up to five times as long for the same bytes and 0.2 dB more.
EFFORT = MappingProxyType({"jpg": 0, "png": 3, "webp": 1, "avif": 1})
# What is stored, once, for everybody who comes later. Bytes at equal SSIMULACRA2, of those that sharp's defaults take,
# and CPU, photographs of 480 to 640 pixels: WebP of effort 1, 4, 5, 6 takes 1.24, 1.00, 0.98, 0.965 in 13, 35, 39, 77
# ms; AVIF of 1, 3, 4, 5, 6 takes 1.3, 1.1, 1.02, 0.98, 0.985 in 20, 90, 140, 550, 760 ms, in full colour 1.01 times
# that, and 0.98 as it is stored, without libaom's own sharpness. benchmarks/rows/bytes.py has the curves.
STORE_EFFORT = MappingProxyType({"jpg": 2, "png": 10, "webp": 6, "avif": 5})
MOST_EFFORT = {"jpg": 2, "png": 10, "webp": 6, "avif": 10}
SHRUNK = {"jpg": 2, "png": 10}
"""From which effort on a file is shrunk by another library than Pillow, where that is installed."""

# The longest side that a file of the format can have, in pixels.
LONGEST_SIDE = {"jpg": 65_500, "png": 65_535, "webp": 16_383, "avif": 65_535, "gif": 65_535}


class Stage(IntEnum):
    """How far an encoding is: the first is fast and answers a request, the last is small and is stored."""

    FIRST = 1
    LAST = 2


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the bytes of a derivative, beside its source, its size and its format.

    Raises :class:`~lazycrop.errors.ConfigurationError` for a value that cannot be right.
    """

    quality: Mapping[str, int] = option(
        QUALITY,
        "Quality of each lossy format, 0 to 100; those not named keep their default, by which all "
        "look alike: `jpg=78,webp=83,avif=61`.",
    )
    effort: Mapping[str, int] = option(
        EFFORT,
        "Time that a request spends for fewer bytes: jpg 0, 1 (progressive) or 2 (and shrunk), png 0 to 9 or 10 "
        "(shrunk), webp 0 to 6, avif 0 to 10; those not named keep their default: `jpg=0,png=3,webp=1,avif=1`.",
    )
    store_effort: Mapping[str, int] = option(
        STORE_EFFORT,
        "The same for what is stored, which nobody waits for; those not named keep their default: "
        "`jpg=2,png=10,webp=6,avif=5`. What is shrunk needs `lazycrop[small]`; without it Pillow does its best.",
    )
    stages: int = option(
        2, "2: a size is answered by `effort`, and stored by `store_effort`; 1: it is stored as it was answered."
    )
    jpeg_subsampling: str = option("4:2:0", "Colour resolution of JPEG: `4:2:0`, or `4:4:4` for sharp coloured edges.")
    background: str = option("ffffff", "What shows through where a format has no transparency, as `rrggbb`.")

    def __post_init__(self) -> None:
        _check("jpeg_subsampling", [self.jpeg_subsampling], ("4:2:0", "4:4:4"))
        _check("stages", [self.stages], range(1, 3))
        _check("quality", self.quality, QUALITY)
        for format, value in self.quality.items():
            _check(f"quality of {format}", [value], range(101))
        for name, efforts in (("effort", self.effort), ("store_effort", self.store_effort)):
            _check(name, efforts, MOST_EFFORT)
            for format, value in efforts.items():
                _check(f"{name} of {format}", [value], range(MOST_EFFORT[format] + 1))
        if not re.fullmatch("[0-9a-f]{6}", self.background, re.ASCII):
            raise ConfigurationError(f"'background' is {self.background!r}; it is six hexadecimal digits, `rrggbb`.")

    def quality_of(self, format: str) -> int:
        return {**QUALITY, **self.quality}.get(format, 0)

    def effort_of(self, format: str, stage: Stage) -> int:
        efforts = {**EFFORT, **self.effort} if stage is Stage.FIRST else {**STORE_EFFORT, **self.store_effort}
        return efforts.get(format, 0)

    def at_quality(self, quality: int) -> Recipe:
        """The same for a picture of another quality: that of a JPEG, and what looks like it in the other formats."""
        return replace(self, quality=alike(quality))

    def fingerprint(self, format: str, stage: Stage) -> str:
        """16 hexadecimal digits that change with whatever changes the bytes of this format in this stage.

        A setting counts only when it differs from its default, so that one which a release adds changes nothing.
        """
        usual = Recipe()._deciding(format, stage)
        changed = {name: value for name, value in self._deciding(format, stage).items() if value != usual[name]}
        # Hosts with the SIMD resampler and without it make slightly different bytes.
        by = [RESAMPLER]
        if self.effort_of(format, stage) >= SHRUNK.get(format, 99):
            by.append(SHRINKERS[format])
        text = repr((RECIPE, int(stage), by, sorted(changed.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _deciding(self, format: str, stage: Stage) -> dict[str, Any]:
        """The settings that concern this format."""
        values: dict[str, Any] = {"quality": self.quality_of(format), "effort": self.effort_of(format, stage)}
        if format == "jpg":
            values["jpeg_subsampling"] = self.jpeg_subsampling
        if format not in TRANSPARENT_FORMATS:
            values["background"] = self.background
        return values


class Recipes:
    """The recipe of each size: that of the settings, but for the sizes that have a quality of their own.

    The store holds one stage of a derivative, so that a key has one content for ever: the last one, where it has two.
    The first is then in the cache while it is hot. Each has a fingerprint, and with it an ETag, of its own.
    """

    def __init__(self, recipe: Recipe, qualities: Mapping[Size, int]) -> None:
        self._usual = recipe
        self._own: dict[Size | None, Recipe] = {size: recipe.at_quality(own) for size, own in qualities.items()}
        # Asked for at each request.
        self._prints = {size: _prints(recipe) for size, recipe in {None: recipe, **self._own}.items()}

    def of(self, size: Size | None) -> Recipe:
        return self._own.get(size, self._usual)

    def stored_stage(self, derivative: Derivative) -> Stage:
        """Which stage the store holds. An origin has one, and a format whose encoder knows no effort."""
        has_two = self._usual.stages == 2 and derivative.size is not None and derivative.format in STORE_EFFORT
        return Stage.LAST if has_two else Stage.FIRST

    def fingerprint(self, derivative: Derivative, stage: Stage) -> str:
        """That of the recipe of this derivative's size, in its format."""
        return self._prints[derivative.size if derivative.size in self._own else None][derivative.format, stage]

    @property
    def all(self) -> str:
        """16 hexadecimal digits that change with whatever changes the bytes of any stored derivative."""
        own = sorted((str(size), *self._prints[size].values()) for size in self._own)
        return hashlib.sha256(repr((self._usual.stages, *self._prints[None].values(), *own)).encode()).hexdigest()[:16]


def _prints(recipe: Recipe) -> dict[tuple[str, Stage], str]:
    return {(format, stage): recipe.fingerprint(format, stage) for format in CONTENT_TYPES for stage in Stage}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is accepted, and what it may take. Raises :class:`~lazycrop.errors.ConfigurationError`."""

    input_formats: tuple[str, ...] = option(
        ("jpg", "png", "webp", "avif", "gif"), "The formats that are accepted; `tiff`, `bmp` and `heic` may be added."
    )
    max_pixels: int = option(50_000_000, "Most pixels of a source, times its frames.", least=1)
    max_pixels_webp: int = option(
        25_000_000, "The same of WebP, AVIF and HEIC, which need up to 16 bytes a pixel.", least=1
    )
    max_side: int = option(30_000, "Longest side of a source, in pixels.", least=1)
    max_frames: int = option(500, "Most frames of an animation.", least=1)
    max_scans: int = option(100, "Most scans of a progressive JPEG; each one costs a pass over the picture.", least=1)
    decode_seconds: float = option(5.0, "Most CPU time that reading one source may take.")
    pixel_memory: int = option(
        64_000_000, "Bytes of pixels that one process works on at the same time; an image that needs more takes turns."
    )

    def __post_init__(self) -> None:
        _check("input_formats", self.input_formats, FORMATS)
        if "heic" in self.input_formats and find_spec("pillow_heif") is None:
            raise ConfigurationError("'input_formats' names heic, which needs: pip install 'lazycrop[heic]'.")

    def check(self, kind: str, size: tuple[int, int], frames: int) -> None:
        """Raise ImageTooLarge for a picture of this format that has more than it may have."""
        width, height = size
        most = self.max_pixels_webp if kind in DEAR_FORMATS else self.max_pixels
        if width * height * frames > most:
            times = f" in {frames} frames" if frames > 1 else ""
            raise ImageTooLarge(
                f"The image has {width} x {height} pixels{times}; at most {most:,} pixels are accepted of {kind}."
            )
        if max(width, height) > self.max_side:
            raise ImageTooLarge(f"The image has {width} x {height} pixels; a side may have {self.max_side:,} at most.")
        if frames > self.max_frames:
            raise ImageTooLarge(f"The image has more than {self.max_frames} frames.")


@dataclass(frozen=True, kw_only=True)
class IngestSettings:
    """What is made of an image once, when it is stored. Raises :class:`~lazycrop.errors.ConfigurationError`."""

    mezzanine_edges: tuple[int, ...] = option(
        (256, 512, 1024, 2048), "Longer sides of the working copies made of each image, or `none`."
    )
    mezzanine_quality: int = option(95, "JPEG quality of the working copies, 0 to 100.")

    def __post_init__(self) -> None:
        _check("mezzanine_quality", [self.mezzanine_quality], range(101))
        for edge in self.mezzanine_edges:
            _check("mezzanine_edges", [edge], range(1, LONGEST_SIDE["jpg"] + 1))


def _check(name: str, values: Iterable[Any], allowed: Collection[Any]) -> None:
    for value in values:
        if value not in allowed:
            those = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else f"one of: {', '.join(allowed)}"
            raise ConfigurationError(f"{value!r} in {name!r} is not possible; it is {those}.")
