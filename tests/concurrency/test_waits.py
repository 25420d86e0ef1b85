"""Waits: some threads of a server stay free whatever is slow, and nobody is refused where nothing is."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import get_ident
from typing import Any

import pytest

from lazycrop.concurrency import waits
from lazycrop.concurrency.guard import Guard
from lazycrop.concurrency.singleflight import SingleFlight, _Flight
from lazycrop.concurrency.waits import Room
from lazycrop.errors import Overloaded
from servers import eventually

logger = logging.getLogger("guarded")


def guard(**settings: Any) -> Guard:
    return Guard("the thing", logger, **({"seconds": 60, "threads": 16, "rest_seconds": 0} | settings))


class Requests:
    """Requests of one room, each on a thread of its own, that all do the same until they are let go."""

    def __init__(self, room: Room, do: Callable[[], object], count: int) -> None:
        self._pool = ThreadPoolExecutor(count)
        self.all = [self._pool.submit(self._visit, room, do) for _ in range(count)]

    def _visit(self, room: Room, do: Callable[[], object]) -> object:
        with room.visit():
            return do()

    @property
    def refused(self) -> int:
        return sum(one.done() and isinstance(one.exception(), Overloaded) for one in self.all)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    gate = threading.Event()
    yield gate
    gate.set()


def test_of_those_who_wait_for_long_as_many_stay_as_may(gate: threading.Event) -> None:
    one = guard()
    waiting = Requests(Room(2), lambda: one.call(lambda: gate.wait(60)), 6)
    eventually(lambda: waiting.refused == 4, what="four are refused")
    gate.set()
    assert sum(request.exception(20) is None for request in waiting.all) == 2


def test_half_of_the_threads_that_bring_requests_may_wait_and_two_at_least(gate: threading.Event) -> None:
    for threads, stay in ((8, 4), (3, 2)):
        one = guard()
        waiting = Requests(Room(0), lambda one=one: one.call(lambda: gate.wait(60)), threads)  # type: ignore[misc]
        eventually(lambda waiting=waiting: waiting.refused == threads - stay, what="the others are refused")  # type: ignore[misc]  # noqa: B023


def test_one_more_is_refused_before_it_waits(gate: threading.Event) -> None:
    one, room, made = guard(), Room(1), list[int]()
    Requests(room, lambda: one.call(lambda: gate.wait(60)), 1)
    eventually(lambda: len(room._waiting) == 1, what="one waits for long")
    with room.visit(), pytest.raises(Overloaded):
        one.begin(lambda: made.append(1))
    assert made == []


def test_what_is_quick_is_waited_for_on_all_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "LONG", 30)
    one, meet = guard(), threading.Barrier(16, timeout=20)
    assert not Requests(Room(1), lambda: one.call(meet.wait), 16).refused


def test_who_asks_for_one_thing_waits_for_another_who_is_slow_beside_it(gate: threading.Event) -> None:
    ill, well, room = guard(), guard(), Room(1)
    Requests(room, lambda: ill.call(lambda: gate.wait(60)), 1)
    eventually(lambda: len(room._waiting) == 1, what="one waits for long")
    with room.visit():
        assert well.call(lambda: 1) == 1


def test_those_who_follow_one_that_waits_for_long_are_counted_too(gate: threading.Event) -> None:
    one, flights = guard(), SingleFlight[bool]()
    lead = lambda: one.call(lambda: gate.wait(60))  # noqa: E731
    waiting = Requests(Room(2), lambda: flights.run("cat", lead, 60), 6)
    eventually(lambda: waiting.refused == 4, what="four are refused")
    gate.set()
    assert sum(request.exception(20) is None for request in waiting.all) == 2


def test_those_who_follow_one_that_works_for_long_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waits, "LONG", 0.01)
    looked, is_slow = list[int](), _Flight.is_slow
    monkeypatch.setattr(_Flight, "is_slow", lambda flight: looked.append(get_ident()) or is_slow(flight))
    flights, done = SingleFlight[bool](), Future[bool]()
    waiting = Requests(Room(1), lambda: flights.run("cat", lambda: done.result(60), 60), 4)
    eventually(lambda: sum(count > 1 for count in Counter(looked).values()) == 3, what="each has waited for long")
    done.set_result(True)
    assert [request.exception(20) for request in waiting.all] == [None] * 4


def test_who_stores_and_workers_wait_as_they_like(gate: threading.Event) -> None:
    one, room = guard(), Room(1)
    Requests(room, lambda: one.call(lambda: gate.wait(60)), 1)
    eventually(lambda: len(room._waiting) == 1, what="one waits for long")
    assert one.call(lambda: 1) == 1


def test_when_it_is_quick_again_nobody_is_refused_and_the_log_has_a_line_for_each(
    gate: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    one, room = guard(), Room(1)
    waiting = Requests(room, lambda: one.call(lambda: gate.wait(60)), 8)
    eventually(lambda: waiting.refused == 7, what="the others are refused")
    gate.set()
    eventually(lambda: not room._waiting, what="the one is gone")

    def is_quick() -> bool:
        with room.visit():
            one.call(lambda: 1)
        return one._usual < 0.1

    eventually(is_quick, what="it is known to be quick")
    meet = threading.Barrier(8, timeout=20)
    assert not Requests(room, lambda: one.call(meet.wait), 8).refused
    slow, quick = [record.message for record in caplog.records]
    assert "the thing is slow" in slow
    assert quick == "the thing is quick again"
    gate.clear()
    again = Requests(room, lambda: one.call(lambda: gate.wait(60)), 8)
    eventually(lambda: again.refused == 7, what="it is slow again")
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 2, "within a minute"


def test_a_body_that_is_being_read_keeps_its_place_and_is_never_refused(gate: threading.Event) -> None:
    one, room = guard(), Room(1)
    with room.visit():
        visit = waits.current()
        assert visit is not None
        visit.wait_long()
        visit.stay()
    with room.visit(), pytest.raises(Overloaded):
        waits.wait_long()
    with waits.resumed(visit):
        assert one.call(lambda: 1) == 1
    visit.leave()
    with room.visit():
        waits.wait_long()
        other = waits.current()
        assert other is not None
        other.stay()
    with room.visit():
        late = waits.current()
        assert late is not None
        late.stay()
    with waits.resumed(late):
        waits.wait_long()
    assert late.is_long


def test_it_is_crowded_while_as_many_as_may_wait_have_worked_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(waits.time, "monotonic", lambda: now)
    room = Room(2)
    with room.work():
        now += waits.LONG
        assert not room.is_crowded
        with room.work():
            assert not room.is_crowded
            with room.work():
                now += waits.LONG
                assert room.is_crowded
            assert room.is_crowded
        assert not room.is_crowded
        with room.work():
            assert not room.is_crowded
