"""Every picture of the corpus comes out upright, in its colours, at its size, and with nothing else of its file."""

from __future__ import annotations

import base64
import enum
import subprocess
import sys
import warnings
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageSequence

import corpus
from lazycrop.errors import BadSize, BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.sizes import Size
from lazycrop.pictures.ingest import mezzanines, prepare
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe

DEFAULTS = (Recipe(), Limits())
INGEST = (Limits(), IngestSettings())
ALL_INPUTS = Limits(input_formats=(*Limits().input_formats, "tiff", "bmp"))
PILLOW_NAMES = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "avif": "AVIF", "gif": "GIF"}
BOUND = (4000, 4000)
WHITE = (255, 255, 255)

# What Pillow may report of a file that holds a picture and nothing else.
PLAIN_INFO = {
    "JPEG": {"jfif", "jfif_version", "jfif_unit", "jfif_density", "progressive", "progression"},
    "PNG": {"transparency"},
    "WEBP": {"loop", "background", "timestamp", "duration"},
    "AVIF": {"duration", "timestamp"},
    "GIF": {"version", "background", "transparency", "loop", "duration", "extension"},
}


def opened(data: bytes) -> Image.Image:
    im = Image.open(BytesIO(data))
    im.load()
    return im


def quadrants(data: bytes) -> list[tuple[float, ...]]:
    """The mean colour (red, green, blue, alpha) of the middle of each quadrant of a picture."""
    pixels = np.asarray(opened(data).convert("RGBA"), float)
    height, width = pixels.shape[:2]
    result = []
    for top in (0, height // 2):
        for left in (0, width // 2):
            middle = pixels[top + height // 8 : top + height * 3 // 8, left + width // 8 : left + width * 3 // 8]
            result.append(tuple(middle.mean(axis=(0, 1))))
    return result


def assert_shows(data: bytes, format: str, picture: corpus.Picture) -> None:
    """``data`` shows the corners of ``picture``, as far as ``format`` can."""
    tolerance = 6 if picture.loose or format in ("jpg", "webp", "avif") else 4
    for place, seen, colour in zip(("nw", "ne", "sw", "se"), quadrants(data), picture.corners, strict=True):
        alpha = colour[3]
        if format == "gif" and 0 < alpha < 255:
            continue  # there is no half in GIF
        if format == "jpg":
            colour = over_white(colour)
        assert seen[3] == pytest.approx(colour[3], abs=3), f"alpha of {place}"
        if colour[3]:
            assert corpus.delta_e(seen, colour) < tolerance, f"{place} is {seen}, should be {colour}"


def over_white(colour: corpus.Colour) -> corpus.Colour:
    red, green, blue, alpha = colour
    return *(round((v * alpha + 255 * (255 - alpha)) / 255) for v in (red, green, blue)), 255  # type: ignore[return-value]


def assert_plain(data: bytes, format: str) -> None:
    """``data`` is of ``format``, and says nothing but its pixels."""
    im = opened(data)
    assert im.format == PILLOW_NAMES[format]
    assert set(im.info) <= PLAIN_INFO[im.format]
    assert not im.getexif()


# ---- pixels ----


@pytest.mark.parametrize("format", CONTENT_TYPES)
@pytest.mark.parametrize("name", corpus.PICTURES)
def test_a_derivative_shows_the_picture(name, format):
    picture = corpus.PICTURES[name]()
    rendered = render(picture.data, Size.parse("48x48"), format, *DEFAULTS)
    assert (rendered.width, rendered.height) == opened(rendered.data).size == (48, 32)
    assert_shows(rendered.data, format, picture)
    assert_plain(rendered.data, format)


@pytest.mark.parametrize("format", ["jpg", "png"])
@pytest.mark.parametrize("name", corpus.CONFIGURED)
def test_a_derivative_shows_the_picture_of_a_configured_format(name, format):
    picture = corpus.CONFIGURED[name]()
    rendered = render(picture.data, Size.parse("48x48"), format, Recipe(), ALL_INPUTS)
    assert (rendered.width, rendered.height) == (48, 32)
    assert_shows(rendered.data, format, picture)
    assert_plain(rendered.data, format)


@pytest.mark.parametrize("name", [*corpus.PICTURES, *corpus.CONFIGURED])
def test_an_origin_shows_the_picture(name):
    picture = (corpus.PICTURES | corpus.CONFIGURED)[name]()
    prepared = prepare(picture.data, BOUND, ALL_INPUTS, IngestSettings())
    assert prepared.format in CONTENT_TYPES
    assert (prepared.width, prepared.height) == opened(prepared.data).size == (96, 64)
    assert_shows(prepared.data, prepared.format, picture)
    assert_plain(prepared.data, prepared.format)
    if any(alpha < 255 for *_, alpha in picture.corners):
        assert prepared.transparent
        assert opened(prepared.data).has_transparency_data
    again = render(prepared.data, Size.parse("48x48"), "png", *DEFAULTS)
    assert_shows(again.data, "png", picture)


@pytest.mark.parametrize("name", ["jpeg-420", "png-rgb", "png-p", "gif", "webp", "avif"])
def test_an_opaque_picture_is_not_called_transparent(name):
    assert not prepare(corpus.PICTURES[name]().data, BOUND, *INGEST).transparent


@pytest.mark.parametrize("orientation", corpus.STORED)
@pytest.mark.parametrize("source", corpus.QUALITY)
@pytest.mark.parametrize(
    ("size", "corner"),
    [
        ("30x20-cover-nw", 0),
        ("30x20-cover-ne", 1),
        ("30x20-cover-sw", 2),
        ("30x20-cover-se", 3),
        ("12x60-cover-w", 0),
        ("12x60-cover-e", 1),
        ("60x12-cover-n", 0),
        ("60x12-cover-s", 2),
        ("60x12-cover-f50x10", 0),
        ("12x60-cover-f90x50", 1),
        ("12x60-cover-f25x0", 0),
    ],
)
def test_gravity_is_meant_in_displayed_pixels(size, corner, source, orientation):
    # 960x640: large enough that a JPEG is decoded at a fraction.
    large = corpus.rgb().resize((960, 640), Image.Resampling.NEAREST)
    data = cached_turned(large, orientation, source)
    rendered = render(data, Size.parse(size), "png", *DEFAULTS)
    pixels = np.asarray(opened(rendered.data).convert("RGB"), float)
    height, width = pixels.shape[:2]
    # A cover of the card's own shape is all of the card; a narrow or flat one is a strip of one half.
    if size.startswith("30x20"):
        pixels = np.split(np.split(pixels, 2, axis=0)[corner // 2], [width // 2], axis=1)[corner % 2][2:-2, 2:-2]
    elif width < height:
        pixels = pixels[: height // 2 - 2, 1:-1]
    else:
        pixels = pixels[1:-1, : width // 2 - 2]
    assert corpus.delta_e(pixels.mean(axis=(0, 1)), corpus.COLOURS[corner]) < 6


TURNED: dict[tuple[int, str], bytes] = {}


def cached_turned(im: Image.Image, orientation: int, format: str) -> bytes:
    key = (orientation, format)
    if key not in TURNED:
        TURNED[key] = corpus.turned(im, orientation, format, **corpus.QUALITY[format])
    return TURNED[key]


def test_cover_is_centred_when_nothing_else_is_said():
    stripes = corpus.saved(corpus.image("L", (0, 255, 0, 255), 300, 100).resize((300, 100)), "PNG")
    middle = np.asarray(opened(render(stripes, Size.parse("100x100-cover"), "png", *DEFAULTS).data).convert("L"))
    assert middle[50, 25] < 5
    assert middle[50, 75] > 250


def test_the_focal_point_of_the_record_places_cover_unless_a_gravity_is_asked_for():
    data = corpus.PICTURES["png-rgb"]().data

    def colour(size: str, focal: tuple[int, int] | None) -> np.ndarray:
        rendered = render(data, Size.parse(size), "png", *DEFAULTS, focal=focal)
        return np.asarray(opened(rendered.data).convert("RGB"), float)[3:12, 3:-3].mean(axis=(0, 1))

    assert corpus.delta_e(colour("16x32-cover", (10, 50)), corpus.RED) < 2
    assert corpus.delta_e(colour("16x32-cover", (90, 50)), corpus.GREEN) < 2
    assert corpus.delta_e(colour("16x32-cover-w", (90, 50)), corpus.RED) < 2
    assert corpus.delta_e(colour("16x32-cover-f0x0", (90, 50)), corpus.RED) < 2


@pytest.mark.parametrize("format", CONTENT_TYPES)
@pytest.mark.parametrize("name", ["png-rgb", "png-rgba", "jpeg-turned-6", "png-l", "png-la", "gif-hole"])
def test_contain_pads_what_the_picture_leaves_free(name, format):
    data = corpus.PICTURES[name]().data
    for gravity, above, below in (("", True, True), ("-n", False, True), ("-s", True, False), ("-f50x0", False, True)):
        for ground in ("", "-bg336699"):
            rendered = render(data, Size.parse(f"48x48-contain{gravity}{ground}"), format, *DEFAULTS)
            pixels = np.asarray(opened(rendered.data).convert("RGBA"), float)
            assert pixels.shape[:2] == (48, 48)
            edges = [pixels[:6].mean(axis=(0, 1))] * above + [pixels[-6:].mean(axis=(0, 1))] * below
            for colour in edges:
                if ground or format == "jpg":
                    assert colour[3] == 255
                    assert corpus.delta_e(colour, (0x33, 0x66, 0x99) if ground else WHITE) < 6
                else:
                    assert colour[3] < 1  # AVIF keeps alpha almost


def test_contain_does_not_enlarge_unless_asked():
    data = corpus.PICTURES["png-rgb"]().data
    for size, filled in (("200x100-contain-bg000", (96, 64)), ("200x100-contain-bg000-up", (150, 100))):
        pixels = np.asarray(opened(render(data, Size.parse(size), "png", *DEFAULTS).data).convert("RGB"))
        coloured = np.argwhere(pixels.max(axis=2) > 20)
        assert tuple(np.ptp(coloured, axis=0) + 1) == filled[::-1]


def test_the_background_setting_shows_through_where_a_format_has_no_transparency():
    recipe = Recipe(background="336699")
    rendered = render(corpus.PICTURES["png-rgba"]().data, Size.parse("48x48"), "jpg", recipe, Limits())
    assert corpus.delta_e(quadrants(rendered.data)[0], (0x33, 0x66, 0x99)) < 6


@pytest.mark.parametrize("format", ["png", "webp", "avif"])
def test_colour_below_transparency_does_not_bleed_into_its_edge(format):
    im = corpus.image("RGBA", ((0, 0, 0, 0), corpus.YELLOW, (0, 0, 0, 0), corpus.YELLOW), 960, 640)
    pixels = np.asarray(opened(render(corpus.saved(im, "PNG"), Size.parse("31x"), format, *DEFAULTS).data), float)
    for colour in pixels[5, 14:18]:
        if colour[3] > 100:  # AVIF's chroma has half the resolution; a dark seam would be 40 away
            assert corpus.delta_e(colour, corpus.YELLOW) < (25 if format == "avif" else 10)


@pytest.mark.parametrize("text", ["48x48", "96x64", "20x20-cover", "60x60-contain", "60x20-fill"])
def test_one_picture_gives_the_same_bytes_each_time(text):
    data = corpus.PICTURES["jpeg-420"]().data
    for format in CONTENT_TYPES:
        size = Size.parse(text)
        assert render(data, size, format, *DEFAULTS).data == render(data, size, format, *DEFAULTS).data


# ---- sizes at the limits ----


@pytest.mark.parametrize("format", CONTENT_TYPES)
@pytest.mark.parametrize("size", ["1x1", "5x5-cover", "5x5-contain", "5x5-fill", "5x-up"])
def test_one_pixel_is_a_picture(size, format):
    data = corpus.saved(Image.new("RGB", (1, 1), corpus.RED[:3]), "PNG")
    rendered = render(data, Size.parse(size), format, *DEFAULTS)
    assert opened(rendered.data).size == (rendered.width, rendered.height) == Size.parse(size).dimensions(1, 1)
    prepared = prepare(data, BOUND, *INGEST)
    assert (prepared.width, prepared.height) == (1, 1)


@pytest.mark.parametrize("format", CONTENT_TYPES)
@pytest.mark.parametrize("side", [16383, 16384])
def test_a_side_that_a_format_cannot_have_is_a_typed_error(side, format):
    data = corpus.saved(Image.new("RGB", (side, 4), corpus.RED[:3]), "PNG")
    assert opened(render(data, Size.parse("800x"), format, *DEFAULTS).data).size == (800, 1)
    try:
        rendered = render(data, Size.parse("99999x"), format, *DEFAULTS)
    except BadSize:
        assert side == 16384
        assert format in ("webp", "avif")
    else:
        assert opened(rendered.data).size == (side, 4)


# A WebP ends at 16383.
@pytest.mark.parametrize("side", [16383, 16384])
@pytest.mark.parametrize("source", ["JPEG", "PNG", "GIF"])
def test_a_long_picture_has_an_origin_mezzanines_and_a_placeholder(source, side):
    check_long_picture(source, side)


def test_the_longest_webp_has_an_origin_mezzanines_and_a_placeholder():
    check_long_picture("WEBP", 16383)


def check_long_picture(source, side):
    data = corpus.saved(Image.new("RGB", (side, 2), corpus.RED[:3]), source)
    prepared = prepare(data, (99999, 99999), *INGEST)
    assert opened(prepared.data).size == (prepared.width, prepared.height) == (side, 2)
    for mezzanine, content in prepared.mezzanines:
        assert opened(content).size == (mezzanine.width, mezzanine.height)
        assert min(mezzanine.width, mezzanine.height) >= 1


@pytest.mark.parametrize("bound", [(40, 40), (40, 4000), (4000, 40), (96, 64), (1, 1)])
@pytest.mark.parametrize("name", ["jpeg-turned-6", "png-rgba", "gif-hole", "webp"])
def test_an_origin_is_within_its_bound(name, bound):
    prepared = prepare(corpus.PICTURES[name]().data, bound, *INGEST)
    assert (prepared.width, prepared.height) == opened(prepared.data).size == Size(*bound).dimensions(96, 64)


# ---- errors ----


@pytest.mark.parametrize("per_cent", [50, 90, 99])
@pytest.mark.parametrize("name", corpus.WHOLE)
def test_a_picture_cut_short_is_broken(name, per_cent):
    whole = corpus.WHOLE[name]()
    cut = whole[: len(whole) * per_cent // 100]
    render(whole, Size.parse("40x40"), "jpg", *DEFAULTS)
    for size in ("40x40", "400x400", "40x40-cover-n"):
        with pytest.raises(BrokenImage):
            render(cut, Size.parse(size), "jpg", *DEFAULTS)
    with pytest.raises(BrokenImage):
        prepare(cut, BOUND, *INGEST)


@pytest.mark.parametrize("name", ["gif-opaque-loop-0-disposal-1", "webp-opaque-loop-0"])
def test_an_animation_cut_short_is_broken(name):
    whole = corpus.ANIMATED[name]()
    for per_cent in (50, 90, 99):
        with pytest.raises(BrokenImage):
            prepare(whole[: len(whole) * per_cent // 100], BOUND, *INGEST)


@pytest.mark.parametrize("length", [1, 3, 8, 12, 20, 30, 60])
@pytest.mark.parametrize("name", corpus.WHOLE)
def test_a_file_cut_in_its_header_is_an_image_error(name, length):
    with pytest.raises(ImageError):
        render(corpus.WHOLE[name]()[:length], Size.parse("40x40"), "jpg", *DEFAULTS)


@pytest.fixture
def no_programs(monkeypatch):
    """Any program that is started fails the test: an EPS must not reach Ghostscript."""

    def refuse(*arguments: object, **named: object) -> None:
        pytest.fail(f"A program was started: {arguments}")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr("os.system", refuse)
    monkeypatch.setattr("os.posix_spawn", refuse)


@pytest.mark.usefixtures("no_programs")
@pytest.mark.parametrize("name", corpus.FOREIGN)
def test_a_foreign_format_is_unsupported_and_runs_nothing(name):
    data = corpus.FOREIGN[name]()  # by now Pillow has all its plugins loaded
    with pytest.raises(UnsupportedImage) as caught:
        render(data, Size.parse("40x40"), "jpg", *DEFAULTS)
    assert caught.value.status == 415
    with pytest.raises(UnsupportedImage):
        prepare(data, BOUND, *INGEST)


def test_a_format_that_is_not_configured_is_unsupported():
    limits = Limits(input_formats=("png",))
    prepare(corpus.PICTURES["png-rgb"]().data, BOUND, limits, IngestSettings())
    for name in ("jpeg-420", "gif", "webp", "avif"):
        with pytest.raises(UnsupportedImage, match="accepted are png"):
            prepare(corpus.PICTURES[name]().data, BOUND, limits, IngestSettings())
    with pytest.raises(UnsupportedImage):
        render(corpus.PICTURES["avif"]().data, Size.parse("40x40"), "jpg", Recipe(), limits)


@pytest.mark.parametrize("accepted", ["webp", "png", "avif", "gif"])
def test_what_is_stored_of_an_accepted_format_is_read_whatever_is_accepted(accepted):
    limits = Limits(input_formats=(accepted,))
    large = corpus.busy(1600, 1200)
    prepared = prepare(corpus.saved(large, PILLOW_NAMES[accepted]), BOUND, limits, IngestSettings())
    for data in (prepared.data, *(content for _, content in prepared.mezzanines)):
        assert render(data, Size.parse("40x40"), "jpg", Recipe(), limits).width == 40
    mezzanines(prepared.data, limits, IngestSettings())


@pytest.mark.parametrize("name", ["jpeg-420", "jpeg-progressive", "png-rgb", "png-p-alphas", "webp", "avif", "gif"])
def test_damage_anywhere_is_a_picture_or_an_image_error(name):
    data = corpus.PICTURES[name]().data
    random = np.random.default_rng(5)
    for _ in range(150):
        damaged = bytearray(data)
        for at in random.integers(0, len(data), 3):
            damaged[at] = random.integers(256)
        try:
            rendered = render(bytes(damaged), Size.parse("40x40"), "jpg", *DEFAULTS)
        except ImageError as error:
            assert str(error).endswith(".")
        else:
            assert opened(rendered.data).size == (rendered.width, rendered.height)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (corpus.FOREIGN["pdf"](), UnsupportedImage),
        (corpus.WHOLE["png"]()[:60000], BrokenImage),
        (corpus.png(40000, 1, 8, corpus.GREY, np.zeros((1, 40000), np.uint8)), ImageTooLarge),
    ],
    ids=["unsupported", "broken", "too large"],
)
def test_an_error_is_a_sentence_that_tells_nothing_of_the_inside(data, error):
    with pytest.raises(error) as caught:
        render(data, Size.parse("40x40"), "jpg", *DEFAULTS)
    assert type(caught.value) is error
    text = str(caught.value)
    assert text[0].isupper()
    assert text.endswith(".")
    assert not any(word in text for word in ("BytesIO", "PIL", "0x", "Traceback", "object at"))


# ---- privacy ----


@pytest.mark.parametrize("name", corpus.PLANTED)
def test_nothing_but_the_picture_is_in_any_output(name):
    small, large = (corpus.PLANTED[name](corpus.rgb().resize(size)) for size in ((96, 64), (1500, 1000)))
    assert corpus.MARKER in small
    assert corpus.MARKER in large
    prepared = prepare(large, BOUND, *INGEST)
    assert prepared.mezzanines
    made = [prepared.data, *(mezzanine for _, mezzanine in prepared.mezzanines)]
    for source in (small, large, *made, prepare(small, BOUND, *INGEST).data):
        for format in CONTENT_TYPES:
            # The first is not resized when the source is small, and the second always is.
            made.append(render(source, Size.parse("96x64"), format, *DEFAULTS).data)
            made.append(render(source, Size.parse("48x48"), format, *DEFAULTS).data)
    for content in made:
        assert corpus.MARKER not in content
        assert b"Exif" not in content
        assert b"http" not in content
        im = opened(content)
        assert set(im.info) <= PLAIN_INFO[str(im.format)]
        assert not getattr(im, "text", None)


@pytest.mark.parametrize("format", ["webp", "gif"])
@pytest.mark.parametrize("name", ["gif-opaque-loop-0-disposal-1", "webp-opaque-loop-0"])
def test_nothing_but_the_picture_is_in_an_animated_output(name, format):
    data = corpus.ANIMATED[name]()
    if name.startswith("gif"):
        comment = b"\x21\xfe" + bytes([len(corpus.MARKER)]) + corpus.MARKER + b"\0"
        data = data[:-1] + comment + b";" + corpus.MARKER
    else:
        data += corpus.riff_chunk(b"EXIF", corpus.planted_exif())
        data = data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:] + corpus.MARKER
    rendered = render(data, Size.parse("48x48"), format, *DEFAULTS)
    assert opened(rendered.data).n_frames == 4
    assert corpus.MARKER not in rendered.data
    assert corpus.MARKER not in prepare(data, BOUND, *INGEST).data


# ---- animation ----


def composed(data: bytes) -> list[tuple[np.ndarray, int]]:
    """What a viewer shows: each frame's pixels, and for how many milliseconds; equal neighbours as one."""
    shown: list[tuple[np.ndarray, int]] = []
    for frame in ImageSequence.Iterator(Image.open(BytesIO(data))):
        frame.load()
        pixels, delay = np.asarray(frame.convert("RGBA"), float), round(frame.info["duration"])
        if shown and np.array_equal(shown[-1][0], pixels):
            delay += shown.pop()[1]
        shown.append((pixels, delay))
    return shown


def plays(im: Image.Image) -> int:
    """How often an animation is played, 0 for ever. WebP counts that; GIF counts repeats, or nothing for once."""
    count = im.info.get("loop")
    return count + 1 if im.format == "GIF" and count else 1 if count is None else count


@pytest.mark.parametrize("format", ["gif", "webp"])
@pytest.mark.parametrize("size", ["96x64", "48x32", "32x32-cover", "64x64-contain-bg336699", "20x60-fill"])
@pytest.mark.parametrize("name", [name for name in corpus.ANIMATED if not name.startswith("png")])
def test_an_animation_keeps_its_frames_delays_and_loops(name, size, format):
    data, asked = corpus.ANIMATED[name](), Size.parse(size)
    rendered = render(data, asked, format, *DEFAULTS)
    out = opened(rendered.data)
    assert out.size == (rendered.width, rendered.height) == asked.dimensions(96, 64)
    assert plays(out) == plays(opened(data))
    shown = composed(rendered.data)
    assert [delay for _, delay in shown] == list(corpus.DELAYS)
    for i, frame in enumerate(corpus.frames("transparent" in name)):
        # Each frame by itself, as a still picture: the same pixels, whatever came before.
        still = render(corpus.saved(frame, "PNG"), asked, "png", *DEFAULTS)
        expected = np.asarray(opened(still.data).convert("RGBA"), float)
        assert_similar(shown[i][0], expected)


def assert_similar(one: np.ndarray, other: np.ndarray) -> None:
    """Alike but for edges, where GIF has no half transparency and WebP loses chroma."""
    inside = np.abs(one[..., 3] - other[..., 3]) < 100
    assert inside.mean() > 0.9
    solid = (one[..., 3] > 200) & (other[..., 3] > 200)
    difference = np.abs(one - other)[..., :3].max(axis=2)[solid]
    assert np.median(difference) < 12
    assert (difference < 60).mean() > 0.85


def test_an_animation_without_a_loop_plays_once():
    frames = corpus.frames(False)
    data = corpus.saved(frames[0], "GIF", save_all=True, append_images=frames[1:], duration=100)
    assert "loop" not in opened(data).info
    rendered = render(data, Size.parse("48x32"), "gif", *DEFAULTS)
    assert opened(rendered.data).n_frames == 4
    assert "loop" not in opened(rendered.data).info
    assert plays(opened(render(data, Size.parse("48x32"), "webp", *DEFAULTS).data)) == 1


@pytest.mark.parametrize("format", ["jpg", "png", "avif"])
@pytest.mark.parametrize("name", corpus.ANIMATED)
def test_other_outputs_are_the_first_frame(name, format):
    rendered = render(corpus.ANIMATED[name](), Size.parse("96x64"), format, *DEFAULTS)
    out = opened(rendered.data)
    assert getattr(out, "n_frames", 1) == 1
    pixels = np.asarray(out.convert("RGBA"), float)
    assert corpus.delta_e(pixels[20, 4], corpus.RED) < 6
    if "opaque" in name or format == "jpg":
        assert corpus.delta_e(pixels[20, 60], WHITE) < 6
    else:
        assert pixels[20, 60, 3] < 5


@pytest.mark.parametrize("name", [name for name in corpus.ANIMATED if not name.startswith("png")])
def test_an_animated_origin_stays_animated(name):
    prepared = prepare(corpus.ANIMATED[name](), (48, 48), *INGEST)
    assert prepared.format in ("gif", "webp")
    assert prepared.frames == opened(prepared.data).n_frames == 4
    assert [delay for _, delay in composed(prepared.data)] == list(corpus.DELAYS)
    assert prepared.transparent == ("transparent" in name)


def test_more_frames_or_more_pixels_in_frames_than_allowed_are_refused():
    data = corpus.ANIMATED["gif-opaque-loop-0-disposal-1"]()
    render(data, Size.parse("48x32"), "gif", Recipe(), Limits(max_frames=4, max_pixels=4 * 96 * 64))
    for limits in ({"max_frames": 3}, {"max_pixels": 4 * 96 * 64 - 1}):
        with pytest.raises(ImageTooLarge):
            render(data, Size.parse("48x32"), "gif", Recipe(), Limits(**limits))
        with pytest.raises(ImageTooLarge):
            prepare(data, BOUND, Limits(**limits), IngestSettings())


# ---- what is worked out at store time ----


@pytest.mark.parametrize("name", ["jpeg-420", "png-rgba", "png-1", "gif-hole", "webp-alpha", "jpeg-turned-6"])
def test_the_placeholder_is_a_tiny_webp_of_the_same_picture(name):
    placeholder = prepare(corpus.PICTURES[name]().data, BOUND, *INGEST).placeholder
    assert placeholder is not None
    assert len(placeholder) <= 300
    kind, content = placeholder.split(",", 1)
    assert kind == "data:image/webp;base64"
    im = opened(base64.b64decode(content, validate=True))
    assert im.width / im.height == pytest.approx(1.5, rel=0.2)


def test_the_placeholder_of_noise_is_no_longer():
    noise = np.random.default_rng(6).integers(0, 256, (300, 300, 4), np.uint8)
    for channels in (3, 4):
        data = corpus.saved(Image.fromarray(np.ascontiguousarray(noise[..., :channels])), "PNG")
        placeholder = prepare(data, BOUND, *INGEST).placeholder
        assert placeholder is not None
        assert len(placeholder) <= 300


def test_the_dominant_colour_is_the_one_that_covers_most():
    im = Image.new("RGB", (200, 200), (200, 60, 50))
    im.paste((20, 30, 200), (0, 0, 60, 200))
    colour = prepare(corpus.saved(im, "PNG"), BOUND, *INGEST).colour
    assert colour is not None
    assert corpus.delta_e(list(bytes.fromhex(colour)), (200, 60, 50)) < 12


@pytest.mark.parametrize(("x", "y"), [(20, 25), (80, 25), (20, 75), (80, 75), (50, 50)])
@pytest.mark.parametrize("shape", [(600, 400), (400, 600), (900, 300)])
def test_focal_auto_finds_the_detail(shape, x, y):
    width, height = shape
    im = Image.new("RGB", shape, (120, 150, 180))
    patch = corpus.busy(320, 240).resize((width // 5, height // 5))
    im.paste(patch, (width * x // 100 - width // 10, height * y // 100 - height // 10))
    focal = prepare(corpus.saved(im, "PNG"), BOUND, *INGEST, focal="auto").focal
    assert focal is not None
    assert abs(focal[0] - x) <= 15
    assert abs(focal[1] - y) <= 15


def test_focal_auto_finds_something_in_any_picture():
    for data in (corpus.saved(Image.new("RGB", size, "red"), "PNG") for size in ((1, 1), (3000, 2), (2, 3000), (9, 9))):
        focal = prepare(data, BOUND, *INGEST, focal="auto").focal
        assert focal is None or all(0 <= v <= 100 for v in focal)


def test_a_focal_point_that_is_given_is_kept():
    data = corpus.PICTURES["jpeg-420"]().data
    assert prepare(data, BOUND, *INGEST, focal=(10, 90)).focal == (10, 90)
    assert prepare(data, BOUND, *INGEST).focal is None


# ---- the process ----


def pillow_settings() -> dict[str, object]:
    """Every constant of every loaded Pillow module."""
    simple = (bool, int, float, str, type(None), enum.Enum)
    return {
        f"{name}.{key}": value
        for name, module in sys.modules.items()
        if name.startswith("PIL.")
        for key, value in vars(module).items()
        if key.isupper() and isinstance(value, simple)
    }


def test_nothing_of_the_process_is_changed():
    for make in corpus.FOREIGN.values():
        make()
    before, filters = pillow_settings(), list(warnings.filters)
    assert "PIL.Image.MAX_IMAGE_PIXELS" in before
    assert "PIL.ImageFile.LOAD_TRUNCATED_IMAGES" in before
    for name, picture in corpus.PICTURES.items():
        if name.endswith(("-icc-p3", "garbage", "-turned-6", "noise")) or "-" not in name:
            prepared = prepare(picture().data, BOUND, *INGEST, focal="auto")
            render(prepared.data, Size.parse("40x40-cover"), "webp", *DEFAULTS)
    with pytest.raises(BrokenImage):
        prepare(corpus.WHOLE["jpeg"]()[:9000], BOUND, *INGEST)
    assert pillow_settings() == before
    assert warnings.filters == filters


@pytest.mark.parametrize("pixels", [None, 100_000], ids=["no limit", "a small limit"])
def test_the_limits_are_our_own_whatever_the_application_set_in_pillow(pixels, monkeypatch):
    small = corpus.saved(corpus.rgb().resize((600, 400)), "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels)
    with pytest.raises(ImageTooLarge):
        render(
            corpus.png(9000, 9000, 8, corpus.GREY, np.zeros((1, 1), np.uint8)), Size.parse("40x40"), "jpg", *DEFAULTS
        )
    render(small, Size.parse("40x40"), "jpg", *DEFAULTS)


@pytest.mark.parametrize("side", [9600, 14000])
def test_a_very_large_picture_is_refused_without_a_warning(side):
    # Pillow warns above 89 MP and raises above 179 MP; a warning is an error in these tests.
    with pytest.raises(ImageTooLarge):
        render(corpus.png(side, side, 8, corpus.GREY, np.zeros((1, 1), np.uint8)), Size.parse("4x4"), "jpg", *DEFAULTS)
