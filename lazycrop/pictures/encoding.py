"""Encoding: pixels to bytes, with Pillow and without any metadata; derivatives, origins and mezzanines."""

from __future__ import annotations

import os
from io import BytesIO
from typing import IO, Any

from PIL import Image

from lazycrop.errors import ImageError, ImageTooLarge, UnsupportedImage
from lazycrop.pictures.decoding import Picture
from lazycrop.pictures.pixels import Pixels, flatten, is_transparent
from lazycrop.pictures.quality import jpeg_tables
from lazycrop.pictures.resampling import resize
from lazycrop.pictures.settings import LONGEST_SIDE, SHRUNK, TRANSPARENT_FORMATS, IngestSettings, Recipe, Stage
from lazycrop.pictures.small import shrunk_jpeg, shrunk_png
from lazycrop.pictures.webp import with_alpha

# zlib's strategies. In the pixels of a photograph nothing comes back but runs, and noise even breaks those: to look for
# more costs twice the time and gains nothing (1600 x 1200: 109 ms and 1,567 kB, 186 ms and 1,737 kB). In a drawing it
# does (1,269 and 1,163 kB, for the same time). What was stored with losses is taken for a photograph.
_REPEATS = 0  # Z_DEFAULT_STRATEGY
_NO_REPEATS = 3  # Z_RLE


def encode(pixels: Pixels, format: str, recipe: Recipe, stage: Stage) -> bytes:
    """The file, without any metadata. More than one image only where the format can be animated."""
    if format not in TRANSPARENT_FORMATS:
        pixels = pixels.map(lambda image: flatten(image, recipe.background))
    quality, effort = recipe.quality_of(format), recipe.effort_of(format, stage)
    match format:
        case "jpg":
            return _save_jpeg(pixels.images[0], quality, recipe.jpeg_subsampling, effort)
        case "png":
            return _save_png(pixels, effort)
        case "avif":
            return _save_avif(pixels.images[0], quality, effort, stage)
        case "webp":
            return _save_webp(pixels, quality=quality, method=effort)
        case "gif":
            return _save_gif(pixels)
    raise UnsupportedImage(f"The format {format!r} cannot be written.")


def _save_jpeg(image: Image.Image, quality: int, subsampling: str, effort: int) -> bytes:
    options: dict[str, Any] = {"qtables": jpeg_tables(quality, image.mode == "RGB"), "subsampling": subsampling}
    if effort >= SHRUNK["jpg"] and (small := shrunk_jpeg(_saved(image, "JPEG", **options))):
        return small
    return _saved(image, "JPEG", optimize=effort > 0, progressive=effort > 0, **options)


# Below so many pixels on the shorter side AVIF is stored in full colour. At equal SSIMULACRA2 a 320x213 takes 0.75 of
# the bytes so, but a 420x280 1.05 times as many, and a 640x427 1.04.
_COLOURFUL = 256


def _save_avif(image: Image.Image, quality: int, effort: int, stage: Stage) -> bytes:
    # In threads of its own it would take more than its share of the machine; tiles are for threads.
    options: dict[str, Any] = {"speed": 10 - effort, "max_threads": 1, "autotiling": False, "subsampling": "4:2:0"}
    if stage is Stage.LAST:
        # As libaom is tuned for pictures it keeps what a look at rate and distortion would leave out (sharpness 7).
        options["advanced"] = {"sharpness": "0"}
        if min(image.size) < _COLOURFUL:
            options["subsampling"] = "4:4:4"
    return _saved(image, "AVIF", quality=quality, **options)


def _save_png(pixels: Pixels, effort: int) -> bytes:
    image = pixels.images[0]
    if effort >= SHRUNK["png"]:
        if small := shrunk_png(image):
            return small
        image = _indexed(image)
    repeats = _REPEATS if pixels.lossless else _NO_REPEATS
    return _saved(image, "PNG", compress_level=min(effort, 9), compress_type=repeats)


def _indexed(image: Image.Image) -> Image.Image:
    """With a palette where that holds all of its colours."""
    if image.mode != "RGB" or image.getcolors(256) is None:
        return image
    indexed = image.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    return indexed if indexed.convert("RGB") == image else image


# How long a frame is shown, and how often the whole: GIF has 16 bits for hundredths of a second, WebP 24 for
# milliseconds, both have 16 for the plays, and libwebp counts the time of all frames in 31 bits.
_LONGEST_DELAY = 655_350
_MOST_PLAYS_OF_WEBP = 65_535
_LONGEST_OF_WEBP = 2**31 - 1


def _save_webp(pixels: Pixels, **options: Any) -> bytes:
    if len(pixels.images) == 1:
        return _saved(pixels.images[0], "WEBP", **options)
    first, *others = pixels.images
    longest = min(_LONGEST_DELAY, _LONGEST_OF_WEBP // len(pixels.images))
    # Browsers show a frame without a delay for 100 ms; the encoder would drop it.
    delays = [min(delay or 100, longest) for delay in pixels.delays]
    plays = min(pixels.plays, _MOST_PLAYS_OF_WEBP)
    file = _saved(first, "WEBP", save_all=True, append_images=others, duration=delays, loop=plays, **options)
    return with_alpha(file) if any(map(is_transparent, pixels.images)) else file


def _save_gif(pixels: Pixels) -> bytes:
    has_holes = any(map(is_transparent, pixels.images))
    images = [_palette(image, has_holes) for image in pixels.images]
    delays = [min(round(delay, -1), _LONGEST_DELAY) for delay in pixels.delays]
    if sum(delays) > _LONGEST_DELAY:
        images, delays = _merged(images, delays)
    first, *others = images
    if not others:
        return _saved(first, "GIF", optimize=False)
    options: dict[str, Any] = {"optimize": False, "duration": delays}
    if has_holes:
        options["disposal"] = 2  # each frame on an empty canvas
    if pixels.plays != 1:
        options["loop"] = max(0, pixels.plays - 1)
    return _saved(first, "GIF", save_all=True, append_images=others, **options)


def _merged(images: list[Image.Image], delays: list[int]) -> tuple[list[Image.Image], list[int]]:
    """Equal neighbours as one, as Pillow does it, which adds up their delays to more than the field holds."""
    shown = [image.convert("RGBA").tobytes() for image in images]
    starts = [number for number in range(len(images)) if not number or shown[number] != shown[number - 1]]
    ends = [*starts[1:], len(images)]
    sums = [min(sum(delays[a:b]), _LONGEST_DELAY) for a, b in zip(starts, ends, strict=True)]
    return [images[number] for number in starts], sums


def _palette(image: Image.Image, has_hole: bool) -> Image.Image:
    """256 colours, one of them for what is more than half transparent.

    In an animation with holes all frames have that one: to some viewers it says what becomes of a frame.
    """
    if not has_hole or image.mode != "RGBA":
        return image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT)
    result = image.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT)
    result.paste(255, mask=image.getchannel("A").point([255] * 128 + [0] * 128))
    result.info["transparency"] = 255
    return result


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    """The file. Raises ImageError, whatever the encoder raises: another try would end in the same way."""
    # Pillow writes back comments, profiles and more from here; transparency is a part of a palette's pixels.
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    try:
        with _open_file(image, format) as file:
            image.save(file, format, **options)
            file.seek(0)
            return file.read()
    except MemoryError as error:
        raise ImageTooLarge("The picture needs more memory than there is; ask for a smaller one.") from error
    except Exception as error:
        if not options.get("optimize"):
            width, height = image.size
            raise ImageError(f"The picture, of {width} x {height} pixels, cannot be written as {format}.") from error
        # Pillow's buffer for an optimised JPEG holds about a byte a pixel, and noise takes more.
        return _saved(image, format, **options | {"optimize": False, "progressive": False})


# Pillow holds the interpreter's lock all the time that it encodes these, unless it writes to a descriptor: a JPEG of
# 1600x1200 held up all other threads for 10 to 19 ms. A shorter one does for less than a file costs them, 50 µs.
_GREEDY = ("JPEG", "GIF")
_SHORT = 200_000  # Pixels, 0.7 ms.


def _open_file(image: Image.Image, format: str) -> IO[bytes]:
    """A file in memory, such that other threads go on while Pillow writes to it, where the system has that."""
    if format not in _GREEDY or image.width * image.height < _SHORT:
        return BytesIO()
    try:
        return open(os.memfd_create("lazycrop"), "w+b")  # type: ignore[attr-defined,unused-ignore]  # Linux has it
    except (AttributeError, OSError):  # as where too many files are open
        return BytesIO()


def save_origin(picture: Picture, pixels: Pixels, transparent: bool) -> tuple[str, bytes]:
    """Format and bytes of the origin that stands for ``picture``, whose decoded ``pixels`` these are."""
    decoder, first = picture.decoder, pixels.images[0]
    if picture.kind == "gif":
        return "gif", _save_gif(pixels)
    if picture.kind == "webp":
        if picture.lossless and len(pixels.images) == 1:
            return "webp", _saved(first, "WEBP", lossless=True, quality=20, method=1)
        # WebP has no tables that could be used again: at 90, as most are saved, sizes above half of it lost 0.3 dB.
        return "webp", _save_webp(pixels, quality=95, method=1)
    if decoder.indexed and stays_indexed(picture, first.size):
        return "png", _saved(decoder.indexed, "PNG", compress_level=3)
    if picture.kind == "png" or transparent or max(first.size) > LONGEST_SIDE["jpg"]:
        return "png", _saved(first, "PNG", compress_level=3)
    if decoder.tables and first.size == (picture.width, picture.height):
        # The tables it was made with: nearly nothing is lost again, and it takes as many bytes as it did.
        tables, sampling = decoder.tables, decoder.sampling
        return "jpg", _saved(first, "JPEG", qtables=tables, subsampling=sampling, optimize=True)
    return "jpg", _saved(first, "JPEG", quality=90, subsampling="4:2:0", optimize=True)


def stays_indexed(picture: Picture, size: tuple[int, int]) -> bool:
    """Does an origin of this size have the palette, or the one bit, of its source?"""
    whole = size == (picture.width, picture.height) and picture.orientation == 1
    return picture.decoder.indexed is not None and whole and not picture.recoloured


def save_mezzanine(pixels: Pixels, format: str, ingest: IngestSettings) -> bytes:
    """A working copy: JPEG in full colour resolution, which counts for more than its quality; or PNG."""
    if format == "png":
        return _saved(pixels.images[0], "PNG", compress_level=1)
    return _saved(pixels.images[0], "JPEG", quality=ingest.mezzanine_quality, subsampling="4:4:4", optimize=True)


# How many times the bytes of a JPEG a PNG takes of one sketch: 0.2 to 1.6 of logos, diagrams, text and screenshots, 2.6
# to 5 of photographs, but for one of flat colours (1.5). Of grey photographs it is 1.6 to 2.7.
_MOST_TIMES_OF_DRAWING = {"RGB": 2.0, "L": 1.3}


def is_drawing(sketch: Pixels) -> bool:
    """Is it made of few colours and sharp edges, and without losses so far?

    PNG suits that; of a photograph a JPEG is smaller, and decoded in a third of the time.
    """
    if not sketch.lossless:
        return False
    image = flatten(sketch.images[0], "ffffff")
    png = _saved(image, "PNG", compress_level=1)
    jpeg = _saved(image, "JPEG", quality=95, subsampling="4:4:4", optimize=True)
    return len(png) <= _MOST_TIMES_OF_DRAWING[image.mode] * len(jpeg)


def save_tiny(pixels: Pixels, size: tuple[int, int]) -> bytes:
    """The first image as a WebP of as few bytes as it takes to show what it is about."""
    return _saved(resize(pixels.images[0], size), "WEBP", quality=20, method=6)
