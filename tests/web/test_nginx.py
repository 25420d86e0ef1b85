"""nginx before an application: the store's objects by their keys, and what it keeps of answers."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from doubles import GREEN, flat
from frameworks import APPLICATIONS, serving
from lazycrop import LazyCrop
from servers import HOST, ROOT, eventually, free_ports, nginx

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = [
    "cat",
    "2024/Größe 1",
    "два слова/Кот",
    "写真/🦊",
    "100%/%20 %2F",
    "a#b?c=d&e",
    "one+two = three",
    'it\'s "quoted" <b>',
    "comma, semicolon; at@",
    "n" * 180,
]


@contextmanager
def deployed(folder: Path, upstream: str) -> Iterator[str]:
    """The configuration that the documentation hands out, with the places of this test; its URL."""
    [port] = free_ports(1)
    text = (ROOT / "deploy/nginx.conf").read_text()
    places = {
        "/run/lazycrop-nginx.pid": f"{folder}/pid",
        "listen 80;": f"listen {HOST}:{port};",
        "127.0.0.1:8080": upstream.removeprefix("http://"),
        "root /srv/lazycrop;": f"root {folder};",
    }
    for usual, ours in places.items():
        assert text.count(usual) == 1
        text = text.replace(usual, ours)
    (folder / "nginx").mkdir()
    with nginx(text, port, folder / "nginx"):
        yield f"http://{HOST}:{port}"


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Mapping[str, str], bytes]:
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def stored(folder: Path) -> LazyCrop:
    """Images of all names in the folder, one size of each stored."""
    images = LazyCrop(store=str(folder / "img"), sizes=["90x60", "80x"], broker="inline", keep_versions=1)
    for name in NAMES:
        images.store_origin(name, flat(GREEN))
        images.warm(name, ["90x60"])
    return images


def test_what_is_stored_is_served_by_its_key_whatever_its_name_and_without_the_application(tmp_path: Path) -> None:
    images = stored(tmp_path)
    [nobody] = free_ports(1)
    with deployed(tmp_path, f"http://{HOST}:{nobody}") as url:
        for name in NAMES:
            status, headers, data = get(url + images.url(name, "90x60"))
            assert (status, headers["Content-Type"]) == (200, "image/jpeg"), name
            assert data == (tmp_path / "img" / name / "90x60.jpg").read_bytes()
            assert get(f"{url}/img/{urllib.parse.quote(name)}/image.json")[0] == 502  # which asks the application
        assert headers["Cache-Control"] == "public, max-age=86400"
        images.store_origin("cat", flat(GREEN, size=(500, 300)))
        images.warm("cat", ["90x60"])
        status, headers, _ = get(url + images.url("cat", "90x60"))
        assert (status, headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
        assert get(f"{url}/img/cat/90x60.jpg")[0] == 502  # The first version is gone; the application knows the second.


def test_what_is_not_stored_is_asked_of_the_application_and_then_is(tmp_path: Path) -> None:
    images = stored(tmp_path)
    settings = {"store": str(tmp_path / "img"), "sizes": ["90x60", "80x"], "broker": "inline", "secret": "key"}
    settings |= {"fallback_url": "/none.png"}
    application = APPLICATIONS["wsgi"](settings)
    LazyCrop(**settings).store_origin("hidden", flat(GREEN), private=True)
    LazyCrop(**settings).warm("hidden", ["90x60"])
    assert (tmp_path / "img/-private/hidden/90x60.jpg").exists()
    with serving(application) as upstream, deployed(tmp_path, upstream) as url:
        for name in NAMES:
            status, headers, _ = get(url + images.url(name, "80x"))
            assert (status, headers["Cache-Status"]) == (200, "lazycrop; fwd=miss; detail=rendered"), name
            status, headers, data = get(url + images.url(name, "80x"))
            assert (status, headers["Cache-Status"]) == (200, None), name
            assert data == (tmp_path / "img" / name / "80x.jpg").read_bytes()
        for path in ("-private/hidden", "hidden", "cat/../-private/hidden", "cat/%2e%2e/-private/hidden"):
            assert 400 <= get(f"{url}/img/{path}/90x60.jpg")[0] < 500
        assert get(f"{url}/")[0] == 200


@pytest.mark.parametrize("framework", ["flask", "pyramid", "wsgi"])
def test_a_page_of_such_names_leads_a_browser_to_nginx(framework: str, tmp_path: Path, chromium: Browser) -> None:
    images = stored(tmp_path)
    [nobody] = free_ports(1)
    with deployed(tmp_path, f"http://{HOST}:{nobody}") as own:
        settings: dict[str, Any] = {"store": str(tmp_path / "img"), "sizes": ["90x60"], "public_url": f"{own}/img/"}
        page = chromium.new_page()
        final: list[str] = []
        page.on("response", lambda response: final.append(response.url) if response.status == 200 else None)
        with serving(APPLICATIONS[framework](settings), "/below") as url:
            page.goto(f"{url}/", wait_until="domcontentloaded")
            final.clear()
            pictures = [f'<img src="{url}{images.url(name, "90x60")}">' for name in NAMES]
            page.set_content("".join(pictures), wait_until="load")
            widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
        page.close()
    assert widths == [90] * len(NAMES)
    assert sorted(final) == sorted(own + images.url(name, "90x60") for name in NAMES)


def test_an_nginx_that_caches_asks_again_by_the_etag(caching_nginx: Callable[[str], str], tmp_path: Path) -> None:
    images = stored(tmp_path)
    settings = {"store": str(tmp_path / "img"), "sizes": ["90x60"], "max_age": 1}
    with serving(APPLICATIONS["wsgi"](settings)) as upstream:
        url = caching_nginx(upstream) + images.url("2024/Größe 1", "90x60")
        (_, first, data), (_, second, same) = get(url), get(url)
        assert [first["X-Cache"], second["X-Cache"]] == ["MISS", "HIT"]
        assert data == same == (tmp_path / "img/2024/Größe 1/90x60.jpg").read_bytes()
        eventually(lambda: get(url)[1]["X-Cache"] == "REVALIDATED", what="it asks again once max_age is over")
        assert get(url)[2] == data
