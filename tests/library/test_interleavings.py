"""Stores, purges, requests and jobs of three processes that share nothing but the store, step by step in every order.

A seeded scheduler lets one process at a time make one call to the store. Calls fail, lose their answers, and processes
are killed between two of them. ``TEST_SCHEDULES`` says how many schedules are run; a failure names its seed.
"""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from PIL import Image

from doubles import Taking
from lazycrop import LazyCrop, LazyCropError
from lazycrop.errors import StoreUnavailable
from lazycrop.http.requests import Request
from lazycrop.library import contents, purging, versions
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone, read
from lazycrop.stores import MemoryStore
from lazycrop.stores.guarded import Guarded

SCHEDULES = int(os.environ.get("TEST_SCHEDULES", "300"))
RECORD = "cat/image.json"


class Killed(BaseException):
    """The process is no more."""


def picture(number: int) -> bytes:
    """Each has a colour of its own, which its sizes have too."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), colour(number)).save(file, "PNG")
    return file.getvalue()


def colour(number: int) -> tuple[int, int, int]:
    return (40 * number) % 256, (90 * number) % 256, (25 * number) % 256


def colour_of(data: bytes) -> tuple[int, ...]:
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((1, 1))  # type: ignore[return-value]


class Clock(SimpleNamespace):
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        super().__init__(now=1_000_000.0)

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        getcurrent().parent.switch()


class Stepped(MemoryStore):
    """One process's way to the store that all share; each call waits for its turn."""

    def __init__(self, objects: dict[str, bytes], fault: Callable[[str], str]) -> None:
        super().__init__()
        self._objects = objects
        self._fault = fault
        self.is_dead = False

    def _call(self, name: str, do: Callable[[], Any]) -> Any:
        if getcurrent().parent is not None:
            getcurrent().parent.switch()
        fault = "killed" if self.is_dead else self._fault(name)
        if fault == "killed":
            self.is_dead = True
            raise Killed
        if fault == "failed":
            raise StoreUnavailable(f"{name} failed")
        result = do()
        if fault == "lost":
            raise StoreUnavailable(f"the answer to {name} was lost")
        return result

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        return self._call("put", lambda: MemoryStore.put(self, key, data, content_type, **options))

    def get(self, key: str, limit: int) -> bytes:
        return self._call("get", lambda: MemoryStore.get(self, key, limit))

    def exists(self, key: str) -> bool:
        return self._call("exists", lambda: MemoryStore.exists(self, key))

    def delete(self, key: str) -> None:
        self._call("delete", lambda: MemoryStore.delete(self, key))

    def list(self, folder: str) -> Iterator[str]:
        return self._call("list", lambda: MemoryStore.list(self, folder))


class Mailbox(Taking):
    """A queue that keeps messages for whoever does the next job."""

    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self._messages = messages

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        self._messages.append(message)
        return True


@dataclass
class Schedule:
    """What happened in one schedule. ``acknowledged``: of each store that returned: its record, when it began."""

    seed: int
    clock: Clock
    objects: dict[str, bytes] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    stored: dict[int, int] = field(default_factory=dict)
    acknowledged: list[tuple[Record, int]] = field(default_factory=list)
    purges: list[tuple[int, int]] = field(default_factory=list)
    step: int = 0
    kills: int = 0
    colours: int = 0

    def process(self, random_: random.Random | None = None, faults: float = 0.0) -> LazyCrop:
        def fault(name: str) -> str:
            if random_ is None or random_.random() >= faults:
                return ""
            return random_.choice(["failed", "killed", "lost" if name in ("put", "delete") else "failed"])

        store = Stepped(self.objects, fault)
        images = LazyCrop(
            store=store, sizes="any", broker=Mailbox(self.messages), mezzanine_edges=(), renders=1, shortcuts=0
        )
        return images

    def operation(self, images: LazyCrop, random_: random.Random) -> None:
        kind = random_.choice(["store", "store", "purge", "request", "job"])
        getattr(self, f"_{kind}")(images)

    def _store(self, images: LazyCrop) -> None:
        self.colours += 1
        number, begun = self.colours, self.step
        record = images.store_origin("cat", picture(number))
        self.stored[record.version] = number
        self.acknowledged.append((record, begun))

    def _purge(self, images: LazyCrop) -> None:
        begun = self.step
        try:
            images.purge("cat")
        finally:  # One that failed, or was killed, may have taken place.
            self.purges.append((begun, self.step))

    def _request(self, images: LazyCrop) -> None:
        answer = images.answer(Request("/cat/4x3.png"))
        assert answer.status in (200, 404, 503), answer.body

    def _job(self, images: LazyCrop) -> None:
        if self.messages:
            message = self.messages.pop(0)
            try:
                images.jobs.actors["store"](message)
            except (LazyCropError, Killed):
                self.messages.append(message)  # It is given out again.
                raise


def run(seed: int, clock: Clock) -> Schedule:
    """Three processes make their calls in an order that the seed decides, until all of them are done or dead."""
    random_ = random.Random(seed)
    schedule = Schedule(seed, clock)
    faults = random_.choice([0.0, 0.0, 0.02, 0.05])

    def live(images: LazyCrop, own: random.Random) -> None:
        for _ in range(own.randint(1, 3)):
            try:
                schedule.operation(images, own)
            except LazyCropError:
                pass
            except Killed:
                schedule.kills += 1
                return

    processes = []
    for _ in range(3):
        own = random.Random(random_.random())
        images = schedule.process(own, faults)
        processes.append(greenlet(lambda images=images, own=own: live(images, own)))
    while running := [process for process in processes if not process.dead]:
        schedule.step += 1
        random_.choice(running).switch()
    return schedule


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(versions, "time", clock)
    monkeypatch.setattr(contents, "time", clock)
    monkeypatch.setattr(purging, "time", clock)
    monkeypatch.setattr("lazycrop.build.open_store", lambda settings: Guarded(settings.store, settings, threads=0))
    return clock


def check(schedule: Schedule) -> None:
    """No mixed picture, no acknowledged store lost, and no object that a last purge does not find."""
    what_is = read(schedule.objects[RECORD]) if RECORD in schedule.objects else None
    check_colours(schedule)
    last_purge = max((end for _, end in schedule.purges), default=-1)
    for record, begun in schedule.acknowledged:
        if begun > last_purge:
            assert isinstance(what_is, Record), f"{record.version} was stored after the last purge, and is gone"
            assert what_is.version >= record.version
    if isinstance(what_is, Record) and not schedule.kills:  # Who is killed puts nothing right any more.
        assert what_is.origin_key in schedule.objects, f"the image is version {what_is.version}, which is not there"
    schedule.clock.now += 3600  # By then nobody writes any more.
    settle(schedule)


def check_colours(schedule: Schedule) -> None:
    """All objects of one version are of one picture."""
    colours: dict[int, set[tuple[int, ...]]] = {}
    for name, data in schedule.objects.items():
        key = Key.parse(name)
        assert key is not None, name
        if key.kind in ("origin", "size"):
            colours.setdefault(key.version, set()).add(colour_of(data))
    assert all(len(found) == 1 for found in colours.values()), colours


def settle(schedule: Schedule) -> None:
    images = schedule.process()
    for message in list(schedule.messages):
        images.jobs.actors["store"](message)
    check_colours(schedule)
    images.store_origin("cat", picture(7))
    answer = images.answer(Request("/cat/4x3.png"))
    assert colour_of(answer.body) == colour(7)
    images.purge("cat")
    assert list(schedule.objects) == [RECORD]
    assert isinstance(read(schedule.objects[RECORD]), Tombstone)


def test_no_order_of_calls_and_faults_mixes_loses_or_leaves_anything(clock: Clock) -> None:
    first = int(os.environ.get("TEST_SEED", "0"))
    for seed in range(first, first + SCHEDULES):
        schedule = run(seed, clock)
        try:
            check(schedule)
        except Exception as error:
            raise AssertionError(f"The schedule of seed {seed} ended wrongly: {error!r}") from error
