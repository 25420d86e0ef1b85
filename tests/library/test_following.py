"""A file that is replaced, touched, deleted and brought back while two LazyCrops are asked for it all the time."""

from __future__ import annotations

import io
import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from doubles import Taking, flat
from lazycrop import LazyCrop
from lazycrop.caches.process import ProcessCache
from lazycrop.errors import LazyCropError
from lazycrop.stores.memory import MemoryStore
from servers import Memcached, eventually

SIZES = ("90x60", "300x", "1900x")  # the last one is larger than each copy, so of the file itself
COLOURS = ((220, 20, 20), (20, 220, 20), (20, 20, 220), (220, 220, 20), (20, 220, 220))
Seen = defaultdict[tuple[str, str], set[int]]


def write(path: Path, data: bytes) -> None:
    new = path.with_name(".new")
    new.write_bytes(data)
    os.replace(new, path)


def ask(images: LazyCrop, size: str) -> tuple[int | str, str]:
    """The number of the colour of an answer, which is one from corner to corner, or its status; and its ETag."""
    answer = images.answer(f"/cat.jpg/{size}.jpg")
    data = answer.body if isinstance(answer.body, bytes) else answer.body.read()
    if answer.status != 200:
        return f"{answer.status}", ""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    corners = [picture.getpixel(at) for at in ((2, 2), (picture.width - 3, picture.height - 3))]
    numbers = {min(range(len(COLOURS)), key=lambda n: distance(COLOURS[n], corner)) for corner in corners}
    assert len(numbers) == 1
    return numbers.pop(), dict(answer.headers)["ETag"]


def distance(one: Any, other: Any) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


@contextmanager
def asking(both: list[LazyCrop]) -> Iterator[Seen]:
    """Ask all the time; what each ETag has been seen with."""
    seen, stop = Seen(set), threading.Event()

    def ask_on(images: LazyCrop, size: str) -> None:
        while not stop.wait(0.01):
            said, etag = ask(images, size)
            if isinstance(said, int):
                seen[size, etag].add(said)

    with ThreadPoolExecutor(len(both) * len(SIZES)) as pool:
        try:
            futures = [pool.submit(ask_on, images, size) for images in both for size in SIZES]
            yield seen
        finally:
            stop.set()
        for future in futures:
            future.result()


@pytest.fixture(params=[pytest.param("memcached", marks=pytest.mark.servers), "alone"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[LazyCrop]]:
    settings: dict[str, Any] = {"store": MemoryStore(), "sizes": "any", "broker": "embedded"}
    if request.param == "memcached":
        memcached: Memcached = request.getfixturevalue("memcached")
        settings["memcached"] = memcached.address
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / ".keep").touch()
    made = [LazyCrop(source=str(folder), source_seconds=1, record_seconds=1, **settings) for _ in range(2)]
    yield made
    for images in made:
        images.close()


def test_no_etag_is_ever_of_two_pictures_and_each_change_arrives(both: list[LazyCrop], tmp_path: Path) -> None:
    path = tmp_path / "media" / "cat.jpg"
    pictures = [flat(colour, size=(2000, 1500)) for colour in COLOURS]

    def all_say(what: int | str) -> bool:
        return all(ask(images, size)[0] == what for images in both for size in SIZES)

    write(path, pictures[0])
    with asking(both) as seen:
        for number in (0, 1):
            write(path, pictures[number])
            eventually(lambda number=number: all_say(number), 61, "all sizes are of the new file")  # type: ignore[misc]
        os.utime(path)
        assert all_say(1)
        path.unlink()
        eventually(lambda: all_say("404"), 61, "what is gone is not found")
        for number in (2, 3, 4):  # twice before anybody may have looked
            write(path, pictures[number])
        eventually(lambda: all_say(4), 61, "all sizes are of the last file")
    assert {key: numbers for key, numbers in seen.items() if len(numbers) > 1} == {}


def test_a_file_that_is_written_slowly_is_never_stored_by_half(both: list[LazyCrop], tmp_path: Path) -> None:
    path = tmp_path / "media" / "cat.jpg"
    data = flat(COLOURS[0], size=(2000, 1500), quality=95)
    with asking(both) as seen, path.open("wb") as file:
        for first in range(0, len(data), len(data) // 8 + 1):
            file.write(data[first : first + len(data) // 8 + 1])
            file.flush()
            said, _ = ask(both[0], "300x")
            assert said in ("404", "415", "422", "503") or file.tell() == len(data)
        eventually(lambda: all(ask(images, size)[0] == 0 for images in both for size in SIZES), 61, "it is whole")
    assert {number for numbers in seen.values() for number in numbers} == {0}
    with pytest.raises(LazyCropError):
        both[0].record("cat.jpg", 2)


class Keeping(ProcessCache):
    """A cache that takes nothing new while it is at fault, and has what it had before when it answers again."""

    fails = False

    def set(self, group: str, key: str, value: bytes, seconds: int) -> None:
        if not self.fails:
            super().set(group, key, value, seconds)

    def delete(self, group: str, key: str) -> None:
        if not self.fails:
            super().delete(group, key)


def test_a_file_that_is_another_one_is_shown_though_the_cache_could_not_be_told(tmp_path: Path) -> None:
    cache, path = Keeping(), tmp_path / "media" / "cat.jpg"
    path.parent.mkdir()
    settings: dict[str, Any] = {"broker": Taking(), "sizes": "any", "hot_seconds": 0}
    images = LazyCrop(source=str(path.parent), store=MemoryStore(), cache=cache, **settings)
    write(path, flat(COLOURS[0]))
    assert ask(images, "90x60")[0] == 0
    cache.fails = True
    write(path, flat(COLOURS[1], size=(500, 400)))
    assert [ask(images, size)[0] for size in ("80x50", "70x40")] == [1, 1]
    images.close()


class Failing(MemoryStore):
    """A store that answers ``good`` more reads, where that is a number, and then no more."""

    good: int | None = None

    def get(self, key: str, limit: int) -> bytes:
        if self.good is not None:
            self.good -= 1
            if self.good < 0:
                raise OSError("it is down")
        return super().get(key, limit)


def test_a_file_that_is_another_one_is_not_missing_while_neither_cache_nor_store_can_say_so(tmp_path: Path) -> None:
    cache, store, path = Keeping(), Failing(), tmp_path / "media" / "cat.jpg"
    path.parent.mkdir()
    images = LazyCrop(source=str(path.parent), store=store, cache=cache, broker=Taking(), sizes="any", hot_seconds=0)
    write(path, flat(COLOURS[0]))
    assert ask(images, "90x60")[0] == 0
    write(path, flat(COLOURS[1], size=(500, 400)))
    cache.fails, store.good = True, 1
    assert ask(images, "80x50")[0] == "503"
    store.good = None
    assert ask(images, "80x50")[0] == 1
    images.close()


def test_an_adopted_file_that_is_another_one_is_not_missing_while_the_cache_cannot_say_so(tmp_path: Path) -> None:
    cache, path = Keeping(), tmp_path / "media" / "cat.jpg"
    path.parent.mkdir()
    images = LazyCrop(
        source=str(path.parent), store=MemoryStore(), cache=cache, broker=Taking(), sizes="any", mezzanine_edges=""
    )
    write(path, flat(COLOURS[0]))
    images.adopt("cat.jpg")
    cache.fails = True
    write(path, flat(COLOURS[1], size=(500, 400)))
    assert ask(images, "90x60")[0] == "503"
    cache.fails = False
    images.adopt("cat.jpg")
    assert ask(images, "90x60")[0] == 1
    images.close()
