"""Whatever becomes of a file, what comes out of it is a picture or an error of ours, and soon.

Each mutant is made of a file's own parts (chunks, segments, blocks, boxes): left out, doubled, out of order, of another
length, of another file, or with other bytes in them. ``FUZZ_SECONDS`` says for how long it is tried. A mutant
is made again from its name: ``mutant("png-rgb 17")``.
"""

from __future__ import annotations

import os
import struct
import time
import zlib
from collections.abc import Callable
from functools import cache
from itertools import count
from random import Random
from typing import Any

import pytest

import corpus
from lazycrop.errors import LazyCropError
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.sizes import Size
from lazycrop.pictures.headers import FORMATS
from lazycrop.pictures.ingest import mezzanines, prepare
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe

SECONDS = float(os.environ.get("FUZZ_SECONDS", "6"))
LIMITS = Limits(input_formats=FORMATS, max_pixels=1_000_000, max_pixels_webp=500_000, max_frames=20, decode_seconds=2.0)
INGEST = IngestSettings(mezzanine_edges=(64, 16))
MOST_SECONDS = 6.0
SIZES = ("40x40", "17x60-fill-up", "33x9-cover-ne", "50x50-contain", "1x1", "200x")

SOURCES: dict[str, list[str]] = {
    "png": ["png-rgb", "png-p-alphas", "png-rgb16-hole", "png-i16-hole", "png-1-hole", "png-icc-p3", "png-cicp-p3"],
    "jpeg": ["jpeg-420", "jpeg-progressive", "jpeg-restarts", "jpeg-cmyk-icc", "jpeg-turned-6", "jpeg-lossless"],
    "gif": ["gif-hole", "gif", *(name for name in corpus.ANIMATED if name.startswith("gif"))],
    "webp": [
        "webp",
        "webp-lossless-alpha",
        "webp-icc-p3",
        *(name for name in corpus.ANIMATED if name.startswith("webp")),
    ],
    "avif": ["avif", "avif-alpha", "avif-icc-p3", "avif-turned-5", "avif-nclx-p3"],
    "tiff": ["tiff-rgb", "tiff-p", "tiff-icc-p3", "tiff-lab"],
    "bmp": ["bmp-rgb", "bmp-p"],
    "heic": ["heic"],
}
SOURCES["png"] += ["png-transparent-loop-3", "planted-png"]
for planted in ("jpeg", "gif", "webp", "avif"):
    SOURCES[planted].append(f"planted-{planted}")


@cache
def source(name: str) -> bytes:
    if name == "heic":
        return heic()
    if name.startswith("planted-"):
        return corpus.PLANTED[name.removeprefix("planted-")](corpus.rgb())
    if name in corpus.ANIMATED:
        return corpus.ANIMATED[name]()
    return (corpus.PICTURES | corpus.CONFIGURED)[name]().data


def heic() -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = pillow_heif.from_pillow(corpus.rgb())
    from io import BytesIO

    target = BytesIO()
    file.save(target, quality=50)
    return target.getvalue()


# ---- a file in its parts, and back ----


def parts_of_png(data: bytes) -> list[bytes]:
    parts, at = [data[:8]], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        parts.append(data[at:end])
        at = end
    return parts


def parts_of_jpeg(data: bytes) -> list[bytes]:
    parts, at = [data[:2]], 2
    while at < len(data):
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while end < len(data) - 1 and not (data[end] == 0xFF and data[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
        if data[at + 1] == 0xD9:
            end = len(data)
        parts.append(data[at:end])
        at = end
    return parts


def parts_of_gif(data: bytes) -> list[bytes]:
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
    parts = [data[:at]]
    while data[at] in b"!,":
        start, flags = at, data[at + 9]
        at += 2 if data[at] == ord("!") else 11 + (3 << (flags & 7) + 1 if flags & 128 else 0)
        while data[at]:
            at += data[at] + 1
        at += 1
        parts.append(data[start:at])
    return [*parts, data[at:]]


def parts_of_webp(data: bytes) -> list[bytes]:
    parts, at = [data[:12]], 12
    while at < len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        parts.append(data[at:end])
        at = end
    return parts


def parts_of_boxes(data: bytes) -> list[bytes]:
    """Boxes, and those within ``meta`` for themselves; what follows its own head is a part, too."""
    parts, at = [], 0
    while at + 8 <= len(data):
        end = at + max(8, int.from_bytes(data[at : at + 4], "big"))
        if data[at + 4 : at + 8] in (b"meta", b"iprp", b"ipco"):
            end = at + (12 if data[at + 4 : at + 8] == b"meta" else 8)
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def parts_of_bytes(data: bytes) -> list[bytes]:
    return [data[at : at + 16] for at in range(0, len(data), 16)]


PARTS: dict[str, Callable[[bytes], list[bytes]]] = {
    "png": parts_of_png,
    "jpeg": parts_of_jpeg,
    "gif": parts_of_gif,
    "webp": parts_of_webp,
    "avif": parts_of_boxes,
    "heic": parts_of_boxes,
}


def joined(kind: str, parts: list[bytes], random: Random) -> bytes:
    """The file; with the checksums and the length that are right, in most cases."""
    if kind == "png" and random.random() < 0.8:
        parts = [parts[0], *(p[:-4] + struct.pack(">I", zlib.crc32(p[4:-4])) if len(p) >= 12 else p for p in parts[1:])]
    data = b"".join(parts)
    if kind == "webp" and random.random() < 0.8:
        data = data[:4] + struct.pack("<I", max(0, len(data) - 8)) + data[8:]
    return data


# ---- what is done to parts ----


def without_one(parts: list[bytes], random: Random) -> None:
    del parts[random.randrange(len(parts))]


def one_twice(parts: list[bytes], random: Random) -> None:
    parts.insert(random.randrange(len(parts) + 1), random.choice(parts))


def one_often(parts: list[bytes], random: Random) -> None:
    at = random.randrange(len(parts))
    parts[at:at] = [parts[at]] * random.randrange(2, 40)


def two_exchanged(parts: list[bytes], random: Random) -> None:
    one, other = random.randrange(len(parts)), random.randrange(len(parts))
    parts[one], parts[other] = parts[other], parts[one]


def one_of_another(parts: list[bytes], random: Random) -> None:
    kind = random.choice(list(SOURCES))
    others = PARTS.get(kind, parts_of_bytes)(source(random.choice(SOURCES[kind])))
    parts.insert(random.randrange(len(parts) + 1), random.choice(others))


def other_bytes(parts: list[bytes], random: Random) -> None:
    at = random.randrange(len(parts))
    part = bytearray(parts[at])
    for _ in range(random.choice((1, 1, 2, 8))):
        if part:
            part[random.randrange(len(part))] = random.choice((0, 1, 127, 128, 255, random.randrange(256)))
    parts[at] = bytes(part)


def another_number(parts: list[bytes], random: Random) -> None:
    """Near its beginning, where lengths and sizes are."""
    at = random.randrange(len(parts))
    place, length = random.randrange(16), random.choice((1, 2, 4))
    number = random.choice((0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, random.getrandbits(32)))
    part = parts[at]
    parts[at] = part[:place] + (number & (1 << 8 * length) - 1).to_bytes(length, "big") + part[place + length :]


def one_shorter(parts: list[bytes], random: Random) -> None:
    at = random.randrange(len(parts))
    parts[at] = parts[at][: random.randrange(len(parts[at]) + 1)]


def one_longer(parts: list[bytes], random: Random) -> None:
    at = random.randrange(len(parts))
    place = random.randrange(len(parts[at]) + 1)
    parts[at] = parts[at][:place] + random.randbytes(random.choice((1, 4, 100))) + parts[at][place:]


def cut(parts: list[bytes], random: Random) -> None:
    del parts[random.randrange(1, len(parts) + 1) :]


CHANGES = [without_one, one_twice, one_often, two_exchanged, one_of_another, other_bytes, another_number, one_shorter]
CHANGES += [one_longer, cut, other_bytes, another_number]


def mutant(name: str) -> bytes:
    """The file that belongs to this name: that of its source, a blank, and a number."""
    origin, _, _ = name.rpartition(" ")
    kind = next(kind for kind, names in SOURCES.items() if origin in names)
    random = Random(name)
    parts = PARTS.get(kind, parts_of_bytes)(source(origin))
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        if parts:
            random.choice(CHANGES)(parts, random)
    return joined(kind, parts, random) if parts else b""


# ---- what must come of them ----


def check(name: str) -> bool:
    """Raise an AssertionError that names the mutant; True when there was a picture in it."""
    data, random = mutant(name), Random(name)
    size, started = Size.parse(random.choice(SIZES)), time.monotonic()
    results = [outcome(name, lambda: prepare(data, (300, 300), LIMITS, INGEST, focal="auto"))]
    files = [data]
    if results[0] is not None:
        files += [results[0].data, *(content for _, content in results[0].mezzanines)]
        assert outcome(name, lambda: mezzanines(files[1], LIMITS, INGEST)) is not None, f"{name}: its origin is broken"
    for file in files:
        for format in CONTENT_TYPES:
            made = outcome(name, lambda file=file, format=format: render(file, size, format, Recipe(), LIMITS))
            assert made or file is data, f"{name}: {format} of what was stored"
    assert time.monotonic() - started < MOST_SECONDS * len(files), name
    return results[0] is not None


def outcome(name: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except LazyCropError as error:
        assert error.status < 500, f"{name}: {error!r}"
        return None
    except Exception as error:
        raise AssertionError(f"{name}: {error!r}") from error


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_of_mutants_is_a_picture_and_is_its_parts(kind):
    for name in SOURCES[kind]:
        assert b"".join(PARTS.get(kind, parts_of_bytes)(source(name))) == source(name)
        prepare(source(name), (300, 300), LIMITS, INGEST)


@pytest.mark.parametrize("kind", SOURCES)
def test_a_mutant_is_a_picture_or_an_error_of_ours(kind):
    ends, pictures, tried = time.monotonic() + SECONDS / len(SOURCES), 0, 0
    for number in count():
        for name in SOURCES[kind]:
            pictures += check(f"{name} {number}")
            tried += 1
        if time.monotonic() > ends:
            break
    print(f"{kind}: {tried} mutants, of which {pictures} were pictures")
    assert pictures
