"""What people come to the playground for, in a real browser: by mouse, by keyboard alone, and with a screen reader."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from axe_playwright_python.sync_playwright import Axe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_playground import call

from lazycrop import LazyCrop
from lazycrop.errors import BadSize
from lazycrop.model.sizes import COMPASS, Size
from lazycrop.pictures.render import crop_box
from lazycrop.playground import DEMO, PHOTOGRAPH, Playground, demo_app
from lazycrop.playground.page import resource
from lazycrop.wsgi import Middleware
from servers import HOST, ROOT, free_ports, photo, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FIRST = "/?show=seeding/600x400-cover.jpg"
LIGHT_PHONE, DARK_PHONE = (320, 700, "light"), (390, 844, "dark")
LIGHT_DESK, DARK_DESK = (1600, 1000, "light"), (1200, 900, "dark")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    [port] = free_ports(1)
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "lazycrop", "demo", "--port", str(port), "--store", str(folder / "images")]
    with running(command, ready=f"http://{HOST}:{port}/", folder=folder):
        yield f"http://{HOST}:{port}"


def opened(chromium: Browser, url: str, width: int = 1200, height: int = 900, scheme: Any = "light") -> Page:
    context = chromium.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, reduced_motion="reduce"
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    context.set_default_timeout(10_000)
    page = context.new_page()
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(url)
    page.wait_for_selector("#picture:not([hidden])")
    page.wait_for_selector("#copies:not([hidden])")
    return page


@pytest.fixture
def page(chromium: Browser, demo: str) -> Iterator[Page]:
    page = opened(chromium, demo + FIRST)
    yield page
    page.context.close()


def wait_for_url(page: Page, path: str) -> None:
    """Until the picture at this path is shown, and what is to copy is of it."""
    page.wait_for_function("path => document.getElementById('copy-url').textContent.endsWith(path)", arg=path)


def copied(page: Page, name: str) -> str:
    page.locator(f"[data-copy={name}]").click()
    page.get_by_text("Copied", exact=True).first.wait_for()
    return str(page.evaluate("navigator.clipboard.readText()"))


def test_a_crop_is_chosen_by_a_click_and_dragged(page: Page) -> None:
    page.get_by_label("Width").fill("300")
    page.get_by_label("Height").fill("300")
    pick = page.locator("#pick")
    box = pick.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + box["height"] * 0.5)
    wait_for_url(page, "/img/seeding/300x300-cover-f80x50.jpg")
    assert page.get_by_label("Focus").input_value() == "point"

    frame = page.locator("#frame").bounding_box()
    assert frame
    middle = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - box["width"] * 0.3, middle[1], steps=8)
    page.mouse.up()
    page.wait_for_function("() => /-f4[0-9]x50[.]jpg/.test(document.getElementById('copy-url').textContent)")
    assert sum("/img/" in url for url in asked) <= 2  # It waits until the hand rests.
    assert page.evaluate("document.getElementById('picture').naturalWidth") == 300


def test_a_click_on_what_is_not_cropped_crops_it(page: Page) -> None:
    page.get_by_role("button", name="800x", exact=True).click()
    wait_for_url(page, "/800x.jpg")
    page.locator("#pick").click(position={"x": 5, "y": 5})
    page.wait_for_function(
        "() => /800x450-cover-f[0-9]+x[0-9]+[.]jpg/.test(document.getElementById('copy-url').textContent)"
    )


def test_formats_are_compared_side_by_side(page: Page) -> None:
    page.get_by_role("button", name="Compare formats").click()
    page.wait_for_selector("#compared:not([hidden])")
    rows = [row.inner_text().split() for row in page.locator("#formats tr").all()]
    sizes = {row[0]: int(row[1].replace(",", "")) for row in rows}
    assert list(sizes) == ["jpg", "png", "webp", "avif", "gif"]
    assert sizes["avif"] < sizes["jpg"] < sizes["png"]
    assert page.inner_text("#left-label").startswith("jpg,") and page.inner_text("#right-label").startswith("avif,")

    page.get_by_label("png on the left").check()
    assert page.inner_text("#left-label").startswith("png,")
    cut = page.get_by_label("Where the left picture ends")
    cut.press("Home")
    assert page.locator("#right-picture").evaluate("one => getComputedStyle(one).clipPath").endswith(" 0%)")

    page.get_by_role("button", name="200x100", exact=True).click()
    page.locator("#compared").wait_for(state="hidden")  # That was another picture.


def test_what_is_copied_is_what_the_helpers_give(page: Page) -> None:
    assert copied(page, "url").endswith("/img/seeding/600x400-cover.jpg")
    img = copied(page, "img")
    assert 'srcset="/img/seeding/300x200-cover.jpg 300w, /img/seeding/600x400-cover.jpg 600w, ' in img
    assert 'width="600" height="400"' in img
    assert copied(page, "picture").startswith('<picture><source type="image/avif" srcset="')
    assert copied(page, "python") == 'images.url("seeding", "600x400-cover")'
    assert re.fullmatch(
        r"curl -o '600x400-cover.jpg' 'http://127.0.0.1:\d+/img/seeding/600x400-cover.jpg'", copied(page, "curl")
    )


def test_a_link_is_shared_and_the_way_back_leads_back(page: Page, chromium: Browser) -> None:
    page.get_by_role("button", name="400x400-contain-bg246b4c").click()
    wait_for_url(page, "400x400-contain-bg246b4c.jpg")
    link = copied(page, "share")
    other = opened(chromium, link)
    assert other.input_value("#url") == "/img/seeding/400x400-contain-bg246b4c.jpg"
    assert other.input_value("#colour") == "#246b4c"
    other.context.close()
    page.go_back()
    wait_for_url(page, "/600x400-cover.jpg")
    page.go_forward()
    wait_for_url(page, "400x400-contain-bg246b4c.jpg")


def test_what_is_stored_is_seen_and_forgotten(page: Page) -> None:
    page.set_input_files("#file", photo("Fossa"))
    page.locator("#name", has_text="Fossa").wait_for()
    page.get_by_role("button", name="200x100", exact=True).click()
    page.wait_for_function("() => /upload-.*200x100[.]jpg/.test(document.getElementById('copy-url').textContent)")
    for _ in range(50):  # Until the worker has stored it.
        page.get_by_role("button", name="Ask again").click()
        page.wait_for_selector("#stage[aria-busy=false]")
        if page.locator("#stored", has_text="200x100.jpg").count():
            break
    assert re.search(r"200x100.jpg\s+v1\s+[\d,]+", page.inner_text("#stored"))
    assert re.match(r"\d sizes?; [\d,]+ bytes", page.inner_text("#stored-facts"))

    page.get_by_role("button", name="Forget it", exact=True).click()
    page.get_by_role("button", name="Keep it").click()
    assert page.locator("#forgotten").inner_text() == ""
    page.get_by_role("button", name="Forget it", exact=True).click()
    page.get_by_role("button", name="Forget it for good").click()
    page.get_by_text(re.compile(r"upload-\w+ is forgotten; \d+ objects are gone")).wait_for()
    page.wait_for_function("() => document.getElementById('url').value.startsWith('/img/seeding/')")


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("http://example.com/img/seeding/v1/90x60-cover-ne@2x.webp?s=abc", "/img/seeding/90x60-cover-ne@2x.webp"),
        ("/img/seeding/300x200-contain-bgfff-up.png", "/img/seeding/300x200-contain-bgfff-up.png"),
        ("/img/seeding.jpg?size=77x", "/img/seeding/77x.jpg"),
        ("x99.jpeg", "/img/seeding/x99.jpg"),
        ("origin", "/img/seeding/origin.jpg"),
    ],
)
def test_a_typed_url_is_taken_apart(page: Page, typed: str, shown: str) -> None:
    page.get_by_label("URL", exact=True).fill(typed)
    page.keyboard.press("Enter")
    wait_for_url(page, shown)
    assert page.input_value("#url") == shown
    if (size := shown.rpartition("/")[2].rpartition(".")[0]) != "origin":
        parts = Size.parse(size)
        assert page.input_value("#width") == str(parts.width or "")
        assert page.locator(f"[name=fit][value={parts.fit}]").is_checked()
        assert page.locator(f"[name=density][value='{parts.dpr}']").is_checked()
        assert page.locator("#grow").is_checked() == parts.enlarge
    else:
        assert page.locator("#unread").is_visible()


def test_an_error_is_in_sight_and_nothing_old_is_beside_it(chromium: Browser, demo: str) -> None:
    page = opened(chromium, demo + FIRST, *DARK_PHONE)
    page.get_by_label("or fetch it from the web").fill("http://10.0.0.1/cat.jpg")
    page.get_by_role("button", name="Fetch").click()
    error = page.get_by_role("alert")
    error.wait_for()
    box = error.bounding_box()
    assert box and box["y"] >= 0 and box["y"] + box["height"] <= 844
    assert page.locator("#picture, #facts, #copies").locator("visible=true").count() == 0

    page.get_by_label("Width").fill("9000")
    page.get_by_text("4096 are allowed").wait_for()
    box = error.bounding_box()
    assert box and box["y"] >= 0 and box["y"] + box["height"] <= 844
    page.get_by_label("Width").fill("300")
    error.wait_for(state="hidden")
    assert page.locator("#picture").is_visible()
    page.context.close()


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{one['id']}: {node['html'][:200]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("seen", [LIGHT_PHONE, DARK_PHONE, LIGHT_DESK, DARK_DESK], ids=str)
def test_axe_finds_nothing(chromium: Browser, demo: str, seen: tuple[int, int, str]) -> None:
    page = opened(chromium, f"{demo}/?show=seeding/400x400-contain-n-bg246b4c.jpg", *seen)
    page.get_by_role("button", name="Compare formats").click()
    page.wait_for_selector("#compared:not([hidden])")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_label("URL", exact=True).fill("0x0")
    page.keyboard.press("Enter")
    page.get_by_role("alert").wait_for()
    page.get_by_role("button", name="Forget it", exact=True).click()
    assert violations(page) == []
    page.context.close()


def test_all_of_it_is_done_by_keyboard_alone(page: Page) -> None:
    def tab_to(selector: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        pytest.fail(f"the Tab key never comes to {selector}")

    tab_to("#url")
    page.keyboard.press("Control+A")
    page.keyboard.type("320x320-cover")
    page.keyboard.press("Enter")
    wait_for_url(page, "/320x320-cover.jpg")
    tab_to("#focus")
    page.keyboard.press("ArrowDown")  # From the subject to a point.
    tab_to("#across")
    page.keyboard.press("Home")
    page.wait_for_function(
        "() => /320x320-cover-f0x[0-9]+[.]jpg/.test(document.getElementById('copy-url').textContent)"
    )
    tab_to("[name=format]")
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => document.getElementById('copy-url').textContent.endsWith('.png')")
    tab_to("#compare")
    page.keyboard.press("Enter")
    page.wait_for_selector("#compared:not([hidden])")
    tab_to("#cut")
    page.keyboard.press("ArrowLeft")
    assert page.input_value("#cut") == "49"
    tab_to("[data-copy=img]")
    page.keyboard.press("Enter")
    page.get_by_text("Copied", exact=True).first.wait_for()
    tab_to("#forget")
    page.keyboard.press("Enter")
    page.wait_for_selector("#forgetting[open]")
    assert page.evaluate("document.activeElement.id") == "forget-no"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == "forget"


SIDE = st.none() | st.integers(1, 99_999)
GRAVITY = st.none() | st.sampled_from([*COMPASS, "f0x100", "f29x33", "f50x50"])


@pytest.fixture(scope="module")
def grammar(chromium: Browser) -> Iterator[Page]:
    page = chromium.new_page()
    page.add_script_tag(content=resource("url.js").decode())
    yield page
    page.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    parts=st.lists(
        st.tuples(
            SIDE,
            SIDE,
            st.sampled_from(["inside", "cover", "contain", "fill"]),
            GRAVITY,
            st.sampled_from([None, "fff", "246b4c", "ffffff"]),
            st.booleans(),
            st.sampled_from([1, 2, 3]),
        ),
        max_size=50,
    ),
    texts=st.lists(st.from_regex(r"[0-9]{0,3}x[0-9]{0,3}(-[a-z]{1,5})?(-bg[0-9f]{3,6})?(@[1-4]x)?"), max_size=50),
)
def test_the_script_reads_sizes_as_the_library_does(grammar: Page, parts: Any, texts: list[str]) -> None:
    for one in parts:
        try:
            texts = [*texts, str(Size(*one))]
        except BadSize:
            continue
    read = grammar.evaluate(
        "texts => texts.map(text => { const size = readSize(text); return size && printSize(size); })", texts
    )
    for text, found in zip(texts, read, strict=True):
        try:
            assert found == str(Size.parse(text))
        except BadSize:
            assert found is None, text


def test_the_frame_is_the_part_that_is_rendered(grammar: Page) -> None:
    image = {"width": 3000, "height": 1688, "focal": [29, 33]}
    for text in ("600x400-cover", "300x900-cover-se", "100x100-cover-f99x1", "900x100-cover-f10x80@2x", "300x200"):
        crop = grammar.evaluate("([text, image]) => cropOf(readSize(text), image)", [text, image])
        left, top, right, bottom = crop_box(Size.parse(text), 3000, 1688, (29, 33))
        assert [crop["left"] * 30, crop["top"] * 16.88] == pytest.approx([left, top])
        assert [crop["width"] * 30, crop["height"] * 16.88] == pytest.approx([right - left, bottom - top])


@pytest.fixture
def images(tmp_path: Path) -> Iterator[LazyCrop]:
    """Those of an application: a few sizes, signed URLs for the rest, private images, a store that it redirects to."""
    images = LazyCrop(
        store=tmp_path / "images",
        broker="inline",
        public_url="https://cdn.example/",
        presets={"card": "400x300-cover"},
        secret="a long random text of this test",
        prefix="/pictures",
    )
    images.store_origin("cats/tom", photo("Fossa"), private=True)
    yield images
    images.close()


def test_an_application_mounts_it_for_its_own_images(images: LazyCrop) -> None:
    app = Playground(images)
    assert call(app, "GET", "", SCRIPT_NAME="/admin/sizes")[0] == 302
    status, page = call(app, "GET", "/", SCRIPT_NAME="/admin/sizes")
    assert status == 200
    assert b'data-image="cats/tom" data-mount="/pictures" data-presets="card"' in page
    for _ in range(2):  # Rendered, then stored; streamed both times, so that the page can say so.
        status, picture = call(app, "GET", "/img/cats/tom/90x60.png", SCRIPT_NAME="/admin/sizes")
        assert (status, picture[:4]) == (200, b"\x89PNG")
    assert call(app, "GET", "/images", QUERY_STRING="prefix=cats")[1] == b'["cats/tom"]'
    assert b'"size": "90x60"' in call(app, "GET", "/sizes/cats/tom")[1]
    status, made = call(app, "GET", "/snippets/cats/tom", QUERY_STRING="size=card&format=jpg")
    assert re.search(rb'"url": "/pictures/cats/tom/400x300-cover.jpg\?s=[^"]+"', made)
    assert b'images.url(\\"cats/tom\\", \\"card\\", format=\\"jpg\\")' in made or b'\\"card\\")' in made


def test_what_policy_refuses_is_refused_there_too(tmp_path: Path) -> None:
    images = LazyCrop(store=tmp_path, broker="inline", sizes=["200x100"])
    images.store_origin("cat", photo("Fossa"))
    app = Playground(images)
    assert call(app, "GET", "/img/cat/200x100.jpg")[0] == 200
    assert call(app, "GET", "/img/cat/201x100.jpg")[0] == 404
    assert call(app, "GET", "/snippets/cat", QUERY_STRING="size=201x100&format=jpg")[0] == 404
    assert call(app, "GET", "/snippets/cat", QUERY_STRING="size=200x100&format=jpg")[0] == 200
    assert call(app, "GET", "/snippets/none", QUERY_STRING="size=200x100&format=jpg")[0] == 404


def test_a_page_for_looking_changes_nothing(images: LazyCrop) -> None:
    app = Playground(images, may_change=False)
    assert call(app, "DELETE", "/images/cats/tom")[0] == 403
    assert call(app, "POST", "/images", "application/octet-stream", photo("Fossa").read_bytes())[0] == 403
    assert images.exists("cats/tom")


def test_what_is_mounted_works_below_a_path(chromium: Browser, images: LazyCrop) -> None:
    def site(environ: Any, start_response: Any) -> Any:
        path = environ["PATH_INFO"]
        if path.startswith("/admin/sizes"):
            environ["SCRIPT_NAME"], environ["PATH_INFO"] = "/admin/sizes", path.removeprefix("/admin/sizes")
            return Playground(images, may_change=False)(environ, start_response)
        start_response("404 Not Found", [])
        return []

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = make_server(HOST, 0, Middleware(site, images), handler_class=Quiet)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        page = opened(chromium, f"http://{HOST}:{server.server_port}/admin/sizes?show=cats/tom/card.jpg")
        assert page.input_value("#url") == "/pictures/cats/tom/card.jpg"
        assert "?s=" in page.inner_text("#copy-url")
        assert page.locator("[data-changes]").locator("visible=true").count() == 0
        page.get_by_role("button", name="200x100", exact=True).click()
        page.wait_for_function("() => /200x100[.]jpg[?]s=/.test(document.getElementById('copy-url').textContent)")
        assert page.request.get(page.inner_text("#copy-url")).status == 200
        page.context.close()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_others_can_reach_asks_for_the_token_that_it_prints(chromium: Browser, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lazycrop", "demo", "--host", "0.0.0.0", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    demo = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert demo.stdout is not None
        said = re.match(r"The demo is at http://0\.0\.0\.0:(\d+)/\?token=([\w-]{20,}) ", demo.stdout.readline())
        assert said
        page = chromium.new_page()
        page.goto(f"http://{HOST}:{said[1]}/?show=seeding/77x66-cover.jpg")
        page.get_by_label("The token that the demo printed").fill("a guess")
        page.get_by_role("button", name="Come in").click()
        page.get_by_text("That is not the token.").wait_for()
        assert violations(page) == []
        page.get_by_label("The token that the demo printed").fill(said[2])
        page.keyboard.press("Enter")
        page.wait_for_selector("#picture:not([hidden])")
        assert page.input_value("#url") == "/img/seeding/77x66-cover.jpg"  # The link that was shared is still followed.
        assert said[2] not in page.url
        page.close()
    finally:
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=20)


def test_without_the_token_nothing_is_answered(tmp_path: Path) -> None:
    images = LazyCrop(store=tmp_path, broker="inline", **DEMO)
    app = demo_app(images, "0.0.0.0", 8000, "secret-token")
    here = {"HTTP_HOST": "192.168.1.7:8000"}
    for method, path in (("GET", "/img/seeding/90x60.jpg"), ("GET", "/images/seeding"), ("DELETE", "/images/seeding")):
        assert call(app, method, path, **here)[0] == 403
        assert call(app, method, path, HTTP_COOKIE="lazycrop-demo-8000=other", **here)[0] == 403
    status, page = call(app, "GET", "/", QUERY_STRING='token=wrong&show=a"b', **here)
    assert status == 403
    assert b"That is not the token." in page and b'value="a&quot;b"' in page and b"wrong" not in page
    assert call(app, "GET", "/", QUERY_STRING="token=secret-token&show=a", **here)[0] == 302
    assert call(app, "GET", "/", HTTP_COOKIE="a=b; lazycrop-demo-8000=secret-token", **here)[0] == 200
    assert call(app, "GET", "/img/seeding/90x60.jpg", HTTP_COOKIE="lazycrop-demo-8000=secret-token", **here)[0] == 200


def test_the_photograph_of_the_demo_comes_back_when_it_is_forgotten(tmp_path: Path) -> None:
    images = LazyCrop(store=tmp_path, broker="inline", **DEMO)
    app = demo_app(images)
    assert call(app, "DELETE", f"/images/{PHOTOGRAPH}")[0] == 200
    assert images.record(PHOTOGRAPH).version == 2
    assert call(app, "DELETE", "/images/none")[0] == 404


def test_what_the_documentation_mounts_is_behind_its_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(
        r"code-block:: python\n\n((?: {4}.*\n|\n)+)", (ROOT / "docs/playground.rst").read_text("utf-8")
    )
    site: dict[str, Any] = {}
    exec(dedent(block), site)
    site["images"].store_origin("cat", photo("Fossa"))
    app = site["application"]
    assert call(app, "GET", "/admin/sizes/")[0] == 403
    assert call(app, "GET", "/admin/sizesX", REMOTE_USER="editor")[0] == 404
    status, page = call(app, "GET", "/admin/sizes/", REMOTE_USER="editor")
    assert status == 200 and b'data-image="cat" data-mount="/img"' in page
    assert call(app, "GET", "/admin/sizes/img/cat/card.jpg", REMOTE_USER="editor")[0] == 200
    assert call(app, "DELETE", "/admin/sizes/images/cat", REMOTE_USER="editor")[0] == 403
    site["images"].close()
