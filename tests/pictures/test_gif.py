"""Animations: a GIF's frames on its canvas, and what the fields of GIF and WebP can hold."""

from __future__ import annotations

import struct
from io import BytesIO

import pytest
from PIL import Image, ImageDraw

import corpus
from lazycrop.errors import BrokenImage, ImageTooLarge
from lazycrop.model.sizes import Size
from lazycrop.pictures import gif
from lazycrop.pictures.ingest import prepare
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe

DEFAULTS = (Recipe(), Limits())
INGEST = (Limits(), IngestSettings())
BOUND = (4000, 4000)

PALETTE = b"".join(bytes(colour[:3]) for colour in corpus.COLOURS)
RED, GREEN, BLUE, YELLOW, NOTHING = *(bytes((index,)) for index in range(4)), None
STAYS, TO_NOTHING, TO_PREVIOUS = 1, 2, 3


def frame(colour: bytes, box: tuple[int, int, int, int], disposal: int = 0, hole: bytes | None = None) -> bytes:
    """A frame of one colour; ``box``: left, top, width and height. ``hole``: the colour that is nothing."""
    alone = Image.new("P", box[2:], colour[0])
    alone.putpalette(PALETTE)
    data = corpus.saved(alone, "GIF", optimize=False)
    pixels = data[data.index(b",", 13 + (3 << (data[10] & 7) + 1)) + 10 : -1]
    control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, disposal << 2 | (hole is not None), 10, (hole or b"\0")[0], 0)
    return control + struct.pack("<BHHHHB", 0x2C, *box, 0) + pixels


def animation(*frames: bytes, size: tuple[int, int] = (40, 40), background: int = 2) -> bytes:
    return b"GIF89a" + struct.pack("<HHBBB", *size, 0x81, background, 0) + PALETTE + b"".join(frames) + b";"


def shown(data: bytes, format: str = "webp") -> list[list[tuple[int, ...] | None]]:
    """The colour in the middle of each quadrant of each frame of a derivative of the size of its source."""
    image = Image.open(BytesIO(render(data, Size.parse("40x40"), format, *DEFAULTS).data))
    frames = []
    for number in range(getattr(image, "n_frames", 1)):
        image.seek(number)
        pixels = image.convert("RGBA")
        colours = [pixels.getpixel(place) for place in ((10, 10), (30, 10), (10, 30), (30, 30))]
        frames.append([nearest(colour) if colour[3] > 128 else None for colour in colours])
    return frames


def nearest(colour: tuple[int, ...]) -> bytes:
    distances = [corpus.delta_e(colour, other) for other in corpus.COLOURS]
    assert min(distances) < 12
    return bytes((distances.index(min(distances)),))


WHOLE, NW, NE, SW, SE = (0, 0, 40, 40), (0, 0, 20, 20), (20, 0, 20, 20), (0, 20, 20, 20), (20, 20, 20, 20)
R, G, B, Y, N = RED, GREEN, BLUE, YELLOW, NOTHING


@pytest.mark.parametrize("format", ["png", "webp", "gif", "avif"])
def test_there_is_nothing_where_the_only_frame_does_not_reach(format):
    assert shown(animation(frame(R, NE)), format) == [[N, R, N, N]]


@pytest.mark.parametrize("background", [0, 1, 2, 3])
def test_the_background_colour_is_not_shown(background):
    assert shown(animation(frame(R, NW), background=background)) == [[R, N, N, N]]


@pytest.mark.parametrize("format", ["webp", "gif"])
@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        ([frame(R, NW), frame(G, NE), frame(B, SE)], [[R, N, N, N], [R, G, N, N], [R, G, N, B]]),
        ([frame(R, WHOLE), frame(G, NE)], [[R, R, R, R], [R, G, R, R]]),
        ([frame(R, WHOLE, TO_NOTHING), frame(G, NE)], [[R, R, R, R], [N, G, N, N]]),
        ([frame(R, WHOLE), frame(G, NE, TO_NOTHING), frame(B, SW)], [[R] * 4, [R, G, R, R], [R, N, B, R]]),
        ([frame(R, WHOLE), frame(G, NE, TO_PREVIOUS), frame(B, SW)], [[R] * 4, [R, G, R, R], [R, R, B, R]]),
        ([frame(R, NW, TO_PREVIOUS), frame(G, NE)], [[R, N, N, N], [N, G, N, N]]),
        ([frame(R, NW), frame(G, NE, TO_PREVIOUS), frame(Y, SE)], [[R, N, N, N], [R, G, N, N], [R, N, N, Y]]),
        ([frame(R, NW), frame(G, WHOLE, hole=G), frame(B, SE)], [[R, N, N, N], [R, N, N, B]]),
        ([frame(R, WHOLE, hole=R), frame(G, SE)], [[N] * 4, [N, N, N, G]]),
        ([frame(R, WHOLE), frame(G, (20, 20, 90, 90))], [[R] * 4, [R, R, R, G]]),
    ],
)
def test_frames_are_put_on_the_canvas_as_browsers_do_it(frames, expected, format):
    # Of a frame that changes nothing the encoders make none.
    assert shown(animation(*frames), format) == expected


def grey_frame(level: int, hole: int | None) -> bytes:
    """A frame whose own colour table is all greys in order."""
    data = corpus.saved(Image.new("L", (40, 40), level), "GIF", optimize=False)
    table, pixels = data[13 : 13 + 768], data[data.index(b",", 13 + 768) + 10 : -1]
    assert table == bytes(value for value in range(256) for _ in range(3))
    control = struct.pack("<BBBBHBB", 0x21, 0xF9, 4, hole is not None, 10, hole or 0, 0)
    return control + struct.pack("<BHHHHB", 0x2C, *WHOLE, 0x87) + table + pixels


@pytest.mark.parametrize(("hole", "expected"), [(None, (3, 3, 3)), (4, (3, 3, 3)), (3, corpus.COLOURS[0][:3])])
def test_a_frame_with_a_colour_table_of_all_greys_has_its_own_colours(hole, expected):
    seen = gif.read(animation(frame(R, WHOLE), grey_frame(3, hole)), Clock(5), Limits())
    canvas = gif.Canvas(seen, Clock(5))
    canvas.frame(0)
    assert canvas.frame(1).convert("RGB").getpixel((9, 9)) == expected
    alone = render(animation(grey_frame(3, None)), Size.parse("40x40"), "png", *DEFAULTS).data
    assert Image.open(BytesIO(alone)).convert("RGB").getpixel((9, 9)) == (3, 3, 3)


@pytest.mark.parametrize("size", [(0, 0), (10, 10), (40, 0)])
def test_the_first_frame_enlarges_a_canvas_that_is_too_small_for_it(size):
    prepared = prepare(animation(frame(R, WHOLE), size=size), BOUND, *INGEST)
    assert (prepared.width, prepared.height) == (40, 40)


def test_an_origin_keeps_what_is_nothing():
    prepared = prepare(animation(frame(R, NW), frame(G, NE)), BOUND, *INGEST)
    assert prepared.transparent
    assert shown(prepared.data) == [[R, N, N, N], [R, G, N, N]]
    assert not prepare(animation(frame(R, WHOLE), frame(G, NE)), BOUND, *INGEST).transparent


def test_a_frame_that_is_cut_short_is_broken_and_one_without_its_last_byte_is_not():
    whole = animation(frame(R, WHOLE), frame(G, WHOLE))
    assert prepare(whole[:-1], BOUND, *INGEST).frames == 2
    assert prepare(whole[:-2], BOUND, *INGEST).frames == 2
    for length in (len(whole) - 4, len(whole) - 14, len(whole) - 30):
        with pytest.raises(BrokenImage):
            prepare(whole[:length], BOUND, *INGEST)


def empty(disposal: int = 0) -> bytes:
    """A frame without pixels."""
    data = bytearray(frame(R, (0, 0, 1, 1), disposal))
    data[13:17] = bytes(4)
    return bytes(data)


@pytest.mark.parametrize("disposal", [0, STAYS, TO_NOTHING, TO_PREVIOUS])
def test_a_frame_without_pixels_changes_nothing(disposal):
    assert prepare(animation(frame(R, NW), empty(disposal), frame(B, SE)), BOUND, *INGEST).frames == 3
    assert shown(animation(frame(R, NW), empty(disposal), frame(B, SE)), "webp")[-1] == [R, N, N, B]
    assert shown(animation(empty(disposal)), "png") == [[N, N, N, N]]


def test_a_gif_without_pixels_is_broken():
    with pytest.raises(BrokenImage):
        prepare(animation(empty(), size=(0, 0)), BOUND, *INGEST)


def test_a_gif_without_a_frame_is_broken():
    for data in (animation(), animation(corpus.gif_extension(0xFE, b"comment")), animation()[:11]):
        with pytest.raises(BrokenImage):
            prepare(data, BOUND, *INGEST)


def test_a_frame_far_larger_than_its_canvas_is_refused_before_it_is_decoded():
    small = frame(R, NW)
    at = small.index(b",") + 5
    huge = small[:at] + struct.pack("<HH", 60_000, 60_000) + small[at + 4 :]
    for data in (animation(huge), animation(small, huge)):
        with pytest.raises(ImageTooLarge):
            prepare(data, BOUND, *INGEST)


def test_a_late_frame_enlarges_no_canvas():
    late = frame(R, NW)
    at = late.index(b",") + 1
    late = late[:at] + struct.pack("<HH", 60_000, 60_000) + late[at + 4 :]
    one, both = (prepare(animation(*frames), BOUND, *INGEST) for frames in ([frame(R, NW)], [frame(R, NW), late]))
    assert (both.width, both.height) == (one.width, one.height)
    assert both.frames == 2


@pytest.mark.parametrize("format", ["png", "gif", "webp"])
def test_there_is_nothing_where_a_webp_that_tells_of_no_transparency_has_no_frame(format):
    data = bytearray(render(animation(frame(R, NW), frame(G, NE)), Size.parse("40x40"), "webp", *DEFAULTS).data)
    data[20] &= ~0x10
    assert shown(bytes(data), format)[0] == [R, N, N, N]


# ---- fields ----


def moving(alike: bool = False) -> list[Image.Image]:
    """Three frames, which are ``alike`` but for a point that is lost when they are made smaller."""
    frames = [Image.new("RGB", (64, 48), (10, 60, 90)) for _ in range(3)]
    for number, image in enumerate(frames):
        if alike:
            ImageDraw.Draw(image).point((number, 0), fill=(11, 60, 90))
        else:
            ImageDraw.Draw(image).rectangle((number * 9, 5, number * 9 + 8, 20), fill=(255, 0, 0))
    return frames


def animated(format: str, alike: bool = False, **options: object) -> bytes:
    first, *others = moving(alike)
    return corpus.saved(first, format, save_all=True, append_images=others, **options)


def webp_lasting(milliseconds: int, frames: int) -> bytes:
    """A WebP whose frames say that they last so long, in 24 bits (RFC 9649, 2.7.1.1)."""
    data = bytearray(animated("WEBP", duration=100, loop=1, lossless=True))
    at = data.index(b"ANMF")
    for _ in range(frames):
        data[at + 20 : at + 23] = milliseconds.to_bytes(3, "little")
        at = data.find(b"ANMF", at + 1)
    return bytes(data)


LONG: dict[str, bytes] = {
    "gif-loops": animated("GIF", duration=100, loop=65_535),
    "webp-loops": animated("WEBP", duration=100, loop=65_535),
    "gif-delays": animated("GIF", duration=655_350, loop=0),
    "gif-delays-of-equals": animated("GIF", alike=True, duration=655_350, loop=0),
    "gif-delays-of-equals-that-add-up": animated("GIF", alike=True, duration=300_000, loop=0),
    "webp-delays": webp_lasting(2**24 - 1, 3),
    "webp-delays-of-equals": animated("WEBP", alike=True, duration=16_000_000, lossless=True),
}


@pytest.mark.parametrize("format", ["gif", "webp"])
@pytest.mark.parametrize("name", LONG)
def test_what_is_beyond_a_field_is_as_much_as_it_holds(name, format):
    source = Image.open(BytesIO(LONG[name]))
    for text in ("64x48", "16x12"):
        image = Image.open(BytesIO(render(LONG[name], Size.parse(text), format, *DEFAULTS).data))
        assert image.size == Size.parse(text).dimensions(64, 48)
        if "loops" in name:  # GIF counts repeats
            least = 65_534 if format == "gif" and source.format == "WEBP" else 65_535
            assert image.info["loop"] == least
        if getattr(image, "n_frames", 1) > 1:  # equal frames become one, of which nobody asks how long it lasts
            image.load()
            assert image.info["duration"] >= 100
    prepare(LONG[name], BOUND, *INGEST)
