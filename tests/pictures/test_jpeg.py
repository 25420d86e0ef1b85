"""JPEG: which tables an origin is saved with, and what counts as cut short."""

from __future__ import annotations

from io import BytesIO
from random import Random

import numpy as np
import pytest
from PIL import Image

import corpus
from lazycrop.errors import BrokenImage
from lazycrop.model.sizes import Size
from lazycrop.pictures.ingest import prepare
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe

DEFAULTS = (Recipe(), Limits())
INGEST = (Limits(), IngestSettings())
BOUND = (4000, 4000)


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def psnr(one: bytes, other: bytes) -> float:
    difference = np.asarray(opened(one).convert("RGB"), float) - np.asarray(opened(other).convert("RGB"), float)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


# ---- the tables of an origin ----


def segments(data: bytes) -> list[tuple[int, int, int]]:
    """(code, start, end) of each segment before the first scan, and of that scan's header."""
    found, at = [], 2
    while not found or found[-1][0] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((data[at + 1], at, end))
        at = end
    return found


def renumbered(data: bytes, numbers: dict[int, int]) -> bytes:
    """The same picture, with other numbers for its tables, in its frame header too."""
    made = bytearray(data)
    for code, start, end in segments(data):
        if code == 0xDB:
            for at in range(start + 4, end, 65):
                made[at] = numbers[made[at]]
        elif code in (0xC0, 0xC1, 0xC2):
            for at in range(start + 12, start + 10 + 3 * made[start + 9], 3):
                made[at] = numbers[made[at]]
    return bytes(made)


def wide_tables(data: bytes) -> bytes:
    """The same tables in 16 bits a value."""
    made = data[:2]
    for code, start, end in segments(data):
        if code != 0xDB:
            made += data[start:end]
            continue
        for at in range(start + 4, end, 65):
            values = b"".join(bytes((0, value)) for value in data[at + 1 : at + 65])
            made += corpus.jpeg_segment(0xDB, bytes((0x10 | data[at],)) + values)
    return made + data[segments(data)[-1][2] :]


SOURCES = {
    "colour": {"quality": 60},
    "colour-444": {"quality": 60, "subsampling": 0},
    "grey": {"quality": 60},
    "progressive": {"quality": 60, "progressive": True},
}


def source(name: str) -> bytes:
    image = corpus.busy(640, 480)
    return corpus.saved(image.convert("L") if name == "grey" else image, "JPEG", **SOURCES[name])


@pytest.mark.parametrize("numbers", [{0: 0, 1: 1}, {0: 2, 1: 3}, {0: 1, 1: 0}, {0: 3, 1: 0}, {0: 1, 1: 2}], ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_an_origin_has_the_tables_of_its_components_whatever_their_numbers(name, numbers):
    plain = source(name)
    data = renumbered(plain, numbers)
    assert psnr(data, plain) > 90
    origin = prepare(data, BOUND, *INGEST).data
    assert opened(origin).quantization == opened(plain).quantization
    assert origin == prepare(plain, BOUND, *INGEST).data


def test_three_components_may_have_three_tables():
    blue, red = ([value] * 64 for value in (40, 9))
    tables = [[5] * 64, blue, red]
    data = corpus.saved(corpus.busy(), "JPEG", qtables=tables, subsampling=0)
    origin = opened(prepare(data, BOUND, *INGEST).data)
    assert [origin.quantization[table] for *_, table in origin.layer] == tables


def test_tables_of_16_bits_are_used():
    plain = source("colour")
    origin = prepare(wide_tables(plain), BOUND, *INGEST).data
    assert opened(origin).quantization == opened(plain).quantization


def test_a_lossless_jpeg_has_no_tables_and_is_stored_at_a_quality():
    data = corpus.jpeg_lossless(np.asarray(corpus.busy()))
    prepared = prepare(data, BOUND, *INGEST)
    assert prepared.format == "jpg"
    assert psnr(prepared.data, data) > 20


def test_a_lossless_jpeg_is_made_smaller_although_it_cannot_be_decoded_at_a_fraction():
    data = corpus.jpeg_lossless(corpus.card([c[:3] for c in corpus.COLOURS], 960, 640))
    image = opened(render(data, Size.parse("30x20"), "png", *DEFAULTS).data)
    for (x, y), colour in zip(((5, 5), (25, 5), (5, 15), (25, 15)), corpus.COLOURS, strict=True):
        assert corpus.delta_e(image.getpixel((x, y)), colour) < 3


# ---- the end of a file ----

TRAILERS = {
    "nothing": b"",
    "zeros": bytes(5000),
    "text": b"the end\n" * 300,
    "noise": Random(7).randbytes(3000),
    "half-a-marker": b"\xff",
    "another-picture": corpus.saved(corpus.rgb(), "JPEG"),
    "a-zip": corpus.FOREIGN["zip"](),
}
KINDS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_blocks": 3},
    "grey": {},
    "cmyk": {},
    "best": {"quality": 100, "subsampling": 0},
}


def photograph(kind: str, width: int = 320, height: int = 240) -> bytes:
    image = corpus.busy(width, height).convert({"grey": "L", "cmyk": "CMYK"}.get(kind, "RGB"))
    return corpus.saved(image, "JPEG", **{"quality": 85, **KINDS[kind]})


@pytest.mark.parametrize("trailer", TRAILERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_lacks_nothing_but_its_end_marker_is_whole(kind, trailer):
    whole = photograph(kind)
    data = whole[:-2] + TRAILERS[trailer]
    for size in ("320x240", "40x40"):
        expected = render(whole, Size.parse(size), "png", *DEFAULTS).data
        assert render(data, Size.parse(size), "png", *DEFAULTS).data == expected
    assert prepare(data, BOUND, *INGEST).data == prepare(whole, BOUND, *INGEST).data


def test_a_lossless_jpeg_that_lacks_nothing_but_its_end_marker_is_whole():
    whole = corpus.jpeg_lossless(np.asarray(corpus.busy()))
    assert prepare(whole[:-2], BOUND, *INGEST).data == prepare(whole, BOUND, *INGEST).data


@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_of_which_some_pixels_are_missing_is_broken(kind):
    whole = photograph(kind)
    for missing in (len(whole) // 2, len(whole) // 10, 200, 30, 12):
        for size in ("320x240", "40x40") if missing >= 200 else ("320x240",):  # the last block's details are not seen
            with pytest.raises(BrokenImage):
                render(whole[:-missing], Size.parse(size), "png", *DEFAULTS)
        with pytest.raises(BrokenImage):
            prepare(whole[:-missing], BOUND, *INGEST)


def test_a_progressive_jpeg_that_lacks_its_last_scans_is_broken():
    whole = photograph("progressive")
    starts = [at for at in range(len(whole)) if whole.startswith(b"\xff\xda", at)]
    assert len(starts) > 5
    for at in starts[1:]:
        with pytest.raises(BrokenImage):
            prepare(whole[:at], BOUND, *INGEST)
