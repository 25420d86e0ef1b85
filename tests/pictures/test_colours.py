"""Colours for bright screens (PQ and HLG) become pictures for ordinary ones: neither washed out nor cut off."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import corpus
from lazycrop.model.sizes import Size
from lazycrop.pictures import colours, profiles
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import Limits, Recipe

PQ, HLG, BT2020, BT709 = 16, 18, 9, 1


def pq(light: float) -> float:
    """The sample of 0 to 1 for cd/m² (SMPTE ST 2084)."""
    power = (light / 10_000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def hlg(light: float) -> float:
    """The sample of 0 to 1 for cd/m² on a screen of 1,000 (ITU-R BT.2100)."""
    scene = (light / 1000) ** (1 / 1.2)
    return float(np.sqrt(3 * scene) if scene <= 1 / 12 else 0.17883277 * np.log(12 * scene - 0.28466892) + 0.55991073)


def shown(samples: list[tuple[float, float, float]], primaries: int, transfer: int) -> list[tuple[int, ...]]:
    """What a PNG with these code points looks like, in sRGB."""
    image = Image.new("RGB", (len(samples), 1))
    image.putdata([tuple(round(255 * value) for value in sample) for sample in samples])
    data = corpus.saved(image, "PNG")
    data = data[:33] + corpus.chunk(b"cICP", bytes((primaries, transfer, 0, 1))) + data[33:]
    rendered = render(data, Size.parse(f"{len(samples)}x1"), "png", Recipe(), Limits()).data
    return list(Image.open(BytesIO(rendered)).convert("RGB").get_flattened_data())


def srgb(linear: float) -> float:
    return 255 * (12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize(("sample", "transfer"), [(pq, PQ), (hlg, HLG)], ids=["pq", "hlg"])
def test_grey_of_a_bright_picture_is_as_bright_as_it_was_meant_but_for_highlights(sample, transfer):
    lights = [0, 0.5, 5, 20, 50, 90, 150, 203, 400, 1000]
    seen = [colour[1] for colour in shown([(sample(light),) * 3 for light in lights], BT2020, transfer)]
    for light, grey in zip(lights[:6], seen[:6], strict=True):
        assert grey == pytest.approx(srgb(light / 203), abs=5), f"{light} cd/m²"
    assert seen == sorted(seen)
    assert 215 < seen[lights.index(203)] < 245  # there is room for what is brighter than white
    assert seen[-1] >= 254


@pytest.mark.parametrize(("sample", "transfer"), [(pq, PQ), (hlg, HLG)], ids=["pq", "hlg"])
def test_grey_of_a_bright_picture_stays_grey(sample, transfer):
    for red, green, blue in shown([(sample(light),) * 3 for light in (1, 10, 50, 200, 800)], BT2020, transfer):
        assert max(red, green, blue) - min(red, green, blue) <= 2


def test_a_colour_of_a_bright_picture_is_that_colour():
    # sRGB's red of 60 cd/m², in the primaries of BT.2020.
    red = np.array([0.6274, 0.0691, 0.0164]) * 60
    (seen,) = shown([(pq(red[0]), pq(red[1]), pq(red[2]))], BT2020, PQ)
    assert corpus.delta_e(seen, (srgb(60 / 203), 0, 0)) < 6


def test_samples_of_the_narrow_range_are_widened():
    profile = profiles.of_code_points(BT709, 13, is_full=False)
    seen = [colours.to_srgb(Image.new("RGB", (1, 1), (v, v, v)), profile).getpixel((0, 0))[0] for v in (16, 126, 235)]
    assert seen == pytest.approx([0, 128, 255], abs=2)


P3_RED = (234, 51, 35)
"""sRGB's red in the numbers of Display P3."""


def said(data: bytes) -> bytes:
    """The same file, which says in code points that it is Display P3."""
    assert b"nclx\0\1\0\x0d" in data
    return data.replace(b"nclx\0\1\0\x0d", b"nclx\0\x0c\0\x0d")


def heic(image: Image.Image) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = BytesIO()
    pillow_heif.from_pillow(image).save(file, quality=90)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["avif", "avif-alpha", "avif-sequence", "heic"])
def test_the_code_points_of_a_picture_are_found_wherever_its_kind_has_them(kind):
    image, other = Image.new("RGB", (64, 64), P3_RED), Image.new("RGB", (64, 64))
    options = {"quality": 95, "subsampling": "4:4:4", "speed": 10}
    if kind == "heic":
        data = heic(image)
    elif kind == "avif-sequence":
        data = corpus.saved(image, "AVIF", save_all=True, append_images=[other], duration=100, **options)
    else:
        if kind == "avif-alpha":  # which is an item of its own, with other properties
            image.putalpha(200)
        data = corpus.saved(image, "AVIF", **options)
    limits = Limits(input_formats=("avif", "heic"))
    for file, expected in ((data, P3_RED), (said(data), (255, 0, 0))):
        rendered = render(file, Size.parse("32x32"), "png", Recipe(), limits).data
        assert corpus.delta_e(Image.open(BytesIO(rendered)).convert("RGB").getpixel((9, 9)), expected) < 4


@pytest.mark.parametrize("code", [0, 3, 9, 10, 19, 255])
def test_code_points_that_nobody_knows_are_left_out_of_account(code):
    assert profiles.of_code_points(1, code) is None


def test_chromaticities_that_enclose_nothing_are_left_out_of_account():
    white = (0.3127, 0.3290)
    for points in (((0.3, 0.3),) * 3, ((0.0, 0.0),) * 3, ((0.1, 0.2), (0.2, 0.4), (0.3, 0.6)), ((1e5, 1e-5),) * 3):
        profile = profiles.of_gamma(0.1, (*points, white))
        image = corpus.rgb()
        assert colours.to_srgb(image, profile).size == image.size


@pytest.mark.parametrize("space", [b"RGB ", b"GRAY", b"CMYK", b"Lab ", b"    ", b"\xff\xff\xff\xff", b"7CLR"])
def test_a_profile_of_any_space_never_fails_a_picture(space):
    profile = corpus.icc_rgb(corpus.P3_XYZ, corpus.icc_srgb_curve())
    profile = profile[:16] + space + profile[20:]
    for mode in ("L", "RGB", "RGBA", "CMYK", "LAB"):
        assert colours.to_srgb(Image.new(mode, (4, 4)), profile).mode in ("L", "RGB", "RGBA")
