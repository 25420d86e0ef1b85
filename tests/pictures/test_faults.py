"""Faults: whose they are, what becomes of them, and that nothing takes longer than it may."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from PIL import Image, JpegImagePlugin, PngImagePlugin

import corpus
from lazycrop.errors import BrokenImage, ImageError, ImageTooLarge, LazyCropError, Overloaded
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.sizes import Size
from lazycrop.pictures import colours, decoders, decoding, gif, modes
from lazycrop.pictures.ingest import prepare
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe

DEFAULTS = (Recipe(), Limits())
INGEST = (Limits(), IngestSettings())
BOUND = (4000, 4000)


class Slip(AttributeError):
    """A fault in code of our own."""


def slip(*arguments: object, **named: object) -> None:
    raise Slip("there is no such attribute")


OWN = [
    (decoders, "orientation_of", "jpeg-420"),
    (decoders, "_tables", "jpeg-420"),
    (decoders, "differing", "png-rgb16-hole"),
    (modes, "_from_16_bits", "png-i16"),
    (decoding, "resize", "png-rgb"),
    (decoding, "_stored", "png-rgb"),
    (colours, "_through_profile", "png-icc-p3"),
    (colours, "_is_identity", "png-icc-p3"),
    (colours, "_built", "png-icc-p3"),
    (colours, "_fits", "png-icc-p3"),
    (gif, "_note", "gif-hole"),
    (gif.Canvas, "_empty", "gif-hole"),
]


@pytest.mark.parametrize(("owner", "name", "picture"), OWN, ids=[name for _, name, _ in OWN])
def test_a_fault_of_our_own_is_not_taken_for_one_of_the_picture(owner, name, picture, monkeypatch):
    data = gif_in_a_corner() if owner is gif.Canvas else corpus.PICTURES[picture]().data
    monkeypatch.setattr(owner, name, slip)
    with pytest.raises(Slip):
        render(data, Size.parse("40x40"), "png", *DEFAULTS)
    with pytest.raises(Slip):
        prepare(data, BOUND, *INGEST)


def gif_in_a_corner() -> bytes:
    data = bytearray(corpus.PICTURES["gif"]().data)
    data[6:10] = b"\x90\0\x90\0"
    return bytes(data)


@pytest.mark.parametrize("kind", ["headers", "png", "jpeg", "webp", "heif", "gif"])
def test_a_fault_in_the_reading_of_headers_is_not_taken_for_one_of_the_picture(kind, monkeypatch):
    name = {"headers": "png-rgb", "png": "png-rgb", "jpeg": "jpeg-420", "heif": "avif"}.get(kind, kind)
    data = corpus.PICTURES[name]().data
    monkeypatch.setattr(decoders.Clock, "check", slip)
    with pytest.raises(Slip):
        prepare(data, BOUND, *INGEST)


@pytest.mark.parametrize("raised", [AttributeError, TypeError, KeyError, RuntimeError, OSError, AssertionError])
def test_whatever_pillow_raises_when_it_reads_is_a_broken_picture(raised, monkeypatch):
    def fail(self: object, *arguments: object) -> None:
        raise raised("not a sentence")

    data = corpus.PICTURES["png-rgb"]().data
    for method in ("_open", "load_prepare", "load_end"):
        with monkeypatch.context() as patch:
            patch.setattr(PngImagePlugin.PngImageFile, method, fail)
            with pytest.raises(BrokenImage):
                prepare(data, BOUND, *INGEST)


@pytest.mark.parametrize("raised", [ValueError, OSError, KeyError, OverflowError, RuntimeError, SystemError])
@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_whatever_an_encoder_raises_is_an_image_error_with_a_sentence(format, raised, monkeypatch):
    def fail(self: object, *arguments: object, **named: object) -> None:
        raise raised("not a sentence")

    data = corpus.PICTURES["png-rgb"]().data
    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageError, match=r"^The picture, of 40 x 27 pixels, cannot be written as \w+\.$") as caught:
        render(data, Size.parse("40x40"), format, *DEFAULTS)
    assert isinstance(caught.value.__cause__, raised)
    with pytest.raises(ImageError):
        prepare(data, BOUND, *INGEST)


def test_an_encoder_that_has_not_enough_memory_says_so(monkeypatch):
    def fail(self: object, *arguments: object, **named: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(ImageTooLarge, match="memory"):
        render(corpus.PICTURES["png-rgb"]().data, Size.parse("40x40"), "png", *DEFAULTS)


def test_what_reserve_raises_is_raised():
    def refuse(wanted: int) -> None:
        raise Overloaded(f"{wanted} bytes are too many.")

    with pytest.raises(Overloaded, match="bytes"):
        render(corpus.PICTURES["png-rgb"]().data, Size.parse("40x40"), "png", *DEFAULTS, reserve=refuse)


def test_a_picture_longer_than_a_jpeg_may_be_is_stored_as_png():
    data = corpus.saved(Image.new("RGB", (66_000, 2), corpus.RED[:3]), "TIFF")
    limits = Limits(input_formats=("tiff",), max_side=70_000)
    prepared = prepare(data, (99_999, 99_999), limits, IngestSettings())
    assert (prepared.format, prepared.width) == ("png", 66_000)


# ---- time ----

MANY = 3_000_000
JPEG, PNG, GIF = (corpus.PICTURES[name]().data for name in ("jpeg-420", "png-rgb", "gif"))
AVIF, WEBP = (corpus.PICTURES[name]().data for name in ("avif", "webp"))
SLOW: dict[str, Callable[[], bytes]] = {
    "jpeg-comments": lambda: JPEG[:2] + b"\xff\xfe\0\2" * MANY + JPEG[2:],
    "jpeg-scans": lambda: JPEG[:2] + b"\xff\xfe\0\xcc" + b"\xff\xda" * 101 + b"\xff\xfe\0\2" * MANY + JPEG[2:],
    "jpeg-comments-after": lambda: JPEG[:-2] + b"\xff\xfe\0\2" * MANY,
    "jpeg-fill": lambda: JPEG[:-2] + b"\xff" * 8 * MANY + b"\0",
    "jpeg-fill-in-runs": lambda: JPEG[:-2] + (b"\xff" * 5000 + b"\0") * 3000,
    "jpeg-stuffing": lambda: JPEG[:-2] + b"\xff\0" * 4 * MANY,
    "jpeg-fill-before": lambda: JPEG[:2] + b"\xff" * 8 * MANY + JPEG[3:],
    "png-chunks": lambda: PNG[:33] + corpus.chunk(b"prVt", b"") * MANY + PNG[33:],
    "png-chunks-after": lambda: PNG[:-12] + corpus.chunk(b"prVt", b"") * MANY + PNG[-12:],
    "png-empty-pixels": lambda: PNG[:33] + corpus.chunk(b"IDAT", b"") * MANY + PNG[33:],
    "gif-comments": lambda: corpus.gif_with(corpus.gif_extension(0xFE) * MANY),
    "gif-comment": lambda: corpus.gif_with(b"!\xfe" + b"\1c" * MANY + b"\0"),
    "gif-zeros": lambda: corpus.gif_with((b"!\xfe\0" + bytes(9)) * MANY),
    "webp-chunks": lambda: WEBP[:4] + b"\xff\xff\xff\x7f" + WEBP[8:] + corpus.riff_chunk(b"PRVT", b"") * MANY,
    "avif-boxes": lambda: AVIF[: int.from_bytes(AVIF[:4], "big")] + b"\0\0\0\x08free" * MANY + AVIF,
}


@pytest.mark.parametrize("name", SLOW)
def test_the_deadline_holds_in_the_reading_of_headers(name):
    data, limits = SLOW[name](), Limits(decode_seconds=0.2)
    started = time.process_time()
    try:
        prepare(data, BOUND, limits, IngestSettings())
    except LazyCropError as error:
        assert isinstance(error, ImageTooLarge | BrokenImage)
    assert time.process_time() - started < 0.6


@pytest.mark.parametrize("name", ["webp-opaque-loop-0", "gif-opaque-loop-0-disposal-1"])
def test_the_deadline_holds_between_the_frames_of_an_animation(name, monkeypatch):
    # A WebP is decoded from memory: nothing is read on the way at which the clock would be looked at.
    kind = decoders._WebP if name.startswith("webp") else decoders._Gif
    original, seen = kind.frame, []

    def late(self: decoders.Decoder, number: int) -> tuple[Image.Image, int]:
        seen.append(number)
        made = original(self, number)
        self.clock._earliest = self.clock._deadline = 0.0
        return made

    monkeypatch.setattr(kind, "frame", late)
    with pytest.raises(ImageTooLarge, match="seconds"):
        prepare(corpus.ANIMATED[name](), BOUND, *INGEST)
    assert seen == [0, 1]


def test_the_deadline_is_of_the_cpu_that_the_thread_has_had() -> None:
    clock = Clock(0.05)
    other = threading.Thread(target=spend, args=(0.1,))
    other.start()
    other.join()  # As if others had taken the machine for so long.
    clock.check()
    spend(0.1)
    with pytest.raises(ImageTooLarge, match="seconds to read"):
        clock.check()


def spend(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_a_png_that_unpacks_to_much_is_ended_at_the_deadline():
    data = corpus.saved(Image.new("RGBA", (7000, 7000)), "PNG", compress_level=1)
    limits = Limits(decode_seconds=0.05)
    started = time.process_time()
    with pytest.raises(ImageTooLarge, match="seconds"):
        render(data, Size.parse("40x40"), "jpg", Recipe(), limits)
    assert time.process_time() - started < 0.5


def test_pillow_is_left_as_it_was():
    before = dict(vars(Image)["OPEN"]), PngImagePlugin.MAX_TEXT_CHUNK, JpegImagePlugin.MARKER
    prepare(corpus.PICTURES["png-beside-large-ztxt"]().data, BOUND, *INGEST)
    assert (dict(vars(Image)["OPEN"]), PngImagePlugin.MAX_TEXT_CHUNK, JpegImagePlugin.MARKER) == before
