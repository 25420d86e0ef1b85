"""A slow store: what an application's pages wait for while 16 clients want pictures from a store that takes 1.5 s."""

from __future__ import annotations

import asyncio
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks import BUILD, foreign, measure, peers
from benchmarks.report import Check, Row, Table
from benchmarks.sources import Plan
from servers import HOST, S3, FaultProxy, answers, free_ports, running

CLIENTS, IMAGES, THREADS, SECONDS = 16, 16, 4, 10.0
LATENCY = 1.5  # Seconds, of each answer of the store.
LIMIT = 1.2
PAGES, CONTROL = "the application", "another server"


def row(plan: Plan) -> Row:
    place = BUILD / "slow_store"
    shutil.rmtree(place, ignore_errors=True)
    checks, rows, notes = [], {}, []
    with ExitStack() as stack:
        (place / "s3").mkdir(parents=True)
        s3 = S3(place / "s3")
        stack.callback(s3.stop)
        s3.start()
        proxy = stack.enter_context(FaultProxy(s3.port))
        env = _environment(s3, proxy)
        _store(plan, env, s3)
        for server in ("gthread", "waitress", "gevent"):
            before, during, got = _round(place / server, server, env, proxy)
            for name in before:
                for when, samples in (("before", before[name]), ("during", during[name])):
                    rows[f"{server}: {name}, {when}"] = foreign.cells(samples)
            for what, part in (("median", 0.5), ("p99", 0.99)):
                ratio, machine = (foreign.growth(before, during, name, part) for name in (PAGES, CONTROL))
                checks.append(Check(f"{server}: {what} of the application's pages ÷ before", ratio, LIMIT))
                checks.append(Check(f"{server}: the same ÷ that of the other server", ratio / machine, LIMIT))
            notes.append(f"{server}: {', '.join(f'{count} × {status}' for status, count in sorted(got.items()))}.")
    title = f"{CLIENTS} clients, an S3 that answers {LATENCY} s late, {THREADS} threads; ms"
    return Row("A slow store", checks, [Table(title, ["median", "p99", "longest"], rows)], notes=notes)


def _environment(s3: S3, proxy: FaultProxy) -> dict[str, str]:
    return {
        **s3.environment,
        "LAZYCROP_STORE": f"s3://{s3.bucket}/slow",
        "LAZYCROP_S3_ENDPOINT_URL": f"http://{proxy.address}",
        "LAZYCROP_SIZES": "any",
        "BENCH_APART": "1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _store(plan: Plan, env: dict[str, str], s3: S3) -> None:
    from lazycrop import LazyCrop

    images = LazyCrop(
        store=env["LAZYCROP_STORE"],
        s3_endpoint_url=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=s3.secret_key,
        s3_region=s3.region,
        sizes="any",
    )
    for number in range(IMAGES):
        images.store_origin(f"image{number}", plan.photos[0])
    images.close()


def _round(
    place: Path, server: str, env: dict[str, str], proxy: FaultProxy
) -> tuple[foreign.Samples, foreign.Samples, Counter[int]]:
    proxy.set("pass")
    with ExitStack() as stack:
        (place / "control").mkdir(parents=True)
        base = stack.enter_context(_serving(server, place, env))
        _, control = stack.enter_context(peers.gunicorn("bare", place / "control", {}))
        urls = {PAGES: f"{base}/", CONTROL: f"{control}/"}
        clients, probe = stack.enter_context(foreign.process(10)), stack.enter_context(foreign.process())
        clients.submit(_ask_for, base, 1.0, 100).result()  # It has opened its connections.
        before = probe.submit(foreign.samples_for, urls, SECONDS).result()
        proxy.set("latency", LATENCY)
        asking = clients.submit(_ask_for, base, SECONDS + 3, 300)
        time.sleep(2)  # Until it is known to be slow; what comes before is in the longest of the tests.
        during = probe.submit(foreign.samples_for, urls, SECONDS).result()
        got = asking.result()
        proxy.set("pass")
        return before, during, got


@contextmanager
def _serving(server: str, place: Path, env: dict[str, str]) -> Iterator[str]:
    """The address of an application with images, in one process."""
    if server == "gthread":
        with peers.gunicorn("mounted", place, env, threads=THREADS) as (_, base):
            yield base
        return
    [port] = free_ports(1)
    bind = f"{HOST}:{port}"
    command = {
        "waitress": ["waitress", f"--listen={bind}", f"--threads={THREADS}", "--call", "benchmarks.apps:mounted"],
        "gevent": ["gunicorn", "--bind", bind, "-k", "gevent", "--log-level", "warning", "benchmarks.apps:mounted()"],
    }[server]
    url = f"http://{bind}"
    with running([sys.executable, "-m", *command], ready=lambda: answers(f"{url}/"), folder=place, env=env):
        yield url


def _ask_for(base: str, seconds: float, width: int) -> Counter[int]:
    """What clients get who ask for one new size after the other, and who wait where they are told to."""
    return asyncio.run(_all(base, time.monotonic() + seconds, width))


async def _all(base: str, end: float, width: int) -> Counter[int]:
    got: Counter[int] = Counter()
    await asyncio.gather(*(_one(base, end, number, width, got) for number in range(CLIENTS)))
    return got


async def _one(base: str, end: float, number: int, width: int, got: Counter[int]) -> None:
    while time.monotonic() < end:
        width += 1
        reader, writer = await asyncio.open_connection(HOST, urlsplit(base).port)
        reply = await measure.ask(reader, writer, f"/img/image{number % IMAGES}/{width}x.jpg")
        writer.close()
        got[reply.status] += 1
        await asyncio.sleep(float(reply.headers.get("retry-after", 0.05)))
