from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from lazycrop.caches.contract import CacheSettings, KeyValue
from lazycrop.caches.memcached import Memcached
from lazycrop.caches.process import ProcessCache
from lazycrop.library.state import LARGEST, State
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size
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


Shared = Callable[..., State]


@pytest.fixture
def shared() -> Iterator[Shared]:
    """Makes caches on memcached servers, as other processes have them."""
    opened: list[State] = []

    def open_cache(*servers: str, rest_seconds: float = 5) -> State:
        opened.append(State(Memcached(servers, rest_seconds=rest_seconds), CacheSettings()))
        return opened[-1]

    yield open_cache
    for cache in opened:
        cache.close()


@pytest.fixture
def cache(key_value: KeyValue) -> State:
    return State(key_value, CacheSettings())


def test_each_cache_keeps_the_contract(key_value: KeyValue) -> None:
    check_key_value(key_value)


def test_one_of_many_gets_a_lease(cache: State) -> None:
    with ThreadPoolExecutor(16) as threads:
        tokens = list(threads.map(lambda _: cache.lease("cat", "200x100"), range(64)))
    assert sum(token is not None for token in tokens) == 1


def test_only_its_owner_releases_a_lease(cache: State) -> None:
    token = cache.lease("cat", "200x100")
    assert token
    cache.release("cat", "200x100", "somebody else's")
    assert cache.lease("cat", "200x100") is None
    cache.release("cat", "200x100", token)
    assert cache.lease("cat", "200x100")


def test_one_look_tells_all_that_is_known(cache: State) -> None:
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh, known.stored, known.hot, known.quarantined) == (None, False, False, None, False)
    cache.remember(RECORD, current=True)
    cache.mark_stored(SMALL, RECORD.tag)
    cache.stage(SMALL, RECORD.tag, b"picture", queued=True)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh, known.stored) == (RECORD, True, True)
    assert known.hot
    assert (known.hot.data, known.hot.queued) == (b"picture", True)


def test_what_is_known_of_an_image_stored_before_under_the_same_id_counts_for_nothing(cache: State) -> None:
    cache.mark_stored(SMALL, RECORD.tag)
    cache.stage(SMALL, RECORD.tag, b"picture", queued=True)
    cache.count_failure(SMALL, RECORD.tag)
    cache.count_failure(SMALL, RECORD.tag)
    cache.remember(replace(RECORD, sha256="cd" * 32), current=True)
    known = cache.look(SMALL, current=True)
    assert (known.stored, known.hot, known.quarantined) == (False, None, False)


def test_a_missing_image_is_remembered_until_it_is_stored(cache: State) -> None:
    cache.remember_missing("cat", None)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh) == (None, True)
    assert not cache.look(SMALL, current=False).fresh
    cache.remember(RECORD, current=True)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh) == (RECORD, True)


def test_an_expiry_of_nothing_or_of_years_is_kept_for_a_while(key_value: KeyValue) -> None:
    key_value.set("g", "years", b"x", 10**9)
    assert key_value.get_many("g", ["years"])
    key_value.set("g", "nothing", b"x", 0)
    eventually(lambda: not key_value.get_many("g", ["nothing"]), 5, "it goes")


def test_a_forked_child_has_connections_of_its_own(cache: State) -> None:
    cache.remember(RECORD, current=True)
    child = os.fork()
    if child == 0:
        right = all(cache.look(SMALL, current=True).record in (RECORD, None) for _ in range(300))
        os._exit(0 if right else 1)
    assert all(cache.look(SMALL, current=True).record == RECORD for _ in range(300))
    assert os.waitpid(child, 0)[1] == 0


def test_an_old_record_is_kept_but_not_fresh(key_value: KeyValue) -> None:
    cache = State(key_value, CacheSettings(record_seconds=0))
    cache.remember(RECORD, current=True)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.fresh) == (RECORD, False)


def test_the_second_failure_quarantines(cache: State) -> None:
    cache.remember(RECORD, current=True)
    cache.count_failure(SMALL, RECORD.tag)
    assert not cache.look(SMALL, current=True).quarantined
    cache.count_failure(SMALL, RECORD.tag)
    assert cache.look(SMALL, current=True).quarantined


def test_bytes_too_many_for_memcached_are_not_handed_over_but_that_is_said(cache: State) -> None:
    cache.stage(SMALL, RECORD.tag, bytes(LARGEST + 1), queued=True)
    staged = cache.staged(SMALL, RECORD.tag)
    assert staged
    assert (staged.data, staged.queued) == (None, True)
    cache.stage(SMALL, RECORD.tag, bytes(LARGEST), queued=False)
    staged = cache.staged(SMALL, RECORD.tag)
    assert staged
    assert staged.data == bytes(LARGEST)


def test_two_namespaces_and_two_secrets_do_not_meet(key_value: KeyValue) -> None:
    one = State(key_value, CacheSettings(), namespace="one")
    one.remember(RECORD, current=True)
    assert State(key_value, CacheSettings(), namespace="two").look(SMALL, current=True).record is None
    assert State(key_value, CacheSettings(), namespace="one", secret="s").look(SMALL, current=True).record is None
    assert State(key_value, CacheSettings(), namespace="one").look(SMALL, current=True).record == RECORD


@pytest.mark.parametrize("junk", [b"", b"x", bytes(40), pickle.dumps({"a": 1}), bytes(1_000_000)])
def test_junk_in_the_cache_reads_as_nothing(key_value: KeyValue, junk: bytes) -> None:
    keys = Listening(key_value)
    cache = State(keys, CacheSettings())
    cache.remember(RECORD, current=True)
    cache.look(SMALL, current=True)
    for key in keys.seen:
        key_value.set("cat", key, junk, 60)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.stored, known.hot, known.quarantined) == (None, False, None, False)


def test_a_value_moved_to_another_key_reads_as_nothing(key_value: KeyValue) -> None:
    keys = Listening(key_value)
    cache = State(keys, CacheSettings())
    cache.remember(RECORD, current=True)
    (key,) = keys.seen
    value = key_value.get_many("cat", [key])[key]
    cache.look(SMALL, current=True)
    for other in keys.seen - {key}:
        key_value.set("cat", other, value, 60)
    known = cache.look(SMALL, current=True)
    assert (known.record, known.stored, known.hot) == (RECORD, False, None)


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
    cache.remember(RECORD, current=True)
    memcached.kill()
    assert cache.look(SMALL, current=True).record is None
    token = cache.lease("cat", "200x100")
    assert token
    assert cache.lease("cat", "200x100") is None
    cache.remember(RECORD, current=True)
    assert cache.look(SMALL, current=True).record == RECORD
    memcached.start()
    cache_of_another_process = shared(memcached.address)

    def shared_again() -> bool:
        cache.mark_stored(SMALL, RECORD.tag)
        cache.remember(RECORD, current=True)
        return cache_of_another_process.look(SMALL, current=True).stored

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
            one.remember(record, current=True)
        other.look(derivative, current=True)
        assert other.look(derivative, current=True).record == record


def test_a_memcached_that_hangs_costs_its_budget_once(memcached: MemcachedServer, shared: Shared) -> None:
    with FaultProxy(int(memcached.address.rpartition(":")[2])) as proxy:
        cache = shared(proxy.address)
        cache.remember(RECORD, current=True)
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
    cache.remember(RECORD, current=True)
    wrong: list[object] = []

    def use(number: int) -> None:
        derivative = Derivative("cat", Size(number + 1, 7), "jpg", 1)
        for _ in range(30):
            cache.stage(derivative, RECORD.tag, str(number).encode() * 1000, queued=True)
            staged = cache.staged(derivative, RECORD.tag)
            if not staged or staged.data != str(number).encode() * 1000:
                wrong.append(staged)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
