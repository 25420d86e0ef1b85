"""Overload: what 200 clients get who ask for 200 new sizes at once, and what the application's pages wait meanwhile.

Two processes with two renders each, on two cores: no page of any server is then answered as quickly as before. So those
of another server, which has nothing to do with images, are measured in turn with those of the application, and there is
a threshold on the one ratio to the other as well. The longest is that of the moment when all have come at once and are
in the server's own queue; a server whose requests take 15 ms of a core each and no Python has 160 to 460 ms of it.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections import Counter
from contextlib import ExitStack
from urllib.parse import urlsplit

from benchmarks import BUILD, foreign, measure, peers
from benchmarks.report import Check, Row, Table
from benchmarks.sources import Plan
from servers import HOST, Memcached

CLIENTS, PROCESSES, SLOTS = 200, 2, 2
QUIET = 3.0  # Seconds that they are measured for before the crowd comes.
CROWDS = 5  # One after the other: each is over in one to three seconds.
LIMIT = 1.2

IMAGES, CONTROL = "the application", "another server"


def row(plan: Plan) -> Row:
    checks, rows, notes = [], {}, []
    for threads in (CLIENTS // PROCESSES, 16):
        before, during, got, memory = _round(plan, threads)
        for name in (IMAGES, CONTROL):
            for when, samples in (("before", before[name]), ("during", during[name])):
                rows[f"{name}, {threads} threads, {when}"] = foreign.cells(samples)
        for what, share in (("median", 0.5), ("p99", 0.99)):
            ratio, machine = (foreign.growth(before, during, name, share) for name in (IMAGES, CONTROL))
            checks.append(Check(f"{threads} threads: {what} of the application's pages ÷ before", ratio, LIMIT))
            said = f"{threads} threads: the same ÷ that of the other server"
            checks.append(Check(said, ratio / machine, LIMIT))
        errors = sum(count for (status, _), count in got.items() if status >= 500)
        checks.append(Check(f"{threads} threads: answers of 5xx", errors, 0))
        shares = ", ".join(f"{count} × {status} {what}" for (status, what), count in sorted(got.items()))
        notes.append(f"{threads} threads a process: {shares}. Memory of all processes at most {memory / 1e6:.0f} MB.")
    title = f"{CLIENTS} clients, as many new sizes, {PROCESSES} processes of {SLOTS} renders; ms"
    return Row("Overload", checks, [Table(title, ["median", "p99", "longest"], rows)], notes=notes)


def _round(plan: Plan, threads: int) -> tuple[foreign.Samples, foreign.Samples, Counter[tuple[int, str]], int]:
    place = BUILD / "overload"
    shutil.rmtree(place, ignore_errors=True)
    with ExitStack() as stack:
        for name in ("memcached", "images", "control"):
            (place / name).mkdir(parents=True)
        memcached = Memcached(place / "memcached")
        stack.callback(memcached.stop)
        memcached.start()
        env = {
            "LAZYCROP_STORE": str(place / "store"),
            "LAZYCROP_MEMCACHED": memcached.address,
            "LAZYCROP_SIZES": "any",
            "LAZYCROP_RENDERS": str(SLOTS),
            "LAZYCROP_MEZZANINE_EDGES": "none",
        }
        _store(plan, env)
        pid, base = stack.enter_context(
            peers.gunicorn("mounted", place / "images", env, workers=PROCESSES, threads=threads)
        )
        _, control = stack.enter_context(peers.gunicorn("bare", place / "control", {}))
        urls = {IMAGES: f"{base}/", CONTROL: f"{control}/"}
        clients = stack.enter_context(foreign.process(nice=10))
        clients.submit(_crowd, base, 8 * PROCESSES, 100).result()  # The processes have opened their connections.
        time.sleep(QUIET)
        before = foreign.samples_for(urls, QUIET)
        during: foreign.Samples = {name: [] for name in urls}
        got: Counter[tuple[int, str]] = Counter()
        for number in range(CROWDS):
            crowd = clients.submit(_crowd, base, CLIENTS, 300 + number * CLIENTS)
            for name, samples in foreign.samples(urls, crowd.done).items():
                during[name] += samples
            got.update(crowd.result())
            time.sleep(QUIET)  # The worker threads of these processes store what was asked for.
        return before, during, got, measure.peak_memory(pid)


def _store(plan: Plan, env: dict[str, str]) -> None:
    """One photograph, and a size that is larger than all that will be asked for."""
    from lazycrop import LazyCrop

    settings = {name.removeprefix("LAZYCROP_").lower(): value for name, value in env.items()}
    images = LazyCrop(**settings, broker="inline")
    images.store_origin("one", plan.photos[0])
    images.warm("one", ["1600x"])
    images.close()


def _crowd(base: str, clients: int, width: int) -> list[tuple[int, str]]:
    """Status and kind of the answer that each got."""

    async def all_at_once() -> list[tuple[int, str]]:
        return await asyncio.gather(*(_client(base, f"/img/one/{width + number}x.jpg") for number in range(clients)))

    return asyncio.run(all_at_once())


async def _client(base: str, path: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection(HOST, urlsplit(base).port)
    try:
        reply = await measure.ask(reader, writer, path)
    finally:
        writer.close()
    return reply.status, reply.headers.get("cache-status", "").rpartition("detail=")[2]
