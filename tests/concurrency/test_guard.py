"""Guard: every call ends in time, what is ill is left alone, and the log tells of a fault once."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from lazycrop.concurrency.deadlines import deadline
from lazycrop.concurrency.guard import Guard, Resting
from servers import eventually

logger = logging.getLogger("guarded")


def guard(**settings: Any) -> Guard:
    return Guard("the thing", logger, **({"seconds": 20, "threads": 4, "rest_seconds": 600} | settings))


def fail(error: BaseException) -> Callable[[], None]:
    def call() -> None:
        raise error

    return call


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("threads", [0, 1])
def test_a_call_returns_and_raises_what_it_did(threads: int) -> None:
    one = guard(threads=threads, is_ill=lambda error: False)
    assert one.call(lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        one.call(lambda: 1 // 0)
    assert one.ready


def test_a_call_that_hangs_ends_in_time_and_has_the_thing_left_alone() -> None:
    one, gate = guard(seconds=0.1), threading.Event()
    with pytest.raises(TimeoutError, match="no answer"):
        one.call(gate.wait)
    assert not one.ready
    with pytest.raises(Resting, match="the thing"):
        one.call(lambda: 1)
    gate.set()


def test_it_is_asked_again_after_its_rest() -> None:
    one = guard(rest_seconds=0.05)
    with pytest.raises(OSError):
        one.call(fail(OSError("ill")))
    eventually(lambda: one.ready, what="its rest is over")
    assert one.call(lambda: 1) == 1


def test_a_call_ends_with_the_time_of_its_request_which_says_nothing_of_the_thing() -> None:
    one, gate = guard(patience=5), threading.Event()
    with deadline(0.05), pytest.raises(TimeoutError):
        one.call(gate.wait)
    assert one.ready
    with deadline(0), pytest.raises(TimeoutError, match="over before"):
        one.call(gate.wait)
    gate.set()


def test_one_that_had_half_of_its_time_and_more_than_its_patience_has_it_left_alone() -> None:
    one, gate = guard(patience=0.05), threading.Event()
    with deadline(0.1), pytest.raises(TimeoutError):
        one.call(gate.wait)
    assert not one.ready
    gate.set()


def test_when_calls_hang_on_all_threads_the_next_one_ends_in_time_and_is_never_made() -> None:
    one, gate, made = guard(threads=1, rest_seconds=0, seconds=0.2), threading.Event(), list[int]()
    one.begin(gate.wait)
    with pytest.raises(TimeoutError, match="all its threads"):
        one.call(lambda: made.append(1))
    gate.set()
    assert one.call(lambda: 2) == 2
    assert made == []


def test_threads_that_are_taken_by_calls_that_are_answered_are_no_reason_to_rest() -> None:
    one, gate, second = guard(threads=1, seconds=0.3), threading.Event(), threading.Event()
    first = one.begin(gate.wait)
    one.begin(second.wait)
    late = one.begin(lambda: 1)
    gate.set()
    assert first()
    with pytest.raises(TimeoutError, match="all its threads"):
        late()
    assert one.ready
    second.set()


def test_what_ends_a_thread_ends_nobody_elses() -> None:
    with pytest.raises(RuntimeError, match="SystemExit"):
        guard().call(fail(SystemExit(3)))


def test_two_calls_are_under_way_at_once() -> None:
    meet = threading.Barrier(2, timeout=20)
    one = guard()
    first, second = one.begin(meet.wait), one.begin(meet.wait)
    assert {first(), second()} == {0, 1}


def test_without_threads_a_call_is_made_by_the_caller_when_it_asks_for_the_result() -> None:
    made: list[threading.Thread] = []
    result = guard(threads=0).begin(lambda: made.append(threading.current_thread()))
    assert made == []
    result()
    assert made == [threading.current_thread()]


def test_the_log_has_one_line_for_a_fault_and_one_for_its_end(caplog: pytest.LogCaptureFixture) -> None:
    one = guard(rest_seconds=0)
    meet = threading.Barrier(4, timeout=20)

    def call() -> None:
        meet.wait()
        raise OSError("ill")

    for _ in range(5):
        results = [one.begin(call) for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            assert all(pool.map(lambda result: raises(OSError, result), results))
    for _ in range(5):
        one.call(lambda: 1)
    assert told(caplog) == ["the thing failed: OSError('ill')", "the thing answers again"]


def raises(kind: type[Exception], call: Callable[[], object]) -> bool:
    with pytest.raises(kind):
        call()
    return True


def test_an_error_that_is_an_answer_ends_a_fault_and_one_that_is_told_of_makes_nothing_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = guard(is_ill=lambda error: False, is_fault=lambda error: isinstance(error, OSError))
    for error in (OSError("reset"), OSError("reset"), KeyError("not there"), KeyError("not there")):
        with pytest.raises(type(error)):
            one.call(fail(error))
        assert one.ready
    assert told(caplog) == ["the thing failed: OSError('reset')", "the thing answers again"]


def test_a_call_of_before_a_fault_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    one, gate = guard(rest_seconds=0), threading.Event()
    early = one.begin(lambda: gate.wait(20))
    with pytest.raises(OSError):
        one.call(fail(OSError("ill")))
    gate.set()
    assert early()
    assert told(caplog) == ["the thing failed: OSError('ill')"]


def test_a_forked_child_asks_at_once_with_threads_of_its_own() -> None:
    one, gate = guard(threads=1, seconds=0.2), threading.Event()
    with pytest.raises(TimeoutError):
        one.call(gate.wait)
    assert not one.ready
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if one.ready and one.call(lambda: 7, 20) == 7 else 1)
    assert os.waitpid(child, 0)[1] == 0
    gate.set()
