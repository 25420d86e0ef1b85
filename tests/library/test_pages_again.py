"""A page that shows images which nobody has asked for yet does not wait for one after the other."""

from __future__ import annotations

import threading
from concurrent.futures import wait

import pytest

from doubles import RED, Dictionary, flat, open_adopting
from lazycrop import Helpers, LazyCrop, UnknownImage
from lazycrop.sources.contract import Seen
from lazycrop.stores.memory import MemoryStore


class Slow(Dictionary):
    """It answers when it is told to."""

    def __init__(self, **files: bytes) -> None:
        super().__init__(**files)
        self.gate = threading.Event()
        self.waiting = threading.Semaphore(0)

    def look(self, name: str, first: int = 0) -> Seen | None:
        self.waiting.release()
        self.gate.wait(30)
        return super().look(name, first)


def open_page(source: Dictionary) -> tuple[LazyCrop, Helpers]:
    images = open_adopting(source, store=MemoryStore(), page_seconds=0.05, record_seconds=100, source_read_seconds=30)
    return images, Helpers(images)


def test_the_size_of_a_file_is_in_the_page_before_anybody_has_asked_for_it() -> None:
    images, helpers = open_page(Dictionary(cat__jpg=flat(RED)))
    adopted = threading.Event()
    images.on("stored", lambda event: adopted.set())
    html = helpers.img("cat.jpg", "200x100")
    assert 'width="150" height="100"' in html
    assert "/cat.jpg/200x100.auto" in html
    assert adopted.wait(30)


def test_what_is_not_known_in_time_is_shown_without_its_size_and_known_to_the_next_page() -> None:
    names = [f"cat{number}" for number in range(20)]
    source = Slow(**dict.fromkeys(names, flat(RED)))
    images, helpers = open_page(source)
    page = [helpers.img(name, "200x100") for name in names]
    for name, html in zip(names, page, strict=True):
        assert "width=" not in html
        assert f"/{name}/200x100.auto" in html
    for _ in range(8):  # as many as are read at once, and all at the same time
        assert source.waiting.acquire(timeout=30)
    under_way = list(images.pages._under_way.values())
    source.gate.set()
    wait(under_way)
    assert all('width="150" height="100"' in Helpers(images).img(name, "200x100") for name in names)


def test_a_page_that_asks_again_has_each_file_looked_at_once() -> None:
    source = Slow(cat__jpg=flat(RED))
    images, helpers = open_page(source)
    for _ in range(5):
        helpers.img("cat.jpg", "200x100")
    source.gate.set()
    wait(images.pages._under_way.values())
    images.close()
    assert source.calls["look"] <= 3  # of the page; and of the adoption, which looks and reads


def test_a_file_that_is_not_there_is_an_error() -> None:
    _, helpers = open_page(Dictionary())
    with pytest.raises(UnknownImage):
        helpers.img("cat.jpg", "200x100")
