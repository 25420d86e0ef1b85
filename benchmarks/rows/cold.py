"""Cold: what the first request for a size costs, in CPU of the server's whole process tree."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks import BUILD, measure, peers, sources
from benchmarks.peers import Contender
from benchmarks.report import Chart, Check, Row, Table, ratio
from benchmarks.sources import JPEG, OTHERS, SIZES, Kind, Plan

OURS = "lazycrop"
PLAIN = "lazycrop without [fast]"
BARE = "lazycrop without mezzanines"

# Ours ÷ the best peer's, by size.
LIMITS = {
    OURS: (1 / 15, 1 / 10, 1 / 5, 1 / 3),
    PLAIN: (1 / 8, 1 / 6, 1 / 3, None),
    BARE: (1.0, 1.0, 1.0, 1.0),
}
OTHER_LIMIT = 1 / 3  # of PNG and WebP sources, at every size

Costs = dict[str, dict[str, float]]
"""Contender → size → CPU in seconds, the mean over the photographs."""


def row(plan: Plan) -> Row:
    found = costs(plan, JPEG, "jpg")
    checks = [
        Check(f"{ours}, {size}: CPU ÷ best peer's", against_peers(found, ours, size), limit)
        for ours, limits in LIMITS.items()
        for size, limit in zip(SIZES, limits, strict=True)
        if limit is not None
    ]
    tables = [_table("CPU per cold request, ms, JPEG → JPEG", found)]
    for kind in OTHERS:
        for output in (kind.format, "jpg"):
            others = costs(plan, kind, output)
            title = f"{kind} → {output.upper()}"
            tables.append(_table(f"CPU per cold request, ms, {title}", others))
            checks += [
                Check(f"{title}, {size}: CPU ÷ best peer's", against_peers(others, OURS, size), OTHER_LIMIT)
                for size in SIZES
            ]
    series = {name: [1000 * by_size[size] for size in SIZES] for name, by_size in found.items()}
    chart = Chart("CPU per cold request", "ms", SIZES, series)
    return Row(
        "Cold requests",
        checks,
        tables,
        [chart],
        [
            "The means over the photographs of the medians over the runs. lazycrop's include the actor that stores the "
            "size, but for the line that says otherwise. No peer stores anything here. PNG and WebP sources are five "
            "of the photographs, as large as those are and shrunk."
        ],
    )


@cache
def costs(plan: Plan, kind: Kind, output: str, sizes: Sequence[str] = SIZES) -> Costs:
    """The contenders take turns, so that whatever else the machine does meets all of them."""
    samples: dict[str, dict[tuple[str, str], list[float]]] = {}
    for _ in range(plan.runs):
        for contender in contenders(plan, kind):
            if contender.missing or (contender.keeps_kind and kind.format != output):
                continue
            for asked, seconds in _one_run(plan, contender, kind, output, sizes).items():
                samples.setdefault(contender.name, {}).setdefault(asked, []).append(seconds)
    return {
        name: {
            size: measure.mean(measure.median(found) for (_, of), found in by_request.items() if of == size)
            for size in sizes
        }
        for name, by_request in samples.items()
    }


def against_peers(found: Costs, ours: str, size: str) -> float | None:
    others = [by_size[size] for name, by_size in found.items() if not name.startswith(OURS)]
    return ratio(found[ours][size], others) if ours in found else None


@cache
def contenders(plan: Plan, kind: Kind) -> tuple[Contender, ...]:
    ours = [sources.lazycrop(OURS, plan, kind)]
    if kind == JPEG:
        ours += [
            sources.lazycrop(f"{OURS}, the worker elsewhere", plan, kind, env={"BENCH_APART": "1"}),
            sources.lazycrop(PLAIN, plan, kind, env={"BENCH_PLAIN": "1"}),
            sources.lazycrop(BARE, plan, kind, mezzanines=False),
        ]
    return (*ours, *peers.peers())


def _one_run(
    plan: Plan, contender: Contender, kind: Kind, output: str, sizes: Sequence[str]
) -> dict[tuple[str, str], float]:
    names = sources.names(plan, kind)
    folder = sources.folder(plan, kind)
    asked = [(name, size) for name in names for size in sizes if _shrinks(folder / name, size)]
    with contender.serving(folder, BUILD / "run") as site:
        # Modules are loaded, and memory is taken, at the first request.
        for size in ("64x48", "1500x1100"):
            measure.fetch(site.url(names[0], size, output))
        found = measure.costs(site.pid, (site.url(name, size, output) for name, size in asked))
    for (name, size), (_, body) in zip(asked, found, strict=True):
        check_picture(body, size, f"{contender.name} of {name}")
    return {request: seconds for request, (seconds, _) in zip(asked, found, strict=True)}


@cache
def _shrinks(photo: Path, size: str) -> bool:
    """A photograph smaller than the box is made larger by some, and left as it is by others."""
    with Image.open(photo) as image:
        return any(side > box for side, box in zip(image.size, map(int, size.split("x")), strict=True))


def check_picture(body: bytes, size: str, what: str) -> None:
    """Nobody wins by giving a smaller picture."""
    with Image.open(BytesIO(body)) as image:
        box = tuple(map(int, size.split("x")))
        spare = [side - got for side, got in zip(box, image.size, strict=True)]
        assert min(map(abs, spare)) <= 1 and min(spare) >= -1, f"{what} is {image.size}, not {size}"


def _table(title: str, found: Costs) -> Table:
    rows: dict[str, list[float | None] | str] = {
        name: [1000 * by_size[size] for size in SIZES] for name, by_size in found.items()
    }
    rows |= {peer.name: peer.missing for peer in peers.peers() if peer.missing}
    rows["lazycrop ÷ best peer"] = [against_peers(found, OURS, size) for size in SIZES]
    return Table(title, SIZES, rows)
