"""How often a request asks the cache and the store, each of which may be a network away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from doubles import Taking
from lazycrop import LazyCrop
from lazycrop.caches.process import ProcessCache
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request
from lazycrop.stores.memory import MemoryStore
from servers import photo

SIZE = "/cat/200x100.jpg"
Process = Callable[..., LazyCrop]


class Counted:
    """A store or cache whose calls are written down, in the order in which they begin."""

    def __init__(self, counted: Any, calls: list[str]) -> None:
        self._counted = counted
        self._calls = calls

    def __repr__(self) -> str:
        return "what all processes share"  # A store's repr names its place.

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._counted, name)
        if not callable(found) or name == "url":
            return found

        def call(*arguments: Any, **options: Any) -> Any:
            self._calls.append(name)
            return found(*arguments, **options)

        return call


@pytest.fixture
def calls() -> list[str]:
    return []


@pytest.fixture
def process(calls: list[str]) -> Iterator[Process]:
    """Makes LazyCrops that share a store, as remote as S3, and a cache, as processes on several machines do."""
    store, cache = MemoryStore("https://cdn.example.com/"), ProcessCache()
    made = []

    def start(**settings: Any) -> LazyCrop:
        given = {"store": Counted(store, calls), "cache": Counted(cache, calls), "sizes": "any", "broker": "inline"}
        made.append(LazyCrop(**given | settings))
        return made[-1]

    yield start
    for images in made:
        images.close()


@pytest.fixture(autouse=True)
def cat(process: Process) -> None:
    process().store_origin("cat", photo("Fossa"))


def asked(images: LazyCrop, calls: list[str], path: str = SIZE, **request: Any) -> tuple[Answer, list[str]]:
    calls.clear()
    answer = images.answer(Request(path, **request))
    return answer, list(calls)


@pytest.mark.parametrize("path", [SIZE, "/cat.jpg?size=200x100", "/cat/200x100.auto"])
def test_a_stored_size_costs_one_look_at_the_cache_and_after_that_nothing(
    process: Process, calls: list[str], path: str
) -> None:
    path, _, query = path.partition("?")
    assert process().answer(Request(SIZE)).status == 200
    images = process()
    answer, trips = asked(images, calls, path, query=query)
    assert (answer.status, trips) == (301, ["get_many"])
    answer, trips = asked(images, calls, path, query=query)
    assert (answer.status, trips) == (301, ["get_many"] if path.endswith("auto") else [])
    answer, trips = asked(images, calls, path, query=query, if_none_match=answer.header("ETag"))
    assert (answer.status, trips) == (304, ["get_many"])


def test_a_replaced_image_costs_one_look_too_once_a_process_has_met_it(process: Process, calls: list[str]) -> None:
    images = process(shortcuts=0)
    images.store_origin("cat", photo("friends"))
    assert images.answer(Request(SIZE)).status == 200
    for path in (SIZE, "/cat/v2/200x100.jpg"):
        answer, trips = asked(images, calls, path)
        assert (answer.status, answer.header("Location"), trips) == (
            301,
            "https://cdn.example.com/cat/v2/200x100.jpg",
            ["get_many"],
        )


def test_hot_bytes_cost_one_look_and_no_store(process: Process, calls: list[str]) -> None:
    first = process(broker=Taking()).answer(Request(SIZE))
    answer, trips = asked(process(), calls)
    assert (answer.status, answer.body, trips) == (200, first.body, ["get_many"])


def test_a_new_size_of_a_known_image_asks_the_store_for_the_size_and_for_a_mezzanine(
    process: Process, calls: list[str]
) -> None:
    images = process(broker=Taking())
    images.record("cat")
    _, trips = asked(images, calls)
    assert trips[:2] == ["get_many", "add"]
    assert sorted(trips[2:4]) == ["exists", "get"]
    assert not {"exists", "get", "put"} & {*trips[4:]}


def test_the_look_and_the_get_are_under_way_at_the_same_time(process: Process) -> None:
    together = threading.Barrier(2, timeout=10)

    class Meeting(MemoryStore):
        meets = False

        def get(self, key: str, limit: int) -> bytes:
            if self.meets and "mezzanine" in key:
                together.wait()
            return super().get(key, limit)

        def exists(self, key: str) -> bool:
            if self.meets:
                together.wait()
            return super().exists(key)

    store = Meeting()
    images = process(store=store)
    images.store_origin("dog", photo("Fossa"))
    store.meets = True
    assert images.answer(Request("/dog/200x100.jpg")).status == 200


def test_a_short_size_that_is_streamed_is_read_once(calls: list[str]) -> None:
    store = MemoryStore()
    images = LazyCrop(store=Counted(store, calls), sizes="any", broker="inline")
    images.store_origin("dog", photo("Fossa"))
    images.answer(Request("/dog/200x100.jpg"))
    stored = store.get("dog/200x100.jpg", 100_000)
    for number in range(5):
        answer, trips = asked(images, calls, "/dog/200x100.jpg")
        if not isinstance(answer.body, bytes):
            answer.body = answer.body.read()
        assert (answer.status, answer.body) == (200, stored)
        assert trips == [["open"], ["get"], [], [], []][number]
