"""Memory: the peak of a process that makes every photograph in every size, from four threads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from benchmarks import BUILD, measure, sources
from benchmarks.peers import Contender
from benchmarks.report import Chart, Check, Row, Table, ratio
from benchmarks.rows import cold
from benchmarks.sources import JPEG, SIZES, Plan

MOST = 150.0  # MB
THREADS = 4


def row(plan: Plan) -> Row:
    found: dict[str, list[float] | str] = {}
    for contender in cold.contenders(plan, JPEG):
        found[contender.name] = contender.missing or _peaks(plan, contender)
    ours = found[cold.OURS]
    assert not isinstance(ours, str)
    others = [
        peaks[0] for name, peaks in found.items() if not isinstance(peaks, str) and not name.startswith(cold.OURS)
    ]
    rows = {**found, "lazycrop ÷ best peer": [ratio(ours[0], others), None]}
    columns = ["the process that renders", "the whole tree"]
    peaks = {name: peaks[:1] for name, peaks in found.items() if not isinstance(peaks, str)}
    return Row(
        "Memory",
        [Check("peak of a web process, MB", ours[0], MOST)],
        [Table("Peak resident memory, MB", columns, rows)],
        [Chart("Peak memory", "MB", ["the process that renders"], peaks)],
    )


def _peaks(plan: Plan, contender: Contender) -> list[float]:
    """MB of the largest process, and of all together; medians over the runs."""
    samples = []
    for _ in range(plan.runs):
        with contender.serving(sources.folder(plan, JPEG), BUILD / "run") as site:
            urls = [site.url(name, size, "jpg") for name in sources.names(plan, JPEG) for size in SIZES]
            with ThreadPoolExecutor(THREADS) as clients:
                list(clients.map(measure.fetch, urls))
            measure.settle(site.pid)
            samples.append([measure.peak_of(one) / 1e6 for one in measure.tree(site.pid)])
    return [measure.median(map(max, samples)), measure.median(map(sum, samples))]
