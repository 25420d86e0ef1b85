"""Threads that make calls for others: how many there are, what goes along, and what outlives what."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from lazycrop.concurrency.deadlines import deadline, left
from lazycrop.concurrency.pool import Pool
from servers import eventually


def running(name: str) -> int:
    return sum(thread.name == name for thread in threading.enumerate())


def test_a_call_of_its_own_returns_and_raises_what_it_did_and_has_the_deadline() -> None:
    assert Pool("apart", 1).submit(lambda: threading.current_thread().name).result(5) == "apart"
    with pytest.raises(ZeroDivisionError):
        Pool("apart", 1).submit(lambda: 1 // 0).result(5)
    with deadline(3):
        assert Pool("apart", 1).submit(lambda: left(60)).result(5) <= 3
    assert Pool("apart", 1).submit(lambda: left(60)).result(5) == 60


def test_one_call_after_the_other_takes_one_thread() -> None:
    threads = Pool("one by one", 4)
    for number in range(20):
        assert threads.submit(lambda number=number: number).result(5) == number
    assert running("one by one") == 1
    threads.close()
    eventually(lambda: running("one by one") == 0, what="the thread has ended")
    assert threads.submit(lambda: "again").result(5) == "again"
    threads.close()


def test_threads_end_with_whoever_had_them() -> None:
    threads = Pool("of somebody", 2)
    assert threads.submit(lambda: 1).result(5) == 1
    del threads
    eventually(lambda: running("of somebody") == 0, what="the thread has ended")


def test_no_more_threads_than_there_may_be_and_none_that_fails_is_lost() -> None:
    threads = Pool("bounded", 2)
    gate, active, most = threading.Event(), 0, 0
    lock = threading.Lock()

    def call() -> int:
        nonlocal active, most
        with lock:
            active += 1
            most = max(most, active)
        gate.wait(10)
        with lock:
            active -= 1
        raise ValueError

    calls = [threads.submit(call) for _ in range(20)]
    eventually(lambda: active == 2, what="two calls are under way")
    gate.set()
    for one in calls:
        with pytest.raises(ValueError):
            one.result(10)
    assert (most, running("bounded")) == (2, 2)
    threads.close()


def test_what_is_cancelled_before_it_begins_is_not_made_and_the_deadline_goes_along() -> None:
    threads = Pool("cancelled", 1)
    gate = threading.Event()
    made: list[int] = []
    first = threads.submit(lambda: gate.wait(10))
    second = threads.submit(lambda: made.append(2))
    with deadline(3):
        third = threads.submit(lambda: left(60))
    assert second.cancel()
    gate.set()
    assert first.result(5)
    assert third.result(5) <= 3
    assert made == []
    threads.close()


@pytest.mark.parametrize("used_before", [True, False])
def test_threads_work_in_a_forked_child_and_while_the_interpreter_ends(used_before: bool) -> None:
    script = f"""
import atexit, os
from lazycrop.concurrency.pool import Pool
threads = Pool("t", 2)
if {used_before}:
    assert threads.submit(lambda: 1).result(5) == 1
child = os.fork()
assert threads.submit(lambda: 2).result(5) == 2
if child:
    assert os.waitpid(child, 0)[1] == 0
late = Pool("late", 1)
atexit.register(lambda: print(late.submit(lambda: 3).result(5), Pool("b", 1).submit(lambda: 4).result(5), flush=True))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=os.environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "3 4\n3 4\n", "")


def test_a_thread_that_cannot_be_started_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Pool("too many", 2)
    gate = threading.Event()
    first = threads.submit(lambda: gate.wait(10))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda thread: _refuse())
        assert threads.submit(threading.current_thread).result(0) is threading.current_thread()
    second = threads.submit(threading.current_thread)
    assert second.result(5) is not threading.current_thread()
    gate.set()
    assert first.result(5)
    assert running("too many") == 2
    threads.close()


def _refuse() -> None:
    raise RuntimeError("can't start new thread")
