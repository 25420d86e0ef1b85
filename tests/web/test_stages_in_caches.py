"""The stages of a size before caches: a browser, and nginx that keeps answers and asks again by their tags."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from client import Reply, get
from doubles import Letters
from frameworks import serving
from lazycrop import LazyCrop, Middleware
from lazycrop.http import answers
from lazycrop.stores import MemoryStore
from servers import eventually, photo

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

KEY = "cat/320x.webp"
PATH = f"/img/{KEY}"


class Site:
    """Images that are streamed, whose first stage may be kept for a second, and the last one for a second, too."""

    def __init__(self, url: str, images: LazyCrop, letters: Letters) -> None:
        self.url, self.images, self._letters = url, images, letters

    def work(self) -> bytes:
        """Have the worker store what was asked for; returns the object."""
        while self._letters.sent:
            actor, message = self._letters.sent.pop()
            self.images.jobs.actors[actor](message)
        return self.images.store.get(KEY, 1_000_000)


def page(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """From where a script may fetch pictures; a picture itself permits none."""
    start_response("200 OK", [("Content-Type", "text/html")])
    return [b"<!DOCTYPE html><title>Cats</title>"]


@contextmanager
def opened() -> Iterator[Site]:
    letters = Letters()
    images = LazyCrop(store=MemoryStore(), sizes="any", broker=letters, max_age=1)
    images.store_origin("cat", photo("Fossa"))
    with serving(Middleware(page, images)) as url:
        yield Site(url, images, letters)


@pytest.fixture(autouse=True)
def _brief(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "_SOON", 1)


def test_a_cache_keeps_the_first_stage_no_longer_than_it_says_and_no_tag_is_of_two_bodies(
    caching_nginx: Callable[[str], str],
) -> None:
    bodies: dict[str, set[bytes]] = {}
    states: list[str] = []

    def ask() -> Reply:
        reply = get(cached + PATH)
        assert reply.status == 200
        bodies.setdefault(reply.headers["etag"], set()).add(reply.body)
        states.append(reply.headers["x-cache"])
        return reply

    with opened() as site:
        cached = caching_nginx(site.url)
        first = ask()
        assert ask().body == first.body
        assert states == ["MISS", "HIT"]
        eventually(lambda: ask() and states[-1] == "REVALIDATED", 10, "the first stage is asked for again, and is hot")
        assert ask().body == first.body
        last = site.work()
        reply = eventually(lambda: one if (one := ask()).body == last else None, 10, "the last stage")
        assert states[-1] == "EXPIRED"
        assert reply.headers["etag"] != first.headers["etag"]
        del states[:]
        eventually(lambda: ask() and states[-1] == "REVALIDATED", 10, "the last stage is asked for again")
        assert ask().body == last
    assert sorted(len(found) for found in bodies.values()) == [1, 1]


def test_a_browser_shows_the_last_stage_as_soon_as_the_first_is_no_longer_fresh(chromium: Browser) -> None:
    with opened() as site:
        shown = chromium.new_page()
        shown.goto(site.url)
        first = fetched(shown)
        assert first == hashlib.sha256(get(site.url + PATH).body).hexdigest()
        last = hashlib.sha256(site.work()).hexdigest()
        seen = [first]
        eventually(lambda: seen.append(fetched(shown)) or seen[-1] == last, 10, "the browser has the last stage")
        assert set(seen) == {first, last}
        assert seen == sorted(seen, key=[first, last].index), "it never goes back"
        shown.close()


def fetched(page: Page) -> str:
    """The SHA-256 of the picture as the browser's cache and the site have it together."""
    script = """async path => {
        const data = await (await fetch(path)).arrayBuffer()
        return Array.from(new Uint8Array(data))
    }"""
    return hashlib.sha256(bytes(page.evaluate(script, PATH))).hexdigest()
