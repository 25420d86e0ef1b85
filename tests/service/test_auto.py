"""``.auto``: the format is the browser's choice, and what is dear to make never makes anybody wait."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from time import process_time
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from doubles import Taking
from lazycrop import Answer, LazyCrop, Middleware
from lazycrop.http.requests import Request
from servers import HOST, eventually, photo

CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
FIREFOX = "image/avif,image/webp,image/png,image/svg+xml,image/*;q=0.8,*/*;q=0.5"
SAFARI = (
    "image/webp,image/avif,image/jxl,image/heic,image/heic-sequence,video/*;q=0.8,image/png,image/svg+xml,*/*;q=0.5"
)
OLD_SAFARI = "image/png,image/svg+xml,image/*;q=0.8,video/*;q=0.8,*/*;q=0.5"
CURL = "*/*"


@pytest.fixture
def images(tmp_path: Path) -> Iterator[LazyCrop]:
    images = LazyCrop(store=tmp_path, sizes="any", public_url="https://cdn.example.com/")
    images.store_origin("cat", photo("Fossa"))
    yield images
    images.close()


def stored(images: LazyCrop, path: str, accept: str | None, kind: str) -> Answer:
    """The redirect to the object of this kind, once there is one."""

    def redirect() -> Answer | None:
        answer = images.answer(Request(path, accept=accept))
        return answer if (answer.header("Location") or "").endswith(f".{kind}") else None

    return eventually(redirect, 20, f"the {kind} is stored")


@pytest.mark.parametrize(
    ("accept", "first", "later"),
    [
        (CHROME, "webp", "avif"),
        (FIREFOX, "webp", "avif"),
        (SAFARI, "webp", "avif"),
        (OLD_SAFARI, "jpg", "jpg"),
        (CURL, "jpg", "jpg"),
        (None, "jpg", "jpg"),
        ("image/avif;q=0, image/webp;q=0.1", "webp", "webp"),
        ("image/avif;q=0.2, image/webp;q=0.9", "webp", "webp"),
        ("image/avif", "jpg", "avif"),
        ("image/AVIF, IMAGE/webp", "webp", "avif"),
    ],
)
def test_each_browser_gets_what_it_names(images: LazyCrop, accept: str | None, first: str, later: str) -> None:
    answer = images.answer(Request("/cat/300x.auto", accept=accept))
    kinds = {"jpg": "image/jpeg", "webp": "image/webp", "avif": "image/avif"}
    assert (answer.status, answer.header("Content-Type"), answer.header("Vary")) == (200, kinds[first], "Accept")
    redirect = stored(images, "/cat/300x.auto", accept, later)
    assert redirect.header("Location") == f"https://cdn.example.com/cat/300x.{later}"
    assert redirect.header("Vary") == "Accept"
    assert redirect.header("Cache-Control") == "public, max-age=86400"
    unchanged = images.answer(Request("/cat/300x.auto", accept=accept, if_none_match=redirect.header("ETag")))
    assert (unchanged.status, unchanged.header("Vary")) == (304, "Accept")
    images.close()  # The jobs are done.
    names = {path.name for path in (Path(images.store.path) / "cat").glob("300x.*")}  # type: ignore[attr-defined]
    assert names == {f"300x.{first}", f"300x.{later}"}


def test_nobody_waits_for_avif(images: LazyCrop, tmp_path: Path) -> None:
    """The CPU of this thread: an answer that made AVIF would take several times as long as one that makes WebP."""
    lazy = LazyCrop(store=tmp_path, sizes="any", broker=Taking())
    costs: dict[str, list[float]] = {"image/webp": [], CHROME: []}
    for width in range(600, 612, 2):
        for number, accept in enumerate(costs):
            start = process_time()
            answer = lazy.answer(Request(f"/cat/{width + number}x.auto", accept=accept))
            costs[accept].append(process_time() - start)
            assert answer.header("Content-Type") == "image/webp"
    webp, chrome = (sorted(cost)[len(cost) // 2] for cost in costs.values())
    assert chrome < 2 * webp


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None: ...


def test_a_real_browser_is_shown_webp_first_and_avif_later(tmp_path: Path, chromium: Any) -> None:
    images = LazyCrop(store=tmp_path, sizes="any", max_age=0)
    images.store_origin("cat", photo("Fossa"))

    def page(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html")])
        return [b'<!doctype html><link rel="icon" href="data:,"><img src="/img/cat/320x.auto">']

    with make_server(HOST, 0, Middleware(page, images), handler_class=Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kinds: list[str] = []
        view = chromium.new_page()
        view.on("response", lambda response: "/img/" in response.url and kinds.append(response.headers["content-type"]))

        def look() -> str:
            view.goto("about:blank")
            view.context.clear_cookies()
            view.goto(f"http://{HOST}:{server.server_port}/?{len(kinds)}", wait_until="networkidle")
            assert view.evaluate("document.images[0].naturalWidth") == 320
            return kinds[-1]

        assert look() == "image/webp"
        eventually(lambda: (tmp_path / "cat/320x.avif").exists(), 20, "the worker has made the small one")
        view.close()
        view = chromium.new_page()
        view.on("response", lambda response: "/img/" in response.url and kinds.append(response.headers["content-type"]))
        assert look() == "image/avif"
        view.close()
        server.shutdown()
    images.close()
