"""Pixels: decoded pictures, and what can be done with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from PIL import Image, ImageChops, ImageFilter

from lazycrop.pictures.resampling import resize


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


def is_transparent(image: Image.Image) -> bool:
    return image.mode == "RGBA" and ImageChops.invert(image.getchannel("A")).getbbox() is not None


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
