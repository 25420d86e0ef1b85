"""A store that hangs leaves threads of the server to the application, and to what can be answered without it."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image

from client import get
from doubles import Taking
from frameworks import serving
from lazycrop import LazyCrop, Middleware
from lazycrop.stores.memory import MemoryStore
from servers import eventually


class Hanging(MemoryStore):
    """Its reads hang while ``gate`` is closed."""

    def __init__(self) -> None:
        super().__init__("https://cdn.example.com/")
        self.gate = threading.Event()
        self.gate.set()

    def get(self, key: str, limit: int) -> bytes:
        self.gate.wait(60)
        return super().get(key, limit)


def page(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"page"]


@pytest.fixture
def store() -> Iterator[Hanging]:
    store = Hanging()
    yield store
    store.gate.set()


@pytest.fixture
def root(store: Hanging) -> Iterator[str]:
    """The URL of a waitress with its four threads. Records are asked for again at each request."""
    patient: dict[str, Any] = {"store_seconds": 60, "store_read_seconds": 60, "request_seconds": 60}
    images = LazyCrop(store=store, sizes="any", broker=Taking(), record_seconds=0, **patient)
    picture = io.BytesIO()
    Image.new("RGB", (240, 160)).save(picture, "JPEG")
    for number in range(13):
        images.store_origin(f"cat{number}", picture.getvalue())
    with serving(Middleware(page, images)) as url:
        yield url
        store.gate.set()
    images.close()


@pytest.mark.parametrize("what", ["many pictures", "one picture"])
def test_the_application_answers_while_more_requests_than_threads_wait_for_the_store(
    root: str, store: Hanging, what: str
) -> None:
    known = f"{root}/img/cat0/100x.jpg"
    assert get(known).status == 200
    statuses = Counter[int]()
    store.gate.clear()

    def ask(number: int) -> None:
        name = f"cat{number}" if what == "many pictures" else "cat1"
        reply = get(f"{root}/img/{name}/120x.jpg")
        if reply.status == 503:
            assert int(reply.headers["retry-after"]) > 0
        statuses[reply.status] += 1

    with ThreadPoolExecutor(12) as pool:
        asked = [pool.submit(ask, number) for number in range(1, 13)]
        try:
            eventually(lambda: statuses[503] == 10, what="all but two are refused")
            assert get(f"{root}/page").body == b"page"
            assert get(known).status == 200
        finally:
            store.gate.set()
    assert [one.exception() for one in asked] == [None] * 12
    assert statuses == {200: 2, 503: 10}
