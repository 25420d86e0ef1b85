"""Quiet: the log has a line for a fault that lasts and one for its end, however many jobs or tries there are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import dramatiq
import dramatiq.worker
import pytest

from lazycrop.build import open_queue
from lazycrop.errors import StoreUnavailable
from lazycrop.library.jobs import Jobs
from lazycrop.model.derivatives import Derivative
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.contract import QueueSettings
from lazycrop.queues.quiet import hush_consumers
from servers import HOST, FaultProxy, RabbitMQ, Valkey, eventually, free_ports


def lines(caplog: pytest.LogCaptureFixture, least: int = logging.INFO) -> list[str]:
    """As they are written, tracebacks included."""
    records = [record for record in caplog.records if record.levelno >= least]
    return [line for record in records for line in caplog.handler.format(record).splitlines()]


class Work:
    """What jobs do, which fails until ``error`` is taken away."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error
        self.failed = self.done = 0

    def __call__(self, message: dict[str, Any]) -> None:
        if self.error is not None:
            self.failed += 1
            raise self.error
        self.done += 1


def test_a_hundred_jobs_that_fail_are_told_in_a_line_and_the_end_of_that_in_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    work = Work(StoreUnavailable("The store is down."))
    queue = open_queue(QueueSettings(), {"store": work})
    for number in range(115):
        queue.send("store", {"image_id": f"cat{number}"})
    eventually(lambda: work.failed >= 115, 20, what="each has failed")
    work.error = None
    eventually(lambda: work.done == 115, 60, what="each has been tried again")
    queue.close()
    began, ended = [line for line in lines(caplog) if "dramatiq.worker.Worker" not in line]
    assert "jobs fail" in began
    assert "The store is down." in began
    assert "jobs are done again" in ended


def test_a_hundred_jobs_that_fail_for_a_reason_that_nobody_knows_have_one_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    work = Work(RuntimeError("odd"))
    queue = open_queue(QueueSettings(), {"store": work})
    for number in range(115):
        queue.send("store", {"image_id": f"cat{number}"})
    eventually(lambda: work.failed >= 115, 20, what="each has failed")
    work.error = None
    queue.close()
    assert "\n".join(lines(caplog)).count("Traceback") == 1


def test_jobs_that_fail_in_the_caller_have_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    work = Work(RuntimeError("odd"))
    queue = open_queue(QueueSettings(broker="inline"), {"store": work})
    assert not any(queue.send("store", {}) for _ in range(50))
    work.error = None
    assert queue.send("store", {})
    assert len([record for record in caplog.records if record.levelno >= logging.INFO]) == 2


def test_a_backlog_that_is_full_is_told_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    queue = open_queue(QueueSettings(), {"store": lambda message: gate.wait(60) and None})
    taken = [queue.send("store", {}) for _ in range(1_200)]
    assert taken.count(False) > 100
    assert len(lines(caplog, logging.WARNING)) == 1
    gate.set()
    eventually(lambda: queue.send("store", {}), what="jobs are taken again")
    queue.close()
    assert "taken again" in lines(caplog, logging.WARNING)[1]
    assert len(lines(caplog, logging.WARNING)) == 2


def test_a_queue_that_cannot_be_opened_has_one_traceback(caplog: pytest.LogCaptureFixture) -> None:
    def fail(actors: object) -> Any:
        raise ImportError("no client")

    jobs = Jobs({}, fail)
    for _ in range(50):
        assert not jobs.ready
        assert not jobs.send("store", Derivative("cat", None, "jpg", 1))
    assert "\n".join(lines(caplog)).count("Traceback") == 1


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Valkey | RabbitMQ:
    server: Valkey | RabbitMQ = request.getfixturevalue(request.param)
    return server


def counted(call: Callable[..., Any], calls: list[int]) -> Callable[..., Any]:
    def counting(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        return call(*arguments, **options)

    return counting


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_worker_whose_broker_is_gone_for_long_has_a_line_and_one_when_it_is_back(
    broker: Valkey | RabbitMQ, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dramatiq.worker, "CONSUMER_RESTART_DELAY_SECS", 0.05)
    caplog.set_level(logging.INFO)
    port = int(broker.url.rpartition(":")[2].partition("/")[0])
    work, calls = Work(None), list[int]()
    with FaultProxy(port) as proxy:
        url = broker.url.replace(f":{port}", f":{proxy.port}")
        queue = open_queue(QueueSettings(broker=url, queue="quiet", broker_rest_seconds=0.1), {"store": work})
        assert isinstance(queue, BrokerQueue)
        queue.broker.consume = counted(queue.broker.consume, calls)  # type: ignore[method-assign]
        hush_consumers(queue.broker, "quiet")
        worker = dramatiq.Worker(queue.broker, worker_timeout=50)
        worker.start()
        eventually(lambda: queue.send("store", {}) and work.done, 20, what="a job is done")
        before = len(calls)
        proxy.set("refuse")
        eventually(lambda: len(calls) > before + 10, 30, what="it has been tried often")
        proxy.set("pass")
        done = work.done
        eventually(lambda: queue.send("store", {}) and work.done > done, 30, what="a job is done again")
        worker.stop()
        queue.close()
    told = [
        record.message for record in caplog.records if record.name.startswith(("dramatiq", "lazycrop.queues.quiet"))
    ]
    told = [line for line in told if "hutting down" not in line and "has been shut down" not in line]
    assert len(told) == 2, told
    assert "the broker gives no jobs" in told[0]
    assert told[1] == "the broker gives jobs again"


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_rabbitmq_that_is_gone_has_a_line_of_ours_and_none_of_pikas(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("pika")
    caplog.set_level(logging.INFO)
    [port] = free_ports(1)
    queue = open_queue(QueueSettings(broker=f"amqp://{HOST}:{port}", broker_rest_seconds=60), {"store": print})
    for _ in range(50):
        assert not queue.send("store", {})
    queue.close()
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "lazycrop-broker"], what="no call hangs")
    [line] = lines(caplog)
    assert "broker of the queue" in line
    logging.getLogger("pika.adapters.blocking_connection").error("of the application's own")
    assert len(lines(caplog)) == 2
