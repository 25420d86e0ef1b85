"""What those who watch a process see of it: health, spans, lines for machines; and that nothing is loaded without."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import dramatiq
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import REGISTRY

from doubles import RED, flat
from lazycrop import ConfigurationError, HealthApp, ImageApp, JsonLines, LazyCrop, MetricsApp
from lazycrop.http.shortcuts import Tick
from lazycrop.metrics.spans import continued
from lazycrop.queues.brokers import BrokerQueue
from servers import HOST, ROOT, Memcached, Valkey, eventually, free_ports, running

SIZE = "/cat/200x100.jpg"


def call(app: Any, path: str = "/", **more: str) -> tuple[int, dict[str, str], bytes]:
    environ: dict[str, Any] = {"PATH_INFO": path, **more}
    setup_testing_defaults(environ)
    seen: list[Any] = []
    body = b"".join(app(environ, lambda status, headers, *_: seen.extend([int(status[:3]), dict(headers)])))
    return seen[0], seen[1], body


def health(images: LazyCrop) -> tuple[int, dict[str, str]]:
    status, _, body = call(HealthApp(images))
    return status, json.loads(body)


def test_a_process_is_ready_and_says_which_part_is_at_fault(
    memcached: Memcached, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lazycrop.library.watch._KEPT", 0.0)
    [closed] = free_ports(1)
    settings: dict[str, Any] = {"memcached": [memcached.address], "broker": "inline", "sizes": "any"}
    with closing(LazyCrop(store="memory:", **{**settings, "memcached": ()})) as images:
        assert health(images) == (200, {"status": "ready", "store": "ok", "cache": "ok", "queue": "ok"})
    store = {"store": "s3://pics/x", "s3_endpoint_url": f"http://{HOST}:{closed}", "s3_access_key": "a"}
    with closing(LazyCrop(**store, s3_secret_key="b", **settings)) as images:
        status, said = health(images)
        assert (status, said["status"], said["store"], said["cache"]) == (503, "failing", "no answer", "ok")
        assert call(HealthApp(images), "/live")[0] == 200


def test_without_a_cache_or_a_queue_a_process_is_ready_and_degraded(
    memcached: Memcached, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lazycrop.library.watch._KEPT", 0.0)
    [closed] = free_ports(1)
    broker, cache = f"redis://{HOST}:{closed}", [memcached.address]
    with closing(LazyCrop(store=tmp_path, memcached=cache, broker=broker, memcached_rest_seconds=60)) as images:
        assert health(images)[1]["cache"] == "ok"
        memcached.stop()
        status, said = health(images)
        assert (status, said["status"], said["queue"]) == (200, "degraded", "left alone after it failed")
        assert said["cache"] == "no answer"
        assert health(images)[1]["cache"] == "left alone after it failed"


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_redirects_that_shortcuts_answer_are_counted_when_somebody_asks(tmp_path: Path) -> None:
    labels = {"cache": "hit", "outcome": "shortcut", "status": "301"}
    settings: dict[str, Any] = {"sizes": "any", "public_url": "https://cdn.example.com/", "broker": "inline"}
    with closing(LazyCrop(store=tmp_path, metrics=True, **settings)) as images:
        images.store_origin("cat", flat(RED))
        app = ImageApp(images)
        assert [call(app, SIZE)[0] for _ in range(2)] == [200, 301]
        before = count("lazycrop_requests_total", **labels)

        def ask() -> None:
            for _ in range(500):
                call(app, SIZE)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        status, headers, body = call(MetricsApp(images))
        assert (status, headers["Cache-Control"]) == (200, "no-store")
        assert b"lazycrop_requests_total" in body
        assert count("lazycrop_requests_total", **labels) == before + 2_000


def test_stored_bytes_that_shortcuts_stream_are_counted_too() -> None:
    labels = {"cache": "hit", "outcome": "shortcut", "status": "200"}
    with closing(LazyCrop(store="memory:", sizes="any", broker="inline", metrics=True)) as images:
        images.store_origin("cat", flat(RED))
        for _ in range(3):
            images.answer(SIZE)
        call(MetricsApp(images))
        before = count("lazycrop_requests_total", **labels)
        for _ in range(10):
            assert images.answer(SIZE).status == 200
        call(MetricsApp(images))
        assert count("lazycrop_requests_total", **labels) == before + 10


def test_a_part_at_fault_is_counted_when_it_begins_and_until_it_is_over(memcached: Memcached) -> None:
    part = {"part": "memcached"}
    before = count("lazycrop_faulty", **part)  # another test's, until it is collected
    begun, rests = count("lazycrop_faults_total", part="memcached"), count("lazycrop_rests_total", part="memcached")
    cache = {"memcached": [memcached.address], "memcached_rest_seconds": 0.01, "broker": "inline"}
    with closing(LazyCrop(store="memory:", sizes="any", metrics=True, **cache)) as images:
        memcached.stop()
        images.answer(SIZE)
        assert count("lazycrop_faulty", **part) == before + 1
        memcached.start()
        eventually(
            lambda: images.answer(SIZE).status == 404 and count("lazycrop_faulty", **part) <= before,
            what="it is over",
        )
    assert count("lazycrop_faults_total", part="memcached") == begun + 1
    assert count("lazycrop_rests_total", part="memcached") > rests


def test_a_tick_counts_what_came_since_the_last_look() -> None:
    tick = Tick()
    assert tick.read() == 0
    for _ in range(3):
        next(tick.steps)
    assert (tick.read(), tick.read()) == (3, 0)
    next(tick.steps)
    assert tick.read() == 1


def test_metrics_that_are_not_counted_cannot_be_shown() -> None:
    with pytest.raises(ConfigurationError, match="metrics"):
        MetricsApp(LazyCrop(store="memory:", sizes="any"))


def test_what_is_off_is_not_even_loaded(tmp_path: Path) -> None:
    program = """
import sys
from lazycrop import HealthApp, ImageApp, LazyCrop
images = LazyCrop(store=sys.argv[1], sizes="any", broker="inline")
ImageApp(images), HealthApp(images)
assert images.answer("/cat/200x100.jpg").status == 404
loaded = {name.partition(".")[0] for name in sys.modules}
assert not loaded & {"prometheus_client", "opentelemetry"}, loaded
assert "lazycrop.metrics" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, check=True, timeout=60)


def test_processes_that_count_together_start_and_fork_without_a_warning(tmp_path: Path) -> None:
    program = """
import os
from lazycrop import LazyCrop
from lazycrop.metrics import counts
images = LazyCrop(store="memory:", sizes="any", broker="inline", metrics=True)
counts.FAULTY.labels("store").inc()
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
value = counts.FAULTY.labels("store")._value.get()
os._exit(0 if value == 0 else 9)
"""
    env = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONWARNINGS": "error::UserWarning"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture(scope="module")
def exported() -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(exported: InMemorySpanExporter) -> Iterator[InMemorySpanExporter]:
    exported.clear()
    yield exported
    exported.clear()


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name.removeprefix("lazycrop "): span for span in spans.get_finished_spans()}


def within(spans: InMemorySpanExporter, outer: ReadableSpan) -> set[str]:
    """The names of the spans whose parent it is."""
    found = [one for one in spans.get_finished_spans() if one.parent and one.parent.span_id == outer.context.span_id]
    return {one.name.removeprefix("lazycrop ") for one in found}


def test_a_request_and_its_job_on_another_broker_object_are_one_trace(
    spans: InMemorySpanExporter, valkey: Valkey, memcached: Memcached, tmp_path: Path
) -> None:
    servers: dict[str, Any] = {"broker": valkey.url, "memcached": [memcached.address]}
    settings: dict[str, Any] = {"store": tmp_path, "sizes": "any", "traces": True, **servers}
    with closing(LazyCrop(**settings)) as images, closing(LazyCrop(**settings)) as other:
        images.store_origin("cat", flat(RED))
        app = continued(ImageApp(images))
        client = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        assert call(app, SIZE, HTTP_TRACEPARENT=client)[0] == 200
        assert isinstance(other.jobs.queue, BrokerQueue)
        worker = dramatiq.Worker(other.jobs.queue.broker, worker_threads=1, worker_timeout=50)
        worker.start()
        eventually(lambda: "job store" in by_name(spans), what="the job is done")
        worker.stop()
    found = by_name(spans)
    assert {f"{span.context.trace_id:032x}" for span in spans.get_finished_spans()} == {client.split("-")[1]}
    parent = found["request"].parent
    assert parent is not None and f"{parent.span_id:016x}" == client.split("-")[2]
    stages = {"lookup", "fetch", "decode", "resize", "encode", "enqueue"}
    assert within(spans, found["request"]) == stages
    assert within(spans, found["enqueue"]) == {"job store"}
    assert within(spans, found["job store"]) == {"fetch", "decode", "resize", "encode", "store"}
    attributes = dict(found["request"].attributes or {})
    assert (attributes["http.response.status_code"], attributes["http.request.method"]) == (200, "GET")


def test_junk_that_came_with_a_job_is_no_reason_not_to_do_it(spans: InMemorySpanExporter) -> None:
    with closing(LazyCrop(store="memory:", sizes="any", traces=True)) as images:
        images.store_origin("cat", flat(RED))
        hooks = images.jobs.hooks
        assert hooks.resume is not None
        for junk in ({}, {"traceparent": "junk"}, {"traceparent": 7}, {"": ""}):
            with hooks.resume(junk):  # type: ignore[arg-type]
                assert not trace.get_current_span().get_span_context().is_valid


def test_a_line_for_machines_has_the_event_and_its_fields_and_the_error() -> None:
    record = logging.makeLogRecord(
        {
            "name": "lazycrop.x",
            "levelname": "WARNING",
            "msg": "it %s",
            "args": ("failed",),
            "event": "fault",
            "part": "store",
        }
    )
    try:
        raise ValueError("why")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = JsonLines().format(record)
    said = json.loads(line)
    assert "\n" not in line
    assert {name: said[name] for name in ("level", "logger", "message", "event", "part", "error")} == {
        "level": "WARNING",
        "logger": "lazycrop.x",
        "message": "it failed",
        "event": "fault",
        "part": "store",
        "error": "ValueError('why')",
    }
    assert "Traceback" in said["trace"] and said["time"].endswith("+00:00")


def test_an_answer_whose_headers_are_cut_has_no_line_of_its_own(tmp_path: Path) -> None:
    script = """
import logging, socket, threading, urllib3
from lazycrop import logs
logs.write_json(logging.WARNING)
with socket.create_server(("127.0.0.1", 0)) as server:
    def serve():
        connection, _ = server.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\\r\\nServer: x\\r\\nContent-Ty")
    threading.Thread(target=serve).start()
    assert urllib3.PoolManager().request("GET", f"http://127.0.0.1:{server.getsockname()[1]}/").data == b""
logging.getLogger("urllib3.connection").warning("another line")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True)
    assert [json.loads(line)["message"] for line in done.stderr.splitlines()] == ["another line"]


def test_all_that_a_worker_writes_is_json(valkey: Valkey, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lazycrop", "--log-json", "worker", "--processes", "1", "--threads", "1"]
    env = {"LAZYCROP_BROKER": valkey.url, "LAZYCROP_STORE": str(tmp_path / "images"), "LAZYCROP_SIZES": "any"}
    log = tmp_path / "python.log"

    def is_done() -> bool:
        return log.exists() and "job-in-vain" in log.read_text()

    with closing(LazyCrop(store=tmp_path, broker=valkey.url)) as images:
        assert images.jobs.queue.send("store", {"image_id": "cat"})
        with running(command, ready=is_done, folder=tmp_path, env=env, seconds=60):
            pass
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    [told] = [line for line in lines if line.get("event") == "job-in-vain"]
    assert (told["actor"], told["error"], told["level"]) == ("store", "BadRequest", "WARNING")
    assert {"dramatiq.MainProcess", "dramatiq.WorkerProcess(0)"} <= {line["logger"] for line in lines}
