"""Junk in a broker: it is dead at once, whoever has put it there, and jobs before and after it are done."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pika
import pytest
import redis

from lazycrop.build import open_queue
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.contract import Letter, QueueSettings
from servers import RabbitMQ, Valkey, eventually

QUEUE = "lazycrop"
TEMPLATE: dict[str, Any] = {
    "queue_name": QUEUE,
    "actor_name": f"{QUEUE}.store",
    "args": [{"junk": True}],
    "kwargs": {},
    "options": {"redis_message_id": "an id"},
    "message_id": "an id",
    "message_timestamp": 1_700_000_000_000,
}


def of(**changes: Any) -> bytes:
    return json.dumps(TEMPLATE | changes).encode()


def with_options(**options: Any) -> bytes:
    return of(options=TEMPLATE["options"] | options)


class Exploding:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return exec, ("raise SystemExit('a pickle was loaded')",)


UNREADABLE = {
    "nothing": b"",
    "no UTF-8": b"\xff\xfe junk",
    "a pickle": pickle.dumps(Exploding()),
    "a megabyte": bytes(1_000_000),
    "a list": b"[]",
    "a text": b'"text"',
    "null": b"null",
    "no fields": b"{}",
    "too deep": b"[" * 100_000,
    "arguments that are none": of(args=None),
    "fields of its own": of(more=1),
}
MALFORMED = {
    "another queue": of(queue_name="elsewhere"),
    "a queue that is a list": of(queue_name=[]),
    "an actor that is a number": of(actor_name=7),
    "names of arguments that are a list": of(kwargs=[1]),
    "options that are null": of(options=None),
    "options that are a list": of(options=[]),
    "an id that is a list": of(message_id=[]),
    "a time that is a text": of(message_timestamp="now"),
    "a time that no number holds": of(message_timestamp=10**400),
    "a time that never comes": with_options(eta=1e300),
    "no time at all": with_options(eta=float("nan")),
    "a time that is a list": with_options(eta=[]),
    "tries that are a text": with_options(retries="x"),
    "tries below none": with_options(retries=-(10**9)),
    "errors that end a thread": with_options(throws="x"),
    "as many tries as it likes": with_options(max_retries=10**9),
    "an actor that is called after it": with_options(on_failure=f"{QUEUE}.store"),
}
# These are messages, which are given up at once.
VAIN = {
    "an actor that is not there": of(actor_name="nobody", message_timestamp=int(time.time() * 1000)),
    "no arguments": of(args=[], message_timestamp=int(time.time() * 1000)),
    "named arguments": of(kwargs={"a": 1}, message_timestamp=int(time.time() * 1000)),
    "a job that was sent more than an hour ago": of(message_timestamp=int(time.time() * 1000) - 3_700_000),
}
JUNK = {**UNREADABLE, **MALFORMED, **VAIN}


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Valkey | RabbitMQ:
    server: Valkey | RabbitMQ = request.getfixturevalue(request.param)
    return server


def put(broker: Valkey | RabbitMQ, bodies: dict[str, bytes]) -> None:
    """Puts messages into the queue, as anybody does who has the broker's address."""
    if isinstance(broker, Valkey):
        name = f"lazycrop:{QUEUE}:{QUEUE}"
        with redis.Redis.from_url(broker.url) as client:
            for one, body in bodies.items():
                client.hset(
                    f"{name}.msgs",
                    one,
                    body.replace(b'"redis_message_id": "an id"', b'"redis_message_id": "' + one.encode() + b'"'),
                )
                client.rpush(name, one)
    else:
        connection = pika.BlockingConnection(pika.URLParameters(broker.url))
        channel = connection.channel()
        for body in bodies.values():
            channel.basic_publish("", QUEUE, body)
        connection.close()


@pytest.fixture
def queue(broker: Valkey | RabbitMQ) -> Iterator[BrokerQueue]:
    opened = open_queue(QueueSettings(broker=broker.url, broker_seconds=5), {"store": print})
    assert isinstance(opened, BrokerQueue)
    yield opened
    opened.close()


def test_junk_is_dead_at_once_and_the_jobs_around_it_are_done(
    broker: Valkey | RabbitMQ, queue: BrokerQueue, caplog: pytest.LogCaptureFixture
) -> None:
    given: list[Any] = []
    worker_queue = open_queue(QueueSettings(broker=broker.url), {"store": given.append})
    assert isinstance(worker_queue, BrokerQueue)
    assert queue.send("store", {"n": 1})
    put(broker, JUNK)
    assert queue.send("store", {"n": 2})
    worker = dramatiq.Worker(worker_queue.broker, worker_threads=2, worker_timeout=50)
    worker.start()
    try:
        eventually(lambda: len(given) == 2, 60, "the jobs are done")
        eventually(lambda: queue.backlog().dead == len(JUNK), 60, "all junk is dead")
        assert queue.backlog().waiting == queue.backlog().later == 0
        assert all(thread.is_alive() for thread in (*worker.workers, *worker.consumers.values()))
    finally:
        worker.stop()
        worker_queue.close()
    assert given == [{"n": 1}, {"n": 2}]
    assert not [record for record in caplog.records if record.levelname == "CRITICAL"], "nothing has begun anew"
    told = [record for record in caplog.records if record.name == "lazycrop.queues.junk"]
    assert len([record for record in told if "is no job of ours" in record.getMessage()]) <= 5


def test_dead_junk_can_be_looked_at_and_is_thrown_away_when_it_is_to_be_tried_again(
    broker: Valkey | RabbitMQ, queue: BrokerQueue
) -> None:
    worker_queue = open_queue(QueueSettings(broker=broker.url), {"store": print})
    assert isinstance(worker_queue, BrokerQueue)
    assert queue.send("store", {"n": 1})
    put(broker, UNREADABLE)
    queue.backlog()  # which looks at the oldest and at the last one
    worker = dramatiq.Worker(worker_queue.broker, worker_threads=1, worker_timeout=50)
    worker.start()
    eventually(lambda: queue.backlog().dead == len(UNREADABLE), 60, "all junk is dead")
    worker.stop()
    worker_queue.close()
    expected = [Letter("", repr(body[:60]), 0.0, "It is no job of ours.") for body in UNREADABLE.values()]
    assert sorted(queue.letters(100), key=str) == sorted(expected, key=str)
    assert queue.requeue() == 0
    assert queue.backlog().dead == 0


@pytest.mark.slow
def test_a_worker_process_of_which_a_thread_dies_ends_with_a_status_that_says_so(tmp_path: Path) -> None:
    script = """
import time
import dramatiq
from dramatiq.brokers.stub import StubBroker
from lazycrop.queues.watch import Watch
broker = StubBroker()
broker.add_middleware(Watch())
actor = dramatiq.actor(print, broker=broker)
dramatiq.Worker(broker, worker_threads=2).start()
broker.enqueue(actor.message(1).copy(kwargs={"a": 1}, options={"throws": "no error"}))
time.sleep(60)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=30, cwd=tmp_path, capture_output=True).returncode == 1
