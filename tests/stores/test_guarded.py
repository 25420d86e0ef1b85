"""Guarded: whatever a store does, a request ends in time, with an error of lazycrop's own."""

from __future__ import annotations

import concurrent.futures
import io
import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest

from lazycrop import LazyCrop
from lazycrop.concurrency import waits
from lazycrop.concurrency.waits import Room
from lazycrop.errors import MissingObject, Overloaded, StoreUnavailable
from lazycrop.stores.contract import Opened, Store, StoreSettings
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.guarded import Guarded
from lazycrop.stores.memory import MemoryStore
from lazycrop.stores.places import open_store
from lazycrop.testing import check_store
from servers import eventually

CALM = StoreSettings(store_seconds=20, store_read_seconds=20, store_rest_seconds=600)


def guarded(store: Store, settings: StoreSettings = CALM) -> Guarded:
    return Guarded(store, settings, threads=4)


class Raises(MemoryStore):
    """A store whose every call raises what it likes."""

    def _raise(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("at host 10.0.0.1")

    get = open = exists = put = delete = list = url = _raise


class Hangs(MemoryStore):
    """A store whose reads never end, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()

    def get(self, key: str, limit: int) -> bytes:
        self.gate.wait(60)
        return super().get(key, limit)


def uses(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.get("cat/200x.jpg", 100),
        lambda: store.open("cat/200x.jpg"),
        lambda: store.exists("cat/200x.jpg"),
        lambda: store.put("cat/200x.jpg", b"", "image/jpeg"),
        lambda: store.delete("cat/200x.jpg"),
        lambda: [*store.list("cat/")],
    ]


@pytest.mark.parametrize("threads", [0, 4])
def test_a_guarded_store_keeps_the_contract(threads: int, tmp_path: Path) -> None:
    for store in (MemoryStore("https://cdn.example.com/"), FolderStore(tmp_path)):
        check_store(Guarded(store, CALM, threads=threads))


def test_it_says_where_its_store_is(tmp_path: Path) -> None:
    store = FolderStore(tmp_path, "https://cdn.example.com/")
    assert repr(guarded(store)) == repr(store)
    assert guarded(store).url("a b") == "https://cdn.example.com/a%20b"
    assert guarded(FolderStore(tmp_path)).public_url is None


@pytest.mark.parametrize("threads", [0, 4])
def test_whatever_a_store_raises_becomes_one_sentence(threads: int) -> None:
    store = Guarded(Raises("https://cdn.example.com/"), CALM, threads=threads)
    for use in (*uses(store), lambda: store.url("cat/200x.jpg")):
        with pytest.raises(StoreUnavailable) as error:
            use()
        assert "10.0.0.1" not in str(error.value)
        assert "10.0.0.1" in repr(error.value.__cause__)


def test_the_log_has_a_line_for_a_fault_and_one_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    class Fails(MemoryStore):
        fails = True

        def get(self, key: str, limit: int) -> bytes:
            if self.fails:
                raise RuntimeError("at host 10.0.0.1")
            return super().get(key, limit)

    inner = Fails()
    store = guarded(inner)
    for _ in range(20):
        with pytest.raises(StoreUnavailable):
            store.get("cat/200x.jpg", 100)
    inner.fails = False
    for _ in range(3):
        with pytest.raises(MissingObject):
            store.get("cat/200x.jpg", 100)
    lines = [record.message for record in caplog.records if record.levelno >= logging.INFO]
    assert len(lines) == 2
    assert "10.0.0.1" in lines[0]
    assert "answers again" in lines[1]


@pytest.mark.parametrize("end", [SystemExit(1), KeyboardInterrupt()])
def test_a_store_that_would_end_the_process_ends_no_request(end: BaseException) -> None:
    class Ends(MemoryStore):
        def get(self, key: str, limit: int) -> bytes:
            raise end

    with pytest.raises(StoreUnavailable):
        guarded(Ends()).get("cat/200x.jpg", 100)


def test_writes_that_fail_do_not_make_reads_rest() -> None:
    class Full(MemoryStore):
        def put(self, *arguments: Any, **options: Any) -> bool:
            raise TimeoutError

    store = guarded(Full())
    with pytest.raises(StoreUnavailable):
        store.put("cat/200x.jpg", b"", "image/jpeg")
    assert not store.exists("cat/200x.jpg")


def test_a_read_that_hangs_has_the_store_left_alone_and_writes_go_on() -> None:
    inner = Hangs()
    store = guarded(inner, StoreSettings(store_seconds=0.1, store_rest_seconds=600))
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            store.get("cat/200x.jpg", 100)
    assert store.put("cat/200x.jpg", b"", "image/jpeg")
    inner.gate.set()


def test_a_store_of_ones_own_that_hangs_ends_a_request_in_its_time() -> None:
    inner = Hangs()
    images = LazyCrop(store=inner, sizes="any", request_seconds=0.3, broker="inline")
    asked = threading.Thread(target=lambda: answers.append(images.answer("/cat/100x.jpg")), daemon=True)
    answers: list[Any] = []
    asked.start()
    asked.join(20)
    assert [answer.status for answer in answers] == [503]
    inner.gate.set()


def test_a_read_is_under_way_when_it_was_begun_where_there_are_threads() -> None:
    begun, gate = threading.Event(), threading.Event()

    class Slow(MemoryStore):
        def get(self, key: str, limit: int) -> bytes:
            begun.set()
            assert gate.wait(20)
            return b"picture"

    result = guarded(Slow()).begin_get("cat/200x.jpg", 100)
    assert begun.wait(20)
    gate.set()
    assert result() == b"picture"


def test_a_local_store_is_read_by_the_caller(tmp_path: Path) -> None:
    readers: list[threading.Thread] = []

    class Local(MemoryStore):
        def get(self, key: str, limit: int) -> bytes:
            readers.append(threading.current_thread())
            return b"picture"

    result = Guarded(Local(), CALM, threads=0).begin_get("cat/200x.jpg", 100)
    assert readers == []
    assert result() == b"picture"
    assert readers == [threading.current_thread()]


def caller_of(place: object) -> threading.Thread:
    """Who makes the calls to this store."""
    makes: list[threading.Thread] = []

    def exists(key: str) -> bool:
        makes.append(threading.current_thread())
        return False

    store = open_store(StoreSettings(store=place))
    store.unguarded.exists = exists  # type: ignore[method-assign]
    store.exists("cat/200x.jpg")
    store.close()
    return makes[0]


def test_what_ends_by_itself_takes_no_threads_and_every_other_store_does(tmp_path: Path) -> None:
    class Own(MemoryStore):
        """One of somebody's own, which may do what it likes."""

    class Bounded(Own):
        bounded = True

    for store in (str(tmp_path), "memory:", MemoryStore(), FolderStore(tmp_path), Bounded()):
        assert caller_of(store) is threading.current_thread()
    assert caller_of(Own()) is not threading.current_thread()


class Stream(io.RawIOBase):
    """A file that gives one piece, then does what it is told."""

    def __init__(self, then: Callable[[], bytes]) -> None:
        self._then = then
        self._given = False
        self.was_closed = threading.Event()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._given, before = True, self._given
        return self._then() if before else b"x" * 10

    def close(self) -> None:
        self.was_closed.set()
        super().close()


class Streams(MemoryStore):
    def __init__(self, stream: Stream) -> None:
        super().__init__()
        self.stream = stream

    def open(self, key: str) -> Opened:
        return Opened(cast(BinaryIO, self.stream), 20)


def hang() -> bytes:
    threading.Event().wait(60)
    return b""


def fail() -> bytes:
    raise RuntimeError("cut")


@pytest.mark.parametrize("then", [hang, fail])
def test_an_opened_object_that_hangs_or_fails_says_so_while_it_is_read(then: Callable[[], bytes]) -> None:
    store = guarded(Streams(Stream(then)), StoreSettings(store_read_seconds=0.2))
    with store.open("cat/200x.jpg").file as file:
        assert file.read(10) == b"x" * 10
        with pytest.raises(StoreUnavailable):
            file.read(10)


@pytest.mark.parametrize("then", [hang, fail])
def test_an_object_that_hangs_or_fails_before_its_first_byte_is_not_opened_and_is_closed(
    then: Callable[[], bytes],
) -> None:
    stream = Stream(then)
    stream.read(10)
    with pytest.raises(StoreUnavailable):
        guarded(Streams(stream), StoreSettings(store_read_seconds=0.2)).open("cat/200x.jpg")
    assert stream.was_closed.wait(20)


def test_an_opened_object_is_closed_where_it_was_read() -> None:
    stream = Stream(lambda: b"")
    with guarded(Streams(stream)).open("cat/200x.jpg").file as file:
        assert file.read() == b"x" * 10
    assert stream.was_closed.wait(20)


# What check_store finds


class HasNoName(MemoryStore):
    __repr__ = object.__repr__


class CountsInItsName(MemoryStore):
    def __repr__(self) -> str:
        return f"CountsInItsName({len(self._objects)})"


class RaisesKeyError(MemoryStore):
    def get(self, key: str, limit: int) -> bytes:
        if not self.exists(key):
            raise KeyError(key)
        return super().get(key, limit)


class RaisesOnDelete(MemoryStore):
    def delete(self, key: str) -> None:
        del self._objects[key]


class HangsInAList(MemoryStore):
    def list(self, folder: str) -> Iterator[str]:
        threading.Event().wait(60)
        return iter(())


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (HasNoName, "names its place"),
        (CountsInItsName, "stays the same"),
        (RaisesKeyError, "MissingObject for a missing object"),
        (RaisesOnDelete, "delete what is missing is fine"),
        pytest.param(HangsInAList, "each call ends", marks=pytest.mark.slow),
    ],
)
def test_the_check_finds(broken: type[MemoryStore], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_store(broken(), seconds=2)


def test_a_store_is_not_slow_for_what_it_does_before_its_first_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "LONG", 0.05)

    class Prepares(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.gate = threading.Event()
            self.began: list[int] = []

        def prepare(self) -> None:
            self.began.append(1)
            self.gate.wait(60)

    inner, room = Prepares(), Room(1)
    store = guarded(inner)

    def ask() -> bool:
        with room.visit():
            return store.exists("cat/200x.jpg")

    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(ask) for _ in range(4)]
        eventually(lambda: len(inner.began) == 4, what="all wait for that")
        assert not concurrent.futures.wait(asked, 0.2, concurrent.futures.FIRST_COMPLETED).done
        inner.gate.set()
        assert [one.result(20) for one in asked] == [False] * 4


def test_an_opened_object_keeps_its_place_among_those_who_wait_until_it_is_closed() -> None:
    inner, room = MemoryStore(), Room(1)
    inner.put("cat/200x.jpg", b"picture", "image/jpeg")
    store = guarded(inner)
    with room.visit():
        waits.wait_long()
        opened = store.open("cat/200x.jpg")
    with room.visit(), pytest.raises(Overloaded):
        waits.wait_long()
    assert opened.file.read() == b"picture"
    opened.file.close()
    with room.visit():
        waits.wait_long()


def test_thousands_of_objects_are_deleted_by_several_calls_at_once() -> None:
    together, calls = threading.Barrier(2, timeout=20), []

    class Deletes(MemoryStore):
        knows = True

        def delete_many(self, keys: Sequence[str]) -> bool:
            calls.append(len(keys))
            if len(calls) <= 2:
                together.wait()
            for key in keys if self.knows else ():
                self.delete(key)
            return self.knows

    store = Deletes()
    names = [f"cat/{number}x.jpg" for number in range(9500)]
    for knows in (True, False):
        store.knows = knows
        calls.clear()
        for name in [*names, "dog/1x.jpg"]:
            store.put(name, b"", "image/jpeg")
        guarded(store).delete_many(names)
        assert [*store.list("")] == ["dog/"]
        assert sorted(calls) == [500, *[1000] * 9]
