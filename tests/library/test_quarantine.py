"""Quarantine: what cannot be rendered is tried again later, and each time that is in vain, later than before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from click.testing import CliRunner

from doubles import GREEN, RED, flat
from lazycrop import LazyCrop
from lazycrop.caches.process import ProcessCache
from lazycrop.cli import commands
from lazycrop.errors import BrokenImage, ImageTooLarge, Overloaded
from lazycrop.http.requests import Request
from lazycrop.library import renders
from lazycrop.library.quarantine import LONGEST, Failures, Quarantine
from lazycrop.stores import MemoryStore
from servers import Memcached


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead, now = 0.0, time.time
        monkeypatch.setattr(time, "time", lambda: now() + self.ahead)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def images() -> Iterator[LazyCrop]:
    images = LazyCrop(store=MemoryStore(), sizes="any", broker="inline", cache=ProcessCache())
    images.store_origin("cat", flat(RED))
    yield images
    images.close()


def status(images: LazyCrop, path: str) -> int:
    answer = images.answer(Request(path))
    answer.close()
    return answer.status


def fail(monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[object]:
    """Have each render raise; returns one item for each."""
    tried: list[object] = []

    def render(*of: object, **options: Any) -> object:
        tried.append(of)
        raise error

    monkeypatch.setattr(renders, "render", render)
    return tried


def test_each_quarantine_is_twice_as_long_up_to_a_day(clock: Clock) -> None:
    failures, lengths = Failures("tag"), []
    for _ in range(12):
        failures = failures.again(600)
        lengths.append(round(failures.until - time.time()) if failures.quarantined else 0)
        clock.ahead += lengths[-1] + 1
    assert lengths == [0, 600, 1200, 2400, 4800, 9600, 19200, 38400, 76800, *[LONGEST] * 3]
    assert Failures("tag").again(0).again(0).quarantined is False
    assert round(Failures("tag", 5).again(2 * LONGEST).until - time.time()) == 2 * LONGEST


def test_it_grows_in_the_cache_and_is_said_in_minutes(
    images: LazyCrop, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried, widths = fail(monkeypatch, BrokenImage("It is broken.")), iter(range(10, 99))
    for count, minutes in ((2, 10), (3, 20), (4, 40)):
        while len(tried) < count:
            assert status(images, f"/cat/{next(widths)}x.jpg") == 422
        answer = images.answer(Request(f"/cat/{next(widths)}x.jpg"))
        assert f"again in {minutes} minutes" in bytes(answer.body).decode()  # type: ignore[arg-type]
        assert len(tried) == count
        clock.ahead += 60 * minutes + 1


def test_many_failures_at_the_same_time_are_no_longer_quarantine(
    images: LazyCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, BrokenImage("It is broken."))
    with ThreadPoolExecutor(16) as clients:
        assert {*clients.map(lambda width: status(images, f"/cat/{width}x.jpg"), range(10, 74))} == {422}
    (one,) = images.watch.quarantined()
    assert one.until - time.time() < 601


@pytest.mark.parametrize(
    "error", [BrokenImage("It."), ImageTooLarge("It takes longer than 10 seconds."), OSError("codec"), KeyError(1)]
)
def test_every_error_of_a_render_is_counted(
    images: LazyCrop, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = fail(monkeypatch, error)
    for width in (10, 11, 12, 13):
        status(images, f"/cat/{width}x.jpg")
    assert len(tried) == 2


def lack_of_memory() -> ImageTooLarge:
    error = ImageTooLarge("The image needs more memory than there is.")
    error.__cause__ = MemoryError()
    return error


@pytest.mark.parametrize("error", [Overloaded("Later."), MemoryError(), lack_of_memory()])
def test_what_a_busy_machine_lacks_is_not(images: LazyCrop, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = fail(monkeypatch, error)
    for width in (10, 11, 12, 13):
        status(images, f"/cat/{width}x.jpg")
    assert len(tried) == 4


def test_to_store_it_again_ends_it(images: LazyCrop, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        fail(broken, BrokenImage("It is broken."))
        assert [status(images, f"/cat/{width}x.jpg") for width in (10, 11)] == [422, 422]
    assert status(images, "/cat/12x.jpg") == 422
    assert [(one.image_id, one.version, one.code) for one in images.watch.quarantined()] == [("cat", 1, "broken-image")]
    images.store_origin("cat", flat(GREEN))
    assert images.watch.quarantined() == []
    assert status(images, "/cat/12x.jpg") == 200


def test_what_is_stored_is_shown_all_the_same(images: LazyCrop, monkeypatch: pytest.MonkeyPatch) -> None:
    images.warm("cat", ["50x"])
    fail(monkeypatch, BrokenImage("It is broken."))
    assert [status(images, f"/cat/{width}x.jpg") for width in (10, 11)] == [422, 422]
    assert status(images, "/cat/50x.jpg") == 200


def test_check_lists_those_of_all_processes(
    memcached: Memcached, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"store": str(tmp_path), "sizes": "any", "memcached": memcached.address}
    images = LazyCrop(**settings, broker="inline")
    for name in ("cat", "a/dog", "bird"):
        images.store_origin(name, flat(RED))
    with monkeypatch.context() as broken:
        fail(broken, BrokenImage("It is broken."))
        for name in ("cat", "a/dog", "bird"):
            assert {status(images, f"/{name}/{width}x.jpg") for width in (10, 11)} == {422}
    images.purge("bird")
    images.close()
    options = [part for name, value in settings.items() for part in (f"--{name}", value)]
    said = CliRunner().invoke(commands, ["check", *options])
    assert said.exit_code == 0, said.output
    listed = [line for line in said.output.splitlines() if "cannot be rendered (broken-image)" in line]
    assert [line.split()[1] for line in listed] == ["'a/dog'", "'cat'"]
    assert "store it again" in said.output or "stored anew" in said.output


@pytest.mark.parametrize("junk", [b"", b"tag 2", b"tag x 1", b"tag 2 inf", b"tag 2 nan", b"tag -1 1", b"\xff 1 1"])
def test_what_is_no_count_is_none(junk: bytes) -> None:
    assert Failures.read(junk, "tag") == Failures("tag")


@pytest.mark.parametrize("junk", [None, [], ["cat", 1, "tag", float("inf"), "x"], ["cat", 1, "tag", 1.0, "x"], "cat"])
def test_what_is_no_place_is_none(junk: object) -> None:
    assert Quarantine.read(junk) is None
