"""Decoders: one for each format, Pillow behind all of them.

A plugin is called by its class, never through Image.open: that one warns of large pictures through the process-wide
filters, and needs plugins to be registered.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import Any

from PIL import AvifImagePlugin, Image, ImageChops, ImageFile, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

from lazycrop.errors import BrokenImage
from lazycrop.pictures import gif, heif, jpeg, png, webp
from lazycrop.pictures.headers import Header, orientation_of
from lazycrop.pictures.modes import are_alike, differing, is_straight, straight
from lazycrop.pictures.reading import Clock, Reader, decoding
from lazycrop.pictures.settings import Limits

# How many bytes are read between looks at the clock: one scan may take few, and a PNG may make a thousand times as many
# of them; but larger blocks decode faster.
_BLOCK, _BLOCK_OF_PNG, _BLOCK_OF_PROGRESSIVE = 1 << 20, 1 << 16, 1 << 11


class Decoder:
    """An opened file, of which only the header has been read.

    ``size``: width and height as stored. ``plays``: how often an animation plays, 0 for ever. ``lossless``: a PNG, GIF
    or lossless WebP or JPEG. ``indexed``: the decoded picture where it has a palette or one bit, and is opaque.
    ``tables``, ``sampling``: what a JPEG was saved with, as Pillow takes it.
    """

    plays = 0
    indexed: Image.Image | None = None
    tables: list[list[int]] | None = None
    sampling = -1

    def __init__(self, image: ImageFile.ImageFile, header: Header, data: bytes, clock: Clock) -> None:
        self._image: ImageFile.ImageFile | None = image
        self._header = header
        self._data = data
        self.clock = clock
        self.size = image.size
        self.frames = 1
        self.lossless = header.lossless
        self.orientation = orientation_of(header.exif or image.info.get("exif") or b"")
        self.profile: bytes | None = image.info.get("icc_profile") or header.profile
        image.decodermaxblock = _BLOCK

    def reduce(self, fraction: int) -> int:
        """Decode at a fraction of the size, where that costs less: 2, 4 or 8. Returns that fraction, or 1."""
        return 1

    def frame(self, number: int) -> tuple[Image.Image, int]:
        """The next frame, and how many milliseconds it is shown. The decoder does not keep the last one of them."""
        image, self._image = self._image, None
        assert image is not None
        with decoding():
            image.load()
        self.indexed = image if image.mode in ("1", "P") and not image.has_transparency_data else None
        return image, 0

    def is_straight(self, image: Image.Image) -> bool:
        """Can this frame be resampled as it is?"""
        return is_straight(image)

    def straight(self, image: Image.Image) -> Image.Image:
        """Rows of a frame as they can be resampled."""
        return straight(image)


class _JpegFile(JpegImagePlugin.JpegImageFile):
    def _read_dpi_from_exif(self) -> None:
        """Nobody needs it, and broken EXIF would warn through the process-wide filters."""


def _tables(image: JpegImagePlugin.JpegImageFile) -> list[list[int]] | None:
    """The quantization table of each component, as the frame header says; the last one is of those that follow, too.

    None of a CMYK image, which is not stored as one, and of a lossless one, which has no tables.
    """
    tables = [image.quantization.get(number) for *_, number in image.layer[: image.layers]]
    if image.layers == 4 or not all(tables):
        return None
    while len(tables) > 1 and tables[-1] == tables[-2]:
        tables.pop()
    return [table for table in tables if table]


class _Jpeg(Decoder):
    def __init__(self, image: JpegImagePlugin.JpegImageFile, header: Header, data: bytes, clock: Clock) -> None:
        super().__init__(image, header, data, clock)
        # Pillow takes every CMYK JPEG for an inverted one; only Adobe's are.
        self._is_inverted = image.mode == "CMYK" and "adobe" not in image.info
        self._fraction = 1
        with decoding():
            self.sampling = JpegImagePlugin.get_sampling(image)
        self.tables = _tables(image)

    def reduce(self, fraction: int) -> int:
        self._fraction = 1 if self.lossless else fraction
        return self._fraction

    def frame(self, number: int) -> tuple[Image.Image, int]:
        image, self._image = self._image, None
        assert image is not None
        try:
            return self._loaded(image, self._data), 0
        except BrokenImage:
            del image
            whole = jpeg.without_end(self._data, self.clock)
            if whole is None:
                raise
            made, other = (self._loaded(self._opened(), whole + end) for end in (jpeg.END, jpeg.OTHER_END))
            if not are_alike(made, other):
                raise
            return made, 0

    def _opened(self) -> ImageFile.ImageFile:
        with decoding():
            return _JpegFile(_reader("jpg", self._header.data, self.clock))

    def _loaded(self, image: ImageFile.ImageFile, data: bytes) -> Image.Image:
        width, height = self.size
        image.decodermaxblock = _BLOCK_OF_PROGRESSIVE if "progressive" in image.info else _BLOCK
        with decoding():
            image.draft(None, (max(1, width // self._fraction), max(1, height // self._fraction)))
            image.fp = Reader(data, self.clock)  # So far it was the header alone.
            image.load()
        return image

    def is_straight(self, image: Image.Image) -> bool:
        return not self._is_inverted and super().is_straight(image)

    def straight(self, image: Image.Image) -> Image.Image:
        return ImageChops.invert(image) if self._is_inverted else super().straight(image)


class _Png(Decoder):
    def __init__(self, image: PngImagePlugin.PngImageFile, header: Header, data: bytes, clock: Clock) -> None:
        super().__init__(image, header, data, clock)
        image.decodermaxblock = _BLOCK_OF_PNG

    def frame(self, number: int) -> tuple[Image.Image, int]:
        image, _ = super().frame(number)
        hole, depth = self._header.hole, self._header.depth
        if hole is None:
            return image, 0
        self.indexed = None
        if len(hole) == 3 and depth == 16:
            return self._with_hole_of_16_bits(image, hole), 0
        grey = hole[0] if depth == 16 else hole[0] * (255 // ((1 << depth) - 1))
        image.info["transparency"] = hole if len(hole) == 3 else grey
        return image, 0

    def _with_hole_of_16_bits(self, high: Image.Image, hole: tuple[int, ...]) -> Image.Image:
        """Pillow keeps the high bytes of colours alone; so the low ones are decoded for themselves."""
        with decoding():
            low = PngImagePlugin.PngImageFile(Reader(self._header.data, self.clock))
            low.tile = [low.tile[0]._replace(args="RGB;16L")]
            low.load()
        others = differing(low, [value & 255 for value in hole])
        alpha = ImageChops.lighter(differing(high, [value >> 8 for value in hole]), others)
        high.putalpha(alpha)
        return high


class _WebP(Decoder):
    def __init__(self, image: WebPImagePlugin.WebPImageFile, header: Header, data: bytes, clock: Clock) -> None:
        super().__init__(image, header, data, clock)
        self.frames = image.n_frames
        self.plays = int(image.info["loop"])

    def frame(self, number: int) -> tuple[Image.Image, int]:
        image = self._image
        assert image is not None
        self.clock.check()
        with decoding():
            image.seek(number)
            image.load()
        return image.copy() if self.frames > 1 else image, int(image.info["duration"])


class _Gif(Decoder):
    def __init__(self, data: bytes, clock: Clock, limits: Limits) -> None:
        animation = gif.read(data, clock, limits)
        self.clock = clock
        self.size = animation.size
        self.frames = len(animation.frames)
        self.plays = animation.plays
        self.lossless = True
        self.orientation = 1
        self.profile = None
        self._animation = animation
        self._canvas = gif.Canvas(animation, clock)

    def frame(self, number: int) -> tuple[Image.Image, int]:
        return self._canvas.frame(number), self._animation.frames[number].delay


_HEADERS: dict[str, Callable[[bytes, Clock, Limits], Header]] = {
    "jpg": jpeg.read,
    "png": png.read,
    "webp": webp.read,
    "avif": heif.read,
    "heic": heif.read,
}
_PLUGINS: dict[str, Callable[[], Any]] = {
    "jpg": lambda: _JpegFile,
    "png": lambda: PngImagePlugin.PngImageFile,
    "webp": lambda: WebPImagePlugin.WebPImageFile,
    "avif": lambda: AvifImagePlugin.AvifImageFile,
    "tiff": lambda: import_module("PIL.TiffImagePlugin").TiffImageFile,
    "bmp": lambda: import_module("PIL.BmpImagePlugin").BmpImageFile,
    "heic": lambda: import_module("pillow_heif").HeifImageFile,
}
_DECODERS: dict[str, Callable[..., Decoder]] = {"jpg": _Jpeg, "png": _Png, "webp": _WebP}


# Pillow reads a JPEG's header in forty pieces, which takes a fiftieth of the time of a small one; so many bytes of it
# are read in 30 ms at most.
_SHORT_HEADER = 1 << 16


def _reader(kind: str, data: bytes, clock: Clock) -> BytesIO:
    return BytesIO(data) if kind == "jpg" and len(data) <= _SHORT_HEADER else Reader(data, clock)


def open_decoder(kind: str, data: bytes, clock: Clock, limits: Limits) -> Decoder:
    """The decoder of a file of this format, which is within the limits. Raises BrokenImage, ImageTooLarge."""
    if kind == "gif":
        decoder: Decoder = _Gif(data, clock, limits)
    else:
        header = _HEADERS[kind](data, clock, limits) if kind in _HEADERS else Header(data=data)
        limits.check(kind, header.size, header.frames)
        plugin = _PLUGINS[kind]()
        with decoding():
            image = plugin(_reader(kind, header.data, clock))
        decoder = _DECODERS.get(kind, Decoder)(image, header, data, clock)
    limits.check(kind, decoder.size, decoder.frames)
    return decoder
