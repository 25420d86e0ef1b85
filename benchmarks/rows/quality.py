"""Quality: a picture made from a mezzanine is as good as one made the long way."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks import BUILD, sources
from benchmarks.measure import mean
from benchmarks.report import Check, Row, Table
from benchmarks.sources import JPEG, OTHERS, SIZES, Kind, Plan
from lazycrop import LazyCrop
from lazycrop.pictures.encoding import encode
from lazycrop.pictures.pixels import Pixels
from lazycrop.pictures.settings import Recipe, Stage

MEAN_LOSS, WORST_LOSS, BYTES = 0.15, 0.5, 0.03


# Lossless output has no loss of its own to compare with.
COMPARED = [(JPEG, "jpg"), *((kind, output) for kind in OTHERS for output in ("webp", "jpg") if kind.format != "png")]
COMPARED += [(kind, "jpg") for kind in OTHERS if kind.format == "png"]


def row(plan: Plan) -> Row:
    checks: list[Check] = []
    rows: dict[str, list[float | None]] = {}
    for kind, output in COMPARED:
        env = sources.serving(sources.store(plan, kind), BUILD / "quality")
        images = LazyCrop(store=env["LAZYCROP_STORE"], sizes="any", broker="inline")
        for size in SIZES:
            compared = [_compare(images, plan, kind, name, size, output) for name in sources.names(plan, kind)]
            ours, best, our_bytes, best_bytes = zip(*compared, strict=True)
            losses = [right - got for got, right in zip(ours, best, strict=True)]
            bytes_ratio = sum(our_bytes) / sum(best_bytes)
            what = f"{kind} → {output.upper()}, {size}"
            rows[what] = [mean(ours), mean(best), mean(losses), max(losses), bytes_ratio]
            checks += [
                Check(f"{what}: mean loss of PSNR, dB", mean(losses), MEAN_LOSS),
                Check(f"{what}: worst loss of one photograph, dB", max(losses), WORST_LOSS),
                Check(f"{what}: bytes, off the long way's by", abs(bytes_ratio - 1), BYTES),
            ]
    columns = ["lazycrop, dB", "the long way, dB", "mean loss, dB", "worst loss, dB", "bytes ÷ the long way's"]
    note = (
        "The long way: the source as uploaded, decoded in full, Pillow's Lanczos, the same encoder settings. "
        "PSNR of both is against that resized picture before it is encoded."
    )
    return Row("Picture quality", checks, [Table("PSNR", columns, rows)], notes=[note])


def _compare(
    images: LazyCrop, plan: Plan, kind: Kind, name: str, size: str, output: str
) -> tuple[float, float, int, int]:
    """PSNR of ours and of the long way, in dB, and the bytes of both."""
    answer = images.answer(f"/{sources.image_id(name)}/{size}.{output}")
    assert answer.status == 200 and isinstance(answer.body, bytes), answer
    with Image.open(BytesIO(answer.body)) as picture:
        truth = _truth(sources.folder(plan, kind) / name, picture.size)
    data = encode(Pixels([truth], [0], lossless=False), output, Recipe(), Stage.FIRST)
    return psnr(answer.body, truth), psnr(data, truth), len(answer.body), len(data)


def _truth(path: Path, size: tuple[int, int]) -> Image.Image:
    from lazycrop.pictures.colours import to_srgb

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        return to_srgb(upright, image.info.get("icc_profile")).convert("RGB").resize(size, Image.Resampling.LANCZOS)


def psnr(data: bytes, truth: Image.Image) -> float:
    """Peak signal to noise over all channels, in dB."""
    with Image.open(BytesIO(data)) as image:
        difference = np.asarray(image.convert("RGB"), dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    error = float(np.mean(difference**2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")
