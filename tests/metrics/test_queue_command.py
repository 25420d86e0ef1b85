"""``lazycrop queue`` and ``check``: how many jobs wait, since when, which are dead, and that they are tried again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import dramatiq
import pytest
from click.testing import CliRunner

from lazycrop import LazyCrop
from lazycrop.build import open_queue
from lazycrop.cli import commands
from lazycrop.errors import BrokenImage
from lazycrop.model.derivatives import Derivative
from lazycrop.model.sizes import Size
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.contract import Backlog, Hooks, QueueSettings
from lazycrop.queues.embedded import EmbeddedQueue
from servers import RabbitMQ, Valkey, eventually

MESSAGE = Derivative("cat", Size(200, 100), "jpg", 1).to_message()


def run(*arguments: str) -> tuple[int, str]:
    """The exit status, and what was printed."""
    done = CliRunner().invoke(commands, arguments)
    return done.exit_code, done.output


@pytest.fixture(params=["valkey", "rabbitmq"])
def broker(request: pytest.FixtureRequest) -> Valkey | RabbitMQ:
    server: Valkey | RabbitMQ = request.getfixturevalue(request.param)
    return server


@contextmanager
def working(url: str, do: Callable[[Any], None], dead: Callable[[str, Any], object]) -> Iterator[None]:
    queue = open_queue(QueueSettings(broker=url), {"store": do}, Hooks(dead=dead))
    assert isinstance(queue, BrokerQueue)
    worker = dramatiq.Worker(queue.broker, worker_threads=1, worker_timeout=50)
    worker.start()
    try:
        yield
    finally:
        worker.stop()
        queue.close()


def test_jobs_that_wait_and_that_are_dead_are_shown_and_tried_again(broker: Valkey | RabbitMQ, tmp_path: Path) -> None:
    options = ["--broker", broker.url, "--store", str(tmp_path), "--sizes", "any"]
    sender = open_queue(QueueSettings(broker=broker.url), {"store": print})
    assert run("queue", *options) == (0, "0 waiting\n0 to be tried again later\n0 dead\n")
    assert all(sender.send("store", MESSAGE) for _ in range(3))
    eventually(lambda: run("queue", *options)[1].startswith("3 waiting, the oldest for "), what="three wait")
    assert run("queue", *options)[1].startswith("3 waiting"), "to look at them takes none"

    buried: list[tuple[str, Any]] = []

    def fail(message: Any) -> None:
        raise BrokenImage("It is broken.")

    with working(broker.url, fail, lambda *job: buried.append(job)):
        eventually(lambda: len(buried) == 3, what="three are dead")
    assert buried[0] == ("store", MESSAGE)
    assert run("queue", *options) == (0, "0 waiting\n0 to be tried again later\n3 dead\n")
    status, listed = run("queue", *options, "--dead", "2")
    assert status == 0
    assert [line.split("\t")[1:4] for line in listed.splitlines()] == [["store", "cat", "200x100"]] * 2
    assert "! 3 jobs have failed for good: lazycrop queue" in run("check", *options)[1]

    status, said = run("queue", *options, "--requeue")
    assert (status, said.splitlines()[0], said.splitlines()[-1]) == (0, "3 sent again.", "0 dead")
    done: list[Any] = []
    with working(broker.url, done.append, lambda *job: None):
        eventually(lambda: done == [MESSAGE] * 3, what="three are done")
    sender.close()


def test_a_broker_that_is_down_is_one_sentence(tmp_path: Path) -> None:
    status, said = run("queue", "--broker", "redis://127.0.0.1:1", "--store", str(tmp_path))
    assert status == 1
    assert said.startswith("The broker does not say: ") and said.count("\n") == 1


def test_jobs_of_the_process_itself_are_asked_of_it(tmp_path: Path) -> None:
    status, said = run("queue", "--store", str(tmp_path))
    assert status == 1 and "'embedded'" in said
    may_begin = threading.Event()

    def work(message: Any) -> None:
        may_begin.wait(60)
        raise BrokenImage("It is broken.")

    with closing(open_queue(QueueSettings(worker_threads=1), {"store": work})) as queue:
        assert isinstance(queue, EmbeddedQueue)
        assert (queue.backlog(), queue.letters(5), queue.requeue()) == (Backlog(), [], 0)
        for _ in range(4):
            queue.send("store", MESSAGE)
        assert queue.backlog().dead == 0
        may_begin.set()
        eventually(lambda: queue.backlog().dead == 4, what="all are dead")
        assert [letter.message for letter in queue.letters(1)] == [MESSAGE]
        assert queue.requeue() == 4
        eventually(lambda: queue.backlog() == Backlog(dead=4), what="all are dead again")


def test_what_is_asked_of_images_is_asked_of_their_queue(valkey: Valkey, tmp_path: Path) -> None:
    with closing(LazyCrop(store=tmp_path, broker=valkey.url)) as images:
        assert images.jobs.send("store", Derivative.from_message(MESSAGE))
        backlog = images.watch.backlog()
        assert backlog is not None and backlog.waiting == 1 and 0 <= backlog.oldest < 60
        assert (images.watch.letters(), images.watch.requeue()) == ([], 0)
    with closing(LazyCrop(store=tmp_path, broker="inline")) as images:
        assert images.watch.backlog() is None
