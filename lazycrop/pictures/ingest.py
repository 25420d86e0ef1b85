"""Origins: what is done once, when an image is stored, so that no request has to do it.

An origin is the source decoded to its end, upright, sRGB, within its bound, and encoded anew without any metadata.
JPEG, PNG, WebP and GIF stay what they are. Everything else becomes a JPEG, or a PNG where some pixel is transparent:
AVIF is dear to encode, and browsers read neither HEIC nor TIFF.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass

from lazycrop.model.records import Focal, Mezzanine, Record
from lazycrop.model.sizes import DEFAULT_BOUND, Size, read_bound
from lazycrop.pictures.decoding import Reserve, open_picture, unbounded
from lazycrop.pictures.encoding import is_drawing, save_mezzanine, save_origin, save_tiny, stays_indexed
from lazycrop.pictures.headers import STORED_FORMATS, format_of
from lazycrop.pictures.pixels import Pixels, detail, is_transparent, rgba
from lazycrop.pictures.settings import IngestSettings, Limits

# A copy that is nearly as large as the origin saves nothing. A PNG takes so much longer to decode that a JPEG of it
# pays off even then.
MEZZANINE_SHARE = 0.75
MEZZANINE_SHARE_PNG = 0.875
# libjpeg decodes at a half by itself, once it has read all bytes. So a copy of more than half of a JPEG's edge has to
# have fewer of them: of a photograph from a camera it has a third, of one that was compressed much as many.
MEZZANINE_HALF = 0.5
MEZZANINE_BYTES = 0.65
# Nor does one that spares fewer pixels than this: the object and its put cost more than the 2 to 8 ms of decoding them.
MEZZANINE_PIXELS = 400_000

PLACEHOLDER_CHARACTERS = 300
_VERIFIED = (64, 64)  # Pixels, of which nobody sees any.

_LOOKED_AT = 256  # Pixels of the longer side, in which what draws the eye is seen.


@dataclass(frozen=True, slots=True)
class Prepared:
    """An origin, its mezzanines with their bytes, and what its record says of it.

    ``width``, ``height``: pixels as displayed. ``colour``: ``rrggbb``. ``focal``: per cent of width and height.
    """

    data: bytes
    format: str
    width: int
    height: int
    frames: int
    transparent: bool
    placeholder: str | None
    colour: str | None
    focal: tuple[int, int] | None
    mezzanines: tuple[tuple[Mezzanine, bytes], ...]


def prepare(
    data: bytes,
    bound: tuple[int, int],
    limits: Limits,
    ingest: IngestSettings,
    *,
    focal: Focal = None,
    reserve: Reserve = unbounded,
) -> Prepared:
    """Make an origin of a source that fits into ``bound`` (width, height), with all that is stored beside it.

    ``focal``: the subject in per cent of width and height; ``auto`` looks for the part with most detail.
    Raises UnsupportedImage, BrokenImage (cut short, too), ImageTooLarge.
    """
    format_of(data, limits.input_formats)
    with open_picture(data, limits, reserve) as picture:
        size = Size(*bound).scaled(picture.width, picture.height)
        pixels = picture.pixels(size)
        pixels, transparent = _opaque(pixels)
        format, origin = save_origin(picture, pixels, transparent)
        return _prepared(pixels, origin, format, size, len(pixels.images), len(origin), transparent, ingest, focal)


def verify(data: bytes, limits: Limits, reserve: Reserve = unbounded) -> None:
    """Raise what :func:`prepare` would raise; all is read and decoded, in as few pixels as that takes."""
    format_of(data, limits.input_formats)
    with open_picture(data, limits, reserve) as picture:
        picture.pixels(Size(*_VERIFIED).scaled(picture.width, picture.height))


def prepare_without_origin(
    data: bytes,
    limits: Limits,
    ingest: IngestSettings,
    *,
    reserve: Reserve = unbounded,
) -> Prepared:
    """All that is stored of a file that stays where it is: ``data`` of the result is empty. Raises as prepare does.

    It is decoded only as far as the largest mezzanine needs, and of an animation only the first frame.
    """
    kind = format_of(data, limits.input_formats)
    with open_picture(data, limits, reserve) as picture:
        size = Size(*read_bound(DEFAULT_BOUND)).scaled(picture.width, picture.height)
        edges = _edges(*size, kind, ingest) if picture.frames == 1 else []
        pixels, transparent = _opaque(picture.pixels(_within(edges[0], *size) if edges else size, frames=1))
        lossless = transparent or stays_indexed(picture, size)
        format = kind if kind in STORED_FORMATS else "png" if lossless else "jpg"
        return _prepared(pixels, b"", format, size, picture.frames, len(data), transparent, ingest, None)


def _opaque(pixels: Pixels) -> tuple[Pixels, bool]:
    """The pixels, without transparency where none of them is transparent; and whether some is."""
    transparent = any(is_transparent(image) for image in pixels.images)
    return (pixels if transparent else pixels.opaque()), transparent


def _prepared(
    pixels: Pixels,
    origin: bytes,
    format: str,
    size: tuple[int, int],
    frames: int,
    length: int,
    transparent: bool,
    ingest: IngestSettings,
    focal: Focal,
) -> Prepared:
    sketch = pixels.sketch()
    return Prepared(
        data=origin,
        format=format,
        width=size[0],
        height=size[1],
        frames=frames,
        transparent=transparent,
        placeholder=_placeholder(sketch),
        colour=_dominant_colour(sketch),
        focal=_focal_point(sketch) if focal == "auto" else focal,
        mezzanines=_cascade(pixels, format, size, is_drawing(sketch), length, ingest) if frames == 1 else (),
    )


def outline(head: bytes, limits: Limits) -> tuple[str, tuple[int, int]]:
    """The format, width and height that :func:`prepare` would give to the origin of a file that begins so.

    (Of a format that no origin has it may be a PNG instead: it is not known what its pixels are.)
    Raises UnsupportedImage, ImageTooLarge; BrokenImage when there is not enough of it.
    """
    kind = format_of(head, limits.input_formats)
    with open_picture(head, limits) as picture:
        size = Size(*read_bound(DEFAULT_BOUND)).scaled(picture.width, picture.height)
    return kind if kind in STORED_FORMATS else "jpg", size


def upright(data: bytes, limits: Limits, reserve: Reserve = unbounded) -> bytes:
    """The origin that :func:`prepare` would make of a file, alone. Raises as that does."""
    format_of(data, limits.input_formats)
    with open_picture(data, limits, reserve) as picture:
        pixels = picture.pixels(Size(*read_bound(DEFAULT_BOUND)).scaled(picture.width, picture.height))
        return save_origin(picture, *_opaque(pixels))[1]


def find_focal(data: bytes, limits: Limits, reserve: Reserve = unbounded) -> tuple[int, int]:
    """The focal point that ``focal="auto"`` finds in a picture, in per cent. Raises as prepare does."""
    with open_picture(data, limits, reserve) as picture:
        return _focal_point(picture.pixels(_within(_LOOKED_AT, picture.width, picture.height), frames=1).sketch())


def lacks_mezzanines(record: Record, ingest: IngestSettings) -> bool:
    """Was this image stored without the mezzanines that it would be given today?"""
    edges = _edges(record.width, record.height, record.format, ingest)
    return bool(edges) and not record.mezzanines and record.frames == 1


def mezzanines(
    data: bytes, limits: Limits, ingest: IngestSettings, reserve: Reserve = unbounded
) -> tuple[tuple[Mezzanine, bytes], ...]:
    """The mezzanines of a stored origin that has none."""
    with open_picture(data, limits, reserve) as picture:
        size = picture.width, picture.height
        edges = _edges(*size, picture.kind, ingest)
        if picture.frames > 1 or not edges:
            return ()
        pixels = picture.pixels(_within(edges[0], *size))
        return _cascade(pixels, picture.kind, size, is_drawing(pixels.sketch()), len(data), ingest)


def _cascade(
    pixels: Pixels, format: str, size: tuple[int, int], drawing: bool, length: int, ingest: IngestSettings
) -> tuple[tuple[Mezzanine, bytes], ...]:
    """The mezzanines of an origin of this format, ``size`` and ``length``, each from the next larger one's pixels.

    JPEG, but PNG of a drawing and of what is transparent. Animations have none: a still copy is of no use.
    """
    if len(pixels.images) > 1:
        return ()
    kind = "png" if drawing or pixels.images[0].mode == "RGBA" else "jpg"
    made = []
    edges = _edges(*size, format, ingest)
    for edge in edges:
        pixels = pixels.resized(_within(edge, *size))
        data = save_mezzanine(pixels, kind, ingest)
        above_half = format == "jpg" and edge > MEZZANINE_HALF * max(size)
        # The smallest one stays: an image without any is taken for one that was stored without.
        if not above_half or len(data) <= MEZZANINE_BYTES * length or edge == edges[-1]:
            made.append((Mezzanine(edge, *pixels.images[0].size, kind, len(data)), data))
    return tuple(reversed(made))


def _edges(width: int, height: int, format: str, ingest: IngestSettings) -> list[int]:
    """The edges that are worth while for an origin of these pixels, the longest first."""
    most = MEZZANINE_SHARE_PNG if format == "png" else MEZZANINE_SHARE

    def pays(edge: int) -> bool:
        share = edge / max(width, height)
        return share <= most and width * height * (1 - share**2) >= MEZZANINE_PIXELS

    return sorted(filter(pays, ingest.mezzanine_edges), reverse=True)


def _within(edge: int, width: int, height: int) -> tuple[int, int]:
    return Size(edge, edge).scaled(width, height)


def _placeholder(pixels: Pixels) -> str | None:
    """A data URI of PLACEHOLDER_CHARACTERS at most: a WebP of a few pixels."""
    width, height = pixels.images[0].size
    for edge in (24, 16, 12, 8, 4, 2):
        tiny = save_tiny(pixels, _within(edge, width, height))
        uri = f"data:image/webp;base64,{b64encode(tiny).decode()}"
        if len(uri) <= PLACEHOLDER_CHARACTERS:
            return uri
    return None


def _dominant_colour(pixels: Pixels) -> str | None:
    """The mean of the colours most often seen, when all are sorted into 8 x 8 x 8 bins; None when nothing is seen."""
    bins: dict[tuple[int, int, int], list[tuple[int, int, int]]] = {}
    for red, green, blue, alpha in rgba(pixels, (32, 32)):
        if alpha >= 128:
            bins.setdefault((red >> 5, green >> 5, blue >> 5), []).append((red, green, blue))
    if not bins:
        return None
    colours = max(bins.values(), key=len)
    return "".join(f"{round(sum(channel) / len(colours)):02x}" for channel in zip(*colours, strict=True))


# The picture as cells, of which half in each direction make the window that is looked for.
_CELLS = 16
_WINDOW = 8


def _focal_point(pixels: Pixels) -> tuple[int, int]:
    """The centre of detail, in per cent, within the window of half the width and height that has most of it."""
    rows = detail(pixels, _CELLS)
    starts = range(_CELLS - _WINDOW + 1)

    def energy(at: tuple[int, int]) -> tuple[int, int]:
        x, y = at
        total = sum(sum(row[x : x + _WINDOW]) for row in rows[y : y + _WINDOW])
        return total, -abs(2 * x - starts[-1]) - abs(2 * y - starts[-1])  # of equals, the one nearest to the middle

    left, top = max(((x, y) for y in starts for x in starts), key=energy)
    total = energy((left, top))[0]
    if not total:
        return 50, 50
    cells = [(x, y, rows[y][x]) for y in range(top, top + _WINDOW) for x in range(left, left + _WINDOW)]
    x, y = (sum((cell[axis] + 0.5) * cell[2] for cell in cells) / total / _CELLS for axis in (0, 1))
    return round(100 * x), round(100 * y)
