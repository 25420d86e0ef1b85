"""The page of each framework's templates in a browser: which pictures it takes, how large, and that nothing moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from frameworks import APPLICATIONS, serving
from lazycrop import LazyCrop
from servers import S3, eventually, photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

    from conftest import Base

FRAMEWORKS = [name for name in APPLICATIONS if name != "paste"]
NONE = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"

OBSERVE_SHIFTS = """
window.shifts = 0;
new PerformanceObserver(list => { for (const entry of list.getEntries()) window.shifts += entry.value })
    .observe({type: "layout-shift", buffered: true});
"""
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
PICTURES = """() => [...document.images].map(image => ({
    source: image.currentSrc, natural: [image.naturalWidth, image.naturalHeight],
    shown: [image.clientWidth, image.clientHeight], alt: image.alt, complete: image.complete}))"""


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    """A cat that is wide, an avatar that is high, and all sizes of the page, also at two pixels per CSS pixel."""
    images = LazyCrop(store=tmp_path / "images")
    images.store_origin("cat", photo("Fossa"))
    images.store_origin("Größe, 1 %20/Кот", photo("Wine"))
    sizes = ["400x300-cover", "320x", "640x", "1280x", "200x", "x200"]
    return {
        "store": str(tmp_path / "images"),
        "sizes": [*sizes, *(f"{size}@2x" for size in sizes)],
        "auto_formats": ["webp"],
        "fallback_url": NONE,
    }


@contextmanager
def opened(browser: Browser, url: str, density: int) -> Iterator[tuple[Page, list[str]]]:
    """The page after its first paint without a picture, and then with all of them; and what failed."""
    context = browser.new_context(device_scale_factor=density, viewport={"width": 800, "height": 900})
    try:
        page = context.new_page()
        failed: list[str] = []
        page.on("requestfailed", lambda request: failed.append(request.url))
        page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
        page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
        page.add_init_script(OBSERVE_SHIFTS)
        held: list[Route] = []
        page.route("**/img/**", lambda route: held.append(route))
        page.goto(url, wait_until="domcontentloaded")
        page.evaluate(TWO_FRAMES)
        # Each question lets the browser's own news in.
        eventually(lambda: page.evaluate("true") and len(held) == 3, 10, "the pictures are asked for")
        for route in held:
            route.continue_()
        page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")
        page.evaluate(TWO_FRAMES)
        yield page, failed
    finally:
        context.close()


@pytest.mark.parametrize("density", [1, 2])
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_browser_takes_the_right_picture_and_nothing_moves(
    framework: str, density: int, settings: dict[str, Any], chromium: Browser
) -> None:
    with (
        serving(APPLICATIONS[framework](settings), "/below") as url,
        opened(chromium, f"{url}/", density) as (page, failed),
    ):
        pictures = page.evaluate(PICTURES)
        shifts = page.evaluate("window.shifts")
    dense = "@2x" if density == 2 else ""
    assert [picture["source"] for picture in pictures] == [
        f"{url}/img/cat/400x300-cover{dense}.auto",
        f"{url}/img/cat/{320 * density}x.auto",
        f"{url}/img/Gr%C3%B6%C3%9Fe%2C%201%20%2520/%D0%9A%D0%BE%D1%82/200x{dense}.webp",
        NONE,
    ]
    assert [picture["natural"] for picture in pictures[:3]] == [[400, 300], [320, 180], [200, 300]]
    # The second one is shown as high as its size says, which is 200 px: 356 wide.
    assert [picture["shown"] for picture in pictures] == [[400, 300], [356, 200], [200, 300], [100, 50]]
    assert pictures[0]["alt"] == 'A "cat" & <co>'
    assert shifts == 0 and failed == []


@pytest.mark.parametrize("framework", ["flask", "pyramid", "wsgi"])
def test_pictures_that_a_source_has_are_shown_before_anybody_has_asked_for_them(
    framework: str, tmp_path: Path, settings: dict[str, Any], chromium: Browser
) -> None:
    for name, of in {"cat": "Fossa", "Größe, 1 %20/Кот": "Wine"}.items():
        path = tmp_path / "media" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo(of).read_bytes())
    settings |= {"store": str(tmp_path / "sizes"), "source": str(tmp_path / "media"), "page_seconds": 30}
    settings["waiting_requests"] = 8  # On a machine with much to do each may take long, and none is to be refused.
    with (
        serving(APPLICATIONS[framework](settings), "/below") as url,
        opened(chromium, f"{url}/", 1) as (page, failed),
    ):
        pictures = page.evaluate(PICTURES)
        shifts = page.evaluate("window.shifts")
    assert [picture["natural"] for picture in pictures[:3]] == [[400, 300], [320, 180], [200, 300]]
    assert [picture["shown"] for picture in pictures] == [[400, 300], [356, 200], [200, 300], [100, 50]]
    assert pictures[3]["source"] == NONE  # what no source has
    assert shifts == 0 and failed == []


def test_without_its_width_and_height_the_page_would_move(settings: dict[str, Any], chromium: Browser) -> None:
    """The test above sees what it is there to see."""
    app = APPLICATIONS["wsgi"](settings)

    def without(environ: Any, start_response: Callable[..., Any]) -> Any:
        chunks = app(environ, start_response)
        if environ["PATH_INFO"] != "/":
            return chunks
        return [b"".join(chunks).replace(b' width="', b' data-w="').replace(b' height="', b' data-h="')]

    with serving(without) as url, opened(chromium, f"{url}/", 1) as (page, _):
        assert page.evaluate("window.shifts") > 0


def test_a_browser_follows_the_redirect_to_the_store(
    s3: S3, s3_base: Base, chromium: Browser, settings: dict[str, Any]
) -> None:
    keys = {"s3_access_key": s3.access_key, "s3_secret_key": s3.secret_key, "s3_region": s3.region}
    settings |= {"store": s3_base.store, "s3_endpoint_url": s3.endpoint, "broker": "inline", **keys}
    images = LazyCrop(**settings)
    images.store_origin("cat", photo("Fossa"))
    images.store_origin("Größe, 1 %20/Кот", photo("Wine"))
    with serving(APPLICATIONS["flask"](settings)) as url:
        for final in (url, s3.endpoint):  # What is made is answered; what is stored is redirected to.
            fetched: list[str] = []
            chromium_context = chromium.new_context()
            page = chromium_context.new_page()
            page.on("response", lambda response, fetched=fetched: fetched.append(response.url) if response.ok else None)
            page.goto(f"{url}/", wait_until="load")
            page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")
            assert len([one for one in fetched if one.startswith(final) and "400x300-cover" in one]) == 1
            assert page.evaluate("document.images[0].naturalWidth") == 400
            chromium_context.close()
