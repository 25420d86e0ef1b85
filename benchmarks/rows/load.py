"""Load: clients that ask for nothing but sizes that were never made before, of two processes on all cores."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from benchmarks import BUILD, measure, peers, sources
from benchmarks.peers import Contender, Site
from benchmarks.report import Check, Row, Table, ratio
from benchmarks.sources import JPEG, Plan
from servers import HOST

CLIENTS, PROCESSES, THREADS = 64, 2, 8
SECONDS, QUICK_SECONDS = 10.0, 3.0  # In each of the rounds, in which all take turns.
ROUNDS = 3
WIDTHS, HEIGHTS = range(360, 441), range(270, 331)  # 400x300, and around it
FASTER, SHORTER = 8.0, 0.2
WORK_ELSEWHERE, WORK_HERE = "lazycrop, the worker elsewhere", "lazycrop, and its workers do second stages meanwhile"


@dataclass(frozen=True)
class Load:
    """``per_second``: pictures that came in time. ``latencies``: of all pictures, in seconds, sorted; who waited when
    time was over waited to the end. ``memory``: bytes at the peak, the sum over all processes. ``cpu``: seconds of all
    processes of the server, of each picture.
    """

    per_second: float
    latencies: list[float]
    memory: int
    statuses: Counter[int]
    cpu: float

    def at(self, share: float) -> float:
        return self.latencies[int(len(self.latencies) * share)]


def row(plan: Plan) -> Row:
    place = BUILD / "load"
    shutil.rmtree(place, ignore_errors=True)
    runs: dict[str, Callable[[], Load]] = {
        WORK_ELSEWHERE: partial(_ours, plan, {"BENCH_APART": "1"}),
        WORK_HERE: partial(_ours, plan, {}),
    }
    others = [peer for peer in peers.peers() if peer.name.split()[0] in ("thumbor", "ipx")]
    runs |= {peer.name: partial(_theirs, plan, peer) for peer in others if not peer.missing}
    rounds = [{name: run() for name, run in runs.items()} for _ in range(1 if plan.quick else ROUNDS)]
    loads = {name: _together([loads[name] for loads in rounds]) for name in runs}
    rows: dict[str, list[float | str | None] | str] = {name: _cells(load) for name, load in loads.items()}
    rows |= {peer.name: peer.missing for peer in others if peer.missing}
    found = [load for name, load in loads.items() if name not in (WORK_ELSEWHERE, WORK_HERE)]
    first = loads[WORK_ELSEWHERE]
    best, quickest = [load.per_second for load in found], [load.at(0.99) for load in found]
    checks = [
        Check(
            "requests a second ÷ best peer's", 1 / ratio(max(best), [first.per_second]) if best else None, FASTER, True
        ),
        Check("p99 ÷ best peer's", ratio(first.at(0.99), [*quickest]), SHORTER),
        Check("answers that are no picture of that size", sum(first.statuses.values()) - first.statuses[200], 0),
    ]
    columns = ["pictures a second", "p50, ms", "p99, ms", "CPU a picture, ms", "memory, MB", "answers"]
    title = f"{CLIENTS} clients, {PROCESSES} processes, new sizes around 400x300"
    notes = [
        "The client takes its share of the same cores. thumbor and ipx are two processes on a port each, half of the "
        "clients on either; lazycrop is gunicorn with two processes."
    ]
    return Row("Under load", checks, [Table(title, columns, rows)], notes=notes)


def _together(loads: list[Load]) -> Load:
    return Load(
        measure.mean(load.per_second for load in loads),
        sorted(seconds for load in loads for seconds in load.latencies),
        max(load.memory for load in loads),
        sum((load.statuses for load in loads), Counter()),
        measure.mean(load.cpu for load in loads),
    )


def _cells(load: Load) -> list[float | str | None]:
    answers = ", ".join(f"{count} of {status}" for status, count in sorted(load.statuses.items()))
    return [load.per_second, 1000 * load.at(0.5), 1000 * load.at(0.99), 1000 * load.cpu, load.memory / 1e6, answers]


def _ours(plan: Plan, env: dict[str, str]) -> Load:
    place = BUILD / "load/lazycrop"
    settings = {**sources.serving(sources.store(plan, JPEG), place), **env}
    with peers.gunicorn("images", place, settings, workers=PROCESSES, threads=THREADS) as (pid, base):
        site = Site(pid, lambda name, size, format: f"{base}/{sources.image_id(name)}/{size}.{format}")
        return _load(plan, [site])


def _theirs(plan: Plan, peer: Contender) -> Load:
    with ExitStack() as stack:
        folder = sources.folder(plan, JPEG)
        places = [BUILD / f"load/{peer.name.split()[0]}-{number}" for number in range(PROCESSES)]
        return _load(plan, [stack.enter_context(peer.serving(folder, place)) for place in places])


def _load(plan: Plan, sites: list[Site]) -> Load:
    asked = _asked(plan)
    for site in sites:  # It has opened what it needs.
        for _ in range(4 * PROCESSES):
            measure.fetch(site.url(*next(asked)))
    seconds = QUICK_SECONDS if plan.quick else SECONDS
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    before = sum(measure.cpu_seconds(site.pid) for site in sites)
    in_time = asyncio.run(_clients(sites, asked, seconds, latencies, statuses))
    cpu = sum(measure.cpu_seconds(site.pid) for site in sites) - before
    memory = sum(measure.peak_memory(site.pid) for site in sites)
    return Load(in_time / seconds, sorted(latencies), memory, statuses, cpu / len(latencies))


def _asked(plan: Plan) -> Iterator[tuple[str, str, str]]:
    """Names, sizes and formats, each once, in an order that is the same for all."""
    names = sources.names(plan, JPEG)
    every = [(name, f"{width}x{height}", "jpg") for name in names for width in WIDTHS for height in HEIGHTS]
    random.Random(1).shuffle(every)
    return iter(every)


async def _clients(
    sites: list[Site],
    asked: Iterator[tuple[str, str, str]],
    seconds: float,
    latencies: list[float],
    statuses: Counter[int],
) -> int:
    until = time.perf_counter() + seconds

    async def client(site: Site) -> int:
        in_time = 0
        reader, writer = await asyncio.open_connection(HOST, urlsplit(site.url("", "", "")).port)
        while time.perf_counter() < until:
            url = urlsplit(site.url(*next(asked)))
            reply = await measure.ask(reader, writer, url.path)
            statuses[reply.status] += 1
            if reply.status == 200:
                latencies.append(reply.seconds)
                in_time += time.perf_counter() < until
        writer.close()
        return in_time

    return sum(await asyncio.gather(*(client(sites[number % len(sites)]) for number in range(CLIENTS))))
