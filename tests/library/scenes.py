"""Scenes: what schedules are about, and the order in which all that happens in one of them."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from greenlet import getcurrent, greenlet
from schedules import Schedule
from world import SLEEP, Clock, Files, Killed, Trouble, kind_of, picture

from lazycrop import LazyCropError

PASTS = ["", "store", "store request", "store request store request", "store store request purge", "private"]
PASTS += ["store store store"] * 2
PASTS += ["adopt request", "adopt change adopt request"]
PASTS += ["store! old", "store store! old", "store purge! old", "store store purge store! old"]
PLAYS = [
    *["store, store", "store, store, store", "store, purge", "store, store, purge", "store, purge, purge"],
    *["purge, store purge", "purge store, store", "purge, job", "purge, job job, store", "purge store, job"],
    *["store, job, request", "purge, request job, store", "set_private, job", "set_private, store"],
    *["set_private, purge, job", "set_private, set_private, store", "purge, mezzanines", "store, mezzanines"],
    *["purge store, mezzanines", "mezzanines, mezzanines, purge", "purge_version, store, job"],
    *["purge_version, store purge", "purge_version, store, store", "mezzanines, purge_version, store"],
    *["purge_version, mezzanines"] * 2,
    *["forget, store", "forget store, job", "look, store", "look, store, store", "private, store", "private, purge"],
    *["adopt, adopt", "change adopt, adopt", "adopt, store", "request job, purge, adopt", "touch adopt, purge"],
    *["change job, request job job", "touch adopt, adopt", "change adopt, touch adopt, request"],
    *["adopt request, job, purge adopt", "adopt store, adopt"],
    *["focal, store", "focal, purge", "focal, focal", "focal, set_private", "focal, job, store", "focal, mezzanines"],
    *["focal request, purge store", "purge_version, focal", "adopt, focal", "tidy, store", "tidy, store, purge"],
    *["tidy, focal", "tidy, job, purge", "tidy, mezzanines, purge_version"],
    *["adopt, set_private", "remove adopt, request job job", "touch adopt, change adopt, store", "adopt, mezzanines"],
]
OF_FILES = {"adopt", "change", "touch", "remove"}
KINDS = ["claim", "origin", "own", "current", "current", "size", "mezzanine"]
HELD_UP = [f"put {kind}" for kind in KINDS] * 2 + ["put current"] * 6 + ["get current"] * 2 + ["no call"] * 6
HELD_UP += ["put size"] * 2 + [f"delete {kind}" for kind in ("claim", "origin", "size", "own")] + ["look file"]
TROUBLES = ["none"] * 3 + ["put"] * 3 + ["kill"] * 3 + ["many"] + ["late"] * 2
AGES = 3 * 3600  # Seconds after which no word is left of a change.
START = 1_000_000.0  # Unix time
OLD = 700  # Seconds after which nobody reckons with the claim of who was killed.


@dataclass(frozen=True)
class Scene:
    """What a schedule is about; of what is None its seed decides.

    ``past``: what was done before by one process after the other; one of them with a ``!`` was killed at some call, and
    ``old`` is that time has passed since. ``play``: what several do now, each one operation after the other; of those
    with a ``*`` each is held up. ``held``: before which call of each, as Halt has it. ``trouble``: and at which call.
    ``keep``: how many versions are kept.
    """

    past: str | None = None
    play: str | None = None
    held: str | None = None
    trouble: str | None = None
    keep: int | None = None


def run(seed: int, clock: Clock, scene: Scene = Scene()) -> Schedule:
    """A past, and then the calls of all processes in an order that the seed decides, until each is done or dead."""
    random_ = random.Random(seed)
    past, play, wanted = (
        given if given is not None else random_.choice(usual)
        for given, usual in ((scene.past, PASTS), (scene.play, PLAYS), (scene.trouble, TROUBLES))
    )
    parts = [part.split() for part in play.split(", ")]
    words = {name.strip("*") for part in parts for name in part} | {*past.split()}
    keep = scene.keep or random_.choice([2, 2, 2, 1, 1000])
    schedule = begin(clock, random_, keep, past.split(), words)
    kind, *at = wanted.split()
    schedule.trouble = kind
    fault = trouble(schedule, random_, at)
    held = [number for number, part in enumerate(parts) if part[0].startswith("*")]
    held = held or random_.sample(range(len(parts)), 1 if kind == "late" else random_.choice([1, 1, 1, 2]))
    calls = scene.held.split(", ") if scene.held else [random_.choice(HELD_UP) for _ in held]

    def live(names: list[str]) -> None:
        images = schedule.process(fault)
        for name in names:
            try:
                schedule.do(images, name.strip("*"))
            except LazyCropError:
                pass
            except Killed:
                schedule.killed.append(name.strip("*"))
                return
        schedule.alive.append(images)

    processes = [greenlet(lambda names=names: live(names)) for names in parts]
    halts = {processes[one]: Halt.read(call, random_) for one, call in zip(held, calls, strict=True)}
    take_turns(schedule, processes, random_, halts)
    return schedule


def begin(clock: Clock, random_: random.Random, keep: int, past: list[str], words: set[str]) -> Schedule:
    """What there is when the play begins. A past that knows no chance is lived through once, and then remembered."""
    before = (keep, *past, "forget" in words, bool(words & OF_FILES))
    by_chance = any(name.endswith("!") for name in past)
    lived = None if by_chance else clock.pasts.get(before)
    if lived is None:
        clock.now = START
        lived = Schedule(clock, random_ if by_chance else random.Random(0), keep=keep, forgets="forget" in words)
        lived.files = Files(cat=picture(0)) if words & OF_FILES else None
        live_before(lived, past, lived.random)
        lived.past, lived.ended = lived.latest, clock.now
        clock.pasts[before] = lived
    clock.now = lived.ended
    return lived.again(random_)


def killed_at_last(calls: Iterator[int], name: str, key: str) -> str:
    return "" if next(calls) > 1 else "killed"


def live_before(schedule: Schedule, past: list[str], random_: random.Random) -> None:
    images = schedule.process() if past else None
    for name in past:
        if name == "old":
            schedule.clock.now += OLD
        elif name.endswith("!"):
            calls = itertools.count(random_.randint(1, 20), -1)
            with suppress(Killed):
                schedule.do(schedule.process(partial(killed_at_last, calls)), name.strip("!"))
            schedule.dead.append(name.strip("!"))
            schedule.purges = [(begun, end or 0) for begun, end in schedule.purges]
        else:
            schedule.do(images, name)


@dataclass
class Halt:
    """Before which call a process stands still: the first of its kind, or a later one; at 0 it does, below it did."""

    call: tuple[str, str]
    times: int

    @classmethod
    def read(cls, text: str, random_: random.Random) -> Halt:
        """From ``put current``; ``put current 3`` is the third one. ``list -``: of a folder."""
        name, kind, *times = text.split()
        return cls((name, kind.strip("-")), int(times[0]) if times else random_.choice([1, 1, 1, 2]))


def take_turns(
    schedule: Schedule, processes: list[greenlet], random_: random.Random, halts: dict[greenlet, Halt]
) -> None:
    """One call of one process at a time. Some are held up at a call of some kind, until the others are done or wait for
    them; in a schedule where they are late, even then. Who waits lets all others go on.
    """
    sticks = random_.choice([0.0, 0.5, 0.8, 0.95])
    is_late = schedule.trouble in ("late", "expired", "ages")
    asleep: set[greenlet] = set()
    last = processes[0]
    while running := {process for process in processes if not process.dead}:
        schedule.step += 1
        assert schedule.step < 5000, "it has no end"
        stands = {process for process, halt in halts.items() if halt.times == 0}
        choices = running - asleep - stands or running - (stands if is_late else asleep) or running
        if choices <= asleep:  # Nobody does anything but wait: only then time passes.
            schedule.clock.now += 1
        if last not in choices or random_.random() >= sticks:
            last = random_.choice(sorted(choices, key=processes.index))
        if last in stands:
            halts[last].times = -1
        next_call = last.switch()
        asleep = asleep | {last} if next_call == SLEEP else set()
        if last in halts and halts[last].call == next_call and halts[last].times > 0:
            halts[last].times -= 1
            if halts[last].times == 0:
                schedule.clock.now += {"expired": OLD, "ages": AGES}.get(schedule.trouble, 0)


def trouble(schedule: Schedule, random_: random.Random, at: list[str]) -> Trouble:
    """What goes wrong with each call of a schedule: nothing, or it failed, its answer is lost, its maker is killed."""
    kind, how = at or (random_.choice(KINDS), random_.choice(["failed", "lost"]))
    left = {"put": random_.choice([1, 1, 2]), "call": 0 if at else random_.choice([0, random_.randint(1, 90)])}
    victims: list[greenlet] = []

    def put(name: str, key: str) -> str:
        if (name, kind_of(key)) != ("put", kind):
            return ""
        left["put"] -= 1
        return how if left["put"] == 0 else ""

    def kill(name: str, key: str) -> str:
        """At some call; or instead of some put, or after it."""
        left["call"] -= 1
        if victims == [getcurrent()] or left["call"] == 0:
            victims.clear()
            return "killed"
        if left["call"] > 0 or not put(name, key):
            return ""
        if how == "lost":
            victims.append(getcurrent())
        return "killed" if how == "failed" else ""

    def many(name: str, key: str) -> str:
        if random_.random() >= 0.03:
            return ""
        return random_.choice(["failed", "killed", "lost" if name in ("put", "delete") else "failed"])

    return {"put": put, "kill": kill, "many": many}.get(schedule.trouble, lambda name, key: "")
