"""Overload: what cannot be made now is the nearest size that is stored; nobody gets what is not theirs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from client import ask
from doubles import GREEN, RED, flat, opening
from lazycrop import LazyCrop
from lazycrop.concurrency import waits
from lazycrop.pictures.settings import Stage
from lazycrop.stores import MemoryStore
from servers import eventually

FOSSA = (Path(__file__).parent.parent / "photos" / "Fossa_by_Jasper_Roks.jpg").read_bytes()
NEAREST = "lazycrop; fwd=miss; detail=nearest"

Open = Callable[..., LazyCrop]


@pytest.fixture
def open_images() -> Iterator[Open]:
    with opening(MemoryStore, sizes="any", broker="inline", renders=1, render_wait_seconds=0.01) as make:
        yield make


@contextmanager
def all_slots_taken(images: LazyCrop) -> Iterator[None]:
    with images._renders._benches[Stage.FIRST].slot(1):
        yield


def instead(images: LazyCrop, url: str, **request: Any) -> str | None:
    """Where the answer leads when no render is free; None for a 503."""
    with all_slots_taken(images):
        answer = ask(images, url, **request)
    assert answer.status in (302, 503), answer
    if answer.status == 503:
        assert answer.header("Location") is None
        return None
    assert answer.outcome.header == ("Cache-Status", NEAREST)
    return answer.header("Location")


def test_of_200_clients_who_want_200_new_sizes_of_two_slots_each_gets_a_picture(
    open_images: Open, tmp_path: Path
) -> None:
    images = open_images(tmp_path, broker="embedded", renders=2, render_wait_seconds=0.1, mezzanine_edges="none")
    images.store_origin("cat", FOSSA)
    images.warm("cat", ["1600x"])
    eventually(lambda: (tmp_path / "cat/1600x.jpg").exists(), what="the large size is stored")
    meet = threading.Barrier(200, timeout=60)

    def client(width: int) -> tuple[str | None, int]:
        meet.wait()
        answer = ask(images, f"/cat/{width}x.jpg")
        last = ask(images, answer.header("Location") or "") if answer.status == 302 else answer
        return answer.header("Cache-Status"), last.status

    with ThreadPoolExecutor(200) as clients:
        got = Counter(clients.map(client, range(300, 500)))
    assert {status for _, status in got} == {200}, got
    assert got[NEAREST, 200] > 100 and got["lazycrop; fwd=miss; detail=rendered", 200] >= 2


def test_it_is_kept_for_ten_seconds_and_by_nobody_as_the_picture(open_images: Open) -> None:
    images = open_images()
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    with all_slots_taken(images):
        answer = ask(images, "/cat/200x.jpg", mount="/app/img")
        head = ask(images, "/cat/200x.jpg", method="HEAD")
    assert (answer.status, answer.header("Location")) == (302, "/app/img/cat/400x.jpg")
    assert answer.header("Cache-Control") == "public, max-age=10"
    assert answer.header("ETag") is answer.header("Last-Modified") is None
    assert head.status == 200  # It makes nothing.
    assert ask(images, "/cat/200x.jpg").status == 200


def test_the_nearest_is_of_the_same_fit_and_at_least_as_large(open_images: Open) -> None:
    images = open_images()
    images.store_origin("cat", flat(RED))  # 900 x 600
    images.warm("cat", ["150x", "400x", "500x", "x500", "300x300-cover", "400x200-cover", "500x500-cover-n"])
    images.warm("cat", ["600x600-contain-bgfff", "450x"], ["webp"])
    for asked, location in {
        "200x": "400x",
        "200x100": "150x",  # 150 x 100 pixels, as this
        "x300": "500x",
        "200x@2x": "400x",
        "501x": "x500",
        "800x": None,
        "100x100-cover": "300x300-cover",
        "200x100-cover": "400x200-cover",
        "100x50-cover": "400x200-cover",
        "250x250-cover-n": "500x500-cover-n",
        "200x200-cover-s": None,
        "200x200-fill": None,
        "200x200-contain-bg000": None,
    }.items():
        expected = location and f"/img/cat/{location}.jpg"
        assert instead(images, f"/cat/{asked}.jpg") == expected, asked
    assert instead(images, "/cat/200x200-contain-bgfff.webp") == "/img/cat/600x600-contain-bgfff.webp"
    assert instead(images, "/cat/200x.webp") == "/img/cat/450x.webp"
    assert instead(images, "/cat/200x.auto", accept="image/webp") == "/img/cat/450x.webp"
    assert instead(images, "/cat/200x.auto") == "/img/cat/400x.jpg"


def test_a_crop_that_an_editor_has_chosen_is_no_other_part_of_the_picture(open_images: Open) -> None:
    images = open_images()
    images.store_origin("cat", flat(RED))
    images.set_crop("cat", "1x1", (10, 10, 20, 20))
    images.warm("cat", ["400x400-cover", "90x90-cover"])
    assert instead(images, "/cat/v2/50x50-cover.jpg") == "/img/cat/v2/90x90-cover.jpg"
    assert instead(images, "/cat/50x40-cover.jpg") is None


def test_it_is_of_the_same_version(open_images: Open) -> None:
    images = open_images()
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    images.store_origin("cat", flat(GREEN))
    assert instead(images, "/cat/200x.jpg") is None
    assert instead(images, "/cat/v2/200x.jpg") is None
    images = open_images(images.store)  # What was found is remembered for some seconds.
    images.warm("cat", ["500x"])
    assert instead(images, "/cat/200x.jpg") == "/img/cat/500x.jpg"
    assert instead(images, "/cat/v2/200x.jpg") == "/img/cat/v2/500x.jpg"


def test_who_has_no_signature_is_shown_what_is_listed_alone(open_images: Open) -> None:
    images = open_images(sizes=["200x", "300x", "800x"], secret="a long random text")
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x", "800x"])
    assert instead(images, "/cat/200x.jpg") == "/img/cat/800x.jpg"
    location = instead(images, images.url("cat", "210x"))
    assert location == images.url("cat", "400x") and "?s=" in location
    assert ask(images, location).status == 200
    with all_slots_taken(images):
        assert ask(images, "/cat/210x.jpg").status == 403


def test_a_format_or_edge_that_may_not_be_asked_for_any_more_is_no_way_out(open_images: Open) -> None:
    images = open_images()
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["700x"])
    images = open_images(images.store, max_edge=500)
    assert instead(images, "/cat/200x.jpg") is None


def test_a_private_image_is_shown_to_signatures_alone_and_as_long_as_they_last(open_images: Open) -> None:
    images = open_images(secret="a long random text", private=True)
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    with all_slots_taken(images):
        assert ask(images, "/cat/200x.jpg").status == 403
        answer = ask(images, images.url("cat", "200x", expires=3600))
    location = answer.header("Location") or ""
    assert (answer.status, answer.header("Cache-Control")) == (302, "private, max-age=10")
    assert "&e=" in location and "/400x.jpg?s=" in location
    assert ask(images, location).status == 200
    assert ask(images, location.partition("?")[0]).status == 403
    with all_slots_taken(images):
        answer = ask(images, images.url("cat", "210x", expires=4))
    assert answer.header("Cache-Control") in ("private, max-age=4", "private, max-age=3")


class Counted(MemoryStore):
    """Counts how often it is listed."""

    def __init__(self) -> None:
        super().__init__()
        self.lists = Counter[str]()

    def list(self, folder: str) -> Iterator[str]:
        self.lists[folder] += 1
        return super().list(folder)


def test_the_store_is_listed_once_for_all_who_come_at_the_same_time(open_images: Open) -> None:
    store = Counted()
    images = open_images(store)
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    store.lists.clear()
    assert {instead(images, f"/cat/{width}x.jpg") for width in range(100, 120)} == {"/img/cat/400x.jpg"}
    assert store.lists == {"cat/": 1}


def test_what_was_deleted_since_it_was_listed_is_not_led_to(open_images: Open) -> None:
    images = open_images()
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x", "500x"])
    images = open_images(images.store)
    assert instead(images, "/cat/450x.jpg") == "/img/cat/500x.jpg"
    images.store.delete("cat/400x.jpg")
    assert instead(images, "/cat/300x.jpg") == "/img/cat/500x.jpg"


class Slow(MemoryStore):
    """Does not look anything up, or list, before it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()

    def exists(self, key: str) -> bool:
        self.gate.wait(60)
        return super().exists(key)

    def list(self, folder: str) -> Iterator[str]:
        self.gate.wait(60)
        return super().list(folder)


def test_while_the_store_is_slow_one_more_is_led_to_what_the_cache_knows(open_images: Open) -> None:
    store = Slow()
    images = open_images(store, sizes=["200x", "300x", "400x", "500x"], waiting_requests=1, store_seconds=30)
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    store.gate.clear()
    with ThreadPoolExecutor(1) as others:
        first = others.submit(ask, images, "/cat/200x.jpg")
        eventually(lambda: images._service._room._waiting, what="one waits for long")
        answer = ask(images, "/cat/300x.jpg")
        too_large = ask(images, "/cat/500x.jpg")
        store.gate.set()
        assert first.result(30).status == 200
    assert (answer.status, answer.header("Location")) == (302, "/img/cat/400x.jpg")
    assert too_large.status == 503


def test_who_would_wait_for_long_for_a_render_is_one_of_few(open_images: Open) -> None:
    images = open_images(render_wait_seconds=30, waiting_requests=1)
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    with ThreadPoolExecutor(3) as others, all_slots_taken(images):
        asked = [others.submit(ask, images, f"/cat/{width}x.jpg") for width in (100, 101, 102)]
        eventually(lambda: sum(one.done() for one in asked) == 2, what="two are refused")
        done = [one.result().status for one in asked if one.done()]
        assert done == [302, 302]
        assert ask(images, "/cat/103x.jpg").status == 302  # at once
    assert sorted(one.result(30).status for one in asked) == [200, 302, 302]


def test_where_pictures_keep_half_of_the_threads_for_long_the_nearest_size_is_at_once(
    open_images: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(render_wait_seconds=30, waiting_requests=1, renders=2)
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["400x"])
    with ExitStack() as stack:
        stack.enter_context(images._service._room.work())
        monkeypatch.setattr(waits, "LONG", 1000.0)
        assert ask(images, "/cat/200x.jpg").status == 200  # It has not been for long.
        monkeypatch.setattr(waits, "LONG", 0.0)
        instead = ask(images, "/cat/300x.jpg")
        assert (instead.status, instead.header("Location")) == (302, "/img/cat/400x.jpg")
        assert ask(images, "/cat/500x.jpg").status == 200  # There is none that is as large.
    assert ask(images, "/cat/300x.jpg").status == 200
