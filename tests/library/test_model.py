"""Model: two processes, with a common cache or without, do what hypothesis thinks of, and nothing else is ever seen.

What is tried here is any sequence of changes, requests, jobs, faults, evictions and times that pass;
``test_interleavings.py`` has more processes, and any order of their calls, for fewer things that follow each other.
``TEST_MODEL`` says how many sequences are tried, and others each time where it is given; ``TEST_WITHOUT`` names a fence
of ``test_fences.py`` that is taken out before, so that one can see what goes wrong without it.
"""

from __future__ import annotations

import itertools
import os
import random

import pytest
from checks import check, check_mixed
from greenlet import getcurrent, greenlet
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from schedules import Schedule
from test_fences import take_out
from world import MINUTE, PATH, SLEEP, Clock, Colour, Killed, Trouble, colour_of, colours, open_clock

from lazycrop import LazyCrop, LazyCropError
from lazycrop.caches.process import ProcessCache
from lazycrop.http.requests import Request
from lazycrop.model.records import Record

EXAMPLES = os.environ.get("TEST_MODEL")
STEPS = 8
MOST_STORED = 30  # There are not many more pictures.

CHANGES = ["store", "store", "purge", "focal", "set_private", "private", "tidy"]
VERBS = [*CHANGES, "request", "request", "job", "job_again", "mezzanines", "purge_version"]
# Each ends in what checks.py knows to expect of it.
TROUBLES = ["none", "none", "put", "kill", "late"]
PROCESSES = st.sampled_from([0, 1])
AT = st.integers(1, 24)
SEEDS = st.integers(0, 99)
State = Colour | int


def no_fault(name: str, key: str) -> str:
    return ""


class Images(RuleBasedStateMachine):
    """One image, and what it may be seen as. ``seen``: when it became what, by the store: a colour, or a status."""

    clock: Clock

    @initialize(
        trouble=st.sampled_from(TROUBLES),
        shares=st.booleans(),
        keep=st.sampled_from([2, 1, 1000]),
        seed=st.integers(0, 99),
    )
    def begin(self, trouble: str, shares: bool, keep: int, seed: int) -> None:
        self.clock.now = 1_000_000.0
        self.schedule = Schedule(self.clock, random.Random(seed), trouble=trouble, keep=keep)
        self.schedule.cache = ProcessCache() if shares else None
        self.schedule.changed = self.remember
        self.fault: Trouble = no_fault
        self.processes = [self.start(), self.start()]
        self.seen: list[tuple[float, State]] = [(0.0, 404)]

    def start(self) -> LazyCrop:
        return self.schedule.process(lambda name, key: self.fault(name, key))

    def remember(self) -> None:
        self.seen.append((self.clock.now, self.state()))

    def state(self) -> State:
        what_is = self.schedule.current()
        if not isinstance(what_is, Record):
            return 404
        return 403 if what_is.private else colours()[what_is.made_from]

    def do(self, process: int, verb: str) -> None:
        """What a process does; who is killed meanwhile is started again."""
        if self.schedule.colours >= MOST_STORED:
            return
        try:
            self.schedule.do(self.processes[process], verb)
        except LazyCropError:
            pass
        except Killed:
            self.schedule.killed.append(verb)
            self.processes[process] = self.start()

    @rule(process=PROCESSES, verb=st.sampled_from(VERBS))
    def one_after_the_other(self, process: int, verb: str) -> None:
        self.schedule.step += 1
        self.do(process, verb)
        self.schedule.step += 1

    @rule(
        first=st.sampled_from(VERBS),
        second=st.lists(st.sampled_from(VERBS), min_size=1, max_size=2),
        at=AT,
        back=AT,
        fails=st.integers(1, 6),
        is_lost=st.booleans(),
    )
    def at_once(self, first: str, second: list[str], at: int, back: int, fails: int, is_lost: bool) -> None:
        """The first is held up after so many calls, and the second after so many of its own; who is late, for longer
        than others wait. What fails, fails the first one once it goes on.
        """
        before = greenlet(lambda: self.do(0, first))
        after = greenlet(lambda: [self.do(1, verb) for verb in second])
        is_late = self.schedule.trouble == "late"
        self.go_on(before, at, until_asleep=False)
        self.go_on(after, 10**6 if is_late else back, until_asleep=not is_late)
        self.fault = self.trouble(before, fails, is_lost)
        while not (before.dead and after.dead):
            self.go_on(before, 10**6, until_asleep=not after.dead)
            self.go_on(after, 10**6, until_asleep=not before.dead)
            self.clock.now += 1
        self.fault = no_fault

    def trouble(self, caller: greenlet, at: int, is_lost: bool) -> Trouble:
        """One of the caller's calls is its last; or one of its puts fails, perhaps only in the caller's eyes."""
        calls = itertools.count(at - 1, -1)
        is_killed = self.schedule.trouble == "kill"

        def fault(name: str, key: str) -> str:
            counts = getcurrent() is caller and (is_killed or name == "put")
            return how if counts and next(calls) == 0 else ""

        how = "killed" if is_killed else "lost" if is_lost else "failed"
        return fault if self.schedule.trouble in ("put", "kill") else no_fault

    def go_on(self, process: greenlet, calls: int, until_asleep: bool) -> None:
        for _ in range(calls):
            if process.dead:
                return
            self.schedule.step += 1
            assert self.schedule.step < 20_000, "it has no end"
            if process.switch() == SLEEP:
                if until_asleep:
                    return
                self.clock.now += 1

    @precondition(lambda self: self.schedule.trouble in ("put", "kill"))
    @rule(process=PROCESSES, verb=st.sampled_from(VERBS), at=AT, is_lost=st.booleans())
    def interrupted(self, process: int, verb: str, at: int, is_lost: bool) -> None:
        self.fault = self.trouble(getcurrent(), at, is_lost)
        self.one_after_the_other(process, verb)
        self.fault = no_fault

    @rule(seconds=st.sampled_from([1, 5, MINUTE, 700, 3700]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(process=PROCESSES, share=st.sampled_from([1.0, 0.5]), seed=SEEDS)
    def evict(self, process: int, share: float, seed: int) -> None:
        """All, or half, of what is in a cache."""
        cache = self.schedule.cache or self.processes[process]._state._cache._cache
        for key in random.Random(seed).sample(sorted(cache._entries), int(share * len(cache._entries))):
            cache.delete("", key)

    @rule(process=PROCESSES)
    def restart(self, process: int) -> None:
        self.processes[process] = self.start()

    @rule(process=PROCESSES)
    def look(self, process: int) -> None:
        """What is seen is what the image is, or was a minute ago."""
        answer = self.processes[process].answer(Request(PATH))
        body = answer.body if isinstance(answer.body, bytes) else answer.body.read()
        shown: State = colour_of(body) if answer.status == 200 else answer.status
        possible = {self.seen[-1][1]}
        for (_, was), (ended, _) in zip(self.seen, self.seen[1:], strict=False):
            if ended >= self.clock.now - MINUTE:
                possible.add(was)
        assert shown in possible, f"{shown} is shown, which it was not in the last minute: {possible}"

    @invariant()
    def no_picture_is_mixed(self) -> None:
        assert not self.schedule.broken, self.schedule.broken
        check_mixed(self.schedule)

    def teardown(self) -> None:
        if hasattr(self, "schedule"):
            self.schedule.alive = self.processes
            check(self.schedule)


def test_nothing_else_is_seen_than_what_was_stored_purged_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    class Here(Images):
        clock = open_clock(monkeypatch)

    if fence := os.environ.get("TEST_WITHOUT"):
        take_out(fence, monkeypatch)
    phases = [Phase.generate, Phase.shrink]
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=int(EXAMPLES or 150),
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            deadline=None,
            database=None,
            phases=phases,
            suppress_health_check=list(HealthCheck),
        ),
    )
