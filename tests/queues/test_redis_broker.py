"""A Redis that others use too, that is slow or away for a while, and workers that are killed: no job is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dramatiq
import pytest
import redis

from lazycrop.build import open_queue
from lazycrop.errors import StoreUnavailable
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.contract import Actor, QueueSettings
from servers import FaultProxy, Valkey, eventually


@pytest.fixture
def client(valkey: Valkey) -> Iterator[Any]:
    with redis.Redis.from_url(valkey.url) as client:
        yield client


def open_worker(url: str, do: Actor) -> tuple[BrokerQueue, dramatiq.Worker]:
    queue = open_queue(QueueSettings(broker=url, broker_rest_seconds=0.1), {"store": do})
    assert isinstance(queue, BrokerQueue)
    worker = dramatiq.Worker(queue.broker, worker_threads=2, worker_timeout=200)
    worker.start()
    return queue, worker


WORKER = """
import sys, time
import dramatiq
from lazycrop.build import open_queue
from lazycrop.queues.contract import QueueSettings
def work(message):
    print(message["n"], flush=True)
    time.sleep(600)
queue = open_queue(QueueSettings(broker=sys.argv[1]), {"store": work})
dramatiq.Worker(queue.broker, worker_threads=1, worker_timeout=200).start()
time.sleep(600)
"""


def test_what_a_killed_worker_had_is_given_out_again_and_nobody_searches_all_keys(valkey: Valkey, client: Any) -> None:
    with client.pipeline(transaction=False) as pipe:
        for number in range(100_000):
            pipe.set(f"somebody else's {number}", b"")
        pipe.execute()
    client.config_resetstat()
    killed = subprocess.Popen([sys.executable, "-c", WORKER, valkey.url], stdout=subprocess.PIPE, text=True)
    done: list[int] = []
    try:
        sender = open_queue(QueueSettings(broker=valkey.url), {"store": print})
        assert all(sender.send("store", {"n": number}) for number in range(3))
        assert killed.stdout is not None
        assert killed.stdout.readline() == "0\n"
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    queue, worker = open_worker(valkey.url, lambda message: done.append(message["n"]))
    try:
        eventually(lambda: {*done} == {0, 1, 2}, 30, "the jobs are done by somebody else")
        eventually(lambda: not client.hlen("lazycrop:lazycrop:lazycrop.msgs"), what="none is left")
        eventually(lambda: client.zcard("lazycrop:lazycrop:__heartbeats__") <= 1, 30, "who is gone is forgotten")
    finally:
        worker.stop()
    assert {name for name in client.info("commandstats") if name.partition("_")[2] in ("keys", "scan")} == set()
    sender.close()
    queue.close()


@pytest.mark.parametrize(("fault", "amount"), [("latency", 0.7), ("drip", 0.005), ("black hole", 0), ("refuse", 0)])
def test_a_redis_that_is_slow_or_away_for_a_while_loses_no_job(
    valkey: Valkey, client: Any, fault: Any, amount: float
) -> None:
    tries: Counter[int] = Counter()
    over = threading.Event()

    def work(message: dict[str, Any]) -> None:
        tries[message["n"]] += 1
        if not over.is_set():
            raise StoreUnavailable("The store is down.")
        tries[-1 - message["n"]] += 1

    with FaultProxy(valkey.port) as proxy:
        queue, worker = open_worker(f"redis://{proxy.address}/0", work)
        try:
            for number in range(8):
                assert queue.send("store", {"n": number})
            eventually(lambda: len(tries) == 8, what="each was tried once")
            proxy.set(fault, amount)
            time.sleep(3)  # Longer than what was to be tried again had to wait.
            over.set()
            proxy.set("pass")
            eventually(lambda: all(tries[-1 - number] for number in range(8)), 60, f"all succeed, of {tries}")
            assert all(consumer.is_alive() for consumer in worker.consumers.values())
            names = [f"lazycrop:lazycrop:lazycrop{kind}.msgs" for kind in ("", ".DQ")]
            eventually(lambda: not any(client.hlen(name) for name in names), 60, "nothing is stuck")
        finally:
            worker.stop(timeout=5_000)
            queue.close()


def test_a_redis_that_was_stopped_for_longer_than_workers_live_loses_no_job(valkey: Valkey, client: Any) -> None:
    done: set[int] = set()
    queue, worker = open_worker(valkey.url, lambda message: done.add(message["n"]))
    try:
        os.kill(valkey.pid, signal.SIGSTOP)
        time.sleep(7)
        os.kill(valkey.pid, signal.SIGCONT)
        for number in range(20):
            eventually(lambda number=number: queue.send("store", {"n": number}), what="it takes messages")
        eventually(lambda: len(done) == 20, 60, "all are done")
        eventually(lambda: not client.hlen("lazycrop:lazycrop:lazycrop.msgs"), 60, "nothing is stuck")
    finally:
        os.kill(valkey.pid, signal.SIGCONT)
        worker.stop(timeout=5_000)
        queue.close()


@pytest.mark.slow
def test_a_worker_process_whose_consumer_dies_ends_with_a_status_that_says_so(tmp_path: Path) -> None:
    script = """
import time
import dramatiq
from dramatiq.brokers.stub import StubBroker
from lazycrop.queues.watch import Watch
class Broker(StubBroker):
    def consume(self, *args, **options):
        raise SystemExit
broker = Broker()
broker.add_middleware(Watch())
dramatiq.actor(print, broker=broker)
dramatiq.Worker(broker).start()
time.sleep(60)
"""
    assert subprocess.run([sys.executable, "-c", script], timeout=30, cwd=tmp_path, capture_output=True).returncode == 1
