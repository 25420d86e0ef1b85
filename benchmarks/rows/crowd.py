"""A crowd: many clients ask for a few new sizes of one image at once; each is rendered once and written once."""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import sys
import time
from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from pathlib import Path

from benchmarks import BUILD, counting, measure, peers
from benchmarks.measure import Reply
from benchmarks.report import Check, Row, Table
from benchmarks.sources import Plan
from servers import HOST, S3, Memcached, Server, Valkey, eventually, running

CLIENTS, SIZES, PROCESSES, THREADS = 1_000, 50, 2, 16


def row(plan: Plan) -> Row:
    place = BUILD / "crowd"
    shutil.rmtree(place, ignore_errors=True)
    with ExitStack() as stack:
        base, counts = _start(plan, place, stack)
        replies = asyncio.run(_crowd(base))
        with suppress(AssertionError):  # the check below says it
            eventually(lambda: counting.counts(counts)[1] >= SIZES, 30, "every size is stored")
        time.sleep(1)  # what is done twice would be done by now
        renders, writes = counting.counts(counts)
    # Who comes late is redirected to the size that is stored by then, or to one that is nearly that.
    errors = sum(reply is None or reply.status not in (200, 301, 302) for reply in replies)
    latencies = sorted(reply.seconds for reply in replies if reply is not None)
    checks = [
        Check("renders", renders, SIZES),
        Check("objects written, at most", writes, SIZES),
        Check("objects written, at least", writes, SIZES, True),
        Check("errors", errors, 0),
        Check("sizes of which two clients got different bytes", _differing(replies), 0),
    ]
    p50, p99 = (latencies[int(len(latencies) * share)] for share in (0.5, 0.99))
    table = Table(
        f"{CLIENTS:,} clients, {SIZES} new sizes, {PROCESSES} processes; seconds from connecting to the last byte",
        ["p50", "p99", "longest"],
        {"lazycrop": [p50, p99, latencies[-1]]},
    )
    statuses = Counter("no answer" if reply is None else str(reply.status) for reply in replies)
    return Row("A crowd", checks, [table], notes=[f"Answers: {dict(statuses)}."])


def _start(plan: Plan, place: Path, stack: ExitStack) -> tuple[str, Path]:
    """memcached, Valkey, SeaweedFS, a worker and two web processes; their address, and where renders are counted."""

    def started(kind: type[S3] | type[Memcached] | type[Valkey]) -> Server:
        folder = place / kind.__name__
        folder.mkdir(parents=True)
        server = kind(folder)
        stack.callback(server.stop)
        server.start()
        return server

    s3, memcached, valkey = started(S3), started(Memcached), started(Valkey)
    assert isinstance(s3, S3) and isinstance(memcached, Memcached) and isinstance(valkey, Valkey)
    env = {
        **s3.environment,
        "LAZYCROP_STORE": f"s3://{s3.bucket}/bench",
        "LAZYCROP_ENDPOINT_URL": s3.endpoint,
        "LAZYCROP_MEMCACHED": memcached.address,
        "LAZYCROP_BROKER": valkey.url,
        "LAZYCROP_SIZES": "any",
        "BENCH_COUNTS": str(place / "counts"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    _store(plan, env, s3)
    worker = [sys.executable, "-m", "dramatiq", "benchmarks.counted_worker", "-Q", "lazycrop", "-p", "1", "-t", "4"]
    (place / "worker").mkdir()
    stack.enter_context(running(worker, ready=lambda: True, folder=place / "worker", env=env))
    _, base = stack.enter_context(peers.gunicorn("counted_images", place, env, workers=PROCESSES, threads=THREADS))
    for _ in range(20):  # both processes have opened their connections
        measure.fetch(f"{base}/one/origin.jpg")
    return base, place / "counts"


def _store(plan: Plan, env: dict[str, str], s3: S3) -> None:
    from lazycrop import LazyCrop

    settings = {name.removeprefix("LAZYCROP_").lower(): value for name, value in env.items() if name[:9] == "LAZYCROP_"}
    images = LazyCrop(**settings, access_key=s3.access_key, secret_key=s3.secret_key, region=s3.region)
    images.store_origin("one", plan.photos[0])
    images.close()


async def _crowd(base: str) -> list[Reply | None]:
    port = int(base.rpartition(":")[2])
    sizes = [f"{400 + number}x300" for number in range(SIZES)]
    asked = [sizes[number % SIZES] for number in range(CLIENTS)]
    random.Random(1).shuffle(asked)
    return await asyncio.gather(*(_client(port, f"/one/{size}.jpg") for size in asked))


async def _client(port: int, path: str) -> Reply | None:
    """None where there was no whole answer."""
    started = time.perf_counter()
    try:
        reader, writer = await asyncio.open_connection(HOST, port)
        try:
            return await measure.ask(reader, writer, path, started)
        finally:
            writer.close()
    except (OSError, EOFError, TimeoutError):
        return None


def _differing(replies: list[Reply | None]) -> int:
    bodies: dict[str, set[str]] = defaultdict(set)
    for reply in replies:
        if reply is not None and reply.status == 200:
            bodies[reply.headers["etag"]].add(hashlib.sha256(reply.body).hexdigest())
    return sum(len(different) > 1 for different in bodies.values())
