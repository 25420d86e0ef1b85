"""Decoding at a fraction, cropping early and starting from a mezzanine cost no visible quality.

The reference decodes a photograph in full, crops it and resizes it once, by Lanczos, in double precision of the box.
Encoding loses something by itself: a derivative may be 0.15 dB further from the reference than the reference is from
its own encoding at the same quality, on average.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lazycrop.model.records import Record
from lazycrop.model.sizes import Size
from lazycrop.pictures.ingest import Prepared, prepare
from lazycrop.pictures.render import best_source, render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe
from servers import ROOT

PHOTOS = sorted((ROOT / "tests/photos").glob("*.jpg"))
DEFAULTS = (Recipe(), Limits())
INGEST = (Limits(), IngestSettings())
LOSSY = ("jpg", "webp", "avif")

SIZES = ["200x200", "640x", "200x100-cover", "400x400-cover-ne", "300x300-contain-bg808080", "500x200-fill"]


@cache
def stored(path: Path) -> tuple[Prepared, Record]:
    """The photograph as its origin, mezzanines and record."""
    prepared = prepare(path.read_bytes(), (4000, 4000), *INGEST)
    record = Record(
        image_id="photo",
        version=1,
        format=prepared.format,
        width=prepared.width,
        height=prepared.height,
        length=len(prepared.data),
        sha256="0" * 64,
        stored_at="2026-01-01T00:00:00+00:00",
        source="",
        mezzanines=tuple(mezzanine for mezzanine, _ in prepared.mezzanines),
    )
    return prepared, record


def reference(im: Image.Image, size: Size) -> Image.Image:
    """``im`` at ``size``, made in the plainest way (the definition is that of the documentation)."""
    width, height = size.scaled(*im.size)
    box = (0.0, 0.0, float(im.width), float(im.height))
    if size.fit == "cover":
        scale = min(im.width / width, im.height / height)
        free_x, free_y = im.width - width * scale, im.height - height * scale
        x, y = centre(size.gravity)
        left = min(max(x * im.width - width * scale / 2, 0), free_x)
        top = min(max(y * im.height - height * scale / 2, 0), free_y)
        box = (left, top, left + width * scale, top + height * scale)
    result = im.resize((width, height), Image.Resampling.LANCZOS, box)
    if size.fit == "contain":
        padded = Image.new("RGB", size.dimensions(*im.size), f"#{size.background}")
        padded.paste(result, ((padded.width - width + 1) // 2, (padded.height - height + 1) // 2))
        return padded
    return result


def centre(gravity: str | None) -> tuple[float, float]:
    """Where the middle of the window is wanted, as parts of width and height."""
    if gravity is None:
        return 0.5, 0.5
    if gravity.startswith("f"):
        x, y = gravity[1:].split("x")
        return int(x) / 100, int(y) / 100
    return 0.5 + ("e" in gravity) / 2 - ("w" in gravity) / 2, 0.5 + ("s" in gravity) / 2 - ("n" in gravity) / 2


def png(im: Image.Image) -> bytes:
    file = BytesIO()
    im.save(file, "PNG", compress_level=1)
    return file.getvalue()


def psnr(data: bytes, expected: Image.Image) -> float:
    """Peak signal-to-noise ratio in dB over all three channels."""
    with Image.open(BytesIO(data)) as im:
        difference = np.asarray(im.convert("RGB"), float) - np.asarray(expected, float)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


@cache
def stored_pixels(path: Path) -> Image.Image:
    """What was stored is what there is: the origin, decoded in full."""
    return Image.open(BytesIO(stored(path)[0].data)).convert("RGB")


@cache
def expected(path: Path, text: str) -> Image.Image:
    return reference(stored_pixels(path), Size.parse(text))


@cache
def own_quality(path: Path, text: str, format: str) -> float:
    """PSNR of the reference as it is, through the same encoder at the same quality."""
    im = expected(path, text)
    return psnr(render(png(im), Size(*im.size), format, *DEFAULTS).data, im)


def quality(path: Path, text: str, format: str, source: str) -> float:
    """PSNR of the derivative that is made from the origin, or from the best mezzanine."""
    prepared, record = stored(path)
    data = prepared.data
    if source == "mezzanine":
        mezzanine = best_source(record, Size.parse(text))
        data = dict(prepared.mezzanines)[mezzanine] if mezzanine else data
    dimensions = (record.width, record.height)
    return psnr(render(data, Size.parse(text), format, *DEFAULTS, dimensions=dimensions).data, expected(path, text))


def test_encoding_a_picture_at_its_own_size_as_png_changes_nothing():
    assert own_quality(PHOTOS[0], "200x200", "png") > 90


@pytest.mark.parametrize("source", ["origin", "mezzanine"])
@pytest.mark.parametrize("format", ["jpg", "webp", "avif"])
@pytest.mark.parametrize("text", SIZES)
def test_a_derivative_is_as_good_as_its_encoding(text, format, source):
    if source == "mezzanine":
        assert any(best_source(stored(path)[1], Size.parse(text)) for path in PHOTOS), "else this shows nothing"
    lost = [own_quality(path, text, format) - quality(path, text, format, source) for path in PHOTOS]
    assert np.mean(lost) < 0.15


# There is no loss of PNG's own to compare with, and on some pictures hardly any of GIF's.
@pytest.mark.parametrize(("source", "floor"), [("origin", 45), ("mezzanine", 37)])
@pytest.mark.parametrize("text", ["200x200", "400x400-cover-ne", "500x200-fill"])
def test_a_lossless_derivative_looks_like_the_reference(text, source, floor):
    assert min(quality(path, text, "png", source) for path in PHOTOS) > floor
    lost = [min(own_quality(path, text, "gif"), 40) - quality(path, text, "gif", source) for path in PHOTOS]
    assert np.mean(lost) < 0.15


def test_an_origin_is_as_good_as_what_was_uploaded():
    for path in PHOTOS:
        im = Image.open(path).convert("RGB")
        assert im.getexif().get(0x0112, 1) == 1
        assert psnr(stored(path)[0].data, reference(im, Size(4000, 4000))) > 38


def test_the_best_source_is_the_smallest_that_is_large_enough():
    _, record = stored(next(path for path in PHOTOS if path.name.startswith("Painting")))
    assert (record.width, record.height) == (4000, 2667)
    edges = sorted(mezzanine.edge for mezzanine in record.mezzanines)
    assert len(edges) >= 2
    for text in [
        "100x",
        "x100",
        "640x",
        "600x600",
        "x640",
        "640x640-cover",
        "900x",
        "1000x1000-contain",
        "3000x",
        "3999x",
    ]:
        size = Size.parse(text)
        width, height = size.scaled(record.width, record.height)
        best = best_source(record, size)
        if best is not None:
            assert best in record.mezzanines
            # Nothing is enlarged: the picture, of which cover shows a part, has at least the derivative's pixels.
            scale = max(width / record.width, height / record.height)
            assert best.width >= int(record.width * scale)
            assert best.height >= int(record.height * scale)
        else:
            assert max(width, height) > edges[-1] * 0.5
    small, large = best_source(record, Size.parse("100x")), best_source(record, Size.parse("3999x"))
    assert small is not None
    assert small.edge == edges[0]
    assert large is None
