"""Adopting: what the very first request for a file that is at a source costs, before anything of it is stored."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import BUILD, measure, peers, sources
from benchmarks.peers import Contender, Site
from benchmarks.report import Check, Row, Table, ratio
from benchmarks.rows.cold import Costs, check_picture
from benchmarks.sources import JPEG, Plan

ASKED = ("400x300", "1600x1200")
FIRST, SECOND, STORED = "lazycrop, never seen", "lazycrop, adopted", "lazycrop, stored"
LIMIT, SECOND_LIMIT, ADOPTION_LIMIT = 0.4, 1.1, 2.5


def row(plan: Plan) -> Row:
    found: Costs = {}
    for contender in (_adopting(FIRST), _adopting(SECOND, adopted=True), _stored(plan), *peers.peers()):
        if not contender.missing:
            found[contender.name] = {size: _cost(plan, contender, size) for size in ASKED}
    others = [by_size for name, by_size in found.items() if not name.startswith("lazycrop")]
    adoption = _adoption(plan)
    largest = ASKED[-1]
    checks = [
        *(Check(f"never seen, {size}: CPU ÷ best peer's", _ratio(found[FIRST], others, size), LIMIT) for size in ASKED),
        *(
            Check(f"adopted, {size}: CPU ÷ a stored image's", found[SECOND][size] / found[STORED][size], SECOND_LIMIT)
            for size in ASKED
        ),
        Check("adoption ÷ best peer's 1600x1200", ratio(adoption, [one[largest] for one in others]), ADOPTION_LIMIT),
    ]
    rows = {name: [1000 * by_size[size] for size in ASKED] for name, by_size in found.items()}
    note = f"The job that adopts an image takes {1000 * adoption:.0f} ms. Where jobs are done is not in the table."
    return Row("Images that exist already", checks, [Table("CPU per request, ms", ASKED, rows)], notes=[note])


def _ratio(ours: dict[str, float], others: list[dict[str, float]], size: str) -> float | None:
    return ratio(ours[size], [one[size] for one in others])


def _cost(plan: Plan, contender: Contender, size: str) -> float:
    """CPU in seconds: the mean over the photographs, each asked for once in a process that has seen none of them."""
    folder, (warm, *names) = sources.folder(plan, JPEG), sources.names(plan, JPEG)
    with contender.serving(folder, BUILD / "adopting") as site:
        for other in ("64x48", "1500x1100"):  # Modules are loaded, and memory is taken.
            measure.fetch(site.url(warm, other, "jpg"))
        costs = measure.costs(site.pid, (site.url(name, size, "jpg") for name in names))
    for name, (_, body) in zip(names, costs, strict=True):
        check_picture(body, size, f"{contender.name} of {name}")
    return measure.mean(seconds for seconds, _ in costs)


def _adopting(name: str, adopted: bool = False) -> Contender:
    def serve(folder: Path, place: Path) -> Iterator[Site]:
        if adopted:
            _adopt(folder, place / "store")
        env = {
            "LAZYCROP_SOURCE": str(folder),
            "LAZYCROP_STORE": str(place / "store"),
            "LAZYCROP_SIZES": "any",
            "BENCH_APART": "1",
        }
        with peers.gunicorn("images", place, env) as (pid, base):
            yield Site(pid, lambda name, size, format: f"{base}/{name}/{size}.{format}")

    return Contender(name, serve, ours=True)


def _stored(plan: Plan) -> Contender:
    return sources.lazycrop(STORED, plan, JPEG, env={"BENCH_APART": "1"})


def _adopt(folder: Path, store: Path) -> float:
    """CPU in seconds for each photograph."""
    from lazycrop import LazyCrop

    shutil.rmtree(store, ignore_errors=True)
    images = LazyCrop(source=str(folder), store=str(store), sizes="any", broker="inline")
    names = sorted(path.name for path in folder.iterdir())
    began = time.process_time()
    for name in names:
        images.adopt(name)
    images.close()
    return (time.process_time() - began) / len(names)


def _adoption(plan: Plan) -> float:
    return min(_adopt(sources.folder(plan, JPEG), BUILD / "adopting/store") for _ in range(2))
