"""SingleFlight: of all who want the same at once one makes it, and only what is of the work comes to the others."""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import Overloaded
from servers import eventually


class Flight:
    """A leader that is under way until it is told how to end, and followers that wait for it."""

    def __init__(self, followers: int) -> None:
        self.flights: SingleFlight[int] = SingleFlight()
        self.end: Future[int] = Future()
        self._begun = threading.Event()
        self._pool = ThreadPoolExecutor(followers + 1)
        self.leader = self._pool.submit(self.flights.run, "cat", self._lead, 20)
        assert self._begun.wait(20)
        self.followers = [self._pool.submit(self.flights.run, "cat", self._never, 20) for _ in range(followers)]
        flight = self.flights._running["cat"]
        eventually(lambda: len(flight._condition._waiters) == followers, what="all followers wait")  # type: ignore[attr-defined]

    def _lead(self) -> int:
        self._begun.set()
        return self.end.result(20)

    def _never(self) -> int:
        raise AssertionError("a follower makes nothing")


def test_one_makes_it_and_all_have_it() -> None:
    flight = Flight(3)
    flight.end.set_result(7)
    assert flight.leader.result(20) == (7, True)
    assert [follower.result(20) for follower in flight.followers] == [(7, False)] * 3
    assert flight.flights.run("cat", lambda: 8, 20) == (8, True)


@pytest.mark.parametrize("error", [ValueError("broken"), TimeoutError("the leader's own")])
def test_what_the_leader_raises_all_raise(error: Exception) -> None:
    flight = Flight(2)
    flight.end.set_exception(error)
    for future in (flight.leader, *flight.followers):
        assert future.exception(20) is error


@pytest.mark.parametrize("end", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_leader_does_not_end_its_followers(end: BaseException) -> None:
    flight = Flight(2)
    flight.end.set_exception(end)
    assert flight.leader.exception(20) is end
    for follower in flight.followers:
        assert isinstance(follower.exception(20), Overloaded)


def test_a_follower_waits_for_its_time_only() -> None:
    flight = Flight(0)
    with pytest.raises(Overloaded):
        flight.flights.run("cat", lambda: 1, 0.01)
    assert flight.flights.run("dog", lambda: 1, 0.01) == (1, True)
    flight.end.set_result(7)
