from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from lazycrop.caches.contract import CacheSettings, KeyValue
from lazycrop.caches.layered import Layered
from lazycrop.caches.memcached import Memcached
from lazycrop.caches.process import ProcessCache
from lazycrop.caches.sealed import Sealed
from lazycrop.library.state import LARGEST, Hot, State
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size
from lazycrop.pictures.settings import Recipe, Recipes
from lazycrop.testing.contracts import check_key_value
from servers import FaultProxy, eventually
from servers import Memcached as MemcachedServer

RECORD = Record(
    image_id="cat",
    version=1,
    format="jpg",
    width=400,
    height=300,
    length=1000,
    sha256="ab" * 32,
    stored_at="2026-01-02T03:04:05+00:00",
    source="cat.jpg",
)
SMALL = Derivative("cat", Size(200, 100), "jpg", 1)


@pytest.fixture(params=["process", "memcached", "two memcached"])
def key_value(request: pytest.FixtureRequest) -> Iterator[KeyValue]:
    if request.param == "process":
        yield ProcessCache()
        return
    names = ["memcached"] if request.param == "memcached" else ["memcached", "second_memcached"]
    servers = Memcached([request.getfixturevalue(name).address for name in names], seconds=5)
    yield servers
    servers.close()


RECIPES = Recipes(Recipe(), {})
Shared = Callable[..., State]


def open_state(key_value: KeyValue, namespace: str = "", secret: str = "", **settings: Any) -> State:
    return State(Sealed(key_value, namespace, secret), CacheSettings(**settings), LARGEST, RECIPES)


@pytest.fixture
def shared() -> Iterator[Shared]:
    """Makes caches on memcached servers, as other processes have them."""
    opened: list[State] = []

    def open_cache(*servers: str, rest_seconds: float = 5) -> State:
        opened.append(open_state(Layered(Memcached(servers, rest_seconds=rest_seconds), ProcessCache())))
        return opened[-1]

    yield open_cache
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(key_value: KeyValue) -> State:
    return open_state(key_value)


def test_each_cache_keeps_the_contract(key_value: KeyValue) -> None:
    check_key_value(key_value)


def test_one_of_many_gets_a_lease_until_its_end_unless_it_is_kept(cache: State) -> None:
    def take(_: int) -> bool:
        with cache.lease("cat", "200x100") as lease:
            lease.keep()
            return lease.ours

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(take, range(64))) == 1
    for _ in range(2):
        with cache.lease("cat", "another") as lease, cache.lease("cat", "another") as second:
            assert lease.ours
            assert not second.ours


def test_one_look_tells_all_that_is_known(cache: State) -> None:
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh, known.stored_by(RECORD), known.hot_of(RECORD)) == (None, False, None, None)
    cache.remember(RECORD, current=True, as_of=time.time())
    cache.mark_stored(SMALL, RECORD.tag, "recipe")
    cache.keep_hot(SMALL, RECORD.tag, b"picture", queued=True)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh, known.stored_by(RECORD)) == (RECORD, True, "recipe")
    assert known.hot_of(RECORD) == Hot(b"picture", True)


def test_what_is_known_of_an_image_stored_before_under_the_same_id_counts_for_nothing(cache: State) -> None:
    cache.mark_stored(SMALL, RECORD.tag, "recipe")
    cache.keep_hot(SMALL, RECORD.tag, b"picture", queued=True)
    cache.count_failure(SMALL, RECORD.tag)
    cache.count_failure(SMALL, RECORD.tag)
    other = replace(RECORD, sha256="cd" * 32)
    known = cache.look(SMALL, current=True)
    assert (known.stored_by(other), known.hot_of(other), known.quarantined_until(other)) == (None, None, 0.0)
    assert known.quarantined_until(RECORD)


def test_a_missing_image_is_remembered_until_it_is_stored(cache: State) -> None:
    cache.remember_missing("cat", None)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh) == (None, True)
    assert not cache.look(SMALL, current=False).fresh
    cache.remember(RECORD, current=True, as_of=time.time())
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh) == (RECORD, True)


def test_an_expiry_of_nothing_or_of_years_is_kept_for_a_while(key_value: KeyValue) -> None:
    key_value.set("g", "years", b"x", 10**9)
    assert key_value.get_many("g", ["years"])
    key_value.set("g", "nothing", b"x", 0)
    eventually(lambda: not key_value.get_many("g", ["nothing"]), 5, "it goes")


def test_a_forked_child_has_connections_of_its_own(cache: State) -> None:
    cache.remember(RECORD, current=True, as_of=time.time())
    child = os.fork()
    if child == 0:
        right = all(cache.look(SMALL, current=True).record in (RECORD, None) for _ in range(300))
        os._exit(0 if right else 1)
    assert all(cache.look(SMALL, current=True).record == RECORD for _ in range(300))
    assert os.waitpid(child, 0)[1] == 0


def test_an_old_record_is_kept_but_not_fresh(key_value: KeyValue) -> None:
    cache = open_state(key_value, record_seconds=0)
    cache.remember(RECORD, current=True, as_of=time.time())
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh) == (RECORD, False)


def test_the_second_failure_quarantines(cache: State) -> None:
    cache.count_failure(SMALL, RECORD.tag)
    assert not cache.look(SMALL, current=True).quarantined_until(RECORD)
    cache.count_failure(SMALL, RECORD.tag)
    assert cache.look(SMALL, current=True).quarantined_until(RECORD)


def test_bytes_too_many_for_memcached_are_not_handed_over_but_that_is_said(cache: State) -> None:
    cache.keep_hot(SMALL, RECORD.tag, bytes(LARGEST + 1), queued=True)
    assert cache.hot(SMALL, RECORD.tag) == Hot(None, True)
    cache.keep_hot(SMALL, RECORD.tag, bytes(LARGEST), queued=False)
    assert cache.hot(SMALL, RECORD.tag) == Hot(bytes(LARGEST), False)


def test_two_namespaces_and_two_secrets_do_not_meet(key_value: KeyValue) -> None:
    one = open_state(key_value, namespace="one")
    one.remember(RECORD, current=True, as_of=time.time())
    assert open_state(key_value, namespace="two").look(SMALL, current=True).record is None
    assert open_state(key_value, namespace="one", secret="s").look(SMALL, current=True).record is None
    assert open_state(key_value, namespace="one").look(SMALL, current=True).record == RECORD


@pytest.mark.parametrize("junk", [b"", b"x", bytes(40), pickle.dumps({"a": 1}), bytes(1_000_000)])
def test_junk_in_the_cache_reads_as_nothing(key_value: KeyValue, junk: bytes) -> None:
    keys = Listening(key_value)
    cache = open_state(keys)
    cache.remember(RECORD, current=True, as_of=time.time())
    cache.look(SMALL, current=True)
    for key in keys.seen:
        key_value.set("cat", key, junk, 60)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.marker, known.hot, known.failures) == (None, None, None, None)


def test_a_value_moved_to_another_key_reads_as_nothing(key_value: KeyValue) -> None:
    keys = Listening(key_value)
    cache = open_state(keys)
    cache.remember(RECORD, current=True, as_of=time.time())
    (key,) = keys.seen
    value = key_value.get_many("cat", [key])[key]
    cache.look(SMALL, current=True)
    for other in keys.seen - {key}:
        key_value.set("cat", other, value, 60)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.marker, known.hot) == (RECORD, None, None)


class Listening:
    """Notes the keys on their way to a real cache."""

    def __init__(self, key_value: KeyValue) -> None:
        self._key_value = key_value
        self.seen: set[str] = set()

    def get_many(self, group, keys):  # type: ignore[no-untyped-def]
        self.seen |= set(keys)
        return self._key_value.get_many(group, keys)

    def set(self, group, key, value, seconds):  # type: ignore[no-untyped-def]
        self.seen.add(key)
        self._key_value.set(group, key, value, seconds)

    def add(self, group, key, value, seconds):  # type: ignore[no-untyped-def]
        return self._key_value.add(group, key, value, seconds)

    def delete(self, group, key):  # type: ignore[no-untyped-def]
        self._key_value.delete(group, key)

    def close(self) -> None:
        pass


def test_the_process_cache_stays_within_its_bytes_and_keeps_what_was_used_last() -> None:
    cache = ProcessCache(max_bytes=100_000)
    cache.set("g", "kept", b"x", 60)
    for number in range(1_000):
        cache.set("g", f"key {number}", bytes(1_000), 60)
        assert cache.get_many("g", ["kept"])
    assert cache.get_many("g", ["key 999"])
    assert not cache.get_many("g", ["key 0"])
    cache.set("g", "huge", bytes(200_000), 60)
    assert cache.get_many("g", ["huge"]) == {}


def test_memory_takes_over_while_memcached_is_down(memcached: MemcachedServer, shared: Shared) -> None:
    cache = shared(memcached.address, rest_seconds=0.2)
    cache.remember(RECORD, current=True, as_of=time.time())
    memcached.kill()
    assert cache.look(SMALL, current=True).record is None
    with cache.lease("cat", "200x100") as lease, cache.lease("cat", "200x100") as second:
        assert (lease.ours, second.ours) == (True, False)
    cache.remember(RECORD, current=True, as_of=time.time())
    assert cache.look(SMALL, current=True).record == RECORD
    memcached.start()
    cache_of_another_process = shared(memcached.address)

    def shared_again() -> bool:
        cache.mark_stored(SMALL, RECORD.tag, "recipe")
        cache.remember(RECORD, current=True, as_of=time.time())
        return cache_of_another_process.look(SMALL, current=True).marker is not None

    eventually(shared_again, what="what one process keeps is seen by another")


def test_of_two_servers_one_may_be_down(
    memcached: MemcachedServer, second_memcached: MemcachedServer, shared: Shared
) -> None:
    one, other = (shared(memcached.address, second_memcached.address, rest_seconds=60) for _ in range(2))
    second_memcached.kill()
    for number in range(20):
        derivative = Derivative(f"cat{number}", SMALL.size, "jpg", 1)
        record = replace(RECORD, image_id=derivative.image_id)
        for _ in range(2):  # The first one may meet the dead server.
            one.remember(record, current=True, as_of=time.time())
        other.look(derivative, current=True)
        assert other.look(derivative, current=True).record == record


def test_a_memcached_that_hangs_costs_its_budget_once(memcached: MemcachedServer, shared: Shared) -> None:
    with FaultProxy(int(memcached.address.rpartition(":")[2])) as proxy:
        cache = shared(proxy.address)
        cache.remember(RECORD, current=True, as_of=time.time())
        proxy.set("black hole")
        start = time.perf_counter()
        cache.look(SMALL, current=True)
        first = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(100):
            cache.look(SMALL, current=True)
        assert 0.15 < first < 2
        assert time.perf_counter() - start < 2, "a hundred more budgets would be 20 seconds"


def test_threads_share_a_cache(cache: State) -> None:
    cache.remember(RECORD, current=True, as_of=time.time())
    wrong: list[object] = []

    def use(number: int) -> None:
        derivative = Derivative("cat", Size(number + 1, 7), "jpg", 1)
        for _ in range(30):
            cache.keep_hot(derivative, RECORD.tag, str(number).encode() * 1000, queued=True)
            staged = cache.hot(derivative, RECORD.tag)
            if not staged or staged.data != str(number).encode() * 1000:
                wrong.append(staged)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    "junk",
    [
        *(b"", b"null", b"{", b"[]", b"{}", b"1", b'"x"', b"\xff", b"[" * 100_000, b"9" * 10_000, b"\n", b"[1]\nx"),
        *(b'[1e999, "x"]', b'[1, "{}"]', b"[NaN, null]", b'[1, "\\ud800"]', b'["x", null]', b'["x", 1, 2]\nx'),
        b"[" + b"9" * 400 + b", null]",
    ],
)
def test_a_value_that_somebody_has_forged_reads_as_nothing(junk: bytes) -> None:
    key_value = ProcessCache()
    keys, sealed = Names(key_value), Sealed(key_value, "")
    state = State(keys, CacheSettings(), LARGEST, RECIPES)
    state.look(SMALL, current=True)
    for name in keys.seen:
        sealed.set("cat", name, junk, 60)
    known = state.look(SMALL, current=True)
    assert (known.record, known.stored_by(RECORD), known.hot_of(RECORD), known.quarantined_until(RECORD)) == (
        *(None, None, None, False),
    )
    state.count_failure(SMALL, RECORD.tag)
    assert state.hot(SMALL, RECORD.tag) is None


class Names(Sealed):
    """Notes the names that are asked for."""

    def __init__(self, key_value: KeyValue) -> None:
        super().__init__(key_value, "")
        self.seen: set[str] = set()

    def get_many(self, group: str, names: Sequence[str]) -> list[bytes | None]:
        self.seen |= set(names)
        return super().get_many(group, names)
