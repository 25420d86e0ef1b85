"""Quality: a picture made from a mezzanine is as good as one made the long way."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from benchmarks import BUILD, peers, sources
from benchmarks.measure import mean
from benchmarks.report import Check, Row, Table
from benchmarks.sources import SIZES, Plan
from lazycrop import LazyCrop

MEAN_LOSS, WORST_LOSS, BYTES = 0.15, 0.5, 0.03


def row(plan: Plan) -> Row:
    env = sources.serving(sources.store(plan, "jpg"), BUILD / "quality")
    images = LazyCrop(store=env["LAZYCROP_STORE"], sizes="any", broker="inline")
    losses: dict[str, list[float]] = {}
    rows: dict[str, list[float | None]] = {}
    sizes: dict[str, float] = {}
    for size in SIZES:
        compared = [_compare(images, name, plan, size) for name in sources.names(plan, "jpg")]
        ours, best, our_bytes, best_bytes = zip(*compared, strict=True)
        losses[size] = [right - got for got, right in zip(ours, best, strict=True)]
        sizes[size] = sum(our_bytes) / sum(best_bytes)
        rows[size] = [mean(ours), mean(best), mean(losses[size]), max(losses[size]), sizes[size]]
    columns = ["lazycrop, dB", "the long way, dB", "mean loss, dB", "worst loss, dB", "bytes ÷ the long way's"]
    checks = [
        check
        for size in SIZES
        for check in (
            Check(f"{size}: mean loss of PSNR, dB", mean(losses[size]), MEAN_LOSS),
            Check(f"{size}: worst loss of one photograph, dB", max(losses[size]), WORST_LOSS),
            Check(f"{size}: bytes, off the long way's by", abs(sizes[size] - 1), BYTES),
        )
    ]
    note = (
        "The long way: the photograph as uploaded, decoded in full, Pillow's Lanczos, the same encoder settings. "
        "PSNR of both is against that resized picture before it is encoded."
    )
    return Row("Picture quality", checks, [Table("PSNR", columns, rows)], notes=[note])


def _compare(images: LazyCrop, name: str, plan: Plan, size: str) -> tuple[float, float, int, int]:
    """PSNR of ours and of the long way, in dB, and the bytes of both."""
    answer = images.answer(f"/{sources.image_id(name)}/{size}.jpg")
    assert answer.status == 200 and isinstance(answer.body, bytes), answer
    with Image.open(BytesIO(answer.body)) as picture:
        truth = _truth(sources.folder(plan, "jpg") / name, picture.size)
    file = BytesIO()
    truth.save(file, "JPEG", quality=peers.QUALITY, subsampling="4:2:0")
    return psnr(answer.body, truth), psnr(file.getvalue(), truth), len(answer.body), len(file.getvalue())


def _truth(path: Path, size: tuple[int, int]) -> Image.Image:
    from lazycrop.pictures import to_srgb

    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
        return to_srgb(upright, image.info.get("icc_profile")).convert("RGB").resize(size, Image.Resampling.LANCZOS)


def psnr(data: bytes, truth: Image.Image) -> float:
    """Peak signal to noise over all channels, in dB."""
    with Image.open(BytesIO(data)) as image:
        difference = np.asarray(image.convert("RGB"), dtype=np.float64) - np.asarray(truth, dtype=np.float64)
    error = float(np.mean(difference**2))
    return 10 * float(np.log10(255**2 / error)) if error else float("inf")
