from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker

from lazycrop import ConfigurationError, LazyCrop
from lazycrop.build import open_queue
from lazycrop.queues import actors, embedded
from lazycrop.queues.actors import declare
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.contract import QueueSettings
from lazycrop.queues.embedded import EmbeddedQueue
from lazycrop.queues.inline import InlineQueue
from servers import FaultProxy, RabbitMQ, Valkey, eventually


def settings(**values: Any) -> QueueSettings:
    return QueueSettings(**values)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again at once."""
    monkeypatch.setitem(actors._OPTIONS, "min_backoff", 1)
    monkeypatch.setitem(actors._OPTIONS, "max_backoff", 10)


def test_inline_does_the_work_before_it_returns() -> None:
    done: list[dict[str, Any]] = []
    queue = open_queue(settings(broker="inline"), {"store": done.append})
    assert isinstance(queue, InlineQueue)
    assert queue.send("store", {"a": 1})
    assert done == [{"a": 1}]


def test_inline_work_that_fails_is_not_taken(caplog: pytest.LogCaptureFixture) -> None:
    queue = open_queue(settings(broker="inline"), {"store": lambda message: 1 / 0})  # type: ignore[dict-item,return-value]
    assert not queue.send("store", {})
    assert "ZeroDivisionError" in caplog.text


def test_embedded_work_is_done_by_threads_that_the_first_message_starts() -> None:
    done: list[str] = []
    before = threading.active_count()
    queue = open_queue(settings(), {"store": lambda message: done.append(threading.current_thread().name)})
    assert isinstance(queue, EmbeddedQueue)
    assert threading.active_count() == before
    assert queue.send("store", {})
    queue.close()
    assert len(done) == 1
    assert done != [threading.current_thread().name]
    eventually(lambda: threading.active_count() <= before, what="the threads have ended")


@pytest.mark.usefixtures("impatient")
def test_embedded_work_is_tried_again_but_not_what_can_never_succeed() -> None:
    from lazycrop.errors import BrokenImage

    tries: list[str] = []

    def work(message: dict[str, Any]) -> None:
        tries.append(message["kind"])
        if message["kind"] == "broken":
            raise BrokenImage("It is broken.")
        if tries.count("late") < 2:
            raise OSError("not yet")

    queue = open_queue(settings(), {"store": work})
    queue.send("store", {"kind": "broken"})
    queue.send("store", {"kind": "late"})
    queue.close()
    assert sorted(tries) == ["broken", "late", "late"]


def test_an_embedded_backlog_is_bounded() -> None:
    gate = threading.Event()
    queue = open_queue(settings(), {"store": lambda message: gate.wait() and None})
    taken = [queue.send("store", {}) for _ in range(1_200)]
    gate.set()
    queue.close()
    assert 1_000 <= sum(taken) < 1_100
    assert not taken[-1]


def test_embedded_work_that_hangs_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_EMBEDDED_DRAIN", 100)
    before = threading.active_count()
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work(message: dict[str, Any]) -> None:
        begun.set()
        may_end.wait(60)
        ended.set()

    queue = open_queue(settings(), {"store": work})
    queue.send("store", {})
    assert begun.wait(60)
    queue.close()
    assert not ended.is_set()
    may_end.set()
    assert ended.wait(60)
    eventually(lambda: threading.active_count() <= before, what="the threads have ended")


@pytest.mark.slow
def test_embedded_work_is_done_at_exit_and_in_a_forked_child() -> None:
    script = """
import os, sys
from lazycrop.build import open_queue
from lazycrop.queues.contract import QueueSettings
def work(message):
    os.write(1, (message["who"] + "\\n").encode())
queue = open_queue(QueueSettings(), {"store": work})
queue.send("store", {"who": "parent"})
queue.close()
queue.send("store", {"who": "parent again"})
child = os.fork()
queue.send("store", {"who": "child" if child == 0 else "parent after fork"})
if child:
    os.waitpid(child, 0)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert sorted(done.stdout.split("\n")[:-1]) == ["child", "parent", "parent after fork", "parent again"]


def test_a_given_broker_knows_the_actors_at_once_and_stays_the_only_one() -> None:
    broker = StubBroker()
    LazyCrop(store="memory:", broker=broker, queue="pictures")
    assert broker.get_actor("pictures.store").queue_name == "pictures"
    with pytest.raises(ConfigurationError, match="queue"):
        LazyCrop(store="memory:", broker=broker, queue="pictures")
    LazyCrop(store="memory:", broker=broker, queue="others")


@pytest.mark.slow
def test_no_global_broker_is_made_or_changed() -> None:
    script = """
import dramatiq.broker
from lazycrop import LazyCrop
images = LazyCrop(store="memory:", sizes="any")
images.jobs.queue.send("store", {})
images.close()
assert dramatiq.broker.global_broker is None
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_only_options_that_a_broker_knows_are_passed_on() -> None:
    bare = StubBroker(middleware=[])
    declare(bare, "lazycrop", {"store": print})
    assert bare.get_actor("lazycrop.store").options == {}


@pytest.mark.parametrize("broker", ["http://host", "redis", "kafka://host", ""])
def test_a_broker_that_is_none_is_a_configuration_error(broker: str) -> None:
    with pytest.raises(ConfigurationError, match="broker"):
        LazyCrop(store="memory:", broker=broker).jobs.queue


@pytest.fixture
def lost_connections() -> Iterator[None]:
    """Connections that were cut are closed by their owners, once no call hangs on one."""
    yield
    eventually(lambda: not [t for t in threading.enumerate() if t.name == "lazycrop-broker"], what="no call hangs")
    gc.collect()


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Valkey | RabbitMQ:
    server: Valkey | RabbitMQ = request.getfixturevalue(request.param)
    return server


def test_a_worker_of_another_broker_object_does_the_work(broker: Valkey | RabbitMQ) -> None:
    done: list[dict[str, Any]] = []
    queue = open_queue(settings(broker=broker.url), {"store": print})
    queue.ping()
    message = {"image_id": "cat", "size": None, "version": 1}
    assert queue.send("store", message)
    other = open_queue(settings(broker=broker.url), {"store": done.append})
    assert isinstance(other, BrokerQueue)
    worker = dramatiq.Worker(other.broker, worker_timeout=50)
    worker.start()
    eventually(lambda: done == [message], 20, what="the worker has done the work")
    worker.stop()
    queue.close()


@pytest.mark.usefixtures("lost_connections")
def test_a_broker_that_hangs_or_refuses_costs_its_budget_once(
    broker: Valkey | RabbitMQ, caplog: pytest.LogCaptureFixture
) -> None:
    port = int(broker.url.rpartition(":")[2].partition("/")[0])
    with FaultProxy(port) as proxy:
        url = broker.url.replace(f":{port}", f":{proxy.address.rpartition(':')[2]}")
        for fault in ("black hole", "refuse"):
            caplog.clear()
            proxy.set(fault)
            queue = open_queue(settings(broker=url, broker_rest_seconds=60), {"store": print})
            start = time.perf_counter()
            assert not queue.send("store", {})
            assert time.perf_counter() - start < 2
            start = time.perf_counter()
            assert not any(queue.send("store", {}) for _ in range(100))
            assert time.perf_counter() - start < 2, "a hundred more budgets would be 50 seconds"
            warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
            assert len([record for record in warnings if record.name == "lazycrop.queues.brokers"]) == 1
            queue.close()


@pytest.mark.usefixtures("lost_connections")
def test_a_broker_that_hangs_in_mid_life_holds_nobody_and_is_used_again(broker: Valkey | RabbitMQ) -> None:
    port = int(broker.url.rpartition(":")[2].partition("/")[0])
    with FaultProxy(port) as proxy:
        url = broker.url.replace(f":{port}", f":{proxy.address.rpartition(':')[2]}")
        queue = open_queue(settings(broker=url, broker_rest_seconds=0.1), {"store": print})
        assert queue.send("store", {})
        proxy.set("reset")
        start = time.perf_counter()
        queue.send("store", {})
        assert time.perf_counter() - start < 2
        proxy.set("pass")
        eventually(lambda: queue.send("store", {}), 20, what="the broker takes messages again")
        queue.close()


def test_a_broker_queue_works_in_a_forked_child(valkey: Valkey) -> None:
    script = """
import os, sys
from lazycrop.build import open_queue
from lazycrop.queues.contract import QueueSettings
queue = open_queue(QueueSettings(broker=sys.argv[1]), {"store": print})
assert queue.send("store", {})
child = os.fork()
assert queue.send("store", {})
if child:
    assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", script, valkey.url], check=True, timeout=60, env=os.environ)


def test_a_used_embedded_queue_keeps_nobody_alive_but_does_its_jobs() -> None:
    before = threading.active_count()
    gate, done = threading.Event(), threading.Event()
    queue = open_queue(settings(), {"store": lambda message: gate.wait(60) and done.set()})  # type: ignore[func-returns-value]
    queue.send("store", {})
    gone = weakref.ref(queue)
    del queue
    gc.collect()
    assert gone() is None
    gate.set()
    assert done.wait(20)
    eventually(lambda: threading.active_count() <= before, 20, "its threads have ended")


def test_images_whose_embedded_queue_was_used_are_collected() -> None:
    images = LazyCrop(store="memory:", sizes="any")
    assert images.jobs.queue.send("store", {})
    gone = [weakref.ref(images), weakref.ref(images.jobs), weakref.ref(images.jobs.queue)]
    del images
    gc.collect()
    assert [reference() for reference in gone] == [None] * 3


@pytest.mark.slow
def test_a_dropped_queue_is_drained_at_exit_too() -> None:
    script = """
import os, time
from lazycrop.build import open_queue
from lazycrop.queues.contract import QueueSettings
def work(message):
    time.sleep(0.5)
    os.write(1, b"done")
open_queue(QueueSettings(), {"store": work}).send("store", {})
"""
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60).stdout == b"done"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["down", "vain"])
def test_a_job_that_fails_is_told_in_one_line(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    from lazycrop.errors import BrokenImage, StoreUnavailable

    def work(message: dict[str, Any]) -> None:
        raise StoreUnavailable("The store is down.") if kind == "down" else BrokenImage("It is broken.")

    caplog.set_level(logging.WARNING)
    queue = open_queue(settings(), {"store": work})
    queue.send("store", {"image_id": "cat"})
    queue.close()
    told = [
        record for record in caplog.records if record.name != embedded.__name__
    ]  # which may say what is left undone
    [line] = [line for record in told for line in caplog.handler.format(record).splitlines()]
    assert line
