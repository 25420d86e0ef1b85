"""Pictures: bytes to pixels.

Whatever comes in (any mode, profile, orientation) leaves :func:`open_picture` and :meth:`Picture.pixels` as upright
sRGB in mode L, RGB or RGBA. Nothing of the source but its pixels survives: they are saved without any metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext

from PIL import Image

from lazycrop.concurrency.timing import measure
from lazycrop.pictures.colours import to_srgb
from lazycrop.pictures.decoders import Decoder, open_decoder
from lazycrop.pictures.headers import STORED_FORMATS, format_of
from lazycrop.pictures.pixels import Pixels
from lazycrop.pictures.reading import Clock
from lazycrop.pictures.resampling import Box, resize
from lazycrop.pictures.settings import DEAR_FORMATS, Limits

# libjpeg decodes at 1/2, 1/4 or 1/8 for less, and not as well as Lanczos: so many times the target must be left for
# that one. Large photographs are soft at their pixels, so that little is lost where most is gained: 12 megapixels at a
# half take 30 ms less. (Mean loss over 19 photographs, WebP: 0.09 dB; without the distinction up to 0.19 dB.)
DRAFT_GAP = 2.0
DRAFT_GAP_OF_HALF_OF_LARGE = 1.25
LARGE = 4_000_000

Target = tuple[tuple[int, int], Box]
"""A size, and the part of a picture that is made smaller to it."""

Reserve = Callable[[int], AbstractContextManager[None]]
"""Takes the bytes of pixels that are about to be worked on; may wait until there are so many, or raise Overloaded."""


def unbounded(wanted: int) -> AbstractContextManager[None]:
    return nullcontext()


class Picture:
    """An opened source, of which only the header has been read.

    ``kind``: its format. ``width``, ``height``: as displayed. ``frames``: more than 1 for an animated GIF or WebP.
    ``lossless``: a PNG, GIF or lossless WebP or JPEG. ``recoloured``: its pixels were not sRGB.
    """

    def __init__(self, kind: str, decoder: Decoder, reserve: Reserve) -> None:
        self.kind = kind
        self.decoder = decoder
        self.frames = decoder.frames
        self.lossless = decoder.lossless
        self.orientation = decoder.orientation
        self.width, self.height = decoder.size if self.orientation < 5 else decoder.size[::-1]
        self.recoloured = False
        self._reserve = reserve
        self._held = ExitStack()

    def close(self) -> None:
        """Let others have the memory; what :meth:`pixels` returned stays valid."""
        del self.decoder
        self._held.close()

    def pixels(self, size: tuple[int, int], box: Box | None = None, frames: int | None = None) -> Pixels:
        """Decode, crop to ``box``, resize to ``size`` (both as displayed), to sRGB and upright; at most ``frames``.

        May be called once: what is decoded is let go as soon as it is resized.
        """
        frames = min(self.frames, frames or self.frames)
        [(size, box)] = self._begin([(size, box or (0, 0, self.width, self.height))], frames)
        result = Pixels([], [], self.decoder.plays, self.lossless)
        for number in range(frames):
            with measure("decode"):
                image, delay = self.decoder.frame(number)
            with measure("resize"):
                resized = self._resized(image, size, box)
                del image
                result.images.append(self._finished(resized))
            result.delays.append(delay)
        return result

    def stills(self, targets: Sequence[Target]) -> list[Pixels]:
        """The first frame as :meth:`pixels` makes it, in several sizes, decoded once, as the largest of them needs it.

        May be called once, and not beside that.
        """
        targets = self._begin(targets, 1)
        with measure("decode"):
            image, delay = self.decoder.frame(0)
        with measure("resize"):
            made = [self._finished(self._resized(image, size, box)) for size, box in targets]
        return [Pixels([one], [delay], self.decoder.plays, self.lossless) for one in made]

    def _begin(self, targets: Sequence[Target], frames: int) -> list[Target]:
        """Choose the fraction to decode at, and wait for memory; returns the targets as they are in what is decoded."""
        turned = self.orientation >= 5
        sizes = [(size[1], size[0]) if turned else size for size, _ in targets]
        boxes = [_stored(box, *self.decoder.size, self.orientation) for _, box in targets]
        fraction = self.decoder.reduce(min(map(self._draft, sizes, boxes)))
        self._take_memory(sizes, frames)
        scaled = [(a / fraction, b / fraction, c / fraction, d / fraction) for a, b, c, d in boxes]
        return list(zip(sizes, scaled, strict=True))

    def _resized(self, image: Image.Image, size: tuple[int, int], box: Box) -> Image.Image:
        return resize(image, size, box, None if self.decoder.is_straight(image) else self.decoder.straight)

    def _finished(self, resized: Image.Image) -> Image.Image:
        made = to_srgb(resized, self.decoder.profile)
        self.recoloured = made is not resized
        return _upright(made, self.orientation)

    def _take_memory(self, sizes: Sequence[tuple[int, int]], frames: int) -> None:
        """Wait until the picture, the half of it that is resized first, and the results fit beside others."""
        width, height = self.decoder.size
        source = width * height * (4 if self.kind in DEAR_FORMATS else 1)
        between = max(min(size[0], width) for size in sizes) * height
        wanted = 4 * (source + between + frames * sum(size[0] * size[1] for size in sizes))
        self._held.enter_context(self._reserve(wanted))

    def _draft(self, size: tuple[int, int], box: Box) -> int:
        """At which fraction libjpeg may decode so that enough of the target is left: 1/2, 1/4, 1/8, or all of it."""
        width, height = self.decoder.size
        # The target is rounded to pixels: that half of one must not cost a full decode.
        spare = min((box[2] - box[0]) / (size[0] - 0.5), (box[3] - box[1]) / (size[1] - 0.5))
        gap_of_half = DRAFT_GAP_OF_HALF_OF_LARGE if width * height >= LARGE else DRAFT_GAP
        gaps = {8: DRAFT_GAP, 4: DRAFT_GAP, 2: gap_of_half}
        return next((fraction for fraction, gap in gaps.items() if fraction * gap <= spare), 1)


@contextmanager
def open_picture(data: bytes, limits: Limits, reserve: Reserve = unbounded) -> Iterator[Picture]:
    """Read the header of an image, and refuse what is foreign or beyond the limits before anything is decoded.

    The formats in which origins are stored are read whatever is accepted of others. ``reserve`` is entered with the
    bytes of pixels that are about to be worked on, and left when that is over.

    Raises UnsupportedImage, BrokenImage, ImageTooLarge.
    """
    kind = format_of(data, (*STORED_FORMATS, *(one for one in limits.input_formats if one not in STORED_FORMATS)))
    picture = Picture(kind, open_decoder(kind, data, Clock(limits.decode_seconds), limits), reserve)
    try:
        yield picture
    finally:
        picture.close()


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
