"""World: time, a store and a source that all processes share, and whose every call is somebody's turn."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache, lru_cache
from hashlib import sha256
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from greenlet import getcurrent
from PIL import Image

from doubles import Dictionary, Taking
from lazycrop import settings
from lazycrop.caches.sealed import Sealed
from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.guard import Guard
from lazycrop.errors import StoreUnavailable
from lazycrop.library import adopting, versions
from lazycrop.library.renders import Renders
from lazycrop.model import records
from lazycrop.model.keys import CHANGES, Key
from lazycrop.model.records import Mezzanine, Record
from lazycrop.pictures.settings import Recipes
from lazycrop.settings import Config
from lazycrop.sources.contract import Seen
from lazycrop.stores import MemoryStore
from lazycrop.stores.guarded import Guarded

if TYPE_CHECKING:
    from schedules import Schedule

SLEEP = ("sleep", "")
RECORD = "cat/image.json"
FOR_EVER = 10**9
MINUTE = 61  # seconds, and with them record_seconds
PATH = "/cat/4x3.png"
OBJECTS = {"store": "store", "broker": "queue", "source": "sources", "cache": "cache"}  # and the sections they are in
Colour = tuple[int, ...]
Trouble = Callable[[str, str], str]
read = lru_cache(1000)(records.read)


class Killed(BaseException):
    """The process is no more."""


@cache
def picture(number: int) -> bytes:
    """Each has a colour of its own, which its sizes have too."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), ((40 * number) % 256, (90 * number) % 256, (25 * number) % 256)).save(file, "PNG")
    return file.getvalue()


@cache
def colours() -> dict[str, Colour]:
    """By the digest of the picture."""
    return {sha256(picture(number)).hexdigest(): colour_of(picture(number)) for number in range(40)}


@cache
def colour_of(data: bytes) -> Colour:
    return Image.open(io.BytesIO(data)).convert("RGB").getpixel((1, 1))  # type: ignore[return-value]


class Clock(SimpleNamespace):
    """Time that passes only when all wait. ``pasts``: what schedules have in common, see ``scenes.py``."""

    def __init__(self) -> None:
        super().__init__(now=1_000_000.0, pasts={})

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

    def __init__(self, schedule: Schedule, fault: Trouble) -> None:
        super().__init__()
        self._objects = schedule.objects
        self._words = MemoryStore()  # of changes, which are nobody's objects
        self._words._objects = schedule.words
        self._schedule = schedule
        self._fault = fault
        self._is_dead = False

    def _call(self, name: str, key: str, do: Callable[[], Any]) -> Any:
        wait_for_turn(name, kind_of(key))
        fault = "killed" if self._is_dead else self._fault(name, key)
        if fault == "killed":
            self._is_dead = True
            raise Killed
        if fault == "failed":
            raise StoreUnavailable(f"{name} {key} failed")
        result = do()
        try:
            self._schedule.notice(name, key)
        except AssertionError as error:  # It would become an error of ours on its way.
            self._schedule.broken.append(f"after {name} {key}: {error}")
        if fault == "lost":
            raise StoreUnavailable(f"the answer to {name} {key} was lost")
        return result

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        place = self._place(key)
        return self._call("put", key, lambda: MemoryStore.put(place, key, data, content_type, **options))

    def get(self, key: str, limit: int) -> bytes:
        return self._call("get", key, lambda: MemoryStore.get(self, key, limit))

    def exists(self, key: str) -> bool:
        return self._call("exists", key, lambda: MemoryStore.exists(self, key))

    def delete(self, key: str) -> None:
        self._call("delete", key, lambda: MemoryStore.delete(self._place(key), key))

    def _place(self, key: str) -> MemoryStore:
        return self._words if key.startswith(CHANGES) else self

    def heal(self) -> None:
        """Nothing goes wrong from now on."""
        self._fault = lambda name, key: ""

    def shuffled(self, calls: Sequence[Any]) -> list[Any]:
        """Calls that are under way at once are made in any order."""
        return self._schedule.random.sample(calls, len(calls))

    def list(self, folder: str) -> Iterator[str]:
        names = sorted(self._call("list", folder, lambda: MemoryStore.list(self._place(folder), folder)))
        return iter(self._schedule.random.sample(names, len(names)))


def wait_for_turn(name: str, kind: str) -> None:
    if (parent := getcurrent().parent) is not None:
        parent.switch((name, kind))


@cache
def kind_of(key: str) -> str:
    """Of an object: what the image is, or a record of a version, and so on."""
    found = Key.parse(key)
    if key.startswith(CHANGES):
        return "word"
    return "current" if key == RECORD else "own" if found and found.kind == "record" else found.kind if found else ""


class Files(Dictionary):
    """The source of all processes; each look at it waits for its turn."""

    def _seen(self, name: str, first: int) -> Seen | None:
        wait_for_turn("look", "file")
        return super()._seen(name, first)


class Mailbox(Taking):
    """A queue that keeps messages for whoever does the next job."""

    def __init__(self, messages: list[tuple[str, dict[str, Any]]]) -> None:
        self._messages = messages

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        self._messages.append((actor, message))
        return True


def open_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time, and pictures that cost nothing: each is made once, on the thread of whoever needs it."""
    clock = Clock()
    for module in ("claims", "contents", "purging", "changes", "records", "state"):
        monkeypatch.setattr(f"lazycrop.library.{module}.time", clock, raising=False)
    monkeypatch.setattr("lazycrop.caches.process.time", clock)
    monkeypatch.setattr(Guarded, "is_remote", True)
    monkeypatch.setattr("lazycrop.build.open_store", lambda settings: Guarded(settings.store, settings, threads=0))
    monkeypatch.setattr(Guarded, "together", _together)
    monkeypatch.setattr(
        "lazycrop.sources.places.Guard", lambda *names, threads, **rest: Guard(*names, threads=0, **rest)
    )
    monkeypatch.setattr(versions, "prepare", once(versions.prepare))
    monkeypatch.setattr(adopting, "prepare_without_origin", once(adopting.prepare_without_origin))
    monkeypatch.setattr(versions, "mezzanines", lambda data, *_: ((Mezzanine(4, 4, 3, "png", len(data)), data),))
    monkeypatch.setattr(versions, "lacks_mezzanines", lambda record, ingest: not record.mezzanines)
    sizes, size = {}, Renders.size

    def size_once(self: Renders, derivative: object, record: object, data: bytes, *rest: object) -> bytes:
        if data not in sizes:
            sizes[data] = size(self, derivative, record, data, *rest)  # type: ignore[arg-type]
        return sizes[data]

    monkeypatch.setattr(Renders, "size", size_once)
    monkeypatch.setattr(Fault, "tell", lambda *of, **how: None)
    spare_what_is_always_the_same(monkeypatch)
    monkeypatch.setattr(Renders, "run", lambda self, do, wait: do())
    return clock


def spare_what_is_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of processes are made a second, which differ in their objects; and no call hangs that has to be watched.
    What is random by itself would have a seed mean another schedule each time.
    """
    numbers = itertools.count()
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}")
    monkeypatch.setattr(settings, "make_config", of_objects(settings.make_config))
    recipes = Recipes(settings.make_config({}).recipe, {})
    monkeypatch.setattr("lazycrop.build.Recipes", lambda *_: recipes)
    monkeypatch.setattr(Guard, "call", lambda self, do, seconds=None: do())
    monkeypatch.setattr(Sealed, "_digest", lambda self, key, value: bytes(32))
    monkeypatch.setattr(Sealed, "_key", lambda self, name: name)
    monkeypatch.setattr(Record, "from_json", lru_cache(1000)(Record.from_json))
    monkeypatch.setattr("lazycrop.library.records._parsed", read)


def of_objects(make_config: Callable[[dict[str, Any]], Config]) -> Callable[[dict[str, Any]], Config]:
    """Settings, of which all but the objects are read once."""
    made: dict[Any, Config] = {}

    def make(given: dict[str, Any]) -> Config:
        plain = tuple(sorted((name, value) for name, value in given.items() if name not in OBJECTS))
        config = made.get(plain) or made.setdefault(plain, make_config(dict(plain)))
        sections = {
            section: replace(getattr(config, section), **{name: given[name]})
            for name, section in OBJECTS.items()
            if given.get(name) is not None
        }
        return replace(config, **sections)

    return make


def _together(self: Guarded, *begun: Callable[[], Any]) -> Sequence[Any]:
    stepped = self.unguarded
    assert isinstance(stepped, Stepped)
    results, errors = {}, []
    for end in stepped.shuffled(begun):
        try:
            results[end] = end()
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return [results[end] for end in begun]


def once(make: Callable[..., Any]) -> Callable[..., Any]:
    """What is made of some bytes, made once."""
    made: dict[bytes, Any] = {}

    def make_once(data: bytes, *rest: Any, **options: Any) -> Any:
        if data not in made:
            made[data] = make(data, *rest, **options)
        return made[data]

    return make_once
