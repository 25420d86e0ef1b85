"""Scale: the cost of a request does not grow with what is stored, and a second process is a second as much."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from benchmarks import BUILD, ROOT, known, measure, peers, sources
from benchmarks.report import Chart, Check, Row, Table
from benchmarks.sources import JPEG, Plan

GROWTH, SPEED_UP = 1.1, 1.8
COUNTS = (100, 1_000, 10_000, 100_000)


def row(plan: Plan) -> Row:
    found = _known(plan, COUNTS[::3] if plan.quick else COUNTS)
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


def _known(plan: Plan, counts: Sequence[int]) -> dict[int, dict[str, float]]:
    """By how many derivatives are known; they take turns, so that whatever else the machine does meets all of them."""
    folders = {count: BUILD / "known" / str(count) for count in counts}
    shutil.rmtree(BUILD / "known", ignore_errors=True)
    for count, folder in folders.items():
        known.fill(folder, count, plan.photos[0])
    samples: dict[int, list[dict[str, float]]] = {count: [] for count in counts}
    for _ in range(plan.runs):
        for count, folder in folders.items():
            command = [sys.executable, "-m", "benchmarks.known", str(folder), str(count)]
            said = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout
            samples[count].append(json.loads(said))
            for made in folder.glob("*/*x200.jpg"):
                made.unlink()
    return {
        count: {name: measure.median(sample[name] for sample in found) for name in found[0]}
        for count, found in samples.items()
    }


def _renders_per_second(plan: Plan) -> tuple[float, float]:
    """With one process that has a core, and with two that have one each."""
    one, two = zip(*((_rate(plan, 1), _rate(plan, 2)) for _ in range(plan.runs)), strict=True)
    return measure.median(one), measure.median(two)


def _rate(plan: Plan, processes: int) -> float:
    """Each process has a socket and a client of its own: how the system deals out connections has no say."""
    place = BUILD / "run"
    shutil.rmtree(place, ignore_errors=True)
    env = {**sources.serving(sources.store(plan, JPEG), place), "BENCH_CORES": str(processes)}
    ids = [sources.image_id(name) for name in sources.names(plan, JPEG)]

    def rate(number: int) -> float:
        base = bases[number]
        # More than are asked for in the time: else the last ones would be stored sizes.
        urls = [f"{base}/{ids[turn % len(ids)]}/{700 + turn}x{600 + number}.jpg" for turn in range(3000)]
        return measure.requests_per_second(urls, plan.seconds, place / str(number), connections=2)

    with ExitStack() as stack, ThreadPoolExecutor(processes) as clients:
        bases = []
        for number in range(processes):
            (place / str(number)).mkdir()
            server = peers.gunicorn("images", place / str(number), env, threads=1)
            bases.append(stack.enter_context(server)[1])
            for turn in range(20):  # it has loaded what it needs
                measure.fetch(f"{bases[number]}/{ids[0]}/{600 + turn}x{500 + number}.jpg")
        return sum(clients.map(rate, range(processes)))
