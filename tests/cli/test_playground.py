"""The demo: its page in a real browser, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import pytest
from PIL import Image

from lazycrop import LazyCrop
from lazycrop.playground import DEMO, PHOTOGRAPH, demo_app
from servers import HOST, ROOT, free_ports, photo, running

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a demo that may fetch from itself, and from nowhere else."""
    [port] = free_ports(1)
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "lazycrop", "demo", "--port", str(port), "--store", str(folder / "images")]
    command += ["--allow-networks", f"{HOST}/32", "--download-ports", str(port)]
    with running(command, ready=f"http://{HOST}:{port}/", folder=folder):
        yield f"http://{HOST}:{port}"


@pytest.fixture(params=[(1280, 900, "light"), (390, 844, "dark")], ids=["desktop", "phone"])
def page(request: pytest.FixtureRequest, chromium: Browser, demo: str) -> Iterator[Page]:
    """The demo's page with its first picture; nothing in it may fail or be refused by its own policy."""
    width, height, scheme = request.param
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(15_000)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text) if "Policy" in message.text else None)
    page.goto(demo)
    page.wait_for_selector("#picture:not([hidden])")
    yield page
    page.close()
    assert complaints == []


def ask(page: Page, size: str) -> None:
    page.get_by_label("URL", exact=True).fill(size)
    page.get_by_role("button", name="Ask for it").click()


def wait_for(page: Page, width: int, height: int) -> None:
    page.wait_for_function(
        "([width, height]) => document.getElementById('picture').naturalWidth === width"
        " && document.getElementById('picture').naturalHeight === height",
        arg=[width, height],
    )


def newest(page: Page) -> list[str]:
    """The cells of the table's first row."""
    return page.locator("#history tr").first.locator("td").all_inner_texts()


def test_the_page_shows_a_picture_from_the_start(page: Page) -> None:
    wait_for(page, 600, 400)
    assert page.get_by_role("img", name="A field of dandelions, as 600x400-cover").is_visible()
    assert page.inner_text("#bytes").replace(",", "").isdecimal()


def test_a_size_is_rendered_and_then_stored(page: Page) -> None:
    width = 211 + page.viewport_size["width"] // 100  # type: ignore[index] # a size of its own in each run
    ask(page, f"{width}x99-cover")
    wait_for(page, width, 99)
    assert page.inner_text("#from") == "rendered"
    assert {"lookup", "decode", "resize", "encode"} <= set(page.inner_text("#parts").split())
    assert newest(page)[3:5] == [f"/img/seeding/{width}x99-cover.jpg", f"{width} × 99"]
    for _ in range(50):  # Until the worker is done it is hot.
        with page.expect_response(lambda response: f"/{width}x99" in response.url):
            page.get_by_role("button", name="Ask again").click()
        page.wait_for_selector("#stage[aria-busy=false]")
        if page.inner_text("#from") != "hot":
            break
    assert page.inner_text("#from") == "stored"
    assert newest(page)[0] == "stored"
    wait_for(page, width, 99)


def test_sizes_are_buttons_and_the_rest_are_controls(page: Page) -> None:
    page.get_by_role("button", name="200x100", exact=True).click()
    wait_for(page, 178, 100)
    page.get_by_text("webp", exact=True).first.click()
    page.locator("#type", has_text="image/webp").wait_for()
    page.get_by_role("button", name="600x400-cover", exact=True).click()
    page.get_by_label("Focus").select_option("nw")
    page.wait_for_function("() => document.getElementById('copy-url').textContent.endsWith('600x400-cover-nw.webp')")
    assert page.input_value("#url") == "/img/seeding/600x400-cover-nw.webp"


def test_every_button_asks_for_what_there_is(page: Page) -> None:
    formats = [page.locator(f"[value={format}] + span") for format in ("png", "webp", "avif", "gif", "auto", "jpg")]
    for button in [*formats, *page.locator("[data-size]").all()]:
        with page.expect_response("**/img/seeding/**") as response:
            button.click()
        assert response.value.status == 200, response.value.url
    page.wait_for_selector("#stage[aria-busy=false]")
    assert page.locator("#error").is_hidden()


def test_a_bad_size_shows_its_sentence(page: Page) -> None:
    ask(page, "0x0/../?<b>")
    page.get_by_role("alert").wait_for()
    assert "is malformed" in page.inner_text("#error")
    ask(page, "9000x")
    page.get_by_text("The size '9000x' has a side of 9000 pixels; 4096 are allowed.").wait_for()
    ask(page, "200x")
    wait_for(page, 200, 113)
    assert page.locator("#error").is_hidden()


def test_an_image_is_uploaded(page: Page) -> None:
    page.set_input_files("#file", photo("Fossa"))
    page.get_by_text("Fossa_by_Jasper_Roks.jpg").wait_for()
    ask(page, "120x120-cover")
    wait_for(page, 120, 120)
    assert page.input_value("#url").startswith("/img/upload-")


def test_an_image_is_dropped(page: Page) -> None:
    page.evaluate(
        """async () => {
            const blob = await (await fetch("/img/seeding/90x60-fill.png")).blob();
            const dataTransfer = new DataTransfer();
            dataTransfer.items.add(new File([blob], "dropped.png"));
            document.body.dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
        }"""
    )
    page.get_by_text("dropped.png").wait_for()
    page.get_by_text("90 × 60 png").wait_for()


def test_an_image_is_fetched_from_the_web(page: Page, demo: str) -> None:
    page.get_by_label("or fetch it from the web").fill(f"{demo}/img/seeding/150x150-cover.webp?size=no")
    page.get_by_role("button", name="Fetch").click()
    page.get_by_role("alert").wait_for()  # The query says another size than the path: nothing is stored.
    page.get_by_label("or fetch it from the web").fill(f"{demo}/img/seeding/150x150-cover.webp")
    page.get_by_role("button", name="Fetch").click()
    page.get_by_text("150 × 150 webp").wait_for()


def test_what_is_no_image_shows_its_sentence(page: Page, tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_text("no picture at all")
    page.set_input_files("#file", tmp_path / "cat.jpg")
    page.get_by_text("The file is no image of a known format").wait_for()
    page.get_by_label("or fetch it from the web").fill("http://10.0.0.1/cat.jpg")
    page.get_by_role("button", name="Fetch").click()
    page.get_by_text("The source URL").wait_for()


def test_the_page_is_as_wide_as_the_screen(page: Page) -> None:
    ask(page, "3200x-up")
    wait_for(page, 3200, 1801)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_runs_nothing_but_its_own(chromium: Browser, demo: str) -> None:
    page = chromium.new_page()
    response = page.goto(demo)
    assert response is not None
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {id: 'x', textContent: 'a=1'}))"
    )
    assert page.evaluate("typeof a") == "undefined"
    page.close()


def test_what_the_demo_stored_goes_with_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lazycrop", "demo", "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        assert re.match(rf"The demo is at http://{HOST}:[0-9]+/", demo.stdout.readline())
        [folder] = tmp_path.glob("lazycrop-demo-*")
        assert (folder / PHOTOGRAPH / "image.json").exists()
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(20) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_cannot_listen_leaves_nothing(tmp_path: Path, demo: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "lazycrop", "demo", "--port", demo.rpartition(":")[2]]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Address already in use. Choose others" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WSGIApplication]:
    """The demo as an application, with the limits of a default."""
    images = LazyCrop(store=tmp_path_factory.mktemp("images"), broker="inline", download_bytes=700_000, **DEMO)
    yield validator(demo_app(images))
    images.close()


def call(
    app: WSGIApplication, method: str, path: str, kind: str = "", body: bytes = b"", **changes: str
) -> tuple[int, bytes]:
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "CONTENT_LENGTH": str(len(body)),
    }
    environ |= {"CONTENT_TYPE": kind} if kind else {}
    environ |= changes
    setup_testing_defaults(environ)
    environ["wsgi.input"] = BytesIO(body)  # type: ignore[assignment]
    statuses: list[str] = []
    answer = app(environ, lambda status, headers, exc_info=None: statuses.append(status) or (lambda data: None))
    try:
        return int(statuses[0].split()[0]) if statuses else 0, b"".join(answer)
    finally:
        getattr(answer, "close", list)()


def test_the_photograph_is_stored_once(tmp_path: Path) -> None:
    for _ in range(2):
        images = LazyCrop(store=tmp_path, broker="inline", **DEMO)
        demo_app(images)
    assert images.record(PHOTOGRAPH).version == 1


@pytest.mark.parametrize("url", ["/etc/hostname", "file:///etc/hostname", "seeding.jpg", ""])
def test_a_url_is_never_taken_for_a_file_of_this_machine(app: WSGIApplication, url: str) -> None:
    status, body = call(app, "POST", "/images", "application/json", json.dumps({"url": url}).encode())
    assert status == 422
    assert body.startswith(b"The source URL is malformed")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/a.jpg", "http://169.254.169.254/", "http://[::1]/", "http://10.1.1.1"]
)
def test_a_url_inside_is_refused(app: WSGIApplication, url: str) -> None:
    status, body = call(app, "POST", "/images", "application/json", json.dumps({"url": url}).encode())
    assert status == 422
    assert body.startswith(b"The source URL could not be reached")


@pytest.mark.parametrize("kind", ["", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"])
def test_what_another_site_can_send_is_refused(app: WSGIApplication, kind: str) -> None:
    with BytesIO() as file:
        Image.new("RGB", (9, 9)).save(file, "PNG")
        assert call(app, "POST", "/images", kind, file.getvalue())[0] == 415
        assert call(app, "POST", "/images", "application/octet-stream", file.getvalue())[0] == 200


def test_an_upload_is_limited_as_a_download_is(app: WSGIApplication) -> None:
    status, body = call(app, "POST", "/images", "application/octet-stream", bytes(700_001))
    assert (status, body) == (422, b"This file has 700,001 bytes; 700,000 are allowed.\n")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/images/seeding", 200),
        ("GET", "/images/none", 404),
        ("GET", "/images/../x", 400),
        ("GET", "/images", 404),
        ("GET", "/nothing", 404),
        ("POST", "/", 404),
        ("POST", "/img/seeding/200x100.jpg", 405),
        ("GET", "/img/seeding/200x100.jpg", 200),
        ("POST", "/images", 415),
    ],
)
def test_every_path_has_its_answer(app: WSGIApplication, method: str, path: str, status: int) -> None:
    given, body = call(app, method, path)
    assert given == status
    assert bool(body) == (method != "HEAD")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"1",
        b"{}",
        b"\xff",
        b'{"uri": "https://a"}',
        b'{"url": null}',
        b'{"url": ["https://a"]}',
        b"[" * 9_999,
    ],
)
def test_a_malformed_url_request_is_a_400(app: WSGIApplication, body: bytes) -> None:
    assert call(app, "POST", "/images", "application/json", body)[0] == 400


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "+5", " 5", "0x5", "5, 5", "9" * 5_000, "\xb2"])
def test_a_malformed_content_length_is_a_400(tmp_path: Path, length: str) -> None:
    app = demo_app(LazyCrop(store=tmp_path, broker="inline", **DEMO))  # wsgiref's validator knows numbers only
    assert call(app, "POST", "/images", "application/octet-stream", b"abcde", CONTENT_LENGTH=length)[0] == 400


def test_a_body_that_is_cut_short_is_a_400(app: WSGIApplication) -> None:
    status, body = call(app, "POST", "/images", "application/octet-stream", b"abcde", CONTENT_LENGTH="50")
    assert (status, body) == (400, b"Of 50 bytes only 5 came; send them again.\n")


PAGE_AND_PICTURE = ["/", "/images/seeding", "/img/seeding/90x60.jpg"]


@pytest.mark.parametrize("path", PAGE_AND_PICTURE)
@pytest.mark.parametrize(
    "host", ["evil.example:8000", "evil.example", "127.0.0.1.evil.example:8000", "127.0.0.1", "localhost:8001", "@", ""]
)
def test_a_name_of_another_site_is_refused(tmp_path: Path, host: str, path: str) -> None:
    app = demo_app(LazyCrop(store=tmp_path, broker="inline", **DEMO), "127.0.0.1", 8000)
    status, body = call(app, "GET", path, HTTP_HOST=host)
    assert (status, body) == (403, b"This is the demo of localhost:8000; ask for it there.\n")


@pytest.mark.parametrize(
    ("listening", "host"),
    [
        ("127.0.0.1", "localhost:8000"),
        ("127.0.0.1", "LOCALHOST:8000"),
        ("127.0.0.1", "127.0.0.1:8000"),
        ("::1", "[::1]:8000"),
        ("192.168.1.7", "192.168.1.7:8000"),
        ("0.0.0.0", "192.168.1.7:8000"),
        ("::", "[fd00::1]:8000"),
        ("my-computer", "my-computer:8000"),
    ],
)
def test_the_name_of_this_machine_is_answered(tmp_path: Path, listening: str, host: str) -> None:
    app = demo_app(LazyCrop(store=tmp_path, broker="inline", **DEMO), listening, 8000)
    assert {call(app, "GET", path, HTTP_HOST=host)[0] for path in PAGE_AND_PICTURE} == {200}


def test_a_demo_for_all_addresses_is_answered_by_no_name(tmp_path: Path) -> None:
    app = demo_app(LazyCrop(store=tmp_path, broker="inline", **DEMO), "0.0.0.0", 8000)
    assert call(app, "GET", "/", HTTP_HOST="evil.example:8000")[0] == 403


def test_a_running_demo_refuses_the_name_of_another_site(demo: str) -> None:
    for path in PAGE_AND_PICTURE:
        request = urllib.request.Request(demo + path, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=30)
        assert caught.value.code == 403
        caught.value.close()


def test_auto_is_what_an_image_in_this_browser_would_be_given(page: Page) -> None:
    page.get_by_text("auto", exact=True).click()
    page.locator("#type", has_text=re.compile("image/(avif|webp)")).wait_for()
