"""Rendering and storing; test_corpus.py has every kind of picture, and test_bombs.py the hostile ones."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from random import Random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageChops

from lazycrop.concurrency.memory import Memory
from lazycrop.concurrency.timing import recorded
from lazycrop.errors import BadSize, ConfigurationError, ImageTooLarge
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.records import Record
from lazycrop.model.sizes import COMPASS, Size
from lazycrop.pictures import resampling
from lazycrop.pictures import settings as pictures_settings
from lazycrop.pictures.ingest import Prepared, mezzanines, prepare, prepare_without_origin, upright
from lazycrop.pictures.render import best_source, render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe, Stage
from servers import ROOT

PHOTO = (ROOT / "tests/photos") / "Fossa_by_Jasper_Roks.jpg"
DEFAULTS = (Recipe(), Limits())
INGEST = (Limits(), IngestSettings())
BOUND = (4000, 4000)


@pytest.fixture(scope="module")
def photo() -> bytes:
    return PHOTO.read_bytes()


@pytest.fixture(scope="module")
def stored(photo) -> Prepared:
    return prepare(photo, BOUND, *INGEST)


@pytest.fixture
def pillow_alone(monkeypatch) -> None:
    monkeypatch.setattr(resampling, "simd", None)


def record_of(prepared: Prepared) -> Record:
    return Record(
        image_id="cat",
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


def opened(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data))


def file(image: Image.Image, format: str, **options: object) -> bytes:
    target = BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def gradient(width: int = 200, height: int = 100, mode: str = "RGB") -> Image.Image:
    return Image.linear_gradient("L").resize((width, height)).convert(mode)


def psnr(one: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(one.convert("RGB"), float) - np.asarray(other.convert("RGB"), float)
    return float(10 * np.log10(255**2 / max(np.mean(difference**2), 1e-9)))


# ---- dimensions ----


sides = st.integers(1, 300)
sizes = st.builds(
    Size,
    width=sides,
    height=sides,
    fit=st.sampled_from(["inside", "cover", "contain", "fill"]),
    enlarge=st.booleans(),
    dpr=st.sampled_from([1, 2]),
) | st.builds(lambda size, gravity: replace(size, gravity=gravity), st.builds(
    Size, width=sides, height=sides, fit=st.sampled_from(["cover", "contain"])
), st.sampled_from([*COMPASS, "f0x0", "f100x100", "f33x66"]))  # fmt: skip


@given(width=sides, height=sides, size=sizes, orientation=st.integers(1, 8))
def test_the_result_has_the_documented_pixels_whatever_is_asked_of_whatever(width, height, size, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored_as = (width, height) if orientation < 5 else (height, width)
    rendered = render(file(gradient(*stored_as), "JPEG", exif=exif), size, "png", *DEFAULTS)
    assert opened(rendered.data).size == (rendered.width, rendered.height) == size.dimensions(width, height)


@pytest.mark.parametrize("text", ["200x100", "333x", "400x300-cover-ne", "123x457-fill", "300x300-contain-s"])
def test_a_mezzanine_gives_the_pixels_that_the_origin_gives(text, stored):
    size = Size.parse(text)
    dimensions = (stored.width, stored.height)
    for _, data in stored.mezzanines:
        rendered = render(data, size, "png", *DEFAULTS, dimensions=dimensions)
        from_origin = render(stored.data, size, "png", *DEFAULTS)
        assert (rendered.width, rendered.height) == size.dimensions(*dimensions)
        assert psnr(opened(rendered.data), opened(from_origin.data)) > 35


@example(width=1407, height=2250, edge=640, size=Size(200, 100))  # 400.00000000000006 of 400 pixels
@given(width=st.integers(1, 5000), height=st.integers(1, 5000), edge=st.integers(1, 300), size=sizes)
def test_a_mezzanine_of_any_shape_gives_them_too(width, height, edge, size):
    width, height = max(width, height // 50), max(height, width // 50)
    mezzanine = file(gradient(*Size(edge, edge).scaled(width, height)), "JPEG")
    rendered = render(mezzanine, size, "jpg", *DEFAULTS, dimensions=(width, height))
    assert (rendered.width, rendered.height) == size.dimensions(width, height)


@pytest.mark.parametrize(("text", "format"), [("20000x2-contain", "webp"), ("99999x99999-contain", "png")])
def test_a_result_that_is_too_large_is_refused_before_it_is_made(text, format):
    with pytest.raises(BadSize, match="Ask for less"):
        render(file(gradient(), "PNG"), Size.parse(text), format, *DEFAULTS)


@pytest.mark.parametrize(
    ("shape", "text", "box"),
    [
        ((400, 100), "300x200-contain", (0, 62, 300, 137)),
        ((100, 400), "200x300-contain", (62, 0, 137, 300)),
        ((400, 100), "300x200-contain-n", (0, 0, 300, 75)),
        ((100, 400), "300x200-contain-e", (250, 0, 300, 200)),
        ((100, 400), "300x200-contain-sw", (0, 0, 50, 200)),
    ],
)
def test_padding_is_where_the_picture_is_not(shape, text, box):
    size = Size.parse(text)
    red = np.asarray(opened(render(file(Image.new("RGB", shape, "red"), "PNG"), size, "png", *DEFAULTS).data))
    rows, columns = np.nonzero(red[..., 3] if red.shape[2] == 4 else red[..., 1] < 128)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert all(abs(one - other) <= 1 for one, other in zip(found, box, strict=True)), found


def test_an_animation_of_few_pixels_becomes_none_of_many():
    frames = [Image.new("L", (2, 2), grey) for grey in range(100)]
    data = file(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=50)
    for text in ("4000x4000-contain", "4000x4000-up"):
        for format in ("gif", "webp"):
            with pytest.raises(BadSize, match="100 frames"):
                render(data, Size.parse(text), format, *DEFAULTS)
    assert render(data, Size.parse("40x40-up"), "gif", *DEFAULTS).width == 40


# ---- which file to start from ----


def test_the_source_is_the_smallest_mezzanine_that_is_large_enough(stored):
    record = record_of(stored)
    assert [mezzanine.edge for mezzanine in record.mezzanines] == [256, 512, 1024]
    for text, edge in [("200x", 256), ("204x", 256), ("205x", 512), ("409x", 512), ("410x", 1024), ("820x", None)]:
        best = best_source(record, Size.parse(text))
        assert (best and best.edge) == edge, text


def test_cover_needs_a_larger_mezzanine_than_inside(stored):
    record = record_of(stored)
    assert best_source(record, Size.parse("320x320")).edge == 512
    assert best_source(record, Size.parse("320x320-cover")).edge == 1024


def test_an_image_without_mezzanines_starts_from_its_origin(stored):
    assert best_source(replace(record_of(stored), mezzanines=()), Size.parse("20x")) is None


def test_mezzanines_made_later_are_those_of_the_origin(stored):
    later = mezzanines(stored.data, *INGEST)
    assert [(m.edge, m.width, m.height, m.format) for m, _ in later] == [
        (m.edge, m.width, m.height, m.format) for m, _ in stored.mezzanines
    ]
    for (mezzanine, data), (_, at_once) in zip(later, stored.mezzanines, strict=True):
        assert mezzanine.length == len(data)
        assert psnr(opened(data), opened(at_once)) > 38


def test_mezzanines_can_be_turned_off_and_chosen(photo):
    assert prepare(photo, BOUND, Limits(), IngestSettings(mezzanine_edges=())).mezzanines == ()
    chosen = prepare(photo, BOUND, Limits(), IngestSettings(mezzanine_edges=(300, 100))).mezzanines
    assert [mezzanine.edge for mezzanine, _ in chosen] == [100, 300]


def test_a_copy_of_more_than_half_of_a_jpeg_is_kept_where_it_has_far_fewer_bytes(photo):
    image = opened(photo).resize((1600, 900))
    edges = {
        quality: [m.edge for m, _ in prepare(file(image, "JPEG", quality=quality), BOUND, *INGEST).mezzanines]
        for quality in (98, 40)
    }
    assert edges == {98: [256, 512, 1024], 40: [256, 512]}
    for data in (file(image, "JPEG", quality=40), file(gradient(1600, 900), "PNG")):
        only = prepare(data, BOUND, Limits(), IngestSettings(mezzanine_edges=(1024,)))
        assert [m.edge for m, _ in only.mezzanines] == [1024], "it would be made again after each new size"


def test_a_small_image_needs_no_mezzanine():
    assert prepare(file(gradient(600, 400), "JPEG"), BOUND, *INGEST).mezzanines == ()


def test_mezzanines_of_a_photograph_are_jpeg_whatever_it_came_as(photo):
    image = opened(photo).crop((1000, 800, 2400, 1500))
    grey = file(image.convert("L"), "PNG", compress_level=1)
    for data in (file(image, "PNG", compress_level=1), file(image, "JPEG"), file(image, "WEBP"), grey):
        assert {m.format for m, _ in prepare(data, BOUND, *INGEST).mezzanines} == {"jpg"}
    assert {m.format for m, _ in mezzanines(file(image, "PNG", compress_level=1), *INGEST)} == {"jpg"}


def test_mezzanines_of_drawings_and_of_transparent_pictures_are_lossless():
    image = gradient(1000, 500)
    for number in range(0, 1000, 50):
        image.paste((number % 256, 255 - number % 256, 0), (number, number // 3, number + 30, number // 3 + 100))
    transparent = image.copy()
    transparent.putalpha(gradient(1000, 500, "L"))
    for data in (
        file(image, "PNG"),
        file(image.convert("L"), "PNG"),
        file(image, "WEBP", lossless=True),
        file(transparent, "WEBP"),
        file(transparent, "PNG"),
    ):
        assert {m.format for m, _ in prepare(data, BOUND, *INGEST).mezzanines} == {"png"}
    assert {m.format for m, _ in mezzanines(file(image, "PNG"), *INGEST)} == {"png"}
    assert {m.format for m, _ in prepare(file(image, "WEBP"), BOUND, *INGEST).mezzanines} == {"jpg"}


@pytest.mark.slow
@pytest.mark.skipif(resampling.simd is None, reason="there is no wheel for this machine")
def test_a_picture_that_is_resized_in_bands_by_a_used_resizer_is_as_if_made_at_once_by_a_new_one(photo):
    image = opened(photo)
    random = Random(1)
    for mode in ("RGB", "L", "RGBA", "CMYK", "RGB"):
        source = image.convert(mode).resize((random.randrange(1500, 3000), random.randrange(1500, 3000)))
        box = (random.random() * 700, random.random() * 700, 800 + random.random() * 700, 800 + random.random() * 700)
        for size in ((random.randrange(1, 1500), random.randrange(1, 1500)), (1400, 1300), (1, 1), (1999, 3)):
            expected = resampling._by_simd(resampling.simd.Resizer(), source, size, box)
            got = resampling._resampled(source, size, box, None)
            difference = np.abs(np.asarray(got, int) - np.asarray(expected, int))
            assert (got.size, got.mode) == (size, mode)
            # Where a band begins is rounded to a float, and the weights to whole numbers.
            assert difference.max() <= 2 and difference.mean() < 0.01, (mode, source.size, size, box)


# ---- origins ----


@pytest.mark.parametrize(("quality", "subsampling"), [(60, "4:2:0"), (85, "4:2:2"), (95, "4:4:4")])
def test_a_jpeg_is_stored_with_hardly_any_loss_in_about_as_many_bytes(photo, quality, subsampling):
    image = opened(photo).resize((1200, 675))
    source = file(image, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    origin = prepare(source, BOUND, *INGEST).data
    assert 0.95 < len(origin) / len(source) < 1.05
    assert psnr(opened(source), image) - psnr(opened(origin), image) < 0.3


def test_what_is_stored_again_is_the_same_picture(stored):
    again = prepare(stored.data, BOUND, *INGEST)
    assert psnr(opened(again.data), opened(stored.data)) > 45


def test_a_palette_stays_one_when_nothing_changes():
    image = gradient().quantize(16)
    prepared = prepare(file(image, "PNG"), BOUND, *INGEST)
    assert opened(prepared.data).mode == "P"
    assert opened(prepare(file(image, "PNG"), (100, 100), *INGEST).data).mode == "RGB"


@pytest.mark.parametrize("mode", ["P", "1"])
@pytest.mark.parametrize("format", ["BMP", "TIFF"])
def test_a_palette_stays_one_from_a_format_that_no_origin_has(format, mode):
    image = gradient().quantize(16) if mode == "P" else gradient().convert("1")
    data, limits = file(image, format), Limits(input_formats=("bmp", "tiff"))
    prepared = prepare(data, BOUND, limits, IngestSettings())
    assert prepared.format == prepare_without_origin(data, limits, IngestSettings()).format == "png"
    assert opened(prepared.data).mode in ("P", "1")
    for origin in (prepared.data, upright(data, limits)):
        assert ImageChops.difference(opened(origin).convert("RGB"), image.convert("RGB")).getbbox() is None
    assert prepare(file(gradient(), format), BOUND, limits, IngestSettings()).format == "jpg"


def test_a_lossless_webp_stays_lossless():
    image = gradient(300, 200)
    origin = prepare(file(image, "WEBP", lossless=True), BOUND, *INGEST)
    assert origin.format == "webp"
    assert psnr(opened(origin.data), image) > 90


@pytest.mark.parametrize(("mode", "format"), [("RGB", "jpg"), ("RGBA", "png")])
def test_an_avif_is_stored_as_jpeg_or_where_it_is_transparent_as_png(mode, format):
    image = gradient()
    if mode == "RGBA":
        image.putalpha(128)
    prepared = prepare(file(image, "AVIF"), BOUND, *INGEST)
    assert prepared.format == format
    assert opened(prepared.data).size == (200, 100)
    assert prepared.transparent is (mode == "RGBA")


# ---- encoding ----


def test_settings_of_quality_and_effort_are_those_of_the_result(photo):
    size = Size.parse("400x300")

    def made(format: str, **settings: object) -> bytes:
        return render(photo, size, format, Recipe(**settings), Limits()).data

    for format in ("jpg", "webp", "avif"):
        assert len(made(format, quality={format: 30})) < len(made(format)) < len(made(format, quality={format: 95}))
    assert made("jpg", quality={"webp": 10}) == made("jpg")
    assert "progressive" not in opened(made("jpg")).info
    assert "progressive" in opened(made("jpg", effort={"jpg": 1})).info
    assert len(made("png", effort={"png": 9})) < len(made("png", effort={"png": 0}))
    assert opened(made("jpg")).layer[0][1:3] == (2, 2)
    assert opened(made("jpg", jpeg_subsampling="4:4:4")).layer[0][1:3] == (1, 1)


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "avif", "gif"])
def test_pillow_alone_makes_the_same_pictures(photo, format, monkeypatch):
    for text in ("400x300", "300x300-cover-ne", "150x400-fill"):
        fast = render(photo, Size.parse(text), format, *DEFAULTS)
        with monkeypatch.context() as patch:
            patch.setattr(resampling, "simd", None)
            plain = render(photo, Size.parse(text), format, *DEFAULTS)
        assert psnr(opened(fast.data), opened(plain.data)) > (50 if format == "png" else 33)


@pytest.mark.usefixtures("pillow_alone")
@pytest.mark.parametrize("text", ["20x300-fill-up", "300x20-fill-up", "300x200-cover-up", "50x50", "150x150-contain"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pillow_alone_makes_every_fit(text, mode):
    size = Size.parse(text)
    rendered = render(file(gradient(mode=mode), "PNG"), size, "png", *DEFAULTS)
    assert opened(rendered.data).size == size.dimensions(200, 100)


def test_the_time_of_each_step_is_told(photo):
    with recorded() as spans:
        render(photo, Size.parse("100x"), "jpg", *DEFAULTS)
    assert list(spans) == ["decode", "resize", "encode"]
    assert all(seconds > 0 for seconds in spans.values())


# ---- what is accepted, and how much at a time ----


def test_heic_needs_its_package(monkeypatch):
    Limits(input_formats=("heic",))
    monkeypatch.setattr(pictures_settings, "find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match="pip install"):
        Limits(input_formats=("heic",))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Limits, {"input_formats": ("jpeg",)}),
        (Recipe, {"quality": {"png": 80}}),
        (Recipe, {"quality": {"jpg": 101}}),
        (Recipe, {"quality": {"jpg": -1}}),
        (Recipe, {"effort": {"webp": 7}}),
        (Recipe, {"effort": {"gif": 0}}),
        (Recipe, {"effort": {"jpg": 3}}),
        (Recipe, {"store_effort": {"png": 11}}),
        (Recipe, {"store_effort": {"gif": 0}}),
        (Recipe, {"jpeg_subsampling": "4:2:2"}),
        (Recipe, {"background": "#ffffff"}),
        (Recipe, {"background": "fff"}),
        (IngestSettings, {"mezzanine_quality": 101}),
        (IngestSettings, {"mezzanine_edges": (0,)}),
    ],
)
def test_a_setting_that_cannot_be_right_is_named(kind, settings):
    (name,) = settings
    with pytest.raises(ConfigurationError, match=name):
        kind(**settings)


def test_limits_are_those_of_the_settings():
    data = file(gradient(), "PNG")
    for settings in ({"max_pixels": 19_999}, {"max_side": 199}, {"decode_seconds": -1}):
        with pytest.raises(ImageTooLarge):
            render(data, Size.parse("10x"), "jpg", Recipe(), Limits(**settings))
    render(data, Size.parse("10x"), "jpg", Recipe(), Limits(max_pixels=20_000, max_side=200))


def test_an_image_that_needs_more_memory_than_there_is_takes_it_all():
    data = file(gradient(), "PNG")
    assert render(data, Size.parse("10x"), "jpg", *DEFAULTS, reserve=Memory(10).use).width == 10


def are_there_together(wanted: int, most: int, seconds: float) -> bool:
    """Two threads that want as many bytes each. ``seconds``: how long one waits for the other."""
    memory, both = Memory(most), threading.Barrier(2, timeout=seconds)

    def use() -> bool:
        try:
            with memory.use(wanted):
                both.wait()
        except threading.BrokenBarrierError:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        return all(thread.result(timeout=20) for thread in [pool.submit(use), pool.submit(use)])


@pytest.mark.parametrize(("wanted", "together"), [(50, True), (51, False), (500, False)])
def test_images_are_worked_on_together_when_their_pixels_fit_into_the_memory(wanted, together):
    assert are_there_together(wanted, 100, 20 if together else 0.3) is together


# ---- what is kept beside it ----


def test_a_focal_point_that_is_found_is_where_the_detail_is():
    image = Image.new("RGB", (800, 400), "#336699")
    image.paste(Image.effect_noise((100, 100), 90).convert("RGB"), (650, 30))
    x, y = prepare(file(image, "PNG"), BOUND, *INGEST, focal="auto").focal
    assert abs(x - 87) < 6
    assert abs(y - 20) < 8


def test_a_picture_without_detail_has_its_focal_point_in_the_middle():
    assert prepare(file(Image.new("RGB", (300, 200)), "PNG"), BOUND, *INGEST, focal="auto").focal == (50, 50)


def test_the_dominant_colour_is_none_of_what_nobody_sees():
    image = Image.new("RGBA", (100, 100), (255, 0, 0, 0))
    assert prepare(file(image, "PNG"), BOUND, *INGEST).colour is None
    image.paste((0, 0, 255, 255), (0, 0, 30, 30))
    assert prepare(file(image, "PNG"), BOUND, *INGEST).colour == "0000ff"


def test_a_placeholder_is_a_data_uri_of_300_characters_at_most(stored):
    assert stored.placeholder.startswith("data:image/webp;base64,")
    assert len(stored.placeholder) <= 300


def test_noise_that_no_optimised_jpeg_can_hold_is_stored_all_the_same() -> None:
    noise = Image.frombytes("RGB", (1200, 800), Random(1).randbytes(1200 * 800 * 3))
    for format, options in {"PNG": {}, "JPEG": {"quality": 100, "subsampling": 0}}.items():
        file = BytesIO()
        noise.save(file, format, **options)
        assert prepare(file.getvalue(), BOUND, *INGEST).width == 1200


# ---- what a derivative's ETag knows of the settings ----


@pytest.mark.parametrize(
    ("changed", "formats", "last"),
    [
        ({"quality": {"jpg": 81}}, {"jpg"}, {"jpg"}),
        ({"quality": {"webp": 10, "avif": 10}}, {"webp", "avif"}, {"webp", "avif"}),
        ({"effort": {"png": 9}}, {"png"}, set()),
        ({"store_effort": {"png": 9, "avif": 2}}, set(), {"png", "avif"}),
        ({"jpeg_subsampling": "4:4:4"}, {"jpg"}, {"jpg"}),
        ({"background": "000000"}, {"jpg"}, {"jpg"}),
        ({"quality": {"jpg": 78}, "effort": {"png": 3}, "store_effort": {"png": 10}}, set(), set()),
    ],
)
def test_a_fingerprint_changes_with_the_settings_that_concern_its_format_and_stage_alone(changed, formats, last):
    usual, other = Recipe(), Recipe(**changed)
    for stage in Stage:
        found = {
            format for format in CONTENT_TYPES if usual.fingerprint(format, stage) != other.fingerprint(format, stage)
        }
        assert found == (formats if stage is Stage.FIRST else last)


def test_a_fingerprint_changes_with_the_release_and_the_resampler(monkeypatch):
    before = Recipe().fingerprint("jpg", Stage.FIRST)
    assert re.fullmatch("[0-9a-f]{16}", before)
    with monkeypatch.context() as patch:
        patch.setattr(pictures_settings, "RECIPE", pictures_settings.RECIPE + 1)
        assert Recipe().fingerprint("jpg", Stage.FIRST) != before
    monkeypatch.setattr(pictures_settings, "RESAMPLER", "another")
    assert Recipe().fingerprint("jpg", Stage.FIRST) != before
