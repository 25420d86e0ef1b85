"""Settings of pictures: what changes a derivative's bytes, what does not, and what is made at store time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from lazycrop.errors import ConfigurationError, ImageTooLarge
from lazycrop.options import option
from lazycrop.pictures.headers import FORMATS
from lazycrop.pictures.resampling import RESAMPLER

RECIPE = 1
"""Raised by a release that makes other bytes of the same file and the same settings."""

TRANSPARENT_FORMATS = frozenset(("png", "webp", "avif", "gif"))
ANIMATED_FORMATS = frozenset(("gif", "webp"))
DEAR_FORMATS = frozenset(("webp", "avif", "heic"))
"""Their decoders hold the whole picture several times."""

QUALITY = MappingProxyType({"jpg": 80, "webp": 80, "avif": 60})
# Measured on photographs of 800 x 600: WebP of effort 4 takes three times as long for the same bytes and 0.3 dB more,
# AVIF of effort 2 up to five times as long for the same bytes and 0.2 dB more.
EFFORT = MappingProxyType({"jpg": 0, "png": 3, "webp": 1, "avif": 1})
STORE_EFFORT = MappingProxyType({"jpg": 1, "png": 9, "webp": 5, "avif": 4})
MOST_EFFORT = {"jpg": 1, "png": 9, "webp": 6, "avif": 10}
# The longest side that a file of the format can have, in pixels.
LONGEST_SIDE = {"jpg": 65_500, "png": 65_535, "webp": 16_383, "avif": 65_535, "gif": 65_535}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the bytes of a derivative, beside its source, its size and its format.

    Raises :class:`~lazycrop.errors.ConfigurationError` for a value that cannot be right.
    """

    quality: Mapping[str, int] = option(
        QUALITY, "Quality of each lossy format, 0 to 100; those not named keep their default: `jpg=80,webp=80,avif=60`."
    )
    effort: Mapping[str, int] = option(
        EFFORT,
        "Time spent for fewer bytes: jpg 0 or 1 (progressive), png 0 to 9, webp 0 to 6, avif 0 to 10; "
        "those not named keep their default: `jpg=0,png=3,webp=1,avif=1`.",
    )
    store_effort: Mapping[str, int] = option(
        STORE_EFFORT,
        "The same for what the worker stores, which nobody waits for: `jpg=1,png=9,webp=5,avif=4`.",
    )
    stages: int = option(
        2, "2: a size is answered by `effort`, and stored by `store_effort`; 1: it is stored as it was answered."
    )
    jpeg_subsampling: str = option("4:2:0", "Colour resolution of JPEG: `4:2:0`, or `4:4:4` for sharp coloured edges.")
    background: str = option("ffffff", "What shows through where a format has no transparency, as `rrggbb`.")

    def __post_init__(self) -> None:
        _check("jpeg_subsampling", [self.jpeg_subsampling], ("4:2:0", "4:4:4"))
        _check("quality", self.quality, QUALITY)
        _check("effort", self.effort, EFFORT)
        for format, value in self.quality.items():
            _check(f"quality of {format}", [value], range(101))
        _check("store_effort", self.store_effort, STORE_EFFORT)
        _check("stages", [self.stages], range(1, 3))
        for name, efforts in (("effort", self.effort), ("store_effort", self.store_effort)):
            for format, value in efforts.items():
                _check(f"{name} of {format}", [value], range(MOST_EFFORT[format] + 1))
        if not re.fullmatch("[0-9a-f]{6}", self.background, re.ASCII):
            raise ConfigurationError(f"'background' is {self.background!r}; it is six hexadecimal digits, `rrggbb`.")

    @property
    def last(self) -> Recipe:
        """The recipe of what is stored."""
        return self if self.stages == 1 else replace(self, effort={**STORE_EFFORT, **self.store_effort})

    def quality_of(self, format: str) -> int:
        return {**QUALITY, **self.quality}.get(format, 0)

    def effort_of(self, format: str) -> int:
        return {**EFFORT, **self.effort}.get(format, 0)

    def fingerprint(self, format: str) -> str:
        """16 hexadecimal digits that change with whatever changes the bytes of this format.

        A setting counts only when it differs from its default, so that one which a release adds changes nothing.
        """
        usual = Recipe()._deciding(format)
        changed = {name: value for name, value in self._deciding(format).items() if value != usual[name]}
        # Hosts with the SIMD resampler and without it make slightly different bytes.
        text = repr((RECIPE, RESAMPLER, sorted(changed.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _deciding(self, format: str) -> dict[str, Any]:
        """The settings that concern this format."""
        values: dict[str, Any] = {"quality": self.quality_of(format), "effort": self.effort_of(format)}
        if format == "jpg":
            values["jpeg_subsampling"] = self.jpeg_subsampling
        if format not in TRANSPARENT_FORMATS:
            values["background"] = self.background
        return values


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
    decode_seconds: float = option(5.0, "Longest time that reading one source may take.")
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
