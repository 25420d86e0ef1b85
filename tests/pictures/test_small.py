"""What is stored is smaller than what answers a request, and shows the same."""

from __future__ import annotations

import logging
from contextlib import closing
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from lazycrop import LazyCrop
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Mezzanine, Record
from lazycrop.model.sizes import Size
from lazycrop.pictures import settings as pictures_settings
from lazycrop.pictures import small
from lazycrop.pictures.encoding import encode
from lazycrop.pictures.pixels import Pixels
from lazycrop.pictures.quality import alike, jpeg_tables
from lazycrop.pictures.render import best_source
from lazycrop.pictures.settings import Recipe, Recipes, Stage
from servers import photo


def pixels(mode: str = "RGB", size: tuple[int, int] = (400, 300), lossless: bool = False) -> Pixels:
    image = Image.open(photo("Fossa"))
    image.draft("RGB", size)
    small_one = image.convert("RGB").resize(size)
    if mode == "RGBA":
        small_one.putalpha(Image.radial_gradient("L").resize(size))
    return Pixels([small_one.convert(mode)], [0], lossless=lossless)


def stripes(width: int, height: int) -> Image.Image:
    """Red and blue, as fine as pixels are."""
    image = np.full((height, width, 3), (200, 20, 20), np.uint8)
    image[:, ::2] = (20, 20, 200)
    return Image.fromarray(image)


def opened(data: bytes) -> Image.Image:
    image = Image.open(BytesIO(data))
    image.load()
    return image


@pytest.fixture(params=["installed", "missing", "failing"])
def shrinkers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The extra `small` as it may be found."""

    class Failing:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError("broken")

    if request.param == "missing":
        monkeypatch.setattr(small, "mozjpeg", None)
        monkeypatch.setattr(small, "oxipng", None)
    elif request.param == "failing":
        monkeypatch.setattr(small, "mozjpeg", Failing())
        monkeypatch.setattr(small, "oxipng", Failing())
    return str(request.param)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_last_stage_of_a_jpeg_or_png_is_the_same_picture_in_fewer_bytes(mode: str, shrinkers: str) -> None:
    for format in ("jpg", "png"):
        first, last = (encode(pixels(mode), format, Recipe(), stage) for stage in Stage)
        assert len(last) < len(first) or (format == "png" and shrinkers != "installed")
        assert opened(last).convert("RGBA").tobytes() == opened(first).convert("RGBA").tobytes()
        assert opened(last).info.get("progressive", 0) == (format == "jpg")


def test_the_last_stage_of_a_webp_or_avif_takes_fewer_bytes_for_no_worse_a_picture() -> None:
    truth = pixels()
    for format in ("webp", "avif"):
        first, last = (encode(truth, format, Recipe(), stage) for stage in Stage)
        assert len(last) < len(first)
        errors = [
            np.mean((np.asarray(opened(data).convert("RGB"), float) - np.asarray(truth.images[0], float)) ** 2)
            for data in (first, last)
        ]
        assert errors[1] < 1.1 * errors[0]


@pytest.mark.usefixtures("shrinkers")
def test_a_drawing_is_stored_with_a_palette_and_nothing_is_lost() -> None:
    drawing = pixels().images[0].quantize(40).convert("RGB")
    data = encode(Pixels([drawing], [0]), "png", Recipe(), Stage.LAST)
    assert opened(data).mode == "P"
    assert opened(data).convert("RGB").tobytes() == drawing.tobytes()


def test_a_shrinker_that_fails_is_told_of_and_leaves_the_file_as_it_was(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def optimize(self, data: bytes) -> bytes:
            raise ValueError("broken")

    usual = encode(pixels(), "jpg", Recipe(), Stage.FIRST)
    monkeypatch.setattr(small, "mozjpeg", Failing())
    with caplog.at_level(logging.WARNING):
        data = encode(pixels(), "jpg", Recipe(), Stage.LAST)
    assert opened(data).tobytes() == opened(usual).tobytes()
    assert "could not be shrunk" in caplog.text


def test_the_etag_of_what_is_shrunk_says_by_what(monkeypatch: pytest.MonkeyPatch) -> None:
    def prints() -> list[str]:
        return [Recipe().fingerprint(format, stage) for stage in Stage for format in ("jpg", "png", "webp")]

    before = prints()
    monkeypatch.setattr(pictures_settings, "SHRINKERS", {"jpg": "another", "png": "another"})
    assert [one != other for one, other in zip(before, prints(), strict=True)] == [False] * 3 + [True, True, False]


def test_two_stages_never_share_a_fingerprint_even_where_they_do_the_same() -> None:
    recipe = Recipe(effort={"jpg": 1, "webp": 3}, store_effort={"jpg": 1, "webp": 3})
    for format in ("jpg", "webp", "gif"):
        assert recipe.fingerprint(format, Stage.FIRST) != recipe.fingerprint(format, Stage.LAST)


@pytest.mark.parametrize("quality", [0, 1, 49, 50, 80, 100])
def test_the_tables_of_every_quality_are_those_of_a_baseline_jpeg(quality: int) -> None:
    luminance, chrominance = jpeg_tables(quality, colours=True)
    assert len(luminance) == len(chrominance) == 64
    assert all(1 <= value <= 255 for value in luminance + chrominance)
    assert jpeg_tables(quality, colours=False) == (luminance,)
    assert quality < 100 or set(luminance + chrominance) == {1}


def test_what_looks_alike_grows_with_the_quality_and_is_whole_at_both_ends() -> None:
    found = [alike(quality) for quality in range(101)]
    assert found[0] == {"jpg": 0, "webp": 0, "avif": 0}
    assert found[100] == {"jpg": 100, "webp": 100, "avif": 100}
    for one, other in pairwise(found):
        assert all(one[format] <= other[format] for format in one)
    assert dict(Recipe().quality) == alike(Recipe().quality["jpg"])


def test_a_size_with_a_quality_of_its_own_has_its_own_recipe_and_no_other_has() -> None:
    hero = Size.parse("1600x")
    usual, own = Recipes(Recipe(), {}), Recipes(Recipe(), {hero: 60})
    assert own.of(hero).quality == alike(60)
    assert own.of(Size.parse("1600x1600")) == own.of(None) == Recipe()

    def differ(size: Size | None, format: str) -> bool:
        derivative = Derivative("cat", size, format)
        return own.fingerprint(derivative, Stage.LAST) != usual.fingerprint(derivative, Stage.LAST)

    assert [differ(hero, format) for format in ("jpg", "webp", "avif", "png")] == [True, True, True, False]
    assert not differ(Size.parse("200x"), "jpg") and not differ(None, "jpg")
    assert own.all != usual.all == Recipes(Recipe(), {}).all


def test_the_quality_of_a_preset_is_that_of_its_picture_and_of_its_etag() -> None:
    answers = []
    for presets in ({"card": "300x200"}, {"card": "300x200 quality=30"}):
        with closing(LazyCrop(store="memory:", presets=presets, sizes=["100x"], broker="inline")) as images:
            images.store_origin("cat", photo("Fossa"))
            answers.append([images.answer(f"/cat/{size}.jpg") for size in ("card", "300x200", "100x")])
    usual, poor = ([(int(a.header("Content-Length") or 0), a.header("ETag")) for a in these] for these in answers)
    for one, other in zip(usual[:2], poor[:2], strict=True):  # by its name, and by its size
        assert other[0] < 0.7 * one[0] and other[1] != one[1]
    assert poor[2][0] == usual[2][0]


def test_what_is_kept_is_made_from_a_larger_copy_but_never_from_far_away() -> None:
    def record(at_source: bool) -> Record:
        mezzanines = tuple(Mezzanine(edge, edge, edge * 3 // 4, "jpg", 1) for edge in (256, 512, 1024))
        return Record(
            image_id="cat", version=1, format="jpg", width=4000, height=3000, length=1, sha256="", stored_at="",
            source="", mezzanines=mezzanines, at_source=at_source,
        )  # fmt: skip

    def edge(size: str, stage: Stage, at_source: bool = False) -> int | None:
        best = best_source(record(at_source), Size.parse(size), stage)
        return best and best.edge

    assert [edge("320x", stage) for stage in Stage] == [512, 1024]
    assert [edge("640x", stage) for stage in Stage] == [1024, None]
    assert edge("640x", Stage.LAST, at_source=True) == 1024


def test_a_small_avif_is_stored_in_full_colour() -> None:
    def error(width: int, height: int, stage: Stage) -> float:
        image = stripes(width, height)
        made = opened(encode(Pixels([image], [0], lossless=False), "avif", Recipe(), stage)).convert("RGB")
        return float(np.abs(np.asarray(made, float) - np.asarray(image, float)).mean())

    assert error(320, 200, Stage.LAST) < 15 < 30 < error(320, 200, Stage.FIRST)
    assert error(320, 256, Stage.LAST) > 30


def test_an_avif_is_stored_in_fewer_bytes_than_its_encoder_takes_by_itself() -> None:
    truth = pixels().images[0]
    ours, usual = encode(pixels(), "avif", Recipe(), Stage.LAST), BytesIO()
    effort = Recipe().effort_of("avif", Stage.LAST)
    truth.save(usual, "AVIF", quality=61, speed=10 - effort, subsampling="4:2:0", max_threads=1, autotiling=False)

    def error(data: bytes) -> float:
        return float(np.mean((np.asarray(opened(data).convert("RGB"), float) - np.asarray(truth, float)) ** 2))

    assert len(ours) < 0.97 * len(usual.getvalue())
    assert error(ours) < 1.1 * error(usual.getvalue())
