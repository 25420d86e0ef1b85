"""Pictures: bytes to pixels and back, with Pillow.

Whatever comes in (any mode, profile, orientation) leaves :func:`open_picture` and :meth:`Picture.pixels` as upright
sRGB in mode L, RGB or RGBA. Nothing of the source but its pixels survives: they are saved without any metadata.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from types import MappingProxyType
from typing import Any, Literal

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageCms,
    ImageFile,
    ImageFilter,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from lazycrop.deadlines import left
from lazycrop.errors import BrokenImage, ConfigurationError, ImageError, ImageTooLarge, Overloaded, UnsupportedImage
from lazycrop.forks import after_fork
from lazycrop.options import option
from lazycrop.resampling import Box, resize

TRANSPARENT_FORMATS = frozenset(("png", "webp", "avif", "gif"))
ANIMATED_FORMATS = frozenset(("gif", "webp"))

QUALITY = MappingProxyType({"jpg": 80, "webp": 80, "avif": 60})
# Measured on photographs of 800 x 600: WebP of effort 4 takes three times as long for the same bytes and 0.3 dB more,
# AVIF of effort 2 up to five times as long for the same bytes and 0.2 dB more.
EFFORT = MappingProxyType({"jpg": 0, "png": 3, "webp": 1, "avif": 1})

# libjpeg decodes at 1/2, 1/4 or 1/8 for less, and not as well as Lanczos: so many times the target must be left for
# that one. Large photographs are soft at their pixels, so that little is lost where most is gained: 12 megapixels at a
# half take 30 ms less. (Mean loss over 19 photographs, WebP: 0.09 dB; without the distinction up to 0.19 dB.)
DRAFT_GAP = 2.0
DRAFT_GAP_OF_HALF_OF_LARGE = 1.25
LARGE = 4_000_000

# zlib's strategies. In the pixels of a photograph nothing comes back but runs, and noise even breaks those: to look for
# more costs twice the time and gains nothing (1600 x 1200: 109 ms and 1,567 kB, 186 ms and 1,737 kB). In a drawing it
# does (1,269 and 1,163 kB, for the same time). What was stored with losses is taken for a photograph.
_REPEATS = 0  # Z_DEFAULT_STRATEGY
_NO_REPEATS = 3  # Z_RLE

MOST_EFFORT = {"jpg": 1, "png": 9, "webp": 6, "avif": 10}
LONGEST_EDGE = 65_500


@dataclass(frozen=True, kw_only=True)
class RenderSettings:
    """Raises :class:`~lazycrop.errors.ConfigurationError` for a value that cannot be right."""

    input_formats: tuple[str, ...] = option(
        ("jpg", "png", "webp", "avif", "gif"), "The formats that are accepted; `tiff`, `bmp` and `heic` may be added."
    )
    quality: Mapping[str, int] = option(
        QUALITY, "Quality of each lossy format, 0 to 100; those not named keep their default: `jpg=80,webp=80,avif=60`."
    )
    effort: Mapping[str, int] = option(
        EFFORT,
        "Time spent for fewer bytes: jpg 0 or 1 (progressive), png 0 to 9, webp 0 to 6, avif 0 to 10; "
        "those not named keep their default: `jpg=0,png=3,webp=1,avif=1`.",
    )
    jpeg_subsampling: str = option("4:2:0", "Colour resolution of JPEG: `4:2:0`, or `4:4:4` for sharp coloured edges.")
    background: str = option("ffffff", "What shows through where a format has no transparency, as `rrggbb`.")
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
    mezzanine_edges: tuple[int, ...] = option(
        (256, 512, 1024, 2048), "Longer sides of the working copies made of each image, or `none`."
    )
    mezzanine_quality: int = option(95, "JPEG quality of the working copies, 0 to 100.")

    def __post_init__(self) -> None:
        _check("input_formats", self.input_formats, _READERS)
        _check("jpeg_subsampling", [self.jpeg_subsampling], ("4:2:0", "4:4:4"))
        _check("quality", self.quality, QUALITY)
        _check("effort", self.effort, EFFORT)
        for format, value in [*self.quality.items(), ("mezzanine_quality", self.mezzanine_quality)]:
            _check(f"quality of {format}", [value], range(101))
        for format, value in self.effort.items():
            _check(f"effort of {format}", [value], range(MOST_EFFORT[format] + 1))
        for edge in self.mezzanine_edges:
            _check("mezzanine_edges", [edge], range(1, LONGEST_EDGE + 1))
        if not re.fullmatch("[0-9a-f]{6}", self.background, re.ASCII):
            raise ConfigurationError(f"'background' is {self.background!r}; it is six hexadecimal digits, `rrggbb`.")
        if "heic" in self.input_formats and find_spec("pillow_heif") is None:
            raise ConfigurationError("'input_formats' names heic, which needs: pip install 'lazycrop[heic]'.")


def _check(name: str, values: Iterable[Any], allowed: Collection[Any]) -> None:
    for value in values:
        if value not in allowed:
            shown = f"{allowed[0]} to {allowed[-1]}" if isinstance(allowed, range) else ", ".join(allowed)
            raise ConfigurationError(f"{value!r} in {name!r} is not possible; it is one of: {shown}.")


@dataclass(slots=True)
class Pixels:
    """Upright sRGB in mode L, RGB or RGBA: one image, or the frames of an animation.

    ``delays``: milliseconds of each frame. ``plays``: how often, 0 for ever. ``lossless``: as :class:`Picture` has it.
    """

    images: list[Image.Image]
    delays: list[int]
    plays: int = 0
    lossless: bool = True

    def map(self, change: Callable[[Image.Image], Image.Image]) -> Pixels:
        return replace(self, images=[change(image) for image in self.images])

    def resized(self, size: tuple[int, int]) -> Pixels:
        return self.map(lambda image: resize(image, size))

    def sketch(self) -> Pixels:
        """The first image in 256 to 511 pixels: enough to see what it is about, at a hundredth of the cost."""
        first = self.images[0]
        return replace(self, images=[first.reduce(max(1, max(first.size) // 256))], delays=self.delays[:1])

    def opaque(self) -> Pixels:
        """Without the transparency that no pixel uses."""
        return self.map(lambda image: image.convert("RGB") if image.mode == "RGBA" else image)


class _Reader(BytesIO):
    """Bytes that may be read until a deadline, because some decoders work for minutes on a few of them."""

    def __init__(self, data: bytes, seconds: float) -> None:
        super().__init__(data)
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._deadline = time.monotonic() + self._seconds

    def read(self, size: int | None = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise ImageTooLarge(f"The image takes longer than {self._seconds:g} seconds to read; make it simpler.")
        return super().read(size)


class _Memory:
    """So many bytes may be in use at the same time; who asks for more than are free waits, and then has them all."""

    def __init__(self) -> None:
        self._begin()
        after_fork(self._begin)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._used = 0

    @contextmanager
    def use(self, wanted: int, most: int) -> Iterator[None]:
        wanted = min(wanted, most)
        with self._changed:
            if not self._changed.wait_for(lambda: self._used + wanted <= most, left(_MEMORY_SECONDS)):
                raise Overloaded("Other pictures take the memory that there is for them; ask again in a moment.")
            self._used += wanted
        try:
            yield
        finally:
            with self._changed:
                self._used -= wanted
                self._changed.notify_all()


_MEMORY_SECONDS = 30.0  # Longest wait for it where no request waits.
_memory = _Memory()


class _Jpeg(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Nobody needs it, and broken EXIF would warn through the process-wide filters."""


# Where each format announces itself (offset, bytes) and who reads it. A plugin is called by its class, never through
# Image.open: that one warns of large pictures through the process-wide filters, and needs plugins to be registered.
_MAGIC: dict[str, tuple[int, re.Pattern[bytes]]] = {
    "jpg": (0, re.compile(rb"\xff\xd8\xff")),
    "png": (0, re.compile(rb"\x89PNG\r\n\x1a\n")),
    "gif": (0, re.compile(rb"GIF8[79]a")),
    "webp": (0, re.compile(rb"RIFF....WEBP", re.DOTALL)),
    "avif": (4, re.compile(rb"ftyp(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4})*?avi[fs])", re.DOTALL)),
    "heic": (4, re.compile(rb"ftyp(?:hei[cxms]|hev[cx]|mif1|msf1)")),
    "tiff": (0, re.compile(rb"II\x2a\0|MM\0\x2a|II\x2b\0|MM\0\x2b")),
    "bmp": (0, re.compile(rb"BM")),
}
_READERS: dict[str, Callable[[], Any]] = {
    "jpg": lambda: _Jpeg,
    "png": lambda: PngImagePlugin.PngImageFile,
    "gif": lambda: GifImagePlugin.GifImageFile,
    "webp": lambda: WebPImagePlugin.WebPImageFile,
    "avif": lambda: AvifImagePlugin.AvifImageFile,
    "tiff": lambda: import_module("PIL.TiffImagePlugin").TiffImageFile,
    "bmp": lambda: import_module("PIL.BmpImagePlugin").BmpImageFile,
    "heic": lambda: import_module("pillow_heif").HeifImageFile,
}
# Their decoders hold the whole picture several times.
_DEAR_KINDS = frozenset(("webp", "avif", "heic"))


@contextmanager
def _decoding() -> Iterator[None]:
    """Whatever a decoder raises means that the bytes are broken (OSError, SyntaxError, ValueError, struct.error,
    zlib.error, EOFError, …) or that they are too much."""
    try:
        yield
    except (ImageError, Overloaded):
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageTooLarge("The image needs more memory than there is; make it smaller.") from error
    except Exception as error:
        raise BrokenImage("The image is broken or cut short; it cannot be decoded to its end.") from error


def _kind(data: bytes) -> str | None:
    """The format that the first bytes announce: a key of the input formats, or None."""
    for kind, (offset, magic) in _MAGIC.items():
        if magic.match(data[:64], offset):
            return kind
    return None


class Picture:
    """An opened source, of which only the header has been read.

    ``kind``: its format. ``width``, ``height``: as displayed. ``frames``: more than 1 for an animated GIF or WebP.
    ``lossless``: a PNG, GIF or lossless WebP. ``recoloured``: its pixels were not sRGB.
    ``timings``: seconds spent on decode and resize.
    """

    def __init__(
        self,
        kind: str,
        image: ImageFile.ImageFile,
        *,
        frames: int,
        lossless: bool,
        orientation: int,
        settings: RenderSettings,
    ) -> None:
        self.kind = kind
        self.image = image
        self.frames = frames
        self.orientation = orientation
        self.width, self.height = image.size if orientation < 5 else image.size[::-1]
        self.recoloured = False
        self.timings = {"decode": 0.0, "resize": 0.0}
        self.lossless = lossless
        self._settings = settings
        self._plays = _plays(kind, image)
        self._profile = image.info.get("icc_profile")
        self._held = ExitStack()

    def close(self) -> None:
        """Let others have the memory; what :meth:`pixels` returned stays valid."""
        del self.image
        self._held.close()

    def pixels(self, size: tuple[int, int], box: Box | None = None, frames: int | None = None) -> Pixels:
        """Decode, crop to ``box``, resize to ``size`` (both as displayed), to sRGB and upright; at most ``frames``."""
        box = box or (0, 0, self.width, self.height)
        if self.orientation >= 5:
            size = (size[1], size[0])
        frames = min(self.frames, frames or self.frames)
        box = _stored(box, *self.image.size, self.orientation)
        fraction = self._draft(size, box)
        left, top, right, bottom = (side / fraction for side in box)
        self._take_memory(size, frames)
        result = Pixels([], [], self._plays, self.lossless)
        for number in range(frames):
            started = time.perf_counter()
            image = self._frame(number)
            decoded = time.perf_counter()
            resized = resize(image, size, (left, top, right, bottom))
            image = to_srgb(resized, self._profile)
            self.recoloured = image is not resized
            result.images.append(_upright(image, self.orientation))
            result.delays.append(int(self.image.info.get("duration") or 0))
            self.timings["decode"] += decoded - started
            self.timings["resize"] += time.perf_counter() - decoded
        return result

    def _take_memory(self, size: tuple[int, int], frames: int) -> None:
        """Wait until the picture, the half of it that is resized first, and the result fit beside others."""
        width, height = self.image.size
        source = width * height * (4 if self.kind in _DEAR_KINDS else 1)
        wanted = 4 * (source + min(size[0], width) * height + size[0] * size[1] * frames)
        self._held.enter_context(_memory.use(wanted, self._settings.pixel_memory))
        if isinstance(self.image.fp, _Reader):
            self.image.fp.restart()

    def _frame(self, number: int) -> Image.Image:
        with _decoding():
            if number:
                self.image.seek(number)
            self.image.load()
            return self._direct()

    def _draft(self, size: tuple[int, int], box: Box) -> int:
        """Have libjpeg decode at 1/2, 1/4 or 1/8 if that leaves enough of the target; returns 2, 4, 8, or 1."""
        if self.kind != "jpg":
            return 1
        width, height = self.image.size
        # The target is rounded to pixels: that half of one must not cost a full decode.
        spare = min((box[2] - box[0]) / (size[0] - 0.5), (box[3] - box[1]) / (size[1] - 0.5))
        gap_of_half = DRAFT_GAP_OF_HALF_OF_LARGE if width * height >= LARGE else DRAFT_GAP
        gaps = {8: DRAFT_GAP, 4: DRAFT_GAP, 2: gap_of_half}
        fraction = next((fraction for fraction, gap in gaps.items() if fraction * gap <= spare), 1)
        self.image.draft(None, (max(1, width // fraction), max(1, height // fraction)))
        return fraction

    def _direct(self) -> Image.Image:
        """The loaded frame in L, RGB, RGBA, CMYK or LAB: palettes, 1 bit and 16 bits cannot be resampled."""
        image: Image.Image = self.image if self.frames == 1 else self.image.copy()
        if image.mode.startswith("I"):
            return _from_16_bits(image)
        if image.has_transparency_data:
            return image.convert("RGBA")
        if image.mode == "CMYK" and self.kind == "jpg" and "adobe" not in image.info:
            # Pillow takes every CMYK JPEG for an inverted one; only Adobe's are.
            return ImageChops.invert(image)
        if image.mode in ("L", "RGB", "CMYK", "LAB"):
            return image
        if image.mode == "F":
            raise UnsupportedImage("The image has floating-point pixels; only 8 and 16 bits are accepted.")
        return image.convert("L" if image.mode == "1" else "RGB")


@contextmanager
def open_picture(data: bytes, settings: RenderSettings) -> Iterator[Picture]:
    """Read the header of an image, and refuse what is foreign or beyond the limits before anything is decoded.

    Raises UnsupportedImage, BrokenImage, ImageTooLarge.
    """
    kind = _kind(data)
    if kind is None or kind not in settings.input_formats:
        accepted = ", ".join(settings.input_formats)
        raise UnsupportedImage(f"The file is {kind or 'no image of a known format'}; accepted are {accepted}.")
    with _decoding():
        frames = 1
        if kind == "jpg":
            _check_scans(data, settings)
        elif kind == "webp":
            _check_size(kind, _webp_size(data), 1, settings)  # its decoder takes memory as soon as it is made
        elif kind == "gif":
            frames = _check_gif(data, settings)
        image = _READERS[kind]()(_Reader(data, settings.decode_seconds))
        # How many bytes are read between looks at the clock: one scan may take few, but larger blocks decode faster.
        image.decodermaxblock = 2048 if "progressive" in image.info else 1 << 20
        if kind == "webp":
            frames = image.n_frames
        _check_size(kind, image.size, frames, settings)
        exif = image.info.get("exif") or (_late_exif(data) if kind == "png" else b"")
        lossless = kind in ("png", "gif") or (kind == "webp" and b"VP8L" in data)
        orientation = _orientation(exif)
        picture = Picture(kind, image, frames=frames, lossless=lossless, orientation=orientation, settings=settings)
    try:
        yield picture
    finally:
        picture.close()


def _check_size(kind: str, size: tuple[int, int], frames: int, settings: RenderSettings) -> None:
    width, height = size
    most = settings.max_pixels_webp if kind in _DEAR_KINDS else settings.max_pixels
    if width * height * frames > most:
        times = f" in {frames} frames" if frames > 1 else ""
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels{times}; at most {most:,} pixels are accepted of {kind}."
        )
    if max(width, height) > settings.max_side:
        raise ImageTooLarge(f"The image has {width} x {height} pixels; a side may have {settings.max_side:,} at most.")
    if frames > settings.max_frames:
        raise ImageTooLarge(f"The image has more than {settings.max_frames} frames.")


def _check_scans(data: bytes, settings: RenderSettings) -> None:
    """Each scan is a pass over the whole picture: a JPEG of 634 KB with 20,000 of them takes 51 s."""
    if data.count(b"\xff\xda") > settings.max_scans and _scans(data, settings.max_scans) > settings.max_scans:
        raise ImageTooLarge(f"The image has more than {settings.max_scans} scans; save it as an ordinary JPEG.")


# 0xFF00 is a byte of the picture; TEM, RST and SOI have no length after them (ITU T.81, table B.1).
_NEXT_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def _scans(data: bytes, most: int) -> int:
    """The scans of the first image in a JPEG; thumbnails, and a video after its end, have such bytes too."""
    scans, at = 0, 2
    while scans <= most and (marker := _NEXT_MARKER.search(data, at)):
        code = data[marker.start() + 1]
        if code == 0xD9:
            break
        scans += code == 0xDA
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return scans


def _webp_size(data: bytes) -> tuple[int, int]:
    """Width and height from the header (RFC 9649), since Pillow's reader allocates before it tells."""
    match data[12:16]:
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8 ":
            return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise BrokenImage("The WebP begins with an unknown chunk.")


def _check_gif(data: bytes, settings: RenderSettings) -> int:
    """The number of frames, none of which is too large; Pillow would decode up to a late one before it tells."""
    width, height = int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    at = 13 + _colour_table(data[10])
    frames = 0
    while at < len(data) and data[at] in b"!,":
        if data[at] == ord("!"):
            at += 2
        else:
            frames += 1
            left, top, wide, high = (int.from_bytes(data[at + n : at + n + 2], "little") for n in (1, 3, 5, 7))
            width, height = max(width, left + wide), max(height, top + high)
            _check_size("gif", (width, height), frames, settings)
            at += 11 + _colour_table(data[at + 9])
        while data[at]:
            at += data[at] + 1
        at += 1
    return max(frames, 1)


def _colour_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 128 else 0


def _plays(kind: str, image: Image.Image) -> int:
    """How often an animation plays, 0 for ever: WebP counts that, GIF counts repeats, and none is once."""
    if kind == "gif":
        repeats = image.info.get("loop")
        return 1 if repeats is None else repeats + 1 if repeats else 0
    return int(image.info.get("loop", 0))


_EXIF_INTEGERS = {3: 2, 4: 4}
"""The types SHORT and LONG, and the bytes they take."""


def _late_exif(data: bytes) -> bytes:
    """The EXIF chunk of a PNG, which may come after the pixels: then Pillow would have to decode them first."""
    at = data.rfind(b"eXIf")
    return data[at + 4 : at + 4 + int.from_bytes(data[at - 4 : at], "big")] if at > 0 else b""


def _orientation(exif: bytes) -> int:
    """1..8 as EXIF counts; 1 when there is none or it is broken. (TIFF and HEIC are turned by their readers.)"""
    exif = exif.removeprefix(b"Exif\0\0")
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"

    def number(at: int, length: int) -> int:
        return int.from_bytes(exif[at : at + length], order)

    # Read by hand: Pillow reads every entry, and warns of broken ones through the process-wide filters.
    directory = number(4, 4)
    for at in range(directory + 2, directory + 2 + 12 * number(directory, 2), 12):
        if number(at, 2) == 0x0112:
            orientation = number(at + 8, _EXIF_INTEGERS.get(number(at + 2, 2), 0))
            return orientation if 1 <= orientation <= 8 else 1
    return 1


_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(_TRANSPOSE[orientation]) if orientation in _TRANSPOSE else image


def _stored(box: Box, width: int, height: int, orientation: int) -> Box:
    """A box as displayed, in the coordinates of the stored pixels, which are ``width`` × ``height``."""
    left, top, right, bottom = box
    if orientation >= 5:
        left, top, right, bottom = top, left, bottom, right
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


def _from_16_bits(image: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8; Pillow's own convert() clips everything above 255."""
    transparent = image.info.get("transparency")
    if image.mode != "I":
        image = image.convert("I")
    grey = image.point([value >> 8 for value in range(65536)], "L")
    if not isinstance(transparent, int):
        return grey
    alpha = image.point([0 if value == transparent else 255 for value in range(65536)], "L")
    return Image.merge("RGBA", (grey, grey, grey, alpha))


_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Pixels in L, RGB or RGBA and sRGB. A broken or unfit profile never fails an image: it is left out of account."""
    if profile:
        with suppress(Exception):  # anything may be in a profile, and anything may come out of one
            image = _through_profile(image, profile)
    return image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB")


def _through_profile(image: Image.Image, profile: bytes) -> Image.Image:
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    mode = _PROFILE_MODES[source.profile.xcolor_space.strip()]
    fits = mode == image.mode or (mode == "RGB" and image.mode in ("L", "RGBA")) or (mode == "L" and _is_grey(image))
    if not fits:
        return image
    transform = ImageCms.buildTransform(
        source,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    if mode == "RGB" and _is_identity(transform):
        return image
    result = transform.apply(image.convert(mode))
    if image.mode == "RGBA":
        result.putalpha(image.getchannel("A"))
    return result.convert("L") if image.mode == "L" == mode else result


def _is_grey(image: Image.Image) -> bool:
    """All bands are alike, as those of grey with transparency are once it is RGBA."""
    red, green, blue = image.convert("RGB").split()
    return not (ImageChops.difference(red, green).getbbox() or ImageChops.difference(red, blue).getbbox())


_PROBE = Image.merge(
    "RGB",
    [Image.frombytes("L", (64, 8), bytes((n // 8**band % 8) * 255 // 7 for n in range(512))) for band in range(3)],
)


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Most profiles are sRGB by one name or another: one that moves no colour by more than 2 of 255 is."""
    return max(ImageChops.difference(transform.apply(_PROBE), _PROBE).tobytes()) <= 2


def flatten(image: Image.Image, background: str) -> Image.Image:
    """Without transparency, on this colour (``rrggbb``)."""
    if image.mode != "RGBA":
        return image
    canvas = Image.new("RGB", image.size, f"#{background}")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def padded(image: Image.Image, size: tuple[int, int], at: tuple[int, int], background: str | None) -> Image.Image:
    """The image on a canvas of ``size``: of this colour (``rrggbb`` or ``ddd``), or transparent."""
    if background is None:
        canvas = Image.new("RGBA", size)
        canvas.paste(image, at)
        return canvas
    canvas = Image.new("RGB", size, f"#{background}")
    canvas.paste(image, at, image.getchannel("A") if image.mode == "RGBA" else None)
    return canvas


def encode(pixels: Pixels, format: str, settings: RenderSettings) -> bytes:
    """The file, without any metadata. More than one image only where the format can be animated."""
    if format not in TRANSPARENT_FORMATS:
        pixels = pixels.map(lambda image: flatten(image, settings.background))
    quality = {**QUALITY, **settings.quality}.get(format, 0)
    effort = {**EFFORT, **settings.effort}.get(format, 0)
    match format:
        case "jpg":
            small = bool(effort)
            return _saved(
                pixels.images[0], "JPEG", quality=quality, subsampling=settings.jpeg_subsampling,
                optimize=small, progressive=small,
            )  # fmt: skip
        case "png":
            repeats = _REPEATS if pixels.lossless else _NO_REPEATS
            return _saved(pixels.images[0], "PNG", compress_level=effort, compress_type=repeats)
        case "avif":  # in threads of its own it would take more than its share of the machine
            return _saved(pixels.images[0], "AVIF", quality=quality, speed=10 - effort, max_threads=1)
        case "webp":
            return _save_webp(pixels, quality=quality, method=effort)
        case "gif":
            return _save_gif(pixels)
    raise UnsupportedImage(f"The format {format!r} cannot be written.")


def _save_webp(pixels: Pixels, **options: Any) -> bytes:
    if len(pixels.images) == 1:
        return _saved(pixels.images[0], "WEBP", **options)
    first, *others = pixels.images
    # Browsers show a frame without a delay for 100 ms; the encoder would drop it.
    delays = [delay or 100 for delay in pixels.delays]
    return _saved(first, "WEBP", save_all=True, append_images=others, duration=delays, loop=pixels.plays, **options)


def _save_gif(pixels: Pixels) -> bytes:
    first, *others = [_palette(image) for image in pixels.images]
    if not others:
        return _saved(first, "GIF", optimize=False)
    options: dict[str, Any] = {"optimize": False, "duration": [round(delay, -1) for delay in pixels.delays]}
    if any("transparency" in image.info for image in (first, *others)):
        options["disposal"] = 2  # each frame on an empty canvas
    if pixels.plays != 1:
        options["loop"] = max(0, pixels.plays - 1)
    return _saved(first, "GIF", save_all=True, append_images=others, **options)


def _palette(image: Image.Image) -> Image.Image:
    """256 colours, one of them for what is more than half transparent."""
    if image.mode != "RGBA":
        return image.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT)
    result = image.convert("RGB").quantize(255, Image.Quantize.MEDIANCUT)
    hidden = image.getchannel("A").point([255] * 128 + [0] * 128)
    if hidden.getbbox():
        result.paste(255, mask=hidden)
        result.info["transparency"] = 255
    return result


def _saved(image: Image.Image, format: str, **options: Any) -> bytes:
    # Pillow writes back comments, profiles and more from here; transparency is a part of a palette's pixels.
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    file = BytesIO()
    try:
        image.save(file, format, **options)
    except OSError:
        if not options.get("optimize"):
            raise
        # Pillow's buffer for an optimised JPEG holds about a byte a pixel, and noise takes more.
        return _saved(image, format, **options | {"optimize": False, "progressive": False})
    return file.getvalue()


def is_transparent(image: Image.Image) -> bool:
    return image.mode == "RGBA" and ImageChops.invert(image.getchannel("A")).getbbox() is not None


def save_origin(picture: Picture, pixels: Pixels, transparent: bool) -> tuple[str, bytes]:
    """Format and bytes of the origin that stands for ``picture``, whose decoded ``pixels`` these are."""
    source, first = picture.image, pixels.images[0]
    whole = first.size == (picture.width, picture.height)
    if picture.kind == "gif":
        return "gif", _save_gif(pixels)
    if picture.kind == "webp":
        if picture.lossless and len(pixels.images) == 1:
            return "webp", _saved(first, "WEBP", lossless=True, quality=20, method=1)
        # WebP has no tables that could be used again: at 90, as most are saved, sizes above half of it lost 0.3 dB.
        return "webp", _save_webp(pixels, quality=95, method=1)
    if (
        picture.kind == "png"
        and source.mode in ("1", "P")
        and whole
        and not picture.recoloured
        and picture.orientation == 1
    ):
        return "png", _saved(source, "PNG", compress_level=3)
    if picture.kind == "png" or transparent:
        return "png", _saved(first, "PNG", compress_level=3)
    if isinstance(source, JpegImagePlugin.JpegImageFile) and source.layers < 4 and whole:
        # The tables it was made with: nearly nothing is lost again, and it takes as many bytes as it did.
        sampling = JpegImagePlugin.get_sampling(source)
        return "jpg", _saved(first, "JPEG", qtables=source.quantization, subsampling=sampling, optimize=True)
    return "jpg", _saved(first, "JPEG", quality=90, subsampling="4:2:0", optimize=True)


def save_mezzanine(pixels: Pixels, format: str, settings: RenderSettings) -> bytes:
    """A working copy: JPEG in full colour resolution, which counts for more than its quality; or PNG."""
    if format == "png":
        return _saved(pixels.images[0], "PNG", compress_level=1)
    return _saved(pixels.images[0], "JPEG", quality=settings.mezzanine_quality, subsampling="4:4:4", optimize=True)


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


def rgba(pixels: Pixels, size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Red, green, blue and alpha of each pixel of the first image, shrunk to ``size``."""
    data = resize(pixels.images[0], size).convert("RGBA").tobytes()
    yield from zip(*(data[band::4] for band in range(4)), strict=True)


def detail(pixels: Pixels, cells: int) -> list[list[int]]:
    """How much the first image changes within each of ``cells`` × ``cells`` parts of it, as rows of numbers."""
    image = flatten(pixels.images[0], "808080").convert("L")
    edges = image.resize((256, 256), Image.Resampling.BOX, reducing_gap=1.0).filter(ImageFilter.FIND_EDGES)
    data = edges.resize((cells, cells), Image.Resampling.BOX, (1, 1, 255, 255)).tobytes()
    return [list(data[row * cells : (row + 1) * cells]) for row in range(cells)]
