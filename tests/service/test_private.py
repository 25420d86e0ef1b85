"""Private images and URLs that expire: what anybody gets, at every stage of a derivative's life."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import pytest

from client import ask
from conftest import Base
from doubles import Taking
from lazycrop import ConfigurationError, Helpers, LazyCrop
from lazycrop.caches import ProcessCache
from lazycrop.errors import StoreUnavailable
from lazycrop.stores import MemoryStore
from servers import S3, photo

Make = Callable[..., LazyCrop]
SIZE = "200x100"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore("https://cdn.example.com/")


@pytest.fixture
def make(store: MemoryStore) -> Iterator[Make]:
    made = []
    cache = ProcessCache()

    def start(**settings: Any) -> LazyCrop:
        given = {"store": store, "cache": cache, "sizes": [SIZE], "secret": "a key", "broker": "inline"}
        made.append(LazyCrop(**given | settings))
        return made[-1]

    yield start
    for images in made:
        images.close()


def stages(make: Make, image_id: str) -> Iterator[LazyCrop]:
    """Processes that meet a size when nothing is there of it, while it is hot, when it is stored, and by a shortcut."""
    yield make(broker=Taking())
    yield make(broker=Taking())
    images = make()
    yield images
    yield images
    yield make()
    yield make(cache=ProcessCache())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_nobody_gets_anything_of_a_private_image_without_a_signature(
    make: Make, store: MemoryStore, method: str
) -> None:
    make().store_origin("cat", photo("Fossa"), private=True)
    for images in stages(make, "cat"):
        signed = ask(images, images.url("cat", SIZE), method=method)
        assert signed.status == 200
        assert signed.header("Location") is None
        seconds = 86_400 if signed.header("Last-Modified") else 60  # stored, or not yet
        assert signed.header("Cache-Control") == f"private, max-age={seconds}"
        for path in (f"/cat/{SIZE}.jpg", "/cat/origin.jpg", f"/cat/{SIZE}.auto", f"/cat/{SIZE}.webp"):
            etag = signed.header("ETag")
            for parts in ({}, {"if_none_match": etag}, {"redirect": False}, {"accept": "image/webp"}):
                refused = ask(images, path, method=method, **parts)
                assert (refused.status, refused.header("Cache-Control")) == (403, "no-store")
        revalidated = ask(images, images.url("cat", SIZE), method=method, if_none_match=signed.header("ETag"))
        is_other = revalidated.header("ETag") != signed.header("ETag")  # It was stored in between.
        assert revalidated.status == (200 if is_other else 304)
        assert revalidated.header("Cache-Control") == f"private, max-age={86_400 if is_other else seconds}"


def test_all_objects_of_a_private_image_are_below_one_prefix(make: Make, store: MemoryStore) -> None:
    images = make()
    record = images.store_origin("cat", photo("Fossa"), private=True)
    assert ask(images, images.url("cat", SIZE)).status == 200
    assert record.url == "/img/cat/origin.jpg"
    public = {key for key in store._objects if not key.startswith("-private/cat/")}
    assert public == {"cat/image.json"}
    assert b"placeholder" not in store._objects["cat/image.json"] and b"Fossa" not in store._objects["cat/image.json"]
    assert f"-private/cat/{SIZE}.jpg" in store._objects
    assert images.purge("cat") > 2
    assert set(store._objects) == {"cat/image.json"}


def test_an_expiring_url_never_leads_to_a_public_object(make: Make) -> None:
    make().store_origin("cat", photo("Fossa"))
    for images in stages(make, "cat"):
        answer = ask(images, images.url("cat", SIZE, expires=timedelta(minutes=10)))
        assert (answer.status, answer.header("Location")) == (200, None)
        seconds = int((answer.header("Cache-Control") or "").removeprefix("private, max-age="))
        assert 0 < seconds <= 600
    images = make(cache=ProcessCache())
    answer = ask(images, f"/cat/{SIZE}.jpg")
    assert (answer.status, answer.header("Location")) == (301, f"https://cdn.example.com/cat/{SIZE}.jpg")


def test_an_expired_url_gets_nothing_at_any_stage(make: Make) -> None:
    make().store_origin("cat", photo("Fossa"), private=True)
    for images in stages(make, "cat"):
        assert ask(images, images.url("cat", SIZE)).status == 200
        assert ask(images, images.url("cat", SIZE, expires=-2)).status == 403


def test_an_image_is_private_and_public_again_and_nothing_moves_into_the_open_between(
    make: Make, store: MemoryStore
) -> None:
    images = make()
    first = images.store_origin("cat", photo("Fossa"))
    assert ask(images, f"/cat/{SIZE}.jpg").status == 200
    private = images.set_private("cat", True)
    assert (private.private, private.version, private.sha256) == (True, 2, first.sha256)
    assert {key for key in store._objects if not key.startswith("-private/cat/")} == {
        "cat/image.json",
        "cat/v2/image.json",
    }
    for fresh in (images, make()):
        assert ask(fresh, f"/cat/{SIZE}.jpg").status == 403
        assert ask(fresh, f"/cat/v2/{SIZE}.jpg").status == 403
        assert ask(fresh, fresh.url("cat", SIZE)).status == 200
    public = images.set_private("cat", False)
    assert (public.private, public.version) == (False, 3)
    assert not [key for key in store._objects if key.startswith("-private/")]
    assert ask(images, f"/cat/{SIZE}.jpg").status == 200
    assert images.set_private("cat", False) == images.record("cat")


class Once(MemoryStore):
    """Its first delete of an origin fails."""

    has_failed = False

    def delete(self, key: str) -> None:
        if "/origin." in key and not self.has_failed:
            self.has_failed = True
            raise StoreUnavailable("no answer")
        super().delete(key)


def test_what_was_made_private_half_is_private_when_it_is_asked_for_again(make: Make) -> None:
    images = make(store=Once("https://cdn.example.com/"))
    images.store_origin("cat", photo("Fossa"))
    with pytest.raises(StoreUnavailable):
        images.set_private("cat", True)
    assert images.set_private("cat", True).private
    assert [key for key in images.store.list("cat/") if not key.endswith("image.json")] == ["cat/v2/"]
    assert [*images.store.list("cat/v2/")] == ["cat/v2/image.json"]


def test_all_images_are_private_where_the_settings_say_so(make: Make) -> None:
    images = make(private=True)
    assert images.store_origin("cat", photo("Fossa")).private
    assert not images.store_origin("dog", photo("Fossa"), private=False).private
    assert ask(images, f"/cat/{SIZE}.jpg").status == 403


def test_a_private_image_needs_a_secret(make: Make) -> None:
    with pytest.raises(ConfigurationError, match="secret"):
        make(secret=(), private=True)
    with pytest.raises(ConfigurationError, match="secret"):
        make(secret=()).store_origin("cat", photo("Fossa"), private=True)
    with pytest.raises(ConfigurationError, match="secret"):
        make(secret=()).url("cat", SIZE, expires=60)


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_a_presigned_url_reads_what_nobody_else_may(s3: S3, s3_base: Base) -> None:
    s3.client().create_bucket(Bucket="closed")
    images = LazyCrop(
        store=f"s3://closed/{s3_base.prefix}", s3_endpoint_url=s3.endpoint, s3_access_key=s3.access_key,
        s3_secret_key=s3.secret_key, sizes=[SIZE], secret="a key", private=True, private_answer="presign",
        broker="inline",
    )  # fmt: skip
    images.store_origin("cat", photo("Fossa"))
    assert ask(images, images.url("cat", SIZE)).status == 200
    answer = ask(images, images.url("cat", SIZE, expires=100))
    location, kept = answer.header("Location") or "", answer.header("Cache-Control") or ""
    assert answer.status == 302 and "X-Amz-Signature" in location
    lives = int(dict(part.split("=") for part in urlsplit(location).query.split("&"))["X-Amz-Expires"])
    assert 0 < int(kept.removeprefix("private, max-age=")) < lives <= 100
    assert status(location) == 200
    assert status(location.partition("?")[0]) == 403
    images.close()


@pytest.mark.parametrize("private", [False, True])
def test_helpers_sign_every_url_of_what_expires_or_is_private(make: Make, private: bool) -> None:
    images = make(sizes="any", auto_formats=["webp"])
    images.store_origin("cat", photo("Fossa"), private=private)
    helpers, options = Helpers(images), {"direct": True} if private else {"direct": True, "expires": timedelta(hours=1)}
    for html in (
        helpers.url("cat", SIZE, **options),
        helpers.srcset("cat", [100, 200], **options),
        helpers.img("cat", SIZE, alt="", **options),
        helpers.picture("cat", SIZE, widths=[100, 200], **options),
    ):
        assert "cdn.example.com" not in html and 'expires="' not in html
        urls = re.findall(r"/img/cat/[^ \",]+", html)
        assert urls
        for url in urls:
            assert ask(images, unescape(url)).status == 200
            assert ask(images, unescape(url).partition("?")[0]).status in ({403} if private else {200, 301})
