"""What an answer leaves behind: nothing that only the garbage collector would find."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest

from doubles import RED, flat
from lazycrop import LazyCrop, LazyCropError
from lazycrop.http.requests import Request
from lazycrop.stores.memory import MemoryStore

ERRORS = {
    "/no/90x60.jpg": 404,
    "/cat/90x61.jpg": 403,
    "/cat/90xx60.jpg": 400,
    "/lost/90x60.jpg": 404,
    "/broken/90x60.jpg": 422,
}


@pytest.fixture
def images() -> Iterator[LazyCrop]:
    store = MemoryStore()
    images = LazyCrop(store=store, sizes=["90x60"], secret="k" * 32, broker="inline")
    for image_id in ("cat", "lost", "broken"):
        images.store_origin(image_id, flat(RED, size=(90, 60)))
    store.delete("lost/origin.jpg")
    store.put("broken/origin.jpg", b"\xff\xd8\xff", "image/jpeg")
    yield images
    images.close()


@pytest.fixture
def no_collector(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.CRITICAL, "lazycrop.service")  # What is logged is kept by pytest.
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def errors() -> list[LazyCropError]:
    return [one for one in gc.get_objects() if isinstance(one, LazyCropError)]


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("path", ERRORS)
def test_an_error_is_gone_with_its_answer(path: str, images: LazyCrop) -> None:
    before = errors()
    assert images.answer(Request(path)).status == ERRORS[path]
    left = [error for error in errors() if not any(error is one for one in before)]
    assert not left, "who asks for what is not there fills the memory until the collector comes"
