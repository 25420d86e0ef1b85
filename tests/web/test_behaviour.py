"""One suite for every framework: whatever is asked, each answers as a plain WSGI application does, to the last byte."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np
import pytest
from PIL import Image

from client import alike
from frameworks import APPLICATIONS, ASGI_APPLICATIONS, ini_values, serving, under_hypercorn, under_uvicorn
from lazycrop import LazyCrop
from servers import HOST, ROOT, free_ports, photo, running

SCRIPT_NAME = "/below"
PUBLIC_URL = "https://cdn.example.com/pictures/"
SETTINGS: dict[str, Any] = {
    "prefix": "/media/img",
    "sizes": ["200x100", "400x", "300x300-cover", "400x300-cover", "400x300-cover@2x", "800x", "x200"],
    "presets": {"card": "320x200-cover-n"},
    "formats": ["jpg", "png", "webp"],
    "auto_formats": ["webp"],
    "secret": ["one-key"],
    "snap": True,
    "broker": "inline",
    "fallback_url": "/static/none.png",
}
NAMES = [
    *("Größe 1.jpg", "кот/2024", "猫の写真", "한글", "שלום", "🐈", "👩‍👩‍👧‍👦", "100%", "%20", "a%2Fb", "#1+", "a+b"),
    *('it\'s "new"', "a;b,c&d=e?f", "cat.jpeg", "CAT.JPG", " a ", "a.", "-a", "<b>", "ẹ\u0301"),
]
# What a server says for itself, and what differs from one request to the next.
HOP_BY_HOP = {"date", "server", "connection", "keep-alive", "transfer-encoding"}


@dataclass(frozen=True)
class Response:
    status: int
    reason: str
    headers: dict[str, str] = field(hash=False)
    body: bytes

    @property
    def picture(self) -> Image.Image:
        image = Image.open(io.BytesIO(self.body))
        image.load()
        return image


def ask(base: str, path: str, method: str = "GET", **headers: str) -> Response:
    """``path`` goes out as it is, below that of ``base``. ``headers``: ``_`` for ``-``."""
    url = urlsplit(base)
    connection = http.client.HTTPConnection(HOST, url.port or 80, timeout=30)
    try:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, url.path + path, headers={"Connection": "close", **sent})
        answer = connection.getresponse()
        got = {name.lower(): value for name, value in answer.getheaders()}
        assert len(got) == len(answer.getheaders()), f"a header stands twice in {answer.getheaders()}"
        return Response(answer.status, answer.reason, got, answer.read())
    finally:
        connection.close()


def comparable(response: Response) -> Response:
    kept = {name: value for name, value in response.headers.items() if name not in HOP_BY_HOP}
    if "server-timing" in kept:
        kept["server-timing"] = re.sub(r"dur=[0-9.]+", "dur=", kept["server-timing"])
    return Response(response.status, response.reason, kept, response.body)


@dataclass(frozen=True)
class Site:
    """The same images in a framework and in plain WSGI."""

    framework: str
    plain: str
    images: LazyCrop

    def ask(self, path: str, method: str = "GET", **headers: str) -> Response:
        """The framework's response, which is that of plain WSGI."""
        response, expected = (ask(base, path, method, **headers) for base in (self.framework, self.plain))
        if not response.reason:  # ASGI leaves it to the server, and hypercorn says none.
            expected = replace(expected, reason="")
        assert comparable(response) == comparable(expected)
        return response


@dataclass(frozen=True)
class Sites:
    """Two sites: stored sizes are redirected to, or streamed."""

    redirecting: Site
    streaming: Site


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store to be copied: of two stores of one picture, the ETags would differ."""
    folder = tmp_path_factory.mktemp("originals")
    images = LazyCrop(store=folder, sizes="any")
    images.store_origin("cat", photo("Fossa"))
    images.store_origin("users/42/avatar", photo("friends"))
    for name in [*NAMES, "Größe, 1 %20/Кот"]:
        images.store_origin(name, photo_of(480, 240, "PNG"))
    images.store_origin("twice", photo("Fossa"))
    images.store_origin("twice", photo("friends"))
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (800, 1200, 3), np.uint8)).save(noise, "PNG")
    images.store_origin("noise", noise.getvalue())
    images.store_origin("broken", b"GIF89a" + photo_of(50, 40, "GIF")[6:])
    for path in (folder / "broken").glob("*.gif"):
        path.write_bytes(path.read_bytes()[:40])
    (folder / "unreadable").mkdir()
    (folder / "unreadable/image.json").write_bytes(bytes(1_000_000))  # A store that does not do as it should.
    return folder


def photo_of(width: int, height: int, format: str) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((width, height), 50).save(file, format)
    return file.getvalue()


@contextmanager
def in_thread(framework: str, settings: dict[str, Any]) -> Iterator[str]:
    with serving(APPLICATIONS[framework](settings), SCRIPT_NAME) as url:
        yield url


@contextmanager
def gunicorn(framework: str, settings: dict[str, Any]) -> Iterator[str]:
    folder = Path(settings["store"])
    (folder / "settings.json").write_text(json.dumps(settings))
    [port] = free_ports(1)
    app = f"frameworks:application('{framework}', '{folder / 'settings.json'}')"
    options = ["--bind", f"{HOST}:{port}", "--threads", "4", "--preload", "--pythonpath", ROOT / "tests"]
    command = [sys.executable, "-m", "gunicorn", *options, app]
    url = f"http://{HOST}:{port}{SCRIPT_NAME}"
    with running(command, ready=f"{url}/", folder=folder, env={"SCRIPT_NAME": SCRIPT_NAME}):
        yield url


PSERVE = """
[DEFAULT]
{shared}

[app:main]
paste.app_factory = frameworks:nothing
filter-with = images

[filter:images]
paste.filter_factory = paste_lazycrop:filter_factory
store = %(here)s
prefix = {prefix}

[server:main]
use = egg:waitress#main
listen = {host}:{port}
url_prefix = {script_name}
"""


@contextmanager
def pserve(framework: str, settings: dict[str, Any]) -> Iterator[str]:
    """PasteDeploy's configuration, run by Pyramid's server command."""
    folder = Path(settings["store"])
    [port] = free_ports(1)
    shared = {name: value for name, value in ini_values(settings).items() if name not in ("store", "prefix")}
    lines = [f"lazycrop.{name} = {value}" for name, value in shared.items()]
    ini = PSERVE.format(
        shared="\n".join(lines), host=HOST, port=port, prefix=settings["prefix"], script_name=SCRIPT_NAME
    )
    (folder / "site.ini").write_text(ini)
    url = f"http://{HOST}:{port}{SCRIPT_NAME}"
    command = [sys.executable, "-m", "pyramid.scripts.pserve", folder / "site.ini"]
    path = os.pathsep.join(str(ROOT / part) for part in ("", "adapters", "tests"))
    with running(command, ready=f"{url}/", folder=folder, env={"PYTHONPATH": path}):
        yield url


@contextmanager
def uvicorn(framework: str, settings: dict[str, Any]) -> Iterator[str]:
    with under_uvicorn(ASGI_APPLICATIONS[framework](settings), SCRIPT_NAME) as url:
        yield url


@contextmanager
def hypercorn(framework: str, settings: dict[str, Any]) -> Iterator[str]:
    with under_hypercorn(ASGI_APPLICATIONS[framework](settings), SCRIPT_NAME) as url:
        yield url


SERVERS = [
    *((in_thread, framework) for framework in APPLICATIONS if framework != "wsgi"),
    *((uvicorn, framework) for framework in ASGI_APPLICATIONS),
    (hypercorn, "asgi"),
    (gunicorn, "wsgi"),
    (gunicorn, "flask"),
    (gunicorn, "pyramid"),
    (pserve, "paste"),
]


def _name(param: Any) -> str:
    return f"{param[1]}-{param[0].__name__}"


@pytest.fixture(scope="module", params=SERVERS, ids=_name)
def sites(request: pytest.FixtureRequest, originals: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    server, framework = request.param
    started = []
    with ExitStack() as stack:
        for more in ({"public_url": PUBLIC_URL}, {"answer": "stream"}):
            folders = [tmp_path_factory.mktemp(name) / "images" for name in (framework, "plain")]
            one, other = ({**SETTINGS, **more, "store": str(folder)} for folder in folders)
            for folder in folders:
                shutil.copytree(originals, folder)
            plain = stack.enter_context(in_thread("wsgi", other))
            started.append(Site(stack.enter_context(server(framework, one)), plain, LazyCrop(**other)))
        yield Sites(*started)


IMG = SETTINGS["prefix"]


def test_a_miss_is_the_picture_and_a_hit_a_redirect_to_it(sites: Sites) -> None:
    missed = sites.redirecting.ask(f"{IMG}/cat/200x100.jpg")
    assert missed.status == 200 and missed.picture.size == (178, 100)
    assert missed.headers["content-length"] == str(len(missed.body))
    assert missed.headers["cache-status"] == "lazycrop; fwd=miss; detail=rendered"
    hit = sites.redirecting.ask(f"{IMG}/cat/200x100.jpg")
    assert (hit.status, hit.reason or "Moved Permanently", hit.body) == (301, "Moved Permanently", b"")
    assert hit.headers["location"] == f"{PUBLIC_URL}cat/200x100.jpg"
    assert "content-type" not in hit.headers


def test_without_a_public_url_a_hit_is_streamed(sites: Sites) -> None:
    missed, hit = (sites.streaming.ask(f"{IMG}/cat/x200.webp") for _ in range(2))
    assert missed.headers["cache-status"] != hit.headers["cache-status"] == "lazycrop; hit; detail=stored"
    assert hit.status == 200 and alike(hit.body, missed.body) and hit.picture.format == "WEBP"
    assert hit.headers["content-length"] == str(len(hit.body))


def test_a_picture_of_more_than_a_megabyte_comes_whole(sites: Sites) -> None:
    for _ in range(2):
        response = sites.streaming.ask(f"{IMG}/noise/800x.png")
        assert response.status == 200 and len(response.body) > 1_048_576
        assert response.picture.size == (800, 533)


@pytest.mark.parametrize("kind", ["redirecting", "streaming"])
def test_what_the_client_has_is_304(sites: Sites, kind: str) -> None:
    site: Site = getattr(sites, kind)
    conditions = [
        lambda headers: {"If_None_Match": headers["etag"]},
        lambda headers: {"If_None_Match": f'W/"other", {headers["etag"]}'},
        lambda headers: {"If_Modified_Since": headers["last-modified"]},
    ]
    site.ask(f"{IMG}/cat/x200.jpg")
    first = site.ask(f"{IMG}/cat/x200.jpg")  # It is stored now.
    for condition in [make(first.headers) for make in conditions]:
        again = site.ask(f"{IMG}/cat/x200.jpg", **condition)
        assert (again.status, again.body) == (304, b"")
        for name in ("etag", "last-modified", "cache-control"):
            assert again.headers[name] == first.headers[name]
    assert site.ask(f"{IMG}/cat/x200.jpg", If_None_Match='"other"').status != 304


def test_head_is_get_without_the_picture(sites: Sites) -> None:
    path = f"{IMG}/cat/300x300-cover.png"
    for site in (sites.redirecting, sites.streaming):
        promised = site.ask(path, "HEAD")
        assert promised.status == 200 and promised.headers["content-type"] == "image/png"
        assert "content-length" not in promised.headers and promised.body == b""
        site.ask(path)
        got, head = site.ask(path), site.ask(path, "HEAD")
        assert head.status == got.status and head.body == b""
        assert set(head.headers) - HOP_BY_HOP == set(got.headers) - HOP_BY_HOP
        assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_405(sites: Sites, method: str) -> None:
    response = sites.redirecting.ask(f"{IMG}/cat/200x100.jpg", method)
    assert response.status == 405 and response.headers["allow"] == "GET, HEAD"
    assert response.headers["cache-control"] == "no-store" and b"GET and HEAD" in response.body


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/cat/0x0.jpg", 400),
        ("/cat/200x100.bmp", 400),
        ("/cat/", 400),
        ("/", 400),
        ("//cat/200x100.jpg", 400),
        ("/cat//200x100.jpg", 400),
        ("/../cat/200x100.jpg", 400),
        ("/c%0aat/200x100.jpg", 400),
        ("/cat/200x100.jpg%0a", 400),
        ("/cat/200x100.jpg%00", 400),
        ("/c%ffat/200x100.jpg", 400),
        ("/cat/200x100%ff.jpg", 400),
        ("/k%E4tzchen/200x100.jpg", 400),
        ("/%C0%AE%C0%AE/cat/200x100.jpg", 400),
        ("/%2e%2e/cat/200x100.jpg", 400),
        ("/cat/..%2fcat/200x100.jpg", 400),
        ("/cat%5c..%5ccat/200x100.jpg", 400),
        ("/%ED%A0%80/200x100.jpg", 400),
        ("/%E2%80%A8/200x100.jpg", 400),
        ("/%C2%85/200x100.jpg", 400),
        ("/-private/cat/200x100.jpg", 400),
        ("/" + "%CC%81" * 201 + "/200x100.jpg", 400),
        ("/k%C3%A4tzchen/200x100.jpg", 404),
        ("/%F0%9F%90%88%F0%9F%90%88/200x100.jpg", 404),
        ("/%252e%252e/cat/200x100.jpg", 404),
        ("/%EF%BC%8E%EF%BC%8E/cat/200x100.jpg", 404),
        ("/cat/%D9%A2%D9%A0%D9%A0x100.jpg", 400),
        ("/cat.jpg?size=%ff", 400),
        ("/cat.jpg?size=200x100&size=400x", 400),
        ("/a%20b/200x100.jpg", 404),
        ("/cat/2000x.jpg", 403),
        ("/cat/2000x.jpg?s=wrong", 403),
        ("/cat/9000x.jpg", 404),
        ("/cat/200x100.gif", 404),
        ("/dog/200x100.jpg", 404),
        ("/cat/v2/200x100.jpg", 404),
        ("/broken/200x100.jpg", 422),
        ("/unreadable/200x100.jpg", 503),
    ],
)
def test_an_error_is_a_sentence_that_nobody_caches(sites: Sites, path: str, status: int) -> None:
    response = sites.redirecting.ask(IMG + path)
    assert response.status == status
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "no-store"
    assert response.body.endswith(b".\n")
    assert sites.redirecting.ask(IMG + path, "HEAD").body == b""


def test_escaped_letters_are_the_letters(sites: Sites) -> None:
    assert sites.streaming.ask(f"{IMG}/%63at/400x.jpg").picture.size == (400, 225)
    assert sites.streaming.ask(f"{IMG}/users%2F42/avatar/400x.jpg").picture.width == 400


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_language_is_an_image(sites: Sites, name: str) -> None:
    redirecting, streaming = sites.redirecting, sites.streaming
    url = redirecting.images.url(name, "400x")
    assert url.isascii() and url == f"{IMG}/{quote(name, safe='/@')}/400x.jpg"
    missed, hit = (redirecting.ask(url) for _ in range(2))
    assert missed.picture.size == (400, 200)
    assert (hit.status, hit.headers["location"]) == (301, f"{PUBLIC_URL}{url.removeprefix(f'{IMG}/')}")
    assert all(alike(streaming.ask(url).body, missed.body) for _ in range(2))
    with_query = f"{IMG}/{quote(name, safe='')}.jpg?size=400x"
    assert streaming.ask(with_query).body == streaming.ask(url).body


@pytest.mark.parametrize("name", ["Größe 1.jpg", "ẹ\u0301", "한글", "cat.jpeg"])
def test_what_is_spelled_otherwise_is_moved_to_the_one_url(sites: Sites, name: str) -> None:
    other = quote(unicodedata.normalize("NFD", name))
    right = f"{SCRIPT_NAME}{IMG}/{quote(name)}"
    for path in (f"/{other}/x200.jpeg?a=%20b", f"/{other}/x200.jpg?a=%20b"):
        if path != f"/{quote(name)}/x200.jpg?a=%20b":
            moved = sites.redirecting.ask(IMG + path)
            assert (moved.status, moved.headers["location"]) == (301, f"{right}/x200.jpg?a=%20b")
    snapped = sites.redirecting.ask(f"{IMG}/{quote(name)}/350x.jpg")
    assert (snapped.status, snapped.headers["location"]) == (302, f"{right}/400x.jpg")


def test_a_signature_opens_what_is_not_listed(sites: Sites) -> None:
    site = sites.redirecting
    mount = f"{SCRIPT_NAME}{IMG}"
    for name in NAMES:
        url = site.images.url(name, "450x", mount=mount).removeprefix(SCRIPT_NAME)
        assert site.ask(url).picture.width == 450
        assert site.ask(url.replace("/450x", "%20/450x")).status == 403
    for options in ({}, {"expires": 60}):
        url = site.images.url("cat", "450x", mount=mount, **options).removeprefix(SCRIPT_NAME)
        assert ask(site.framework, url).status in (200, 301)  # Its max-age may be another one a moment later.
        assert site.ask(url.replace("cat", "noise")).status == 403


def test_a_new_version_has_urls_of_its_own(sites: Sites) -> None:
    site = sites.streaming
    site.ask(f"{IMG}/twice/400x.jpg")  # It is stored when the others ask.
    current, unversioned = site.ask(f"{IMG}/twice/v2/400x.jpg"), site.ask(f"{IMG}/twice/400x.jpg")
    assert current.body == unversioned.body
    assert "immutable" in current.headers["cache-control"] and "immutable" not in unversioned.headers["cache-control"]
    assert site.ask(f"{IMG}/twice/v3/400x.jpg").status == 404


def test_a_preset_and_the_form_with_a_query_are_the_same_picture(sites: Sites) -> None:
    site = sites.streaming
    site.ask(f"{IMG}/cat/card.jpg")  # It is stored when the others ask.
    spellings = ("/cat/card.jpg", "/cat/320x200-cover-n.jpg", "/cat.jpg?size=card", "/cat.jpg?x=y&size=320x200-cover-n")
    responses = [site.ask(IMG + spelling) for spelling in spellings]
    assert len({response.body for response in responses}) == 1
    assert len({response.headers["etag"] for response in responses}) == 1


def test_accept_chooses_the_format_of_auto(sites: Sites) -> None:
    site = sites.streaming
    webp, jpeg = (site.ask(f"{IMG}/cat/400x.auto", Accept=accept) for accept in ("image/webp,*/*", "*/*"))
    assert (webp.headers["content-type"], jpeg.headers["content-type"]) == ("image/webp", "image/jpeg")
    assert webp.headers["vary"] == jpeg.headers["vary"] == "Accept"


def test_a_size_off_the_list_goes_to_the_next_one_where_the_application_is_mounted(sites: Sites) -> None:
    response = sites.redirecting.ask(f"{IMG}/cat/350x.jpg", Host="evil.example")
    assert response.status == 302
    assert response.headers["location"] == f"{SCRIPT_NAME}{IMG}/cat/400x.jpg"


def test_the_origin_can_be_had(sites: Sites) -> None:
    response = sites.streaming.ask(f"{IMG}/cat/origin.jpg")
    assert response.status == 200 and response.picture.width == 4000


def test_only_what_is_below_the_prefix_is_an_image(sites: Sites) -> None:
    for path in (f"{IMG}foo/cat/x200.jpg", IMG, "/img/cat/x200.jpg", f"/{IMG}/cat/x200.jpg", f"/x{IMG}/cat/x200.jpg"):
        response = ask(sites.redirecting.framework, path)
        assert IMG not in response.headers.get("location", "")
        assert "image" not in response.headers.get("content-type", "") and "cache-status" not in response.headers


@pytest.mark.parametrize("sites", [server for server in SERVERS if server[1] != "paste"], indirect=True, ids=_name)
def test_templates_make_the_same_page_everywhere(sites: Sites) -> None:  # PasteDeploy has none.
    page, expected = (ask(base, "/") for base in (sites.redirecting.framework, sites.redirecting.plain))
    assert page.status == 200 and "text/html" in page.headers["content-type"]
    assert page.body.split() == expected.body.split()
    urls = re.findall(r'(?:src|srcset)="([^"]*)"', page.body.decode())
    first = [candidate.split()[0] for url in urls for candidate in url.split(", ")]
    assert "/static/none.png" in first and len(first) > 10
    for url in set(first) - {"/static/none.png"}:
        assert url.startswith(f"{SCRIPT_NAME}{IMG}/")
        assert sites.redirecting.ask(url.replace("&amp;", "&").removeprefix(SCRIPT_NAME)).status in (200, 301)
