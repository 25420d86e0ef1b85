"""Metrics, health and traces of real processes, as Prometheus, a balancer and an exporter see them."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from client import Reply, get
from lazycrop import LazyCrop
from servers import HOST, Memcached, Valkey, eventually, free_ports, photo, running

APP = """
from lazycrop import HealthApp, LazyCrop, MetricsApp, Middleware, Answer, send

images = LazyCrop.from_env()
beside = {"/healthz": HealthApp(images), "/metrics": MetricsApp(images)}

def nothing(environ, start_response):
    return beside[environ["PATH_INFO"]](environ, start_response)

application = Middleware(nothing, images)
"""


def samples(url: str) -> dict[tuple[str, ...], float]:
    """What is at ``url``, as Prometheus reads it: values by the name and the labels' values."""
    reply = get(url)
    assert reply.status == 200, reply.body
    found: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(reply.body.decode()):
        for sample in family.samples:
            found[(sample.name, *(sample.labels[name] for name in sorted(sample.labels) if name != "pid"))] = (
                sample.value
            )
    return found


@contextmanager
def deployment(folder: Path, valkey: Valkey, memcached: Memcached) -> Iterator[tuple[str, str]]:
    """Two web processes on one port, and a worker; the addresses of what each of the two shows."""
    env = {
        "LAZYCROP_STORE": str(folder / "images"),
        "LAZYCROP_PUBLIC_URL": "https://cdn.example.com/",
        "LAZYCROP_SIZES": "any",
        "LAZYCROP_BROKER": valkey.url,
        "LAZYCROP_MEMCACHED": memcached.address,
        "LAZYCROP_METRICS": "true",
    }
    images = LazyCrop(store=folder / "images")
    images.store_origin("cat", photo("Fossa"))
    (folder / "watched_site.py").write_text(APP)
    (folder / "counts").mkdir()
    web, shown = free_ports(2)
    gunicorn = [
        sys.executable,
        "-m",
        "gunicorn",
        "watched_site:application",
        "--bind",
        f"{HOST}:{web}",
        "--workers",
        "2",
    ]
    worker = [sys.executable, "-m", "lazycrop", "worker", "--processes", "1", "--metrics-port", str(shown)]
    base, counts = f"http://{HOST}:{web}", f"http://{HOST}:{shown}/metrics"
    with ExitStack() as stack:
        shared = {**env, "PROMETHEUS_MULTIPROC_DIR": str(folder / "counts")}
        command = [*gunicorn, "--workers", "2", "--threads", "4", "--chdir", str(folder)]
        stack.enter_context(running(command, ready=f"{base}/healthz", folder=folder, env=shared, seconds=60))
        stack.enter_context(running(worker, ready=counts, folder=folder, env=env, seconds=60))
        yield base, counts


def test_two_web_processes_and_a_worker_count_what_their_clients_count(
    tmp_path: Path, valkey: Valkey, memcached: Memcached
) -> None:
    replies: list[Reply] = []
    with deployment(tmp_path, valkey, memcached) as (base, worker):

        def ask(path: str, times: int = 1, **headers: str) -> Reply:
            replies.extend(get(f"{base}/img/{path}", **headers) for _ in range(times))
            return replies[-1]

        sizes = [f"{width}x100" for width in range(200, 206)]
        for size in sizes:
            ask(f"cat/{size}.jpg", 2)
        for size in sizes:
            eventually(lambda size=size: ask(f"cat/{size}.jpg").status == 301, what="each size is stored")
            etag = ask(f"cat/{size}.jpg", 20).headers["etag"]
            ask(f"cat/{size}.jpg", **{"If-None-Match": etag})
        ask("dog/200x100.jpg", 3)
        ask("cat/200y100.jpg", 2)
        web = _settled(base, len(replies))
        done = ("lazycrop_jobs_total", "store", "done")
        eventually(lambda: samples(worker).get(done) == len(sizes), what="each job is counted")
        work, health = samples(worker), get(f"{base}/healthz")

    told = _requests(web)
    seen: Counter[tuple[str, str]] = Counter((str(reply.status), _outcome(reply.detail)) for reply in replies)
    counted: Counter[tuple[str, str]] = Counter()
    for (_, outcome, status), count in told.items():
        # A shortcut repeats the answer that it was made of.
        counted[status, "stored" if outcome == "shortcut" else outcome] += int(count)
    assert counted == seen
    assert told["hit", "shortcut", "301"] > 50
    assert web["lazycrop_renders_total", ""] == work["lazycrop_renders_total", ""] == len(sizes)  # a stage each
    assert web["lazycrop_jobs_total", "store", "queued"] == work["lazycrop_jobs_total", "store", "done"] == len(sizes)
    assert work["lazycrop_stored_total", "size"] == len(sizes)
    stored = sum((tmp_path / f"images/cat/{size}.jpg").stat().st_size for size in sizes)
    assert work["lazycrop_stored_bytes_total", "size"] == stored
    assert (web["lazycrop_queue_up",], web["lazycrop_queue_waiting",], web["lazycrop_queue_dead",]) == (1, 0, 0)
    assert (web["lazycrop_renders_under_way",], web["lazycrop_renders_waiting",]) == (0, 0)
    for stage in ("lookup", "fetch", "decode", "resize", "encode", "enqueue"):
        assert web["lazycrop_stage_seconds_count", "request", stage] >= len(sizes) / 2
    assert work["lazycrop_stage_seconds_count", "job", "store"] == len(sizes)
    assert work["dramatiq_messages_total", "lazycrop.store", "lazycrop"] == len(sizes)
    assert (health.status, json.loads(health.body)["status"]) == (200, "ready")


def _requests(found: dict[tuple[str, ...], float]) -> dict[tuple[str, ...], float]:
    return {name[1:]: value for name, value in found.items() if name[0] == "lazycrop_requests_total"}


def _settled(base: str, count: int) -> dict[tuple[str, ...], float]:
    """What is shown once the other process, too, has written down what it has counted."""

    def shown() -> dict[tuple[str, ...], float] | None:
        found = samples(f"{base}/metrics")
        return found if sum(_requests(found).values()) >= count else None

    found = eventually(shown, what="all requests are counted")
    assert found is not None
    return found


def _outcome(detail: str) -> str:
    return detail.rpartition("; ")[2].removeprefix("detail=")
