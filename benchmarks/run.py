"""Measure everything side by side, and write the figures down: ``python -m benchmarks.run --help``."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from benchmarks import BUILD, ROOT, drawings, peers, report
from benchmarks.report import Row
from benchmarks.rows import (
    adopting,
    bytes,
    cold,
    crowd,
    folders,
    hot,
    latency,
    load,
    memory,
    overload,
    quality,
    roundtrips,
    scale,
    slow_store,
    storing,
)
from benchmarks.sources import Plan

ROWS = {
    "cold": cold.row,
    "adopting": adopting.row,
    "quality": quality.row,
    "bytes": bytes.row,
    "storing": storing.row,
    "hot": hot.row,
    "latency": latency.row,
    "roundtrips": roundtrips.row,
    "folders": folders.row,
    "memory": memory.row,
    "scale": scale.row,
    "crowd": crowd.row,
    "overload": overload.row,
    "slow_store": slow_store.row,
    "load": load.row,
}


def main() -> None:
    arguments = _arguments()
    photos = tuple(sorted(path.resolve() for path in arguments.photos.glob("*.jpg")))
    if not photos:
        raise SystemExit(f"There is no .jpg in {arguments.photos}.")
    few = tuple(dict.fromkeys((photos[len(photos) // 2], photos[-1])))
    plan = Plan(few, 1, 2, True) if arguments.quick else Plan(photos, arguments.runs, 5, False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Stopped."))  # an exit that ends the servers, too
    peers.install()
    rows = []
    for name in arguments.rows:
        started = time.monotonic()
        print(f"{name} …", end=" ", flush=True)
        rows.append(ROWS[name](plan))
        print(f"{time.monotonic() - started:.0f} s")
    described = {
        **report.machine(),
        "photographs": str(len(plan.photos)),
        "runs": str(plan.runs),
        "client": "wrk" if peers.WRK else "Python",
        "peers": ", ".join(f"{peer.name} (missing)" if peer.missing else peer.name for peer in peers.peers()),
    }
    print(f"\n{report.markdown(rows, described)}")
    write(rows, described, BUILD / "results" if arguments.quick else arguments.results)
    for folder in (
        "run",
        "stores",
        "sources",
        "quality",
        "storing",
        "known",
        "crowd",
        "overload",
        "load",
        "latency",
        "roundtrips",
    ):
        shutil.rmtree(BUILD / folder, ignore_errors=True)


def write(rows: list[Row], described: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(report.markdown(rows, described), "utf-8")
    (folder / "results.json").write_text(report.to_json(rows, described), "utf-8")
    for row in rows:
        for chart in row.charts:
            drawings.draw(chart, folder)
    print(f"Written to {folder}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--rows", nargs="+", default=[*ROWS], choices=[*ROWS], help="all of them when not given")
    parser.add_argument("--photos", type=Path, default=ROOT / "tests/photos", help="a folder of JPEG photographs")
    parser.add_argument("--runs", type=int, default=5, help="of each measurement; medians are taken")
    parser.add_argument(
        "--results", type=Path, default=ROOT / "benchmarks/results", help="where the figures are written"
    )
    parser.add_argument(
        "--quick", action="store_true", help="two photographs, one run: is all in order? Written to .bench/results"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
