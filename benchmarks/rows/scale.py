"""Scale: the cost of a request does not grow with what is stored, and a second process is a second as much."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks import BUILD, ROOT, known, measure, peers, sources
from benchmarks.report import Chart, Check, Row, Table
from benchmarks.sources import Plan

GROWTH, SPEED_UP = 1.1, 1.8
COUNTS = (100, 1_000, 10_000, 100_000)


def row(plan: Plan) -> Row:
    found = {count: _known(plan, count) for count in (COUNTS[::3] if plan.quick else COUNTS)}
    few, many = found[COUNTS[0]], found[COUNTS[-1]]
    one, two = _renders_per_second(plan)
    checks = [
        Check("hot: cost with 100,000 ÷ with 100", many["hot"] / few["hot"], GROWTH),
        Check("hot, but new to this process: cost with 100,000 ÷ with 100", many["first"] / few["first"], GROWTH),
        Check("cold: cost with 100,000 ÷ with 100", many["cold"] / few["cold"], GROWTH),
        Check("renders/s of two processes ÷ of one", two / one, SPEED_UP, True),
    ]
    labels = [f"{count:,}" for count in found]
    rows = {
        "hot, µs": [by["hot"] / 1000 for by in found.values()],
        "hot, but new to this process, µs": [by["first"] / 1000 for by in found.values()],
        "cold, ms": [by["cold"] * 1000 for by in found.values()],
    }
    chart = Chart("Cost against stored derivatives", "µs of a hot request, ms of a cold one", labels, rows, curve=True)
    processes = Table("Cold requests per second, one core a process", ["one", "two"], {"lazycrop": [one, two]})
    return Row("Scale", checks, [Table("Cost per request, by derivatives known", labels, rows), processes], [chart])


def _known(plan: Plan, count: int) -> dict[str, float]:
    folder = BUILD / "known"
    shutil.rmtree(folder, ignore_errors=True)
    known.fill(folder, count, plan.photos[0])
    samples = []
    for _ in range(plan.runs):
        command = [sys.executable, "-m", "benchmarks.known", str(folder), str(count)]
        said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
        samples.append(json.loads(said))
        for made in folder.glob("*/*x200.jpg"):
            made.unlink()
    shutil.rmtree(folder)
    return {name: measure.median(sample[name] for sample in samples) for name in samples[0]}


def _renders_per_second(plan: Plan) -> tuple[float, float]:
    """With one process that has a core, and with two that have one each."""
    one, two = zip(*((_rate(plan, 1), _rate(plan, 2)) for _ in range(plan.runs)), strict=True)
    return measure.median(one), measure.median(two)


def _rate(plan: Plan, workers: int) -> float:
    place = BUILD / "run"
    shutil.rmtree(place, ignore_errors=True)
    env = {**sources.serving(sources.store(plan, "jpg"), place), "BENCH_CORES": str(workers)}
    ids = [sources.image_id(name) for name in sources.names(plan, "jpg")]
    widths = itertools.count(700)
    with peers.gunicorn("images", place, env, workers=workers, threads=1) as (_, base):

        def client(_: int) -> int:
            done = 0
            while time.monotonic() < deadline:
                measure.fetch(f"{base}/{ids[done % len(ids)]}/{next(widths)}x600.jpg")
                done += 1
            return done

        deadline = time.monotonic() + 1
        with ThreadPoolExecutor(4) as clients:
            list(clients.map(client, range(4)))  # every process has loaded what it needs
            deadline = time.monotonic() + plan.seconds
            return sum(clients.map(client, range(4))) / plan.seconds
