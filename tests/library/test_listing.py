"""Listing: what a store has, by what it says itself; of every kind of store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from doubles import BLUE, GREEN, RED, Dictionary, flat, open_adopting
from lazycrop import LazyCrop
from lazycrop.errors import BadRequest, StoreUnavailable, UnknownImage
from lazycrop.stores import MemoryStore
from servers import S3

if TYPE_CHECKING:
    from conftest import Base


class Plain:
    """A store of somebody's own that can do what every store can, and nothing besides."""

    bounded = True
    public_url = None

    def __init__(self) -> None:
        self._store = MemoryStore()
        for name in ("put", "get", "open", "exists", "delete", "list", "url"):
            setattr(self, name, getattr(self._store, name))

    def __repr__(self) -> str:
        return "Plain()"


@pytest.fixture(params=["memory", "folder", "plain", "s3"])
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LazyCrop]:
    settings: dict[str, Any] = {"sizes": "any", "broker": "inline", "secret": "a key"}
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        base: Base = request.getfixturevalue("s3_base")
        settings |= {"store": base.store, "s3_endpoint_url": s3.endpoint, "s3_region": s3.region}
        settings |= {"s3_access_key": s3.access_key, "s3_secret_key": s3.secret_key}
    else:
        stores = {"memory": "memory:", "folder": tmp_path / "images", "plain": Plain()}
        settings["store"] = stores[request.param]
    images = LazyCrop(**settings)
    yield images
    images.close()


def ids(found: Any) -> list[str]:
    return [record.image_id for record in found]


def test_images_are_listed_in_one_order_and_gone_on_with(images: LazyCrop) -> None:
    names = ["a", "a/b", "a-x", "Größe/Кот 1", "猫", "users/1", "users/10", "users/2", "b"]
    for name in names:
        images.store_origin(name, flat(RED, size=(20, 10)))
    images.store_origin("a", flat(GREEN, size=(20, 10)))  # a second version is no second image
    images.store_origin("hidden", flat(GREEN, size=(20, 10)), private=True)
    images.store_origin("gone", flat(GREEN, size=(20, 10)))
    images.purge("gone")
    images.warm("a", ["10x"])
    images.store.put("a/-claim-7-00ff", b"1", "text/plain")
    images.store.put("foreign/notes.txt", b"none of ours", "text/plain")
    listed = ids(images.list())
    assert sorted(listed) == sorted([*names, "hidden"])
    assert ids(images.list()) == listed
    for number, name in enumerate(listed):
        assert ids(images.list(after=name)) == listed[number + 1 :]
    assert set(ids(images.list("users/"))) == {"users/1", "users/10", "users/2"}
    assert set(ids(images.list("users/1"))) == {"users/1", "users/10"}
    assert ids(images.list("nobody")) == []
    by_id = {record.image_id: record for record in images.list()}
    assert by_id["a"] == images.record("a") and by_id["a"].version == 2
    assert by_id["hidden"].private


def test_an_image_is_there_with_its_sizes_and_their_bytes(images: LazyCrop) -> None:
    images.store_origin("a", flat(RED))
    images.store_origin("a/b", flat(RED))
    images.warm("a", ["100x", "50x50-cover"])
    images.store_origin("a", flat(GREEN))
    images.warm("a", ["100x"], ["webp"])
    assert images.exists("a") and images.exists("a/b") and not images.exists("c")
    info = images.info("a")
    assert [(one.version, one.size, one.format) for one in info.sizes] == [
        (2, "100x", "webp"),
        (1, "100x", "jpg"),
        (1, "50x50-cover", "jpg"),
    ]
    for one in info.sizes:
        assert one.length == len(images.store.get(one.key, 10**6))
    assert info.record == images.record("a")
    assert info.length > info.record.length + sum(one.length for one in info.sizes)
    with pytest.raises(UnknownImage, match="There is no image 'c'"):
        images.info("c")
    images.set_private("a", True)
    images.warm("a", ["100x"])
    assert [one.key for one in images.info("a").sizes] == ["-private/a/v3/100x.jpg"]


def test_usage_counts_images_sizes_and_bytes(images: LazyCrop) -> None:
    assert images.usage().images == 0
    for name in ("users/1", "users/2", "other"):
        images.store_origin(name, flat(RED, size=(20, 10)))
        images.warm(name, ["10x", "5x"])
    images.store_origin("users/3", flat(RED, size=(20, 10)), private=True)
    images.store_origin("users/gone", flat(RED, size=(20, 10)))
    images.purge("users/gone")
    usage = images.usage("users/")
    assert (usage.images, usage.sizes) == (3, 4)
    assert images.usage().images == 4
    lengths = [images.info(name).length for name in ("users/1", "users/2", "users/3")]
    assert usage.length == sum(lengths) + len(images.store.get("users/gone/image.json", 10**6))


@pytest.mark.parametrize("prefix", ["/users", "../users", "-private/", "a\0b", "x" * 900, "a//b"])
def test_a_prefix_that_no_image_id_has_is_a_sentence(prefix: str) -> None:
    images = LazyCrop(store="memory:", sizes="any")
    for ask in (images.list, images.usage):
        with pytest.raises(BadRequest, match="No image id begins with"):
            ask(prefix)


def test_what_is_gone_on_after_is_among_what_is_listed() -> None:
    images = LazyCrop(store="memory:", sizes="any")
    with pytest.raises(BadRequest, match="'cat' is not among the images whose ids begin with 'users/'"):
        images.list("users/", after="cat")


def test_what_a_store_has_is_listed_lazily(tmp_path: Path) -> None:
    """Only some records are read ahead of the one that is wanted."""
    images = LazyCrop(store=tmp_path, sizes="any", broker="inline")
    record = images.store_origin("000", flat(RED, size=(20, 10)))
    for number in range(1, 200):
        shutil.copytree(tmp_path / "000", tmp_path / f"{number:03}")
        name = tmp_path / f"{number:03}" / "image.json"
        name.write_bytes(name.read_bytes().replace(b'"000"', b'"%03d"' % number))
    listed = images.list()
    assert ids(islice(listed, 2)) == ["000", "001"]
    for number in range(100, 200):
        shutil.rmtree(tmp_path / f"{number:03}")
    assert len(ids(listed)) == 98
    assert record.image_id == "000"


def test_a_record_that_cannot_be_read_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = LazyCrop(store=tmp_path, sizes="any")
    for name in ("a", "b", "c"):
        images.store_origin(name, flat(BLUE, size=(20, 10)))
    (tmp_path / "b/image.json").write_bytes(b"{")
    shutil.copytree(tmp_path / "a", tmp_path / "copied")
    assert ids(images.list()) == ["a", "c"]
    assert "the record of 'b' cannot be read" in caplog.text


def test_a_store_that_does_not_answer_is_not_an_empty_one(s3: S3, s3_base: Base) -> None:
    images = LazyCrop(store=s3_base.store, s3_endpoint_url="http://127.0.0.1:9", s3_region="x", sizes="any")
    for ask in (lambda: [*images.list()], images.usage, lambda: images.exists("a"), lambda: images.info("a")):
        with pytest.raises(StoreUnavailable):
            ask()


def test_what_is_adopted_is_in_the_store_and_what_nobody_asked_for_is_not() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED), dog__jpg=flat(BLUE)))
    images.adopt("cat.jpg")
    assert ids(images.list()) == ["cat.jpg"]
    assert images.exists("cat.jpg") and not images.exists("dog.jpg")
    assert images.usage().images == 1
