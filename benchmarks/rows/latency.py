"""Latency: what a miss waits for where the store is a network away, by how the store is asked."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from benchmarks import BUILD, measure
from benchmarks.report import Row, Table
from benchmarks.sources import Plan
from doubles import Taking
from servers import S3, FaultProxy

ADDED = 0.01  # Seconds, to each piece of an answer.
MISSES = 30


def row(plan: Plan) -> Row:
    place = BUILD / "latency"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with ExitStack() as stack:
        s3 = S3(place)
        stack.callback(s3.stop)
        s3.start()
        proxy = stack.enter_context(FaultProxy(s3.port))
        found = {added: _ways(plan, s3, proxy, added) for added in (0.0, ADDED)}
    columns = ["no latency, ms", f"{1000 * ADDED:.0f} ms of latency, ms", "÷ one after the other"]
    alone = found[ADDED]["a miss, one after the other"]
    rows = {name: [1000 * found[0.0][name], 1000 * late, late / alone] for name, late in found[ADDED].items()}
    note = (
        "A miss of an image whose record is known, 200x100, SeaweedFS, the job queued elsewhere. lazycrop asks for the "
        "size and fetches the mezzanine at once: so the look costs next to nothing, and without it each size that a "
        "cache forgets would be rendered again."
    )
    return Row("Latency of the store", [], [Table("Wall time, medians", columns, rows)], notes=[note])


def _ways(plan: Plan, s3: S3, proxy: FaultProxy, added: float) -> dict[str, float]:
    from lazycrop import LazyCrop

    proxy.set("pass")

    def images() -> Any:
        return LazyCrop(
            store=f"s3://{s3.bucket}/latency",
            s3_endpoint_url=f"http://{proxy.address}",
            s3_region=s3.region,
            s3_access_key=s3.access_key,
            s3_secret_key=s3.secret_key,
            sizes="any",
            broker=Taking(),
        )

    if not images().store.exists("one/image.json"):
        images().store_origin("one", plan.photos[0])
    record = images().record("one")
    mezzanine = record.mezzanine_key(record.mezzanines[0])

    def in_turn(one: Any) -> None:
        one.store.is_remote = False

    def without_look(one: Any) -> None:
        one.store.exists = lambda key: False

    def time_of(change: Callable[[Any], object], ask: Callable[[Any, int], object]) -> float:
        proxy.set("pass")
        one = images()
        change(one)
        one.record("one")
        ask(one, 0)
        proxy.set(*(("latency", added) if added else ("pass",)))
        samples = []
        for number in range(1, MISSES + 1):
            start = time.perf_counter()
            ask(one, number)
            samples.append(time.perf_counter() - start)
        return measure.median(samples)

    def miss(one: Any, number: int) -> None:
        answer = one.answer(f"/one/{200 + number}x100.jpg")
        assert answer.status == 200, answer

    return {
        "one get of the mezzanine": time_of(lambda one: None, lambda one, number: one.store.get(mezzanine, 1_000_000)),
        "a miss, as it is": time_of(lambda one: None, miss),
        "a miss, one after the other": time_of(in_turn, miss),
        "a miss, without the look": time_of(without_look, miss),
    }
