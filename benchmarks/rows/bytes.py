"""Bytes: what is stored at equal SSIMULACRA2, against libvips as sharp drives it, and the CPU that it took."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageOps

from benchmarks import ROOT, sources
from benchmarks.judge import Judge
from benchmarks.measure import mean
from benchmarks.report import Check, Points, Row, Table
from benchmarks.sources import JPEG, Plan
from lazycrop.model.sizes import Size
from lazycrop.pictures import encoding, quality
from lazycrop.pictures.ingest import prepare
from lazycrop.pictures.pixels import Pixels
from lazycrop.pictures.render import best_source, render
from lazycrop.pictures.settings import QUALITY, IngestSettings, Limits, Recipe, Stage

EDGES = (320, 640, 1200)
LIMITS = {"jpg": 0.93, "webp": 1.0, "avif": 1.0}
PNG_LIMIT = 0.9
CURVE_EDGE = 640
PHOTOS_OF = {"jpg": 12, "webp": 12, "avif": 5}  # sharp's AVIF takes 5 s at 1,200 pixels
PRICE_OF_CPU, PRICE_OF_BYTES = 0.04 / 3600, 0.08e-9  # a second of a core, a byte to a client: usual prices of a cloud

Encoder = Callable[[Image.Image, int], bytes]

_PATIENT = Limits(decode_seconds=1_000)  # on a machine that others use too


@dataclass(frozen=True)
class Encoded:
    """``score``: SSIMULACRA2. ``seconds``: of CPU, of all threads."""

    quality: int
    length: int
    score: float
    seconds: float


def saved(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def _vips(image: Image.Image, suffix: str, quality: int, **options: Any) -> bytes:
    import pyvips

    pixels = pyvips.Image.new_from_memory(image.tobytes(), image.width, image.height, 3, "uchar")
    data: bytes = pixels.copy(interpretation="srgb").write_to_buffer(suffix, Q=quality, keep="none", **options)
    return data


# As sharp calls libvips when nothing else is said (its lib/output.js and src/pipeline.cc); only the quality is varied.
# The tables of a JPEG are rounded, and 76 may look better than 79: between qualities far apart, a single photograph's
# bytes were read off by up to 6 %.
SHARP: dict[str, tuple[Encoder, Sequence[int]]] = {
    "jpg": (
        lambda image, q: _vips(image, ".jpg", q, optimize_coding=True, subsample_mode="on"),
        (60, 68, 71, 74, 76, 78, 79, 80, 82, 85, 88, 93),
    ),
    "webp": (lambda image, q: _vips(image, ".webp", q, effort=4), (62, 74, 83, 90, 96)),
    "avif": (lambda image, q: _vips(image, ".avif", q, effort=4, subsample_mode="off"), (36, 48, 56, 64, 72)),
}


def _jpeg(image: Image.Image, q: int, *, tables: bool, **options: Any) -> bytes:
    return saved(image, "JPEG", **({"qtables": quality.jpeg_tables(q, True)} if tables else {"quality": q}), **options)


def _trellis(image: Image.Image, q: int, **options: Any) -> bytes:
    return _vips(
        image, ".jpg", q, optimize_coding=True, interlace=True, subsample_mode="on", trellis_quant=True,
        optimize_scans=True, **options,
    )  # fmt: skip


def _of_ours(format: str, stage: Stage, **settings: Any) -> Encoder:
    def encode(image: Image.Image, q: int) -> bytes:
        recipe = Recipe(quality={format: q}, **settings)
        return encoding.encode(Pixels([image], [0], lossless=False), format, recipe, stage)

    return encode


def _avif(image: Image.Image, q: int, **options: Any) -> bytes:
    return saved(image, "AVIF", quality=q, max_threads=1, autotiling=False, **options)


def _deep(image: Image.Image, q: int, *, bits: int) -> bytes:
    return _vips(image, ".avif", q, effort=4, subsample_mode="on", bitdepth=bits)


_SMALL_SCANS = {"subsampling": "4:2:0", "optimize": True, "progressive": True}

CANDIDATES: dict[str, dict[str, Encoder]] = {
    "jpg": {
        "Pillow, tables of the standard": partial(_jpeg, tables=False, subsampling="4:2:0"),
        "the same, progressive": partial(_jpeg, tables=False, **_SMALL_SCANS),
        "4:4:4, progressive": partial(_jpeg, tables=True, **{**_SMALL_SCANS, "subsampling": "4:4:4"}),
        "first stage": _of_ours("jpg", Stage.FIRST),
        "effort 1": _of_ours("jpg", Stage.LAST, store_effort={"jpg": 1}),
        "last stage": _of_ours("jpg", Stage.LAST),
        "libvips with mozjpeg's trellis": partial(_trellis, quant_table=3),
        "the same, our tables": partial(_trellis, quant_table=2),
    },
    "webp": {
        "first stage": _of_ours("webp", Stage.FIRST),
        **{f"effort {effort}": _of_ours("webp", Stage.LAST, store_effort={"webp": effort}) for effort in (3, 4, 5)},
        "last stage": _of_ours("webp", Stage.LAST),
    },
    "avif": {
        "first stage": _of_ours("avif", Stage.FIRST),
        **{f"effort {effort}": _of_ours("avif", Stage.LAST, store_effort={"avif": effort}) for effort in (3, 4, 6)},
        "effort 5, libaom's sharpness": partial(_avif, speed=5),
        "the same, 4:4:4": partial(_avif, speed=5, subsampling="4:4:4"),
        "the same, tuned to SSIM": partial(_avif, speed=5, advanced={"tune": "ssim"}),
        "last stage": _of_ours("avif", Stage.LAST),
        "libvips, effort 5, 4:2:0": partial(_deep, bits=8),
        "libvips, effort 5, 4:2:0, of 10 bits": partial(_deep, bits=10),
    },
}


def row(plan: Plan) -> Row:
    photos = [sources.folder(plan, JPEG) / name for name in sources.names(plan, JPEG)]
    stored = {format: _stored(format, _few(photos, PHOTOS_OF[format])) for format in LIMITS}
    checks = [
        Check(f"{format}, {edge} px: bytes of what is stored ÷ sharp's", _mean_of(ratios), LIMITS[format])
        for format, by_edge in stored.items()
        for edge, (ratios, _, _) in by_edge.items()
    ]
    tables = [_table(stored)]
    charts: list[Points] = []
    for format, candidates in CANDIDATES.items():
        table, chart = _curve(format, candidates, _few(photos, PHOTOS_OF[format] // 2))
        tables.append(table)
        charts.append(chart)
    pngs = _pngs(_few(photos, 6))
    checks += [Check(f"png, {what}: bytes ÷ Pillow's of level 9", cells[0], PNG_LIMIT) for what, cells in pngs.items()]
    columns = ["bytes ÷ Pillow's level 9", "CPU, ms", "CPU of level 9, ms"]
    tables.append(Table("PNG of 640 pixels, as stored", columns, pngs))
    notes = [
        "Ours is what the store gets, made from a mezzanine or the origin by the last stage at its default quality. "
        "Both are compared with the photograph decoded in full and resized by Pillow's Lanczos.",
        "sharp's encoder is given those very pixels, at several qualities, and the bytes at our score lie between. "
        "Means are geometric.",
        "A break-even is after how many answers the bytes spared against the first stage pay for the CPU, at $0.04 for "
        "an hour of a core and $0.08 for 10⁹ bytes.",
    ]
    return Row("Bytes of what is stored", checks, tables, charts, notes)


def _few(photos: Sequence[Path], count: int) -> list[Path]:
    return list(photos[:: max(1, len(photos) // max(1, count))])


def _truth(photo: Path, edge: int) -> Image.Image:
    with Image.open(photo) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    return upright.resize(Size.parse(f"{edge}x{edge}").scaled(*upright.size), Image.Resampling.LANCZOS)


def encoded(image: Image.Image, judge: Judge, encode: Encoder, q: int) -> Encoded:
    began = time.process_time()
    data = encode(image, q)
    seconds = time.process_time() - began
    with Image.open(BytesIO(data)) as result:
        return Encoded(q, len(data), judge.score(result), seconds)


def at(score: float, curve: Iterable[Encoded]) -> tuple[float, float]:
    """Bytes and seconds at this score, between those that were measured; NaN beyond them."""
    points = sorted(curve, key=lambda point: point.score)
    scores = [point.score for point in points]
    if not scores[0] <= score <= scores[-1]:
        return math.nan, math.nan
    length = math.exp(np.interp(score, scores, [math.log(point.length) for point in points]))
    return length, float(np.interp(score, scores, [point.seconds for point in points]))


def _mean_of(ratios: Iterable[float]) -> float | None:
    """The geometric mean of those that are known."""
    known = [math.log(ratio) for ratio in ratios if not math.isnan(ratio)]
    return math.exp(mean(known)) if known else None


def _stored(format: str, photos: Sequence[Path]) -> dict[int, tuple[list[float], list[float], list[float]]]:
    """By edge: bytes ÷ sharp's, our score, seconds of the whole render, of each photograph."""
    found: dict[int, tuple[list[float], list[float], list[float]]] = {edge: ([], [], []) for edge in EDGES}
    for photo in photos:
        prepared = prepare(photo.read_bytes(), (4000, 4000), _PATIENT, IngestSettings())
        record = sources.record_of(prepared)
        for edge, (ratios, scores, times) in found.items():
            truth, size = _truth(photo, edge), Size.parse(f"{edge}x{edge}")
            judge, mezzanine = Judge(truth), best_source(record, size, Stage.LAST)
            source = dict(prepared.mezzanines)[mezzanine] if mezzanine else prepared.data
            began = time.process_time()
            shown = (record.width, record.height)
            data = render(source, size, format, Recipe(), _PATIENT, Stage.LAST, dimensions=shown).data
            times.append(time.process_time() - began)
            with Image.open(BytesIO(data)) as picture:
                scores.append(judge.score(picture))
            encode, qualities = SHARP[format]
            ratios.append(len(data) / at(scores[-1], [encoded(truth, judge, encode, q) for q in qualities])[0])
    return found


def _table(stored: dict[str, dict[int, tuple[list[float], list[float], list[float]]]]) -> Table:
    columns = ["bytes ÷ sharp's", "worst photograph", "SSIMULACRA2", "CPU of the render, ms", "photographs compared"]
    rows = {
        f"{format}, {edge} px": [
            _mean_of(ratios),
            max((ratio for ratio in ratios if not math.isnan(ratio)), default=None),
            mean(scores),
            1000 * mean(times),
            sum(not math.isnan(ratio) for ratio in ratios),
        ]
        for format, by_edge in stored.items()
        for edge, (ratios, scores, times) in by_edge.items()
    }
    return Table("What is stored", columns, rows)


def _curve(format: str, candidates: dict[str, Encoder], photos: Sequence[Path]) -> tuple[Table, Points]:
    """Bytes and CPU of each candidate at the score that sharp reaches at our quality, ÷ sharp's."""
    ratios: dict[str, list[float]] = {name: [] for name in candidates}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    lengths: dict[str, list[float]] = {name: [] for name in candidates}
    sharps: list[float] = []
    usual, around = QUALITY[format], (-16, -5, 5, 14)
    for photo in photos:
        truth = _truth(photo, CURVE_EDGE)
        judge = Judge(truth)
        sharp = encoded(truth, judge, SHARP[format][0], usual)
        sharps.append(sharp.seconds)
        for name, encode in candidates.items():
            length, seconds = at(sharp.score, [encoded(truth, judge, encode, usual + more) for more in around])
            ratios[name].append(length / sharp.length)
            times[name].append(seconds)
            lengths[name].append(length)
    rows: dict[str, list[float | None]] = {"sharp": [1.0, 1000 * mean(sharps), None]}
    for name in candidates:
        rows[name] = [_mean_of(ratios[name]), 1000 * _mean(times[name]), _even(name, lengths, times)]
    columns = ["bytes ÷ sharp's", "CPU, ms", "break-even, answers"]
    title = f"{format}: bytes and CPU at equal SSIMULACRA2, {CURVE_EDGE} px"
    points = {name: (cells[1], cells[0]) for name, cells in rows.items()}
    return Table(title, columns, rows), Points(title, "CPU, ms", "bytes ÷ sharp's", points)


def _mean(values: Sequence[float]) -> float:
    return float(np.nanmean(values))


def _even(name: str, lengths: dict[str, list[float]], times: dict[str, list[float]]) -> float | None:
    """After how many answers the bytes that are spared against the first stage have paid for the CPU."""
    spared = _mean(lengths["first stage"]) - _mean(lengths[name])
    spent = _mean(times[name])
    return None if spared <= 0 else spent * PRICE_OF_CPU / (spared * PRICE_OF_BYTES)


def _pngs(photos: Sequence[Path]) -> dict[str, list[float | None]]:
    images = {
        "drawings": [_chart(), _flags(), _flags().convert("RGBA")],
        "screenshots": [_page(), _shot()],
        "photographs": [_truth(photo, CURVE_EDGE) for photo in photos],
    }
    return {what: _png(some, what == "photographs") for what, some in images.items()}


def _png(images: Sequence[Image.Image], of_photos: bool) -> list[float | None]:
    ratios, ours, plains = [], [], []
    for image in images:
        began = time.process_time()
        data = encoding.encode(Pixels([image], [0], lossless=not of_photos), "png", Recipe(), Stage.LAST)
        middle = time.process_time()
        plain = saved(image, "PNG", compress_level=9)
        ours.append(middle - began)
        plains.append(time.process_time() - middle)
        ratios.append(len(data) / len(plain))
        with Image.open(BytesIO(data)) as result:
            assert result.convert(image.mode).tobytes() == image.tobytes()
    return [_mean_of(ratios), 1000 * mean(ours), 1000 * mean(plains)]


def _chart() -> Image.Image:
    """A plot, as programs draw them."""
    file = BytesIO()
    figure = Figure(figsize=(6.4, 4.8), dpi=100)
    axes = figure.add_subplot()
    for number in range(1, 6):
        axes.plot(range(40), [math.sin(step / 7 + number) * number for step in range(40)], label=f"{number}")
    axes.legend()
    figure.savefig(file, format="png")
    return Image.open(file).convert("RGB")


def _flags() -> Image.Image:
    """Flat colours with smooth edges."""
    large = Image.new("RGB", (1280, 960), "white")
    draw = ImageDraw.Draw(large)
    for number in range(24):
        x, y = 200 * (number % 6) + 60, 220 * (number // 6) + 60
        draw.ellipse((x, y, x + 150, y + 150), fill=(10 * number, 255 - 9 * number, 128), outline="black", width=6)
    return large.resize((640, 480), Image.Resampling.LANCZOS)


def _page() -> Image.Image:
    """Text and boxes."""
    page = Image.new("RGB", (640, 480), "white")
    draw = ImageDraw.Draw(page)
    for number, line in enumerate(Path(__file__).read_text("utf-8").splitlines()[:30]):
        draw.text((10, 6 + 15 * number), line, fill=(30, 30, 60))
    draw.rectangle((420, 40, 620, 200), fill=(66, 133, 244))
    return page


def _shot() -> Image.Image:
    """The demo in a browser: text, controls and photographs."""
    return Image.open(ROOT / "docs/pictures/demo.png").convert("RGB")
