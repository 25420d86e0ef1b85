"""Budget: what is asked for once, or is one size too many of an image, is shown and not stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from doubles import RED, flat
from lazycrop import LazyCrop
from lazycrop.caches.process import ProcessCache
from lazycrop.errors import ConfigurationError
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request
from lazycrop.stores import MemoryStore

Open = Callable[..., LazyCrop]
TINY = flat(RED, size=(3000, 20))


class Counted(MemoryStore):
    """Counts what is put, by its key."""

    bounded = True

    def __init__(self) -> None:
        super().__init__()
        self.puts: list[str] = []

    def __repr__(self) -> str:
        return "Counted()"

    def put(self, key: str, *rest: Any, **options: Any) -> bool:
        self.puts.append(key)
        return super().put(key, *rest, **options)

    @property
    def sizes(self) -> set[str]:
        return {name for name in self.list("cat/") if name.removeprefix("cat/")[0].isdigit()}


@pytest.fixture
def open_images() -> Iterator[Open]:
    with ExitStack() as stack:

        def make(store: MemoryStore, **settings: Any) -> LazyCrop:
            # None of several clients is refused, however long they wait.
            images = LazyCrop(store=store, **{"sizes": "any", "broker": "inline", "waiting_requests": 16, **settings})
            stack.callback(images.close)
            return images

        yield make


def ask(images: LazyCrop, path: str, **request: Any) -> Answer:
    answer = images.answer(Request(path, **request))
    answer.close()
    return answer


def test_a_scan_of_2000_sizes_writes_nothing(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, store_after=2)
    images.store_origin("cat", flat(RED, size=(60, 20)))
    store.puts.clear()
    with ThreadPoolExecutor(4) as clients:
        statuses = set(clients.map(lambda width: ask(images, f"/cat/{width}x.jpg").status, range(100, 2100)))
    assert statuses == {200}
    assert store.puts == []


def test_a_size_is_stored_when_it_is_asked_for_the_nth_time(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, store_after=3)
    images.store_origin("cat", TINY)
    details, stored = [], []
    for _ in range(4):
        details.append(ask(images, "/cat/10x.jpg").outcome.status)
        stored.append(bool(store.sizes))
    assert stored == [False, False, True, True]
    assert details == ["fwd=miss; detail=rendered", *["hit; detail=hot"] * 2, "hit; detail=stored"]


def test_what_is_not_hot_any_more_is_counted_too(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, store_after=2, hot_seconds=0)
    images.store_origin("cat", TINY)
    etag = ask(images, "/cat/10x.jpg").header("ETag")
    assert store.sizes == set()
    answer = ask(images, "/cat/10x.jpg", if_none_match=etag)
    assert answer.status in (200, 304)
    assert store.sizes == {"cat/10x.jpg"}


def test_those_who_ask_at_once_are_counted_each(open_images: Open) -> None:
    store, meet = Counted(), threading.Barrier(8, timeout=30)
    images = open_images(store, store_after=8)
    images.store_origin("cat", TINY)

    def client(_: int) -> int:
        meet.wait()
        return ask(images, "/cat/10x.jpg").status

    with ThreadPoolExecutor(8) as clients:
        assert {*clients.map(client, range(7 + 1))} == {200}
    assert store.sizes == {"cat/10x.jpg"}


def test_processes_with_a_common_cache_count_together(open_images: Open) -> None:
    store, cache = Counted(), ProcessCache()
    one, other = (open_images(store, store_after=2, cache=cache) for _ in range(2))
    one.store_origin("cat", TINY)
    assert ask(one, "/cat/10x.jpg").status == 200 and store.sizes == set()
    assert ask(other, "/cat/10x.jpg").status == 200 and store.sizes == {"cat/10x.jpg"}


def test_a_slow_format_of_auto_is_not_ordered_before_its_time(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, store_after=2)
    images.store_origin("cat", TINY)
    ask(images, "/cat/10x.auto", accept="image/avif,image/webp")
    assert store.sizes == set()
    ask(images, "/cat/10x.auto", accept="image/avif,image/webp")
    assert "cat/10x.avif" in store.sizes


def test_what_the_application_warms_is_stored_at_once(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, store_after=5, max_sizes=1)
    images.store_origin("cat", TINY)
    images.warm("cat", ["10x", "11x"])
    assert store.sizes == {"cat/10x.jpg", "cat/11x.jpg"}


def test_the_one_size_more_is_rendered_and_not_stored(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, max_sizes=3, presets={"card": "60x", "large": "70x"})
    images.store_origin("cat", TINY)
    assert {ask(images, f"/cat/{width}x.jpg").status for width in range(10, 30)} == {200}
    expected = {f"cat/{width}x.jpg" for width in (10, 11, 12)}
    assert store.sizes == expected
    for url in ("/cat/11x.webp", "/cat/card.jpg", "/cat/70x.jpg", "/cat/origin.jpg"):
        assert ask(images, url).status == 200
    assert store.sizes == expected | {"cat/11x.webp", "cat/60x.jpg", "cat/70x.jpg"}
    images.store_origin("cat", TINY)  # Another version has a budget of its own.
    ask(images, "/cat/20x.jpg")
    assert store.exists("cat/v2/20x.jpg")


def test_the_budget_of_an_image_is_nobody_elses(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, max_sizes=1)
    for image_id in ("cat", "cat/kitten"):
        images.store_origin(image_id, TINY)
        assert {ask(images, f"/{image_id}/{width}x.jpg").status for width in (10, 11)} == {200}
    assert store.sizes == {"cat/10x.jpg"} and store.exists("cat/kitten/10x.jpg")


def test_jobs_that_come_at_once_keep_to_the_budget_together(open_images: Open) -> None:
    store, cache, meet = Counted(), ProcessCache(), threading.Barrier(8, timeout=30)
    processes = [open_images(store, max_sizes=3, cache=cache) for _ in range(2)]
    processes[0].store_origin("cat", TINY)

    def client(number: int) -> int:
        meet.wait()
        return ask(processes[number % 2], f"/cat/{10 + number}x.jpg").status

    with ThreadPoolExecutor(8) as clients:
        assert {*clients.map(client, range(8))} == {200}
    assert len(store.sizes) == 3


def test_a_size_that_went_makes_room_for_another(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, max_sizes=1)
    images.store_origin("cat", TINY)
    ask(images, "/cat/10x.jpg")
    store.delete("cat/10x.jpg")
    images = open_images(store, max_sizes=1)  # What the other one has found is forgotten after some minutes.
    ask(images, "/cat/11x.jpg")
    assert store.sizes == {"cat/11x.jpg"}


def test_a_list_of_sizes_is_its_own_bound(open_images: Open) -> None:
    store = Counted()
    images = open_images(store, sizes=["10x", "11x"], secret="a long random text", max_sizes=1)
    images.store_origin("cat", TINY)
    for url in ("/cat/10x.jpg", "/cat/11x.jpg", images.url("cat", "12x").removeprefix("/img")):
        path, _, query = url.partition("?")
        assert ask(images, path, query=query).status == 200
    assert store.sizes == {f"cat/{width}x.jpg" for width in (10, 11, 12)}


def test_a_size_has_to_be_asked_for_once_at_least_and_not_too_often() -> None:
    for count in (0, 101):
        with pytest.raises(ConfigurationError, match="store_after"):
            LazyCrop(store=MemoryStore(), store_after=count)
