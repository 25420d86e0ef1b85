"""Storing: what it costs in CPU and space to store an origin, and after how many sizes that is won back."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from benchmarks import BUILD, sources
from benchmarks.measure import mean, median
from benchmarks.report import Check, Row, Table, ratio
from benchmarks.rows import cold
from benchmarks.sources import JPEG, OTHERS, SIZES, Kind, Plan

CPU, SPACE, BREAK_EVEN = 3.0, 0.6, 4.0


def row(plan: Plan) -> Row:
    costs = cold.costs(plan, JPEG, "jpg")
    peers = {name: by_size for name, by_size in costs.items() if not name.startswith(cold.OURS)}
    cpu, space = _store(plan, JPEG)
    per_size = mean(costs[cold.OURS].values())
    best = min((mean(by_size.values()) for by_size in peers.values()), default=None)
    # After n sizes: cpu + n * per_size = n * best.
    even = None if best is None else cpu / (best - per_size) if best > per_size else float("inf")
    largest = ratio(cpu, [by_size[SIZES[-1]] for by_size in peers.values()])
    checks = [
        Check("store_origin: CPU ÷ the best peer's cold 1600x1200", largest, CPU),
        Check("mezzanines and record: bytes ÷ the origin's", space, SPACE),
        Check("break-even against the best peer, in sizes", even, BREAK_EVEN),
    ]
    rows = {f"{count} sizes": [1000 * (cpu + count * per_size), 1000 * count * (best or 0)] for count in range(1, 9)}
    table = Table("CPU in ms to store and to give so many sizes, a mean size each", ["lazycrop", "best peer"], rows)
    kinds = {str(kind): _store(plan, kind) for kind in OTHERS}
    stored = Table(
        "store_origin, means over the sources",
        ["CPU, ms", "bytes of mezzanines and record ÷ the origin's"],
        {str(JPEG): [1000 * cpu, space], **{kind: [1000 * cpu, space] for kind, (cpu, space) in kinds.items()}},
    )
    return Row("Storing an origin", checks, [stored, table])


def _store(plan: Plan, kind: Kind) -> tuple[float, float]:
    """CPU in seconds, the mean over the photographs; and bytes beside the origins ÷ bytes of the origins."""
    from lazycrop import LazyCrop

    place = BUILD / "storing"
    samples: dict[str, list[float]] = {}
    for _ in range(plan.runs):
        shutil.rmtree(place, ignore_errors=True)
        images = LazyCrop(store=str(place), sizes="any", download_bytes=sources.DOWNLOAD_BYTES)
        images.store_origin("warm", sources.folder(plan, kind) / sources.names(plan, kind)[0])
        images.purge("warm")
        for name in sources.names(plan, kind):
            before = time.process_time()
            images.store_origin(sources.image_id(name), sources.folder(plan, kind) / name)
            samples.setdefault(name, []).append(time.process_time() - before)
    return mean(median(found) for found in samples.values()), _space(place)


def _space(place: Path) -> float:
    files = [path for path in place.rglob("*") if path.is_file()]
    origins = sum(path.stat().st_size for path in files if path.stem == "origin")
    return sum(path.stat().st_size for path in files) / origins - 1
