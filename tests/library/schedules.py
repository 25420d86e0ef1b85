"""Schedules: three processes that share nothing but a store, and make one call to it at a time, as a seed decides.

A schedule has a past, a play of two or three processes, and one kind of trouble: a call fails or loses its answer, a
process is killed between two of them, or stands still for so long that nobody waits for it any more.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from types import SimpleNamespace
from typing import Any

from greenlet import getcurrent, greenlet
from PIL import Image

from doubles import Taking
from lazycrop import LazyCrop, LazyCropError
from lazycrop.errors import BadRequest, StoreUnavailable
from lazycrop.http.requests import Request
from lazycrop.model import keys
from lazycrop.model.keys import Key
from lazycrop.model.records import Pointer, Record, Tombstone, read
from lazycrop.stores import MemoryStore

RECORD = "cat/image.json"
PATH = "/cat/4x3.png"
Colour = tuple[int, ...]
Fault = Callable[[str, str], str]


class Killed(BaseException):
    """The process is no more."""


@cache
def picture(number: int) -> bytes:
    """Each has a colour of its own, which its sizes have too."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), ((40 * number) % 256, (90 * number) % 256, (25 * number) % 256)).save(file, "PNG")
    return file.getvalue()


@cache
def colour_of(data: bytes) -> Colour:
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((1, 1))  # type: ignore[return-value]


class Clock(SimpleNamespace):
    """Time that passes only when all wait."""

    def __init__(self) -> None:
        super().__init__(now=1_000_000.0)

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        if (parent := getcurrent().parent) is not None:
            parent.switch(SLEEP)
        else:
            self.now += seconds


class Stepped(MemoryStore):
    """One process's way to the store that all share; each call waits for its turn."""

    def __init__(self, schedule: Schedule, fault: Fault) -> None:
        super().__init__()
        self._objects = schedule.objects
        self._schedule = schedule
        self._fault = fault
        self._is_dead = False

    def _call(self, name: str, key: str, do: Callable[[], Any]) -> Any:
        if (parent := getcurrent().parent) is not None:
            parent.switch((name, kind_of(key)))
        fault = "killed" if self._is_dead else self._fault(name, key)
        if fault == "killed":
            self._is_dead = True
            raise Killed
        if fault == "failed":
            raise StoreUnavailable(f"{name} {key} failed")
        result = do()
        if key == RECORD and name in ("put", "delete"):
            self._schedule.notice()
        if fault == "lost":
            raise StoreUnavailable(f"the answer to {name} {key} was lost")
        return result

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        return self._call("put", key, lambda: MemoryStore.put(self, key, data, content_type, **options))

    def get(self, key: str, limit: int) -> bytes:
        return self._call("get", key, lambda: MemoryStore.get(self, key, limit))

    def exists(self, key: str) -> bool:
        return self._call("exists", key, lambda: MemoryStore.exists(self, key))

    def delete(self, key: str) -> None:
        self._call("delete", key, lambda: MemoryStore.delete(self, key))

    def list(self, folder: str) -> Iterator[str]:
        return self._call("list", folder, lambda: MemoryStore.list(self, folder))


class Mailbox(Taking):
    """A queue that keeps messages for whoever does the next job."""

    def __init__(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        self._messages = messages

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        self._messages.append((actor, message))
        return True


# What was done before by one process after the other, and what several do now, each one operation after the other.
PASTS = ["", "store", "store request", "store request store request", "store store request purge", "private"]
PASTS += ["store store store"] * 2
PLAYS = [
    *["store, store", "store, store, store", "store, purge", "store, store, purge", "store, purge, purge"],
    *["purge, store purge", "purge store, store", "purge, job", "purge, job job, store", "purge store, job"],
    *["store, job, request", "purge, request job, store", "set_private, job", "set_private, store"],
    *["set_private, purge, job", "set_private, set_private, store", "purge, mezzanines", "store, mezzanines"],
    *["purge store, mezzanines", "mezzanines, mezzanines, purge", "purge_version, store, job"],
    *["purge_version, store purge"],
    *["purge_version, store, store", *["purge_version, mezzanines"] * 3, "mezzanines, purge_version, store"],
    *["forget, store", "forget store, job", "look, store", "look, store, store", "private, store", "private, purge"],
]
KINDS = ["claim", "origin", "own", "current", "current", "size", "mezzanine"]
HELD_UP = [("put", kind) for kind in KINDS] * 2 + [("put", "current")] * 6 + [("get", "current")] * 2 + [("", "")] * 6
HELD_UP += [("delete", "claim"), ("delete", "origin"), ("delete", "size"), ("delete", "own"), ("exists", "origin")]
SLEEP = ("sleep", "")
TROUBLES = ["none"] * 3 + ["put"] * 3 + ["kill"] * 3 + ["many"] + ["late"] * 2


@dataclass(repr=False)
class Schedule:
    """What happened in one schedule. Times are steps.

    ``stored``: of each store that returned, its record, and when it began and ended. ``refused``: the pictures of those
    that raised. ``purges``: when each began that takes the current picture, and when it ended; None where it failed.
    ``hidden``: what was made private. ``shown``: of each version that was the current one, its picture. ``latest``: the
    highest number that the image had. ``killed``: the operations during which a process was.
    """

    clock: Clock
    random: random.Random
    trouble: str = "none"
    objects: dict[str, bytes] = field(default_factory=dict)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stored: list[tuple[Record, int, int]] = field(default_factory=list)
    refused: list[Colour] = field(default_factory=list)
    purges: list[tuple[int, int | None]] = field(default_factory=list)
    hidden: list[Record] = field(default_factory=list)
    shown: dict[int, Colour] = field(default_factory=dict)
    latest: int = 0
    forgets: bool = False
    killed: list[str] = field(default_factory=list)
    colours: int = 0
    step: int = 0

    def process(self, fault: Fault = lambda name, key: "") -> LazyCrop:
        return LazyCrop(
            store=Stepped(self, fault),
            broker=Mailbox(self.messages),
            sizes="any",
            mezzanine_edges=(),
            renders=1,
            shortcuts=0,
            secret="a key",
        )

    def current(self) -> Record | Tombstone | None:
        """What the image is, by whatever lies in the store."""
        said = read(self.objects[RECORD]) if RECORD in self.objects else None
        if isinstance(said, Pointer):
            private = self.objects.get(keys.record("cat", said.version, private=True))
            assert private, f"the record of the private version {said.version} is not there"
            said = read(private)
        assert not isinstance(said, Pointer)
        return said

    def notice(self) -> None:
        """What the image is has changed: a number is never that of two pictures."""
        if RECORD not in self.objects:
            return
        said = read(self.objects[RECORD])
        self.latest = max(self.latest, said.version)
        if not isinstance(said, Tombstone) and not self.forgets:
            keys_ = [keys.origin("cat", said.version, "png", private) for private in (False, True)]
            for colour in [colour_of(self.objects[key]) for key in keys_ if key in self.objects]:
                assert self.shown.setdefault(said.version, colour) == colour, f"{said.version} is of two pictures"

    def do(self, images: LazyCrop, name: str) -> None:
        getattr(self, f"_{name}")(images)

    def _store(self, images: LazyCrop, private: bool = False) -> None:
        self.colours += 1
        data, begun = picture(self.colours), self.step
        try:
            record = images.store_origin("cat", data, private=private)
        except LazyCropError:
            self.refused.append(colour_of(data))
            raise
        self.acknowledge(record, begun)

    def acknowledge(self, record: Record, begun: int) -> None:
        """Whoever was told that an image is stored finds it, unless it was purged or replaced meanwhile."""
        self.stored.append((record, begun, self.step))
        if self.forgets:
            return
        assert self.latest >= record.version and max(self.shown, default=0) >= record.version, (
            f"{record.version} was acknowledged and never shown"
        )
        if not self.may_be_purged(begun) and self.trouble != "late":
            what_is = self.current()
            assert isinstance(what_is, Record) and what_is.version >= record.version, f"{record.version} is not current"
            assert what_is.origin_key in self.objects, f"{what_is.version} has no origin"

    def may_be_purged(self, begun: int) -> bool:
        """Has any purge been under way since?"""
        return any(end is None or end >= begun for _, end in self.purges)

    def _private(self, images: LazyCrop) -> None:
        self._store(images, private=True)

    def _set_private(self, images: LazyCrop) -> None:
        self.hidden.append(images.set_private("cat", True))

    def _purge(self, images: LazyCrop, forget: bool = False) -> None:
        entry = len(self.purges)
        begun = self.step
        self.purges.append((begun, None))
        images.purge("cat", forget=forget)
        self.purges[entry] = (begun, self.step)

    def _forget(self, images: LazyCrop) -> None:
        self._purge(images, forget=True)

    def _purge_version(self, images: LazyCrop) -> None:
        """Of any version but the current one; also of one that somebody is about to store."""
        try:
            images.purge("cat", version=self.random.choice([1, 2, 2, self.latest + 1]))
        except BadRequest:  # It is the current one.
            return

    def _request(self, images: LazyCrop) -> None:
        self.ask(images, PATH)
        for version in [version for version in self.shown if version > 1][-1:]:
            self.ask(images, f"/cat/v{version}/4x3.png", version)

    def ask(self, images: LazyCrop, path: str, version: int | None = None) -> int:
        answer = images.answer(Request(path))
        body = answer.body if isinstance(answer.body, bytes) else answer.body.read()
        assert answer.status in (200, 403, 404, 503), body
        if answer.status == 200 and not self.forgets:
            seen = colour_of(body)
            assert seen in self.shown.values(), f"{path} was a picture that never was"
            assert version is None or seen == self.shown[version], f"{path} was another picture"
        return answer.status

    def _look(self, images: LazyCrop) -> None:
        """Whoever asks for the first time finds what was acknowledged before."""
        begun = self.step
        sure = [record for record, _, _ in self.stored if not record.private]
        status = self.ask(images, PATH)
        if sure and not self.purges and not self.hidden and status != 503 and self.trouble != "late":
            assert status == 200, f"what was stored before {begun} is {status}"

    def _job(self, images: LazyCrop) -> None:
        if self.messages:
            self.deliver(images, self.messages.pop(0))

    def _mezzanines(self, images: LazyCrop) -> None:
        for version in self.random.sample(sorted(self.shown)[-2:], k=min(1, len(self.shown))):
            self.deliver(images, ("mezzanines", {"image_id": "cat", "size": None, "format": "png", "version": version}))

    def deliver(self, images: LazyCrop, job: tuple[str, dict[str, Any]]) -> None:
        try:
            images.jobs.actors[job[0]](job[1])
        except (LazyCropError, Killed):
            self.messages.append(job)  # It is given out again.
            raise


def run(seed: int, clock: Clock) -> Schedule:
    """A past, and then the calls of all processes in an order that the seed decides, until each is done or dead."""
    random_ = random.Random(seed)
    schedule = Schedule(clock, random_)
    past = random_.choice(PASTS).split()
    images = schedule.process() if past else None
    for name in past:
        schedule.do(images, name)
    schedule.trouble = random_.choice(TROUBLES)
    play = [part.split() for part in random_.choice(PLAYS).split(", ")]
    schedule.forgets = any("forget" in part for part in play)
    fault = trouble(schedule, random_)

    def live(names: list[str]) -> None:
        images = schedule.process(fault)
        for name in names:
            try:
                schedule.do(images, name)
            except LazyCropError:
                pass
            except Killed:
                schedule.killed.append(name)
                return

    processes = [greenlet(lambda names=names: live(names)) for names in play]
    take_turns(schedule, processes, random_)
    return schedule


def take_turns(schedule: Schedule, processes: list[greenlet], random_: random.Random) -> None:
    """One call of one process at a time. One of them is often held up at a call of some kind, until the others are done
    or wait for it; in a schedule where it is late, even then. Who waits lets all others go on.
    """
    sticks = random_.choice([0.0, 0.5, 0.8, 0.95])
    held, call, times = random_.choice(processes), random_.choice(HELD_UP), random_.choice([1, 1, 1, 2])
    is_late = schedule.trouble == "late"
    asleep: set[greenlet] = set()
    last = processes[0]
    while running := {process for process in processes if not process.dead}:
        schedule.step += 1
        assert schedule.step < 5000, "it has no end"
        stands = {held} if times == 0 else set()
        choices = running - asleep - stands or running - (stands if is_late else asleep) or running
        if choices <= asleep:  # Nobody does anything but wait: only then time passes.
            schedule.clock.now += 1
        if last not in choices or random_.random() >= sticks:
            last = random_.choice(sorted(choices, key=processes.index))
        if last is held and times == 0:
            times = -1
        next_call = last.switch()
        asleep = asleep | {last} if next_call == SLEEP else set()
        if last is held and times > 0 and next_call == call:
            times -= 1


def kind_of(key: str) -> str:
    """Of an object: what the image is, or a record of a version, and so on."""
    found = Key.parse(key)
    return "current" if key == RECORD else "own" if found and found.kind == "record" else found.kind if found else ""


def trouble(schedule: Schedule, random_: random.Random) -> Fault:
    """What goes wrong with each call of a schedule: nothing, or it failed, its answer is lost, its maker is killed."""
    kind, how = random_.choice(KINDS), random_.choice(["failed", "lost"])
    left = {"put": random_.choice([1, 1, 2]), "call": random_.choice([0, random_.randint(1, 90)])}
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
