"""Pictures: bytes to pixels, with Pillow.

Whatever comes in (any mode, profile, orientation) leaves :func:`open_picture` and :meth:`Picture.pixels` as upright
sRGB in mode L, RGB or RGBA. Nothing of the source but its pixels survives: they are saved without any metadata.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from importlib import import_module
from io import BytesIO
from typing import Any

from PIL import (
    AvifImagePlugin,
    GifImagePlugin,
    Image,
    ImageChops,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    WebPImagePlugin,
)

from lazycrop.concurrency.timing import measure
from lazycrop.errors import BrokenImage, ImageError, ImageTooLarge, Overloaded, UnsupportedImage
from lazycrop.pictures.colours import to_srgb
from lazycrop.pictures.headers import format_of, gif_frames, late_exif, orientation_of, scans, webp_size
from lazycrop.pictures.pixels import Pixels
from lazycrop.pictures.resampling import Box, resize
from lazycrop.pictures.settings import Limits

# libjpeg decodes at 1/2, 1/4 or 1/8 for less, and not as well as Lanczos: so many times the target must be left for
# that one. Large photographs are soft at their pixels, so that little is lost where most is gained: 12 megapixels at a
# half take 30 ms less. (Mean loss over 19 photographs, WebP: 0.09 dB; without the distinction up to 0.19 dB.)
DRAFT_GAP = 2.0
DRAFT_GAP_OF_HALF_OF_LARGE = 1.25
LARGE = 4_000_000


Reserve = Callable[[int], AbstractContextManager[None]]
"""Takes the bytes of pixels that are about to be worked on; may wait until there are so many, or raise Overloaded."""


def unbounded(wanted: int) -> AbstractContextManager[None]:
    return nullcontext()


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


class _Jpeg(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Nobody needs it, and broken EXIF would warn through the process-wide filters."""


# A plugin is called by its class, never through Image.open: that one warns of large pictures through the process-wide
# filters, and needs plugins to be registered.
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


class Picture:
    """An opened source, of which only the header has been read.

    ``kind``: its format. ``width``, ``height``: as displayed. ``frames``: more than 1 for an animated GIF or WebP.
    ``lossless``: a PNG, GIF or lossless WebP. ``recoloured``: its pixels were not sRGB.
    """

    def __init__(
        self,
        kind: str,
        image: ImageFile.ImageFile,
        *,
        frames: int,
        lossless: bool,
        orientation: int,
        reserve: Reserve,
    ) -> None:
        self.kind = kind
        self.image = image
        self.frames = frames
        self.orientation = orientation
        self.width, self.height = image.size if orientation < 5 else image.size[::-1]
        self.recoloured = False
        self.lossless = lossless
        self._reserve = reserve
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
            with measure("decode"):
                image = self._frame(number)
            with measure("resize"):
                resized = resize(image, size, (left, top, right, bottom))
                image = to_srgb(resized, self._profile)
                self.recoloured = image is not resized
                result.images.append(_upright(image, self.orientation))
            result.delays.append(int(self.image.info.get("duration") or 0))
        return result

    def _take_memory(self, size: tuple[int, int], frames: int) -> None:
        """Wait until the picture, the half of it that is resized first, and the result fit beside others."""
        width, height = self.image.size
        source = width * height * (4 if self.kind in _DEAR_KINDS else 1)
        wanted = 4 * (source + min(size[0], width) * height + size[0] * size[1] * frames)
        self._held.enter_context(self._reserve(wanted))
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
def open_picture(data: bytes, limits: Limits, reserve: Reserve = unbounded) -> Iterator[Picture]:
    """Read the header of an image, and refuse what is foreign or beyond the limits before anything is decoded.

    ``reserve`` is entered with the bytes of pixels that are about to be worked on, and left when that is over.

    Raises UnsupportedImage, BrokenImage, ImageTooLarge.
    """
    kind = format_of(data)
    if kind is None or kind not in limits.input_formats:
        accepted = ", ".join(limits.input_formats)
        raise UnsupportedImage(f"The file is {kind or 'no image of a known format'}; accepted are {accepted}.")
    with _decoding():
        frames = 1
        if kind == "jpg":
            _check_scans(data, limits)
        elif kind == "webp":
            _check_size(kind, webp_size(data), 1, limits)  # its decoder takes memory as soon as it is made
        elif kind == "gif":
            for frames, size in enumerate(gif_frames(data), 1):
                _check_size(kind, size, frames, limits)
        image = _READERS[kind]()(_Reader(data, limits.decode_seconds))
        # How many bytes are read between looks at the clock: one scan may take few, but larger blocks decode faster.
        image.decodermaxblock = 2048 if "progressive" in image.info else 1 << 20
        if kind == "webp":
            frames = image.n_frames
        _check_size(kind, image.size, frames, limits)
        exif = image.info.get("exif") or (late_exif(data) if kind == "png" else b"")
        lossless = kind in ("png", "gif") or (kind == "webp" and b"VP8L" in data)
        orientation = orientation_of(exif)
        picture = Picture(kind, image, frames=frames, lossless=lossless, orientation=orientation, reserve=reserve)
    try:
        yield picture
    finally:
        picture.close()


def _check_size(kind: str, size: tuple[int, int], frames: int, limits: Limits) -> None:
    width, height = size
    most = limits.max_pixels_webp if kind in _DEAR_KINDS else limits.max_pixels
    if width * height * frames > most:
        times = f" in {frames} frames" if frames > 1 else ""
        raise ImageTooLarge(
            f"The image has {width} x {height} pixels{times}; at most {most:,} pixels are accepted of {kind}."
        )
    if max(width, height) > limits.max_side:
        raise ImageTooLarge(f"The image has {width} x {height} pixels; a side may have {limits.max_side:,} at most.")
    if frames > limits.max_frames:
        raise ImageTooLarge(f"The image has more than {limits.max_frames} frames.")


def _check_scans(data: bytes, limits: Limits) -> None:
    """Each scan is a pass over the whole picture: a JPEG of 634 KB with 20,000 of them takes 51 s."""
    if data.count(b"\xff\xda") > limits.max_scans and scans(data, limits.max_scans) > limits.max_scans:
        raise ImageTooLarge(f"The image has more than {limits.max_scans} scans; save it as an ordinary JPEG.")


def _plays(kind: str, image: Image.Image) -> int:
    """How often an animation plays, 0 for ever: WebP counts that, GIF counts repeats, and none is once."""
    if kind == "gif":
        repeats = image.info.get("loop")
        return 1 if repeats is None else repeats + 1 if repeats else 0
    return int(image.info.get("loop", 0))


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
