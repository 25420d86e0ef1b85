"""How often the store is asked for what does not change, and when what changes is seen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from doubles import GREEN, RED, Taking, flat
from lazycrop import LazyCrop
from lazycrop.caches.process import ProcessCache
from lazycrop.errors import ConfigurationError, StoreUnavailable
from lazycrop.http.requests import Request
from lazycrop.model.keys import CHANGES
from lazycrop.stores.memory import MemoryStore
from servers import eventually, photo


class Remote(MemoryStore):
    """A store that is taken for one a network away; its calls are counted."""

    bounded = False

    def __init__(self) -> None:
        super().__init__("https://cdn.example.com/")
        self.calls: Counter[str] = Counter()
        self.refuses_lists = False

    def __repr__(self) -> str:
        return "a store that is far away"

    def get(self, key: str, limit: int) -> bytes:
        self.calls["get"] += 1
        return super().get(key, limit)

    def exists(self, key: str) -> bool:
        self.calls["exists"] += 1
        return super().exists(key)

    def list(self, folder: str) -> Iterator[str]:
        self.calls["list"] += 1
        if self.refuses_lists and folder == CHANGES:
            raise StoreUnavailable("AccessDenied")
        return super().list(folder)


class Deaf(ProcessCache):
    """A cache that takes no write any more."""

    is_deaf = False

    def set(self, group: str, key: str, value: bytes, seconds: int) -> None:
        if not self.is_deaf:
            super().set(group, key, value, seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1_800_000_000.0, sleep=lambda seconds: None)
    clock.time = clock.monotonic = lambda: clock.now
    for module in ("library.state", "library.records", "library.changes", "caches.process", "http.shortcuts"):
        monkeypatch.setattr(f"lazycrop.{module}.time", clock)
    return clock


def process(store: Remote, cache: Any, **settings: Any) -> LazyCrop:
    return LazyCrop(store=store, cache=cache, sizes="any", broker=settings.pop("broker", "inline"), **settings)


def statuses(images: LazyCrop, paths: Sequence[str]) -> set[int]:
    return {images.answer(Request(path)).status for path in paths}


@pytest.mark.parametrize("is_deaf", [False, True])
def test_a_hundred_thousand_hits_in_ten_minutes_cost_ten_listings_and_no_get(
    clock: SimpleNamespace, is_deaf: bool
) -> None:
    store, cache = Remote(), Deaf()
    writer, *readers = (process(store, cache) for _ in range(3))
    paths = [f"/cat{number}/4x.png" for number in range(100)]
    picture = flat(RED, "PNG", (8, 8))
    for number, path in enumerate(paths):
        writer.store_origin(f"cat{number}", picture)
        assert writer.answer(Request(path)).status == 200
    cache.is_deaf = is_deaf
    store.calls.clear()
    for second in range(600):
        clock.now += 1
        for hit in range(167):
            place = 167 * second + hit
            assert readers[hit % 2].answer(Request(paths[place % 100])).status == 301
    assert store.calls["get"] + store.calls["exists"] == 0
    assert store.calls["list"] <= (20 if is_deaf else 10)  # A process of which nobody hears lists for itself.
    writer.purge("cat7")
    writer.store_origin("cat8", flat(GREEN, "PNG", (8, 8)))
    clock.now += 61
    for reader in readers:
        assert reader.answer(Request(paths[7])).status == 404
        assert "/v2/" in (reader.answer(Request("/cat8/origin.png")).header("Location") or "")
        assert reader.answer(Request(paths[9])).status == 301


@pytest.mark.parametrize("is_deaf", [False, True])
@pytest.mark.parametrize("change", ["purge", "replace"])
def test_a_change_by_another_process_is_seen_within_a_minute(
    clock: SimpleNamespace, change: str, is_deaf: bool
) -> None:
    store, cache = Remote(), Deaf()
    reader, writer = process(store, cache), process(store, cache if not is_deaf else ProcessCache())
    reader.store_origin("cat", photo("Fossa"), bound="40x40")
    for _ in range(20):
        clock.now += 61
        assert reader.answer(Request("/cat/20x.jpg")).header("ETag") is not None
    before = reader.answer(Request("/cat/20x.jpg")).header("ETag")
    if change == "purge":
        writer.purge("cat")
    else:
        writer.store_origin("cat", photo("friends"), bound="40x40")
    clock.now += 61
    answer = reader.answer(Request("/cat/20x.jpg"))
    if change == "purge":
        assert answer.status == 404
    else:
        assert answer.status in (200, 301) and answer.header("ETag") != before


def test_where_changes_cannot_be_listed_each_record_is_asked_for(clock: SimpleNamespace) -> None:
    store = Remote()
    images = process(store, ProcessCache(), broker=Taking())
    images.store_origin("cat", photo("Fossa"), bound="40x40")
    store.refuses_lists = True
    for _ in range(3):
        clock.now += 61
        store.calls.clear()
        assert images.record("cat").version == 1
        assert store.calls["get"] == 1


def test_old_words_are_deleted_by_whoever_finds_them(clock: SimpleNamespace) -> None:
    store = Remote()
    images = process(store, ProcessCache())
    for _ in range(2):
        images.store_origin("cat", photo("Fossa"), bound="40x40")
    assert len([*store.list(CHANGES)]) == 1
    images.store_origin("dog", photo("Fossa"), bound="40x40")
    clock.now += 3 * 3600
    for _ in range(2):
        clock.now += 61
        assert images.record("dog").version == 1
    eventually(lambda: not [*store.list(CHANGES)], what="old words are deleted")


def test_no_record_is_trusted_for_longer_than_words_stay() -> None:
    with pytest.raises(ConfigurationError, match="3600 at most"):
        LazyCrop(store="memory:", trust_seconds=3601)
