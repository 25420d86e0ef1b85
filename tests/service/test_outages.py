"""What a request and its job do while memcached, a broker or a store is away, full or forgetful."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image

from doubles import GREEN, RED, Letters, flat
from lazycrop import LazyCrop
from lazycrop.errors import StoreUnavailable
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request
from lazycrop.queues import actors
from lazycrop.stores import MemoryStore
from servers import Memcached, Valkey, eventually

PATH = "/cat/90x60.jpg"
KEY = "cat/90x60.jpg"
# For machines that have other things to do.
PATIENT: dict[str, Any] = {"memcached_seconds": 5, "request_seconds": 60, "render_wait_seconds": 30}
Open = Callable[..., LazyCrop]


class Counted(MemoryStore):
    """Counts what it is put, and may refuse it."""

    def __init__(self) -> None:
        super().__init__("https://cdn.example.com/")
        self.puts: list[str] = []
        self.written: list[str] = []
        self.is_full = False

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        self.puts.append(key)
        if self.is_full:
            raise StoreUnavailable("The store is full.")
        is_new = super().put(key, data, content_type, **options)
        if is_new:
            self.written.append(key)
        return is_new


@pytest.fixture
def open_images() -> Iterator[Open]:
    with ExitStack() as stack:

        def make(**settings: Any) -> LazyCrop:
            images = LazyCrop(**{"store": Counted(), "sizes": "any", "broker": Letters(), **settings})
            stack.callback(images.close)
            return images

        yield make


def ask(images: LazyCrop, path: str = PATH) -> Answer:
    answer = images.answer(Request(path))
    assert answer.status in (200, 301), answer
    if answer.status == 200:
        assert isinstance(answer.body, bytes)
        with Image.open(io.BytesIO(answer.body)) as picture:
            assert picture.width == int(path.rpartition("/")[2].partition("x")[0])
    return answer


def work(images: LazyCrop, letters: Letters) -> None:
    """Do all jobs, one after the other, as a late worker does."""
    for actor, message in letters.sent:
        images.jobs.actors[actor](message)


# ---- memcached ----


def test_a_memcached_that_is_flushed_while_a_job_waits_costs_one_more_job_and_no_second_object(
    open_images: Open, memcached: Memcached
) -> None:
    store, letters = Counted(), Letters()
    one, other = (open_images(store=store, broker=letters, memcached=memcached.address, **PATIENT) for _ in range(2))
    one.store_origin("cat", flat(RED))
    for images in (one, other) * 5:
        ask(images)
    assert len(letters.sent) == 1
    memcached.clear()
    for images in (one, other) * 5:
        assert ask(images).status == 200
    assert len(letters.sent) == 2
    work(one, letters)
    assert store.written.count(KEY) == 1
    memcached.clear()
    assert [ask(images).status for images in (one, other)] == [301, 301]
    assert len(letters.sent) == 2, "it is found in the store, and made by nobody again"


def test_while_memcached_is_down_many_requests_are_one_job(open_images: Open, memcached: Memcached) -> None:
    letters = Letters()
    images = open_images(broker=letters, memcached=memcached.address, memcached_rest_seconds=60)
    images.store_origin("cat", flat(RED))
    memcached.kill()
    for _ in range(200):
        assert ask(images).status == 200
    assert len(letters.sent) == 1
    work(images, letters)
    assert ask(images).status == 301


def test_a_memcached_that_forgets_all_the_time_makes_no_picture_worse(open_images: Open, memcached: Memcached) -> None:
    store, letters, over = Counted(), Letters(), threading.Event()
    one, other = (open_images(store=store, broker=letters, memcached=memcached.address, **PATIENT) for _ in range(2))
    one.store_origin("cat", flat(RED))

    def forget() -> None:
        while not over.is_set():
            memcached.clear()

    paths = [f"/cat/{width}x60.jpg" for width in range(50, 70)]
    with ThreadPoolExecutor(5) as threads:
        forgetting = threads.submit(forget)
        try:
            replies = list(threads.map(ask, [one, other] * 3 * len(paths), paths * 6))
        finally:
            over.set()
        forgetting.result()
    assert {reply.status for reply in replies} == {200}
    assert len(paths) < len(letters.sent) <= len(replies)
    work(one, letters)
    assert sorted(key for key in store.written if key.endswith("x60.jpg")) == [path[1:] for path in paths]
    assert {ask(images, path).status for path in paths for images in (one, other)} == {301}


def test_a_thousand_requests_for_one_new_size_are_one_render_one_job_and_one_object(open_images: Open) -> None:
    store, letters = Counted(), Letters()
    images = open_images(store=store, broker=letters, waiting_requests=1000, **PATIENT)
    images.store_origin("cat", flat(GREEN, size=(3000, 2000)))
    with ThreadPoolExecutor(100) as clients:
        answers = list(clients.map(lambda _: ask(images), range(1000)))
    assert len({answer.body for answer in answers}) == 1  # type: ignore[arg-type]
    made = [answer.header("Cache-Status") for answer in answers]
    assert made.count("lazycrop; fwd=miss; detail=rendered") == 1
    assert len(letters.sent) == 1
    work(images, letters)
    assert store.written.count(KEY) == store.puts.count(KEY) == 1


# ---- the queue ----


def test_a_queue_that_is_longer_than_the_lease_has_one_job_more_a_lease_and_one_object(open_images: Open) -> None:
    store, letters = Counted(), Letters()
    images = open_images(store=store, broker=letters, lease_seconds=1, hot_seconds=1, shortcut_seconds=0)
    images.store_origin("cat", flat(RED))
    began = time.monotonic()
    while len(letters.sent) < 3:
        assert ask(images).status == 200
        assert time.monotonic() - began < 60
        time.sleep(0.01)
    leases = time.monotonic() - began  # of a second each
    assert leases > 1.5, "two have ended before the third job is sent"
    work(images, letters)
    assert store.written.count(KEY) == store.puts.count(KEY) == 1, "all but the first have only looked"
    assert ask(images).status == 301


def test_a_redis_that_is_out_of_memory_takes_no_job_and_holds_no_lease(open_images: Open, valkey: Valkey) -> None:
    images = open_images(broker=valkey.url, broker_rest_seconds=0.1, broker_seconds=5)
    images.store_origin("cat", flat(RED))
    images.jobs.queue.ping()
    queue: Any = images.jobs.queue
    with redis.Redis.from_url(valkey.url) as client:
        client.config_set("maxmemory", 1)
        try:
            for _ in range(5):
                assert ask(images).status == 200
            assert client.llen("lazycrop:lazycrop:lazycrop") == 0
        finally:
            client.config_set("maxmemory", 0)
        eventually(lambda: ask(images) and client.llen("lazycrop:lazycrop:lazycrop"), what="a later request queues it")
        assert queue.backlog().waiting == 1
        for _ in range(20):
            ask(images)
        assert queue.backlog().waiting == 1


# ---- the store ----


def test_a_store_that_takes_nothing_is_not_asked_for_ever(
    open_images: Open, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(actors._OPTIONS, "min_backoff", 1)
    monkeypatch.setitem(actors._OPTIONS, "max_backoff", 10)
    store = Counted()
    images = open_images(store=store, broker="embedded")
    images.store_origin("cat", flat(RED))
    store.is_full = True
    answers = [ask(images) for _ in range(50)]
    assert {answer.status for answer in answers} == {200}
    images.close()  # when all that was queued is done, or has failed
    assert store.puts.count(KEY) == 4
    assert KEY not in store.written
    store.is_full = False
    assert ask(images).status == 200
