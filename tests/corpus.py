"""The kinds of picture that people have, each made in code: nothing is stored, and every colour is known.

Most pictures show the same card, 96x64 as displayed: four flat quadrants. A test takes the colour in the middle of
each. Colours are (red, green, blue, alpha) in sRGB, 0..255.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from io import BytesIO

import numpy as np
from PIL import Image, ImageCms

Colour = tuple[int, int, int, int]

RED, GREEN, BLUE, YELLOW = (200, 60, 50, 255), (60, 160, 80, 255), (50, 80, 180, 255), (230, 200, 70, 255)
BLACK, DARK, LIGHT, WHITE = (0, 0, 0, 255), (60, 60, 60, 255), (180, 180, 180, 255), (255, 255, 255, 255)
CLEAR, HALF = (0, 0, 0, 0), (50, 80, 180, 128)

COLOURS = (RED, GREEN, BLUE, YELLOW)
GREYS = (DARK, LIGHT, WHITE, BLACK)
BILEVEL = (BLACK, WHITE, WHITE, BLACK)


@dataclass(frozen=True)
class Picture:
    """A file, and what must be seen of it: its size as displayed, and the colour of each quadrant.

    ``corners``: top left, top right, bottom left, bottom right. ``loose``: the file itself is coarse (lossy chroma,
    naive inks), so that colours are compared with more tolerance.
    """

    data: bytes
    corners: Sequence[Colour] = COLOURS
    loose: bool = False
    width: int = 96
    height: int = 64


PICTURES: dict[str, Callable[[], Picture]] = {}
"""Pictures in the formats that are read by default. Each is made when it is asked for, and once."""

CONFIGURED: dict[str, Callable[[], Picture]] = {}
"""TIFF and BMP, which are read when configured."""


def card(corners: Sequence[Sequence[int] | int], width: int = 96, height: int = 64) -> np.ndarray:
    """The card as an array (height, width, channels) of bytes; ``corners`` in any channels."""
    quadrants = np.array(corners, np.uint8).reshape(2, 2, -1)
    return quadrants.repeat(height // 2, axis=0).repeat(width // 2, axis=1)


def image(mode: str, corners: Sequence[Sequence[int] | int], width: int = 96, height: int = 64) -> Image.Image:
    """The card as a Pillow image of ``mode``, ``corners`` being this mode's own values."""
    return Image.frombytes(mode, (width, height), card(corners, width, height).tobytes())


def rgb(corners: Sequence[Colour] = COLOURS) -> Image.Image:
    return image("RGB", [c[:3] for c in corners])


def saved(im: Image.Image, format: str, **options: object) -> bytes:
    file = BytesIO()
    im.save(file, format, **options)
    return file.getvalue()


def add(table: dict[str, Callable[[], Picture]], name: str, make: Callable[[], Picture]) -> None:
    table[name] = cache(make)


# ---- PNG, written by hand: Pillow writes few of its kinds ----


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, colour: int, rows: np.ndarray, *chunks: bytes, idat: bytes = b"") -> bytes:
    """A PNG of any kind. ``rows``: bytes as stored, one row a picture row, without filters."""
    if not idat:
        filtered = np.hstack([np.zeros((len(rows), 1), np.uint8), rows])
        idat = zlib.compress(filtered.tobytes(), 1)
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = b"".join((chunk(b"IHDR", header), *chunks, chunk(b"IDAT", idat), chunk(b"IEND", b"")))
    return b"\x89PNG\r\n\x1a\n" + body


def png_card(depth: int, colour: int, corners: Sequence[Sequence[int] | int], *chunks: bytes) -> bytes:
    """The card as a PNG; ``corners`` in samples of ``depth`` bits."""
    samples = np.array(corners).reshape(2, 2, -1).repeat(32, axis=0).repeat(48, axis=1)
    if depth == 16:
        rows = samples.astype(">u2").reshape(64, -1).view(np.uint8)
    else:
        bits = np.unpackbits(samples.astype(np.uint8)[..., None], axis=-1)[..., 8 - depth :]
        rows = np.packbits(bits.reshape(64, -1), axis=1)
    return png(96, 64, depth, colour, rows, *chunks)


def palette(corners: Sequence[Colour]) -> bytes:
    return b"".join(bytes(c[:3]) for c in corners)


def wide(corners: Sequence[Colour], channels: slice) -> list[list[int]]:
    """8-bit colours as samples of 16 bits."""
    return [[v * 257 for v in c[channels]] for c in corners]


TRANSPARENT = (CLEAR, GREEN, HALF, YELLOW)
HOLE = (CLEAR, GREEN, BLUE, YELLOW)
GREY_HOLE = (CLEAR, LIGHT, WHITE, BLACK)
GREY_HALF = (CLEAR, LIGHT, (60, 60, 60, 128), BLACK)
GREY, RGB, INDEX, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
# Two colours of 16 bits that have the same high bytes.
SIXTEEN, NEARLY_SIXTEEN = (200 * 257, 60 * 257, 50 * 257), (200 * 257, 60 * 257, 50 * 257 + 1)
NEARLY_RED = RED

for name, corners, make in [
    ("png-1", BILEVEL, partial(png_card, 1, GREY, (0, 1, 1, 0))),
    ("png-1-hole", (CLEAR, WHITE, WHITE, CLEAR), partial(png_card, 1, GREY, (0, 1, 1, 0), chunk(b"tRNS", b"\0\0"))),
    ("png-2", [(85 * i,) * 3 + (255,) for i in (0, 1, 2, 3)], partial(png_card, 2, GREY, (0, 1, 2, 3))),
    ("png-4", [(17 * i,) * 3 + (255,) for i in (2, 9, 15, 0)], partial(png_card, 4, GREY, (2, 9, 15, 0))),
    ("png-l", GREYS, partial(png_card, 8, GREY, (60, 180, 255, 0))),
    ("png-l-hole", GREY_HOLE, partial(png_card, 8, GREY, (60, 180, 255, 0), chunk(b"tRNS", b"\0\x3c"))),
    ("png-i16", GREYS, partial(png_card, 16, GREY, wide(GREYS, slice(1)))),
    ("png-i16-hole", GREY_HOLE, partial(png_card, 16, GREY, wide(GREYS, slice(1)), chunk(b"tRNS", b"\x3c\x3c"))),
    (
        "png-i16-hole-of-one",
        (CLEAR, LIGHT, WHITE, DARK),
        partial(png_card, 16, GREY, [(0x3C01,), (46260,), (65535,), (0x3C02,)], chunk(b"tRNS", b"\x3c\x01")),
    ),
    (
        "png-2-hole",
        [CLEAR, (85, 85, 85, 255), (170, 170, 170, 255), WHITE],
        partial(png_card, 2, GREY, (0, 1, 2, 3), chunk(b"tRNS", b"\0\0")),
    ),
    (
        "png-2-hole-1",
        [BLACK, CLEAR, (170, 170, 170, 255), WHITE],
        partial(png_card, 2, GREY, (0, 1, 2, 3), chunk(b"tRNS", b"\0\1")),
    ),
    (
        "png-4-hole",
        [(34, 34, 34, 255), CLEAR, WHITE, BLACK],
        partial(png_card, 4, GREY, (2, 9, 15, 0), chunk(b"tRNS", b"\0\x09")),
    ),
    (
        "png-4-hole-high-bits",
        [(34, 34, 34, 255), CLEAR, WHITE, BLACK],
        partial(png_card, 4, GREY, (2, 9, 15, 0), chunk(b"tRNS", b"\xab\xc9")),
    ),
    (
        "png-1-hole-white",
        (BLACK, CLEAR, CLEAR, BLACK),
        partial(png_card, 1, GREY, (0, 1, 1, 0), chunk(b"tRNS", b"\0\1")),
    ),
    ("png-i16-hole-of-none", GREYS, partial(png_card, 16, GREY, wide(GREYS, slice(1)), chunk(b"tRNS", b"\x3c\x3d"))),
    ("png-l-hole-of-none", GREYS, partial(png_card, 8, GREY, (60, 180, 255, 0), chunk(b"tRNS", b"\0\x3d"))),
    ("png-l-hole-cut", GREYS, partial(png_card, 8, GREY, (60, 180, 255, 0), chunk(b"tRNS", b"\x3c"))),
    ("png-la", GREY_HALF, partial(png_card, 8, GREY_ALPHA, [(c[0], c[3]) for c in GREY_HALF])),
    ("png-la16", GREY_HALF, partial(png_card, 16, GREY_ALPHA, [(c[0] * 257, c[3] * 257) for c in GREY_HALF])),
    ("png-rgb", COLOURS, partial(png_card, 8, RGB, [c[:3] for c in COLOURS])),
    ("png-rgb16", COLOURS, partial(png_card, 16, RGB, wide(COLOURS, slice(3)))),
    (
        "png-rgb-hole",
        (CLEAR, GREEN, BLUE, YELLOW),
        partial(png_card, 8, RGB, [c[:3] for c in COLOURS], chunk(b"tRNS", struct.pack(">3H", *RED[:3]))),
    ),
    (
        "png-rgb16-hole",
        (CLEAR, GREEN, NEARLY_RED, YELLOW),
        partial(
            png_card,
            16,
            RGB,
            [SIXTEEN, wide([GREEN], slice(3))[0], NEARLY_SIXTEEN, wide([YELLOW], slice(3))[0]],
            chunk(b"tRNS", struct.pack(">3H", *SIXTEEN)),
        ),
    ),
    ("png-rgba", TRANSPARENT, partial(png_card, 8, RGBA, TRANSPARENT)),
    ("png-rgba-opaque", COLOURS, partial(png_card, 8, RGBA, COLOURS)),
    ("png-rgba16", TRANSPARENT, partial(png_card, 16, RGBA, wide(TRANSPARENT, slice(4)))),
    ("png-p", COLOURS, partial(png_card, 8, INDEX, (0, 1, 2, 3), chunk(b"PLTE", palette(COLOURS)))),
    ("png-p2", COLOURS, partial(png_card, 2, INDEX, (0, 1, 2, 3), chunk(b"PLTE", palette(COLOURS)))),
    ("png-p1", (RED, GREEN, GREEN, RED), partial(png_card, 1, INDEX, (0, 1, 1, 0), chunk(b"PLTE", palette(COLOURS)))),
    (
        "png-p-hole",
        HOLE,
        partial(png_card, 8, INDEX, (0, 1, 2, 3), chunk(b"PLTE", palette(HOLE)), chunk(b"tRNS", b"\0")),
    ),
    (
        "png-p2-hole",
        (RED, CLEAR, BLUE, YELLOW),
        partial(png_card, 2, INDEX, (0, 1, 2, 3), chunk(b"PLTE", palette(COLOURS)), chunk(b"tRNS", b"\xff\0")),
    ),
    (
        "png-p-too-many-alphas",
        COLOURS,
        partial(png_card, 8, INDEX, (0, 1, 2, 3), chunk(b"PLTE", palette(COLOURS)), chunk(b"tRNS", bytes(300))),
    ),
    (
        "png-p-alphas",
        TRANSPARENT,
        partial(
            png_card, 8, INDEX, (0, 1, 2, 3), chunk(b"PLTE", palette(TRANSPARENT)), chunk(b"tRNS", b"\0\xff\x80\xff")
        ),
    ),
]:
    add(PICTURES, name, lambda make=make, corners=corners: Picture(make(), corners))


# ---- JPEG, with its four ways to store inks ----


def jpeg_cmyk(inks: Sequence[Sequence[int]], transform: int | None, **options: object) -> bytes:
    """A CMYK JPEG as Adobe writes it (inverted). ``transform``: of its Adobe marker, 2 for YCCK; None: no marker."""
    if transform == 2:
        inks = [ycck(c) for c in inks]
    data = saved(image("CMYK", inks), "JPEG", quality=95, subsampling=0, **options)
    at = data.index(b"\xff\xee\x00\x0eAdobe")
    if transform is None:
        return data[:at] + data[at + 16 :]
    return data[: at + 15] + bytes([transform]) + data[at + 16 :]


def ycck(inks: Sequence[int]) -> tuple[int, ...]:
    """What to give to Pillow, which inverts, so that the file holds the YCCK of these inks."""
    c, m, y, k = inks
    luma = 0.299 * c + 0.587 * m + 0.114 * y
    blue, red = 128 + (y - luma) / 1.772, 128 + (c - luma) / 1.402
    return (*(min(255, max(0, 255 - round(v))) for v in (luma, blue, red)), k)


INKS = ((0, 255, 255, 0), (255, 0, 255, 0), (0, 0, 0, 128), (0, 0, 255, 0))
PRINTED = ((255, 0, 0, 255), (0, 255, 0, 255), (127, 127, 127, 255), (255, 255, 0, 255))

add(PICTURES, "jpeg-l", lambda: Picture(saved(image("L", (60, 180, 255, 0)), "JPEG"), GREYS))
for name, options in {
    "jpeg-444": {"subsampling": 0},
    "jpeg-420": {"subsampling": 2},
    "jpeg-progressive": {"progressive": True},
    "jpeg-rgb": {"keep_rgb": True},
    "jpeg-restarts": {"restart_marker_blocks": 1},
}.items():
    add(PICTURES, name, lambda options=options: Picture(saved(rgb(), "JPEG", quality=92, **options)))
add(PICTURES, "jpeg-cmyk-adobe", lambda: Picture(jpeg_cmyk(INKS, 0), PRINTED, loose=True))
add(PICTURES, "jpeg-cmyk-progressive", lambda: Picture(jpeg_cmyk(INKS, 0, progressive=True), PRINTED, loose=True))
INVERTED = tuple(tuple(255 - v for v in ink) for ink in INKS)
add(PICTURES, "jpeg-cmyk-plain", lambda: Picture(jpeg_cmyk(INVERTED, None), PRINTED, loose=True))
add(PICTURES, "jpeg-ycck", lambda: Picture(jpeg_cmyk(INKS, 2), PRINTED, loose=True))


def jpeg_lossless(pixels: np.ndarray) -> bytes:
    """A lossless JPEG (ITU-T T.81, H) of grey, or of red, green and blue: it has no quantization tables."""
    height, width, channels = pixels.shape
    before = np.empty(pixels.shape, int)  # each sample is predicted by the one to its left, the first by that above
    before[:, 1:], before[1:, 0], before[0, 0] = pixels[:, :-1], pixels[:-1, 0], 128
    codes = []
    for difference in (pixels.astype(int) - before).ravel().tolist():
        category = abs(difference).bit_length()
        low = difference if difference >= 0 else difference + (1 << category) - 1
        codes.append(f"{category:05b}" + (f"{low:0{category}b}" if category else ""))
    bits = "".join(codes)
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    names = b"RGB" if channels == 3 else b"\1"
    frame = struct.pack(">BHHB", 8, height, width, channels) + b"".join(bytes((one, 0x11, 0)) for one in names)
    table = bytes((0, 0, 0, 0, 0, 17, *(0,) * 11)) + bytes(range(17))  # 17 codes of five bits
    selected = bytes((channels,)) + b"".join(bytes((one, 0)) for one in names) + bytes((1, 0, 0))
    segments = jpeg_segment(0xC3, frame), jpeg_segment(0xC4, table), jpeg_segment(0xDA, selected)
    return b"\xff\xd8" + b"".join(segments) + scan + b"\xff\xd9"


add(PICTURES, "jpeg-lossless", lambda: Picture(jpeg_lossless(card([c[:3] for c in COLOURS]))))
add(PICTURES, "jpeg-lossless-l", lambda: Picture(jpeg_lossless(card((60, 180, 255, 0))), GREYS))
add(PICTURES, "jpeg-mpo", lambda: Picture(saved(rgb(), "MPO", save_all=True, append_images=[rgb(GREYS)], quality=92)))


# ---- WebP, AVIF, GIF ----

for name, format, options in [
    ("webp", "WEBP", {"quality": 95}),
    ("webp-lossless", "WEBP", {"lossless": True}),
    ("avif", "AVIF", {"quality": 95, "subsampling": "4:4:4", "speed": 10}),
    ("avif-420", "AVIF", {"quality": 90, "speed": 10}),
]:
    add(PICTURES, name, lambda format=format, options=options: Picture(saved(rgb(), format, **options)))
    add(
        PICTURES,
        f"{name}-alpha",
        lambda format=format, options=options: Picture(
            saved(image("RGBA", TRANSPARENT), format, **options), TRANSPARENT
        ),
    )
add(PICTURES, "avif-l", lambda: Picture(saved(image("L", (60, 180, 255, 0)), "AVIF", quality=95, speed=10), GREYS))


def indexed(mode: str, corners: Sequence[Colour]) -> Image.Image:
    im = image(mode, (0, 1, 2, 3) if mode == "P" else [(i, c[3]) for i, c in enumerate(corners)])
    im.putpalette(palette(corners))
    return im


add(PICTURES, "gif", lambda: Picture(saved(indexed("P", COLOURS), "GIF")))
add(PICTURES, "gif-hole", lambda: Picture(saved(indexed("P", HOLE), "GIF", transparency=0), HOLE))
add(PICTURES, "gif-l", lambda: Picture(saved(image("L", (60, 180, 255, 0)), "GIF"), GREYS))


# ---- TIFF and BMP ----

LAB = ((50, 50, 40), (70, -40, 30), (40, 10, -40), (80, 0, 70))

for name, make_image, corners in [
    ("tiff-1", lambda: image("L", (0, 255, 255, 0)).convert("1"), BILEVEL),
    ("tiff-l", lambda: image("L", (60, 180, 255, 0)), GREYS),
    ("tiff-i16", lambda: Image.frombytes("I;16", (96, 64), card([(g, g) for g in (60, 180, 255, 0)]).tobytes()), GREYS),
    ("tiff-la", lambda: image("LA", [(c[0], c[3]) for c in GREY_HALF]), GREY_HALF),
    ("tiff-p", lambda: indexed("P", COLOURS), COLOURS),
    ("tiff-pa", lambda: indexed("PA", TRANSPARENT), TRANSPARENT),
    ("tiff-rgb", rgb, COLOURS),
    ("tiff-rgba", lambda: image("RGBA", TRANSPARENT), TRANSPARENT),
    ("tiff-ycbcr", lambda: rgb().convert("YCbCr"), COLOURS),
]:
    add(CONFIGURED, name, lambda make=make_image, corners=corners: Picture(saved(make(), "TIFF"), corners))
add(CONFIGURED, "tiff-cmyk", lambda: Picture(saved(image("CMYK", INKS), "TIFF"), PRINTED, loose=True))
add(
    CONFIGURED,
    "tiff-lab",
    lambda: Picture(
        saved(image("LAB", [(round(L * 2.55), a % 256, b % 256) for L, a, b in LAB]), "TIFF"),
        [lab_to_srgb(c) for c in LAB],
    ),
)
for mode, make_image, corners in [
    ("1", lambda: image("L", (0, 255, 255, 0)).convert("1"), BILEVEL),
    ("l", lambda: image("L", (60, 180, 255, 0)), GREYS),
    ("p", lambda: indexed("P", COLOURS), COLOURS),
    ("rgb", rgb, COLOURS),
]:
    add(CONFIGURED, f"bmp-{mode}", lambda make=make_image, corners=corners: Picture(saved(make(), "BMP"), corners))


# ---- Colour: profiles written by hand, and the colours that they mean ----

D50 = (0.9642, 1.0, 0.8249)

# Columns: red, green, blue primaries as XYZ, adapted to D50 (the profiles' own published values).
SRGB_XYZ = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
P3_XYZ = np.array([[0.51512, 0.29198, 0.15710], [0.24120, 0.69225, 0.06657], [-0.00105, 0.04189, 0.78407]])
ADOBE_XYZ = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
ADOBE_GAMMA = 563 / 256


def icc(device: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile, version 2.4 (ICC.1:2001-04)."""
    tags = {b"desc": icc_text(b"desc", b"made in code"), b"cprt": icc_text(b"text", b"none"), **tags}
    tags[b"wtpt"] = icc_xyz(D50)
    offset, table, body = 128 + 4 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", offset + len(body), b"none", 0x02400000, device, space, connection)
    header += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + icc_xyz(D50)[8:]
    return header.ljust(128, b"\0") + table + body


def icc_text(kind: bytes, text: bytes) -> bytes:
    if kind == b"text":
        return b"text\0\0\0\0" + text + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(text) + 1) + text + b"\0" + bytes(4 + 4 + 2 + 1 + 67)


def icc_xyz(xyz: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in xyz))


def icc_gamma(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))


def icc_srgb_curve() -> bytes:
    steps = [round(float(srgb_to_linear(np.array(255 * i / 1023))) * 65535) for i in range(1024)]
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *steps)


def icc_rgb(primaries: np.ndarray, curve: bytes, more: bytes = b"") -> bytes:
    tags = {b"rTRC": curve, b"gTRC": curve, b"bTRC": curve} | ({b"more": more} if more else {})
    tags |= {name: icc_xyz(primaries[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return icc(b"mntr", b"RGB ", b"XYZ ", tags)


def icc_grey(gamma: float) -> bytes:
    return icc(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": icc_gamma(gamma)})


# Unlike any real ink, so that a conversion without the profile shows: CIELAB of each of the 16 full overprints.
# Paper is white and all four are black, so that every rendering intent gives the same.
OVERPRINTS = [(100, 0, 0), *((80 - 4 * n, 3 * n - 20, 30 - 4 * n) for n in range(1, 15)), (0, 0, 0)]


def icc_cmyk() -> bytes:
    """A printer profile: a table of 2x2x2x2 points, first ink slowest (lut8Type)."""
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
    lut += bytes(range(256)) * 4
    lut += b"".join(bytes((round(L * 2.55), a + 128, b + 128)) for L, a, b in OVERPRINTS)
    return icc(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut + bytes(range(256)) * 3})


def srgb_to_linear(rgb: np.ndarray) -> np.ndarray:
    rgb = rgb / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def xyz_to_srgb(xyz: np.ndarray) -> Colour:
    linear = np.clip(np.linalg.inv(SRGB_XYZ) @ xyz, 0, 1)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = (int(v) for v in np.rint(encoded * 255))
    return red, green, blue, 255


def lab_to_srgb(lab: Sequence[int]) -> Colour:
    """Of CIELAB (D50): L 0..100, a and b -128..127."""
    L, a, b = lab
    y = (L + 16) / 116
    f = np.array([y + a / 500, y, y - b / 200])
    return xyz_to_srgb(np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50)


def lab(colour: Sequence[float]) -> np.ndarray:
    """CIELAB (D50) of an sRGB colour."""
    xyz = SRGB_XYZ @ srgb_to_linear(np.array(colour[:3], float)) / D50
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def delta_e(one: Sequence[float], other: Sequence[float]) -> float:
    """How different two colours look (CIE 1976); about 2.3 is just noticeable."""
    return float(np.linalg.norm(lab(one) - lab(other)))


def meant(colours: Sequence[Colour], primaries: np.ndarray, gamma: float | None) -> list[Colour]:
    """The sRGB colours that device values mean under a profile; ``gamma`` None: sRGB's own curve."""
    result = []
    for colour in colours:
        device = np.array(colour[:3], float)
        linear = srgb_to_linear(device) if gamma is None else (device / 255) ** gamma
        result.append((*xyz_to_srgb(primaries @ linear)[:3], colour[3]))
    return result


def grey_meant(gamma: float, colours: Sequence[Colour] = GREYS) -> list[Colour]:
    return [(*xyz_to_srgb(np.array(D50) * (c[0] / 255) ** gamma)[:3], c[3]) for c in colours]


# Values between two points of the table would test littleCMS; full inks test that the profile is used.
FULL_INKS = ((255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (255, 255, 0, 0))
FULL_PRINTED = [8, 4, 2, 12]

PROFILES: dict[str, Callable[[], tuple[bytes, Sequence[Colour]]]] = {
    "srgb": lambda: (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), COLOURS),
    "p3": lambda: (icc_rgb(P3_XYZ, icc_srgb_curve()), meant(COLOURS, P3_XYZ, None)),
    "adobe": lambda: (icc_rgb(ADOBE_XYZ, icc_gamma(ADOBE_GAMMA)), meant(COLOURS, ADOBE_XYZ, ADOBE_GAMMA)),
    "garbage": lambda: (random.Random(1).randbytes(3000), COLOURS),
    "cut": lambda: (icc_rgb(P3_XYZ, icc_srgb_curve())[:300], COLOURS),
    "empty-tags": lambda: (icc(b"mntr", b"RGB ", b"XYZ ", {}), COLOURS),
    "of-grey": lambda: (icc_grey(1.0), COLOURS),
    "of-cmyk": lambda: (icc_cmyk(), COLOURS),
    "of-lab": lambda: (ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), COLOURS),
}


def with_profile(name: str, format: str, **options: object) -> Picture:
    profile, corners = PROFILES[name]()
    return Picture(saved(rgb(), format, icc_profile=profile, **options), corners)


for profile_name in PROFILES:
    for format, options in {
        "JPEG": {"quality": 95, "subsampling": 0},
        "PNG": {},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 95, "subsampling": "4:4:4", "speed": 10},
    }.items():
        make_picture = partial(with_profile, profile_name, format, **options)
        add(PICTURES, f"{format.lower()}-icc-{profile_name}", make_picture)
    add(CONFIGURED, f"tiff-icc-{profile_name}", partial(with_profile, profile_name, "TIFF"))


def alpha_with_profile(format: str, **options: object) -> Picture:
    profile, _ = PROFILES["p3"]()
    data = saved(image("RGBA", TRANSPARENT), format, icc_profile=profile, **options)
    return Picture(data, meant(TRANSPARENT, P3_XYZ, None))


add(PICTURES, "png-rgba-icc-p3", partial(alpha_with_profile, "PNG"))
add(PICTURES, "webp-alpha-icc-p3", partial(alpha_with_profile, "WEBP", lossless=True))
add(
    PICTURES,
    "png-p-icc-p3",
    lambda: Picture(saved(indexed("P", COLOURS), "PNG", icc_profile=PROFILES["p3"]()[0]), meant(COLOURS, P3_XYZ, None)),
)
add(
    PICTURES,
    "png-l-icc-linear",
    lambda: Picture(saved(image("L", (60, 180, 255, 0)), "PNG", icc_profile=icc_grey(1.0)), grey_meant(1.0)),
)
add(
    PICTURES,
    "png-la-icc-linear",
    lambda: Picture(
        saved(image("LA", [(c[0], c[3]) for c in GREY_HALF]), "PNG", icc_profile=icc_grey(1.0)),
        grey_meant(1.0, GREY_HALF),
    ),
)
add(
    PICTURES,
    "jpeg-l-icc-linear",
    lambda: Picture(
        saved(image("L", (60, 180, 255, 0)), "JPEG", quality=95, icc_profile=icc_grey(1.0)), grey_meant(1.0)
    ),
)
add(
    PICTURES,
    "png-l-icc-of-rgb",
    lambda: Picture(saved(image("L", (60, 180, 255, 0)), "PNG", icc_profile=PROFILES["p3"]()[0]), GREYS),
)


def printed(format: str) -> Picture:
    corners = [lab_to_srgb(OVERPRINTS[n]) for n in FULL_PRINTED]
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    return Picture(saved(image("CMYK", FULL_INKS), format, icc_profile=icc_cmyk(), **options), corners, loose=True)


add(PICTURES, "jpeg-cmyk-icc", partial(printed, "JPEG"))
add(CONFIGURED, "tiff-cmyk-icc", partial(printed, "TIFF"))


# ---- Orientation ----

# How a picture that is displayed upright was stored, for each value of EXIF's tag 274 (EXIF 2.32, 4.6.4).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def turned(im: Image.Image, orientation: int, format: str, **options: object) -> bytes:
    """``im``, meant to be displayed as it is here, stored with this orientation."""
    how = STORED.get(orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(im if how is None else im.transpose(how), format, exif=exif.tobytes(), **options)


QUALITY: dict[str, dict[str, object]] = {
    "JPEG": {"quality": 95},
    "PNG": {},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 95, "speed": 10},
}

for value in range(1, 9):
    for format, options in QUALITY.items():
        make_turned = partial(turned, rgb(), value, format, **options)
        add(PICTURES, f"{format.lower()}-turned-{value}", lambda make=make_turned: Picture(make()))
    add(CONFIGURED, f"tiff-turned-{value}", lambda value=value: Picture(turned(rgb(), value, "TIFF")))
for value in (0, 9, 65535):
    add(PICTURES, f"jpeg-turned-{value}", lambda value=value: Picture(turned(rgb(), value, "JPEG", quality=95)))


# ---- EXIF that is not EXIF ----


def ifd(*entries: tuple[int, int, int, bytes], following: int = 0) -> bytes:
    """A big-endian EXIF block with one directory of (tag, type, count, value of 4 bytes)."""
    body = b"".join(struct.pack(">HHI4s", *entry) for entry in entries)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + body + struct.pack(">I", following)


BROKEN_EXIF = {
    "noise": random.Random(2).randbytes(500),
    "empty": b"",
    "header-only": b"MM\0*",
    "far-directory": b"MM\0*\xff\xff\xff\xff",
    "cut": ifd((0x0112, 3, 1, b"\0\x06\0\0"))[:14],
    "endless": ifd((0x0112, 3, 1, b"\0\x01\0\0"), following=8),
    "orientation-is-text": ifd((0x0112, 2, 4, b"six\0")),
    "orientation-is-many": ifd((0x0112, 3, 2, b"\0\x01\0\x06")),
    "orientation-is-a-fraction": ifd((0x0112, 5, 1, b"\0\0\0\x08")),
    "orientation-of-unknown-type": ifd((0x0112, 99, 1, b"\0\x06\0\0")),
    "huge-count": ifd((0x010E, 2, 0xFFFFFFF0, b"\0\0\0\x08")),
    "directory-in-itself": ifd((0x8769, 4, 1, b"\0\0\0\x08"), (0x8825, 4, 1, b"\0\0\0\x08")),
}


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_with(*segments: bytes, im: Image.Image | None = None, **options: object) -> bytes:
    """A JPEG with more segments right after its first marker."""
    data = saved(im or rgb(), "JPEG", quality=92, **options)
    return data[:2] + b"".join(segments) + data[2:]


for name, content in BROKEN_EXIF.items():
    add(
        PICTURES,
        f"jpeg-exif-{name}",
        lambda content=content: Picture(jpeg_with(jpeg_segment(0xE1, b"Exif\0\0" + content))),
    )
    add(
        PICTURES,
        f"png-exif-{name}",
        lambda content=content: Picture(png_card(8, RGB, [c[:3] for c in COLOURS], chunk(b"eXIf", content))),
    )
    add(
        PICTURES,
        f"webp-exif-{name}",
        lambda content=content: Picture(saved(rgb(), "WEBP", quality=95, exif=content or b"\0")),
    )


# ---- Good pictures with words beside them that are broken, too large, or of no kind that anybody knows ----


def chunk_of(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG with a wrong checksum."""
    made = chunk(kind, content)
    return made[:-1] + bytes((made[-1] ^ 1,))


def deflated(content: bytes) -> bytes:
    return zlib.compress(content, 9)


def large_icc() -> bytes:
    """Display P3 with a description of more than a megabyte."""
    return icc_rgb(P3_XYZ, icc_srgb_curve(), icc_text(b"text", bytes(1_200_000)))


BESIDE_PIXELS: dict[str, Callable[[], Sequence[bytes]]] = {
    "large-ztxt": lambda: [chunk(b"zTXt", b"workflow\0\0" + deflated(bytes(1_100_000)))],
    "large-itxt": lambda: [chunk(b"iTXt", b"workflow\0\1\0\0\0" + deflated(b"x" * 1_100_000))],
    "many-texts": lambda: [chunk(b"zTXt", b"workflow\0\0" + deflated(bytes(1_000_000)))] * 70,
    "large-profile-of-nothing": lambda: [chunk(b"iCCP", b"large\0\0" + deflated(bytes(1_500_000)))],
    "profile-of-unknown-method": lambda: [chunk(b"iCCP", b"name\0\7" + deflated(b"profile"))],
    "profile-without-name": lambda: [chunk(b"iCCP", b"name")],
    "profile-empty": lambda: [chunk(b"iCCP", b"")],
    "text-of-unknown-method": lambda: [chunk(b"zTXt", b"name\0\7" + deflated(b"text"))],
    "text-named-transparency": lambda: [chunk(b"tEXt", b"transparency\0\1"), chunk(b"tEXt", b"icc_profile\0text")],
    "text-named-interlace": lambda: [chunk(b"tEXt", b"interlace\0one"), chunk(b"tEXt", b"bbox\0one")],
    "short": lambda: [chunk(kind, b"") for kind in (b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tRNS", b"cICP", b"eXIf")],
    "short-animation": lambda: [chunk(b"acTL", b"\0"), chunk(b"fcTL", b"\0")],
    "animation-of-nothing": lambda: [chunk(b"acTL", bytes(8)), chunk(b"acTL", b"\xff" * 8)],
    "frame-out-of-order": lambda: [chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"fcTL", b"\0\0\0\7" + bytes(22))],
    "wrong-checksums": lambda: [
        chunk_of(kind, content)
        for kind, content in (
            (b"tEXt", b"a\0b"),
            (b"iCCP", b"a\0\0" + deflated(icc_rgb(P3_XYZ, icc_srgb_curve()))),
            (b"gAMA", struct.pack(">I", 100_000)),
            (b"cICP", b"\x0c\x0d\0\1"),
            (b"tRNS", struct.pack(">3H", *RED[:3])),
            (b"eXIf", ifd((0x0112, 3, 1, b"\0\3\0\0"))),
            (b"tIME", b"time"),
            (b"prVt", b"private"),
        )
    ],
    "unknown": lambda: [chunk(b"prVt", b"private"), chunk(b"abcd", b""), chunk(b"NEWX", b"new")],
    "suggested-palette": lambda: [chunk(b"PLTE", b"four")],
    "late-header": lambda: [chunk(b"IHDR", struct.pack(">IIBBBBB", 9, 9, 8, 0, 0, 0, 0))],
}
AFTER_PIXELS: dict[str, bytes] = {
    "wrong-checksum": chunk_of(b"tEXt", b"a\0b") + chunk_of(b"zTXt", b"a") + chunk(b"IEND", b""),
    "large-text": chunk(b"zTXt", b"workflow\0\0" + deflated(bytes(1_100_000))) + chunk(b"IEND", b""),
    "short": b"".join(chunk(kind, b"") for kind in (b"gAMA", b"pHYs", b"acTL", b"fcTL")) + chunk(b"IEND", b""),
    "no-end": b"",
    "cut-text": chunk(b"tEXt", b"a\0b" * 100)[:50],
    "cut-length": b"\0\0",
    "garbage": random.Random(5).randbytes(400),
    "profile": chunk(b"iCCP", b"name") + chunk(b"IEND", b""),
}


def png_beside(*chunks: bytes) -> bytes:
    return png_card(8, RGB, [c[:3] for c in COLOURS], *chunks)


for name, make_chunks in BESIDE_PIXELS.items():
    add(PICTURES, f"png-beside-{name}", lambda make=make_chunks: Picture(png_beside(*make())))
for name, content in AFTER_PIXELS.items():
    add(PICTURES, f"png-after-{name}", lambda content=content: Picture(png_beside()[:-12] + content))
add(
    PICTURES,
    "png-beside-large-profile",
    lambda: Picture(png_beside(chunk(b"iCCP", b"P3\0\0" + deflated(large_icc()))), meant(COLOURS, P3_XYZ, None)),
)


def icc_segments(profile: bytes, count: int) -> list[bytes]:
    step = -(-len(profile) // count)
    parts = [profile[at : at + step] for at in range(0, len(profile), step)]
    return [jpeg_segment(0xE2, b"ICC_PROFILE\0" + bytes((n, count)) + part) for n, part in enumerate(parts, 1)]


JPEG_SEGMENTS: dict[str, Callable[[], Sequence[bytes]]] = {
    "short-jfif": lambda: [jpeg_segment(0xE0, b"JFIF\0")],
    "short-adobe": lambda: [jpeg_segment(0xEE, b"Adobe")],
    "cut-photoshop": lambda: [jpeg_segment(0xED, b"Photoshop 3.0\0008BIM\4\4")],
    "photoshop-of-wrong-length": lambda: [jpeg_segment(0xED, b"Photoshop 3.0\0008BIM\3\xed\0\0\0\0\0\1\0")],
    "short-profile": lambda: [jpeg_segment(0xE2, b"ICC_PROFILE\0")],
    "profile-that-lacks-a-part": lambda: icc_segments(icc_rgb(P3_XYZ, icc_srgb_curve()), 3)[:2],
    "much-exif": lambda: [jpeg_segment(0xE1, b"Exif\0\0" + ifd() + bytes(60_000))] * 30,
    "much-xmp": lambda: [jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(60_000))] * 30,
    "many-comments": lambda: [jpeg_segment(0xFE, b"")] * 20_000,
    "everything": lambda: [jpeg_segment(code, bytes(65_000)) for code in (*range(0xE0, 0xF0), 0xFE)],
    "marker-without-length": lambda: [b"\xff\x01"],
    "fill": lambda: [b"\xff" * 1000],
    "short-mpf": lambda: [jpeg_segment(0xE2, b"MPF\0"), jpeg_segment(0xE2, b"FPXR\0")],
}
for name, make_segments in JPEG_SEGMENTS.items():
    add(PICTURES, f"jpeg-beside-{name}", lambda make=make_segments: Picture(jpeg_with(*make())))
add(
    PICTURES,
    "jpeg-profile-in-disorder",
    lambda: Picture(
        jpeg_with(*reversed(icc_segments(icc_rgb(P3_XYZ, icc_srgb_curve()), 3)), subsampling=0),
        meant(COLOURS, P3_XYZ, None),
    ),
)


def gif_with(*blocks: bytes, after: bytes = b";") -> bytes:
    """A GIF with blocks between its colour table and its picture."""
    data = saved(indexed("P", COLOURS), "GIF")
    at = 13 + (3 << (data[10] & 7) + 1)
    return data[:at] + b"".join(blocks) + data[at:-1] + after


def gif_extension(label: int, *blocks: bytes) -> bytes:
    return bytes((0x21, label)) + b"".join(bytes((len(block),)) + block for block in blocks) + b"\0"


GIF_BLOCKS: dict[str, Callable[[], bytes]] = {
    "large-comment": lambda: gif_with(gif_extension(0xFE, *[b"c" * 255] * 2000)),
    "comment-after": lambda: gif_with(after=gif_extension(0xFE, b"comment") + b";"),
    "cut-comment": lambda: gif_with(after=gif_extension(0xFE, b"comment")[:6]),
    "empty-extensions": lambda: gif_with(*(gif_extension(label) for label in (0x01, 0xFE, 0xFF, 0x00))),
    "short-loop": lambda: gif_with(gif_extension(0xFF, b"NETSCAPE2.0", b"\1")),
    "short-control": lambda: gif_with(gif_extension(0xF9, b"\0")),
    "unknown-extension": lambda: gif_with(gif_extension(0x77, b"unknown")),
    "xmp": lambda: gif_with(gif_extension(0xFF, b"XMP DataXMP", b"x" * 200)),
    "zeros-between": lambda: gif_with(bytes(5)),
    "no-trailer": lambda: gif_with(after=b""),
    "garbage-after": lambda: gif_with(after=b";" + random.Random(6).randbytes(300)),
    "garbage-instead-of-trailer": lambda: gif_with(after=b"\x99" * 40),
}
for name, make_data in GIF_BLOCKS.items():
    add(PICTURES, f"gif-beside-{name}", lambda make=make_data: Picture(make()))


def webp_with(chunks: bytes, flags: int = 0x2C, length: int | None = None) -> bytes:
    """An extended WebP whose picture is followed by ``chunks``; the flags promise a profile, EXIF and XMP."""
    picture = saved(rgb(), "WEBP", lossless=True)[12:]
    head = riff_chunk(b"VP8X", bytes((flags, 0, 0, 0)) + (95).to_bytes(3, "little") + (63).to_bytes(3, "little"))
    body = b"WEBP" + head + picture + chunks
    return b"RIFF" + struct.pack("<I", len(body) if length is None else length) + body


WEBP_CHUNKS: dict[str, Callable[[], bytes]] = {
    "nothing-that-was-promised": lambda: webp_with(b""),
    "garbage": lambda: webp_with(b"".join(riff_chunk(kind, b"\xff" * 333) for kind in (b"ICCP", b"EXIF", b"XMP "))),
    "cut-exif": lambda: webp_with(b"EXIF" + struct.pack("<I", 5000) + b"cut"),
    "large": lambda: webp_with(riff_chunk(b"XMP ", bytes(2_000_000))),
    "unknown": lambda: webp_with(riff_chunk(b"PRVT", b"private") + riff_chunk(b"\0\0\0\0", b"")),
    "cut-name": lambda: webp_with(b"EX"),
    "wrong-length": lambda: webp_with(riff_chunk(b"EXIF", b"exif"), length=1_000_000),
}
for name, make_data in WEBP_CHUNKS.items():
    add(PICTURES, f"webp-beside-{name}", lambda make=make_data: Picture(make()))


def avif_with_broken(kind: str, how: str) -> bytes:
    """An AVIF whose EXIF or XMP, its last item, is ``elsewhere`` or ``garbage`` (ISO/IEC 14496-12, 8.11.3)."""
    named: dict[str, object] = {"exif": planted_exif()} if kind == "exif" else {"xmp": XMP}
    data = bytearray(saved(rgb(), "AVIF", quality=95, subsampling="4:4:4", speed=10, **named))
    at = data.index(b"iloc") + 4
    assert data[at] == 0 and data[at + 4] == 0x44  # offsets and lengths of four bytes, and nothing before them
    last = at + 8 + 14 * (struct.unpack(">H", data[at + 6 : at + 8])[0] - 1) + 6
    offset, length = struct.unpack(">II", data[last : last + 8])
    if how == "elsewhere":
        data[last : last + 4] = struct.pack(">I", 0x7FFFFFF0)
    else:
        data[offset : offset + length] = b"\xff" * length
    return bytes(data)


for kind in ("exif", "xmp"):
    for how in ("elsewhere", "garbage"):
        name = f"avif-beside-{kind}-{how}"
        add(PICTURES, name, lambda kind=kind, how=how: Picture(avif_with_broken(kind, how)))


# ---- Colours that are said by numbers (ITU-T H.273; PNG's gAMA and cHRM) ----

CHRM_OF_SRGB = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
CHRM_OF_P3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
GAMA_OF_SRGB, LINEAR = struct.pack(">I", 45455), struct.pack(">I", 100_000)
P3_PACKED = b"P3\0\0" + deflated(icc_rgb(P3_XYZ, icc_srgb_curve()))
P3, SAME, TV_P3 = bytes((12, 13, 0, 1)), bytes((1, 13, 0, 1)), bytes((12, 1, 0, 1))


def avif_said(primaries: int, transfer: int, **options: object) -> bytes:
    data = saved(rgb(), "AVIF", quality=95, subsampling="4:4:4", speed=10, **options)
    at = data.index(b"nclx") + 4
    return data[:at] + struct.pack(">HH", primaries, transfer) + data[at + 4 :]


for name, chunks, primaries, gamma in [
    ("cicp-p3", {b"cICP": P3}, P3_XYZ, None),
    ("cicp-p3-television", {b"cICP": TV_P3}, P3_XYZ, None),
    ("cicp-srgb", {b"cICP": SAME}, SRGB_XYZ, None),
    ("cicp-before-profile", {b"cICP": SAME, b"iCCP": P3_PACKED}, SRGB_XYZ, None),
    ("cicp-of-unknown-primaries", {b"cICP": bytes((99, 13, 0, 1))}, SRGB_XYZ, None),
    ("cicp-of-unknown-transfer-and-profile", {b"cICP": bytes((1, 99, 0, 1)), b"iCCP": P3_PACKED}, P3_XYZ, None),
    ("cicp-of-ycbcr", {b"cICP": bytes((12, 13, 1, 1))}, SRGB_XYZ, None),
    ("gama-srgb", {b"gAMA": GAMA_OF_SRGB}, SRGB_XYZ, None),
    ("gama-linear", {b"gAMA": LINEAR}, SRGB_XYZ, 1.0),
    ("gama-zero", {b"gAMA": bytes(4)}, SRGB_XYZ, None),
    ("gama-and-chrm-srgb", {b"gAMA": GAMA_OF_SRGB, b"cHRM": CHRM_OF_SRGB}, SRGB_XYZ, None),
    ("gama-and-chrm-p3", {b"gAMA": GAMA_OF_SRGB, b"cHRM": CHRM_OF_P3}, P3_XYZ, None),
    ("gama-and-chrm-linear-p3", {b"gAMA": LINEAR, b"cHRM": CHRM_OF_P3}, P3_XYZ, 1.0),
    ("gama-and-chrm-of-nothing", {b"gAMA": LINEAR, b"cHRM": bytes(32)}, SRGB_XYZ, None),
    ("chrm-alone", {b"cHRM": CHRM_OF_P3}, SRGB_XYZ, None),
    ("srgb-before-gama", {b"sRGB": b"\0", b"gAMA": LINEAR, b"cHRM": CHRM_OF_P3}, SRGB_XYZ, None),
    ("profile-before-srgb", {b"iCCP": P3_PACKED, b"sRGB": b"\0"}, P3_XYZ, None),
]:
    add(
        PICTURES,
        f"png-{name}",
        lambda chunks=chunks, primaries=primaries, gamma=gamma: Picture(
            png_beside(*(chunk(kind, content) for kind, content in chunks.items())), meant(COLOURS, primaries, gamma)
        ),
    )
add(
    PICTURES,
    "png-l-gama-linear",
    lambda: Picture(png_card(8, GREY, (60, 180, 255, 0), chunk(b"gAMA", LINEAR)), meant(GREYS, SRGB_XYZ, 1.0)),
)
add(
    PICTURES,
    "png-la-cicp-linear",
    lambda: Picture(
        png_card(8, GREY_ALPHA, [(c[0], c[3]) for c in GREY_HALF], chunk(b"cICP", bytes((1, 8, 0, 1)))),
        meant(GREY_HALF, SRGB_XYZ, 1.0),
    ),
)
add(
    PICTURES,
    "png-rgba-cicp-p3",
    lambda: Picture(png_card(8, RGBA, TRANSPARENT, chunk(b"cICP", P3)), meant(TRANSPARENT, P3_XYZ, None)),
)
add(
    PICTURES,
    "png-p-cicp-p3",
    lambda: Picture(
        png_card(8, INDEX, (0, 1, 2, 3), chunk(b"cICP", P3), chunk(b"PLTE", palette(COLOURS))),
        meant(COLOURS, P3_XYZ, None),
    ),
)
add(PICTURES, "avif-nclx-p3", lambda: Picture(avif_said(12, 13), meant(COLOURS, P3_XYZ, None)))
add(PICTURES, "avif-nclx-of-television", lambda: Picture(avif_said(1, 1)))
add(PICTURES, "avif-nclx-unspecified", lambda: Picture(avif_said(2, 2)))
add(PICTURES, "avif-nclx-linear", lambda: Picture(avif_said(1, 8), meant(COLOURS, SRGB_XYZ, 1.0)))


# ---- Photographs cut short, bytes that are no picture ----


@cache
def busy(width: int = 320, height: int = 240) -> Image.Image:
    """A picture whose bytes are spread evenly over its file."""
    noise = np.random.default_rng(3).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


WHOLE: dict[str, Callable[[], bytes]] = {
    "jpeg": lambda: saved(busy(), "JPEG", quality=85),
    "jpeg-progressive": lambda: saved(busy(), "JPEG", quality=85, progressive=True),
    "png": lambda: saved(busy(), "PNG"),
    "webp": lambda: saved(busy(), "WEBP"),
    "webp-lossless": lambda: saved(busy(), "WEBP", lossless=True),
    "avif": lambda: saved(busy(), "AVIF", speed=10),
    "gif": lambda: saved(busy(), "GIF"),
}
WHOLE = {name: cache(make) for name, make in WHOLE.items()}

FOREIGN: dict[str, Callable[[], bytes]] = {
    "eps": lambda: saved(rgb(), "EPS"),
    "psd": lambda: b"8BPS" + struct.pack(">H6xHIIHH", 1, 3, 64, 96, 8, 3) + bytes(14) + bytes(96 * 64 * 3),
    "icns": lambda: saved(rgb().resize((64, 64)), "ICNS"),
    "fli": lambda: (struct.pack("<IHHHHHHI", 200, 0xAF11, 1, 96, 64, 8, 3, 5) + bytes(108)).ljust(200, b"\0"),
    "blp": lambda: saved(indexed("P", COLOURS), "BLP"),
    "j2k": lambda: saved(rgb(), "JPEG2000", no_jp2=True),
    "jp2": lambda: saved(rgb(), "JPEG2000"),
    "pdf": lambda: saved(rgb(), "PDF"),
    "ppm": lambda: saved(rgb(), "PPM"),
    "tga": lambda: saved(rgb(), "TGA"),
    "ico": lambda: saved(rgb(), "ICO"),
    "pcx": lambda: saved(rgb(), "PCX"),
    "dds": lambda: saved(rgb(), "DDS"),
    "tiff": lambda: saved(rgb(), "TIFF"),
    "bmp": lambda: saved(rgb(), "BMP"),
    "svg": lambda: b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>',
    "html": lambda: b"<!DOCTYPE html><html><body><script>alert(1)</script></body></html>",
    "zip": lambda: b"PK\x03\x04" + bytes(100),
    "text": lambda: b"hello, world\n" * 20,
    "zeros": lambda: bytes(4096),
    "noise": lambda: random.Random(4).randbytes(4096),
    "empty": lambda: b"",
    "one-byte": lambda: b"\xff",
}


# ---- Markers in every place where a file can keep more than a picture ----

MARKER = b"PLANTED-7f3a"
"""In no output, however it is stored."""


def planted_exif() -> bytes:
    exif = Image.Exif()
    exif[0x010E] = exif[0x013B] = exif[0x8298] = MARKER.decode()
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0" + MARKER
    exif.get_ifd(0x8825)[0x001D] = MARKER.decode()
    return exif.tobytes()


def planted_icc() -> bytes:
    description = icc_text(b"desc", MARKER)
    curve = icc_srgb_curve()
    primaries = {name: icc_xyz(P3_XYZ[:, i]) for i, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    tags = {b"desc": description, b"rTRC": curve, b"gTRC": curve, b"bTRC": curve, **primaries}
    return icc(b"mntr", b"RGB ", b"XYZ ", tags)


XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a>' + MARKER + b"</a></x:xmpmeta>"


def planted_jpeg(im: Image.Image) -> bytes:
    caption = b"\x1c\x02\x78\0\x0c" + MARKER
    photoshop = b"Photoshop 3.0\0008BIM\x04\x04\0\0" + struct.pack(">I", len(caption)) + caption
    segments = [jpeg_segment(marker, MARKER) for marker in range(0xE3, 0xF0) if marker not in (0xED, 0xEE)]
    data = jpeg_with(
        jpeg_segment(0xED, photoshop),
        *segments,
        jpeg_segment(0xFE, MARKER),
        im=im,
        exif=planted_exif(),
        icc_profile=planted_icc(),
        xmp=XMP,
        comment=MARKER,
    )
    return data + MARKER


def planted_png(im: Image.Image) -> bytes:
    data = saved(im, "PNG", exif=planted_exif(), icc_profile=planted_icc())
    texts = [
        chunk(b"tEXt", b"Comment\0" + MARKER),
        chunk(b"zTXt", b"Author\0\0" + zlib.compress(MARKER)),
        chunk(b"iTXt", b"Title\0\0\0\0\0" + MARKER),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
        chunk(b"prVt", MARKER),
    ]
    # After the header (8 + 25 bytes) and before the end (12 bytes): texts may be in both places.
    return data[:33] + b"".join(texts) + data[33:-12] + b"".join(texts) + data[-12:] + MARKER


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def planted_webp(im: Image.Image) -> bytes:
    data = saved(im, "WEBP", exif=planted_exif(), icc_profile=planted_icc(), xmp=XMP)
    data += riff_chunk(b"PRVT", MARKER)
    return data[:4] + struct.pack("<I", len(data) - 8) + data[8:] + MARKER


def planted_avif(im: Image.Image) -> bytes:
    data = saved(im, "AVIF", exif=planted_exif(), icc_profile=planted_icc(), xmp=XMP, speed=10)
    return data + struct.pack(">I4s", 8 + len(MARKER), b"free") + MARKER


def planted_gif(im: Image.Image) -> bytes:
    data = saved(im, "GIF", comment=MARKER)
    application = b"\x21\xff\x0bXMP DataXMP" + bytes([len(MARKER)]) + MARKER + b"\0"
    plain_text = b"\x21\x01\x0c" + bytes(12) + bytes([len(MARKER)]) + MARKER + b"\0"
    return data[:-1] + application + plain_text + b"\x21\xfe" + bytes([len(MARKER)]) + MARKER + b"\0;" + MARKER


PLANTED: dict[str, Callable[[Image.Image], bytes]] = {
    "jpeg": planted_jpeg,
    "png": planted_png,
    "webp": planted_webp,
    "avif": planted_avif,
    "gif": planted_gif,
}


# ---- Animations ----

DELAYS = (100, 200, 300, 50)
"""Milliseconds."""


def frames(transparent: bool) -> list[Image.Image]:
    """Four frames: a frame with a hole that moves over white, over nothing when ``transparent``.

    Without the hole libwebp would keep an opaque rectangle only, and not say that there is nothing around it.
    """
    result = []
    for i, colour in enumerate((RED, GREEN, BLUE, YELLOW)):
        frame = Image.new("RGBA", (96, 64), CLEAR if transparent else WHITE)
        frame.paste(colour, (24 * i, 8, 24 * i + 24, 56))
        frame.paste(CLEAR if transparent else WHITE, (24 * i + 10, 30, 24 * i + 14, 34))
        result.append(frame)
    return result


ANIMATED: dict[str, Callable[[], bytes]] = {}
for transparent in (False, True):
    for loop in (0, 3):
        kind = f"{'transparent' if transparent else 'opaque'}-loop-{loop}"
        common: dict[str, object] = {"save_all": True, "duration": list(DELAYS), "loop": loop}
        for disposal in (0, 1, 2) if not transparent else (2,):
            ANIMATED[f"gif-{kind}-disposal-{disposal}"] = lambda t=transparent, o=common, d=disposal: saved(
                frames(t)[0], "GIF", append_images=frames(t)[1:], disposal=d, **o
            )
        ANIMATED[f"webp-{kind}"] = lambda t=transparent, o=common: saved(
            frames(t)[0], "WEBP", append_images=frames(t)[1:], lossless=True, **o
        )
        ANIMATED[f"png-{kind}"] = lambda t=transparent, o=common: saved(
            frames(t)[0], "PNG", append_images=frames(t)[1:], disposal=1, **o
        )
