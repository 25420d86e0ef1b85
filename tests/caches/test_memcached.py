"""What a memcached server may do, and what that costs: nothing for one refusal, one rest and one line for a fault."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from lazycrop.caches.memcached import Memcached
from lazycrop.caches.sealed import Sealed
from servers import FaultProxy, eventually
from servers import Memcached as MemcachedServer

Open = Callable[..., Memcached]


@pytest.fixture
def open_cache() -> Iterator[Open]:
    opened: list[Memcached] = []

    def open_cache(*servers: str, seconds: float = 1, rest_seconds: float = 60) -> Memcached:
        opened.append(Memcached(servers, seconds=seconds, rest_seconds=rest_seconds))
        return opened[-1]

    yield open_cache
    for cache in opened:
        cache.close()


@pytest.fixture
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemcachedServer]:
    """A server that takes no value over 512 kB."""
    server = MemcachedServer(tmp_path_factory.mktemp("small"))
    server.command += ["-I", "512k"]
    server.start()
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("key", "value", "seconds"),
    [
        ("large", bytes(700_000), 60),
        ("with blank", b"x", 60),
        ("ü", b"x", 60),
        ("k" * 251, b"x", 60),
        ("nul\0", b"x", 60),
    ],
)
def test_one_value_or_key_that_is_refused_says_nothing_of_the_server(
    small: MemcachedServer, open_cache: Open, key: str, value: bytes, seconds: int, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(small.address)
    cache.set("g", "before", b"kept", 60)
    with pytest.raises(Exception):  # noqa: B017  (each of pymemcache's own)
        cache.set("g", key, value, seconds)
    assert cache.get_many("g", ["before"]) == {"before": b"kept"}
    assert not caplog.records


def test_a_full_server_that_evicts_nothing_is_no_ill_one(
    tmp_path_factory: pytest.TempPathFactory, open_cache: Open
) -> None:
    server = MemcachedServer(tmp_path_factory.mktemp("full"))
    server.command += ["-M", "-m", "2"]
    server.start()
    try:
        cache = open_cache(server.address)
        refused = 0
        for number in range(200):
            try:
                cache.set("g", f"key{number}", bytes(100_000), 60)
            except ConnectionError:
                raise
            except Exception:
                refused += 1
        assert refused
        assert cache.get_many("g", ["key0"])
    finally:
        cache.close()
        server.stop()


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"VALUE other 0 1\r\nx\r\nEND\r\n", b"VALUE x\r\n"]
)
def test_an_answer_that_is_none_is_an_illness(
    open_cache: Open, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as connection:
                connection.recv(1000)
                connection.sendall(answer)
                connection.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        cache = open_cache(f"127.0.0.1:{listener.getsockname()[1]}")
        for _ in range(3):
            with pytest.raises(Exception):  # noqa: B017
                cache.get_many("g", ["mine"])
        thread.join()
    assert len(caplog.records) == 1


def test_one_fault_is_one_warning_and_closes_no_socket_that_others_use(
    memcached: MemcachedServer, open_cache: Open, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "lazycrop")
    errors: set[str] = set()
    over = threading.Event()
    with FaultProxy(memcached.port) as proxy:
        cache = open_cache(proxy.address, seconds=0.2, rest_seconds=0.5)

        def use(number: int) -> None:
            while not over.is_set():
                try:
                    cache.set("g", f"key{number}", b"x" * 1000, 60)
                except Exception as error:
                    errors.add(f"{type(error).__name__} {getattr(error, 'errno', '')}")
                    over.wait(0.01)

        def lines(text: str) -> int:
            return sum(text in record.getMessage() for record in caplog.records)

        with ThreadPoolExecutor(16) as threads:
            for number in range(16):
                threads.submit(use, number)
            try:
                for fault, amount in (("latency", 0.4), ("reset", 0.0), ("refuse", 0.0)):
                    before = lines("failed"), lines("answers again")
                    proxy.set(fault, amount)  # type: ignore[arg-type]
                    eventually(lambda before=before: lines("failed") > before[0], what="the fault is seen")
                    proxy.set("pass")
                    eventually(lambda before=before: lines("answers again") > before[1], what="it is over")
                    eventually(lambda: cache.get_many("g", ["key0"]), what="it is used")
            finally:
                over.set()
    assert not [error for error in errors if error.endswith(" 9")], "EBADF is a socket that somebody else has closed"
    assert lines("failed") == lines("answers again") <= 6


def test_a_server_that_was_killed_is_used_again(
    memcached: MemcachedServer, open_cache: Open, caplog: pytest.LogCaptureFixture
) -> None:
    cache = open_cache(memcached.address, rest_seconds=0.2)
    with ThreadPoolExecutor(8) as threads:  # so that several connections are open
        list(threads.map(lambda number: cache.set("g", f"key{number}", b"x", 60), range(64)))
    memcached.kill()
    with pytest.raises(Exception):  # noqa: B017
        cache.get_many("g", ["key0"])
    memcached.start()
    eventually(lambda: cache.add("g", "key0", b"y", 60), what="it takes values")
    assert cache.get_many("g", ["key0"]) == {"key0": b"y"}
    assert [record.getMessage().split(": ")[0].split(" ", 2)[2][:6] for record in caplog.records] == [
        "failed",
        "answer",
    ]


def test_two_secrets_meet_in_no_name_and_neither_waits_for_the_other(
    memcached: MemcachedServer, open_cache: Open
) -> None:
    cache = open_cache(memcached.address)
    old, new = Sealed(cache, "store", "old key"), Sealed(cache, "store", "new key")
    for one, other, value in ((old, new, b"of the old"), (new, old, b"of the new")):
        assert one.add("cat", "lease", value, 60)
        one.set("cat", "hot", value, 60)
        assert one.get_many("cat", ["lease", "hot"]) == [value, value]
        other.delete("cat", "gone")
    assert old.get_many("cat", ["lease", "hot"]) == [b"of the old"] * 2
    assert new.get_many("cat", ["lease", "hot"]) == [b"of the new"] * 2
    assert not Sealed(cache, "store", "old key").add("cat", "lease", b"x", 60)
    assert Sealed(cache, "store").get_many("cat", ["lease", "hot"]) == [None, None]
