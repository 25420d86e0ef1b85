"""Cleaning: what a store could do without goes, everything else stays, and nothing does before it is certain."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from datetime import date, timedelta
from pathlib import Path

import pytest

from doubles import BLUE, GREEN, RED, flat
from lazycrop import LazyCrop
from lazycrop.errors import BadRequest, ConfigurationError, StoreUnavailable
from lazycrop.library.cleaning import LEFTOVERS, SIZES, UNASKED, VERSIONS, Removed
from lazycrop.stores import MemoryStore
from servers import S3, free_ports

LONG_AGO = str(int(time.time()) - 3600).encode()
TINY = flat(RED, size=(20, 10))


def open_images(store: object, **settings: object) -> LazyCrop:
    return LazyCrop(**{"store": store, "sizes": "any", "broker": "inline", **settings})  # type: ignore[arg-type]


def objects(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def keys(removed: object) -> set[str]:
    return {one.key for one in removed}  # type: ignore[attr-defined]


def test_sizes_off_the_list_go_and_are_made_again_for_nobody(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    for name in ("cat", "a/b"):
        images.store_origin(name, TINY)
        images.warm(name, ["10x", "5x", "x3"], ["jpg", "webp"])
    images.store.put("cat/9x9-strange.jpg", b"no size of ours", "image/jpeg")
    before = objects(tmp_path)
    images = open_images(tmp_path, sizes=["10x"], presets={"low": "x3"}, formats=["jpg"])
    expected = {f"{name}/{size}" for name in ("cat", "a/b") for size in ("5x.jpg", "5x.webp", "10x.webp", "x3.webp")}
    told: list[object] = []
    images.on("purged", told.append)
    assert keys(images.cleaning.clean(dry_run=True)) == expected
    assert objects(tmp_path) == before and told == []
    removed = [*images.cleaning.clean()]
    assert keys(removed) == expected == before - objects(tmp_path)
    assert {one.reason for one in removed} == {SIZES}
    assert {event.key for event in told} == expected  # type: ignore[attr-defined]
    assert [*images.cleaning.clean()] == []
    answer = images.answer("/cat/10x.jpg")
    assert answer.status == 200
    answer.close()


def test_sizes_that_a_secret_may_have_signed_stay_unless_nobody_can_ask_for_them(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    images.store_origin("cat", TINY)
    images.warm("cat", ["10x", "7x"], ["jpg", "png"])
    images = open_images(tmp_path, sizes=["10x"], secret="a key", formats=["jpg"])
    assert keys(images.cleaning.clean()) == {"cat/10x.png", "cat/7x.png"}


def test_without_a_list_sizes_are_not_taken_for_ones_off_it(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    images.store_origin("cat", TINY)
    images.warm("cat", ["10x"])
    before = objects(tmp_path)
    with pytest.raises(ConfigurationError, match="all of them would go"):
        LazyCrop(store=tmp_path).cleaning.clean()
    assert [*LazyCrop(store=tmp_path).cleaning.clean(reasons=[VERSIONS, LEFTOVERS])] == []
    assert objects(tmp_path) == before


def test_versions_go_that_are_older_than_those_that_are_kept(tmp_path: Path) -> None:
    images = open_images(tmp_path, keep_versions=9)
    for colour in (RED, GREEN, BLUE, RED):
        images.store_origin("cat", flat(colour, size=(20, 10)))
        images.warm("cat", ["10x"])
    assert [*images.cleaning.clean()] == []
    images = open_images(tmp_path, keep_versions=2)
    removed = [*images.cleaning.clean()]
    assert {(one.version, one.reason) for one in removed} == {(1, VERSIONS), (2, VERSIONS)}
    assert "cat/10x.jpg" in keys(removed) and "cat/image.json" not in keys(removed)
    left = {"image.json", *(f"v{n}/{name}" for n in (3, 4) for name in ("image.json", "origin.jpg", "10x.jpg"))}
    assert objects(tmp_path) == {f"cat/{name}" for name in left}
    assert images.record("cat").version == 4


def test_what_failed_stores_and_purges_have_left_goes_once_they_are_dead(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    for name in ("cat", "busy", "gone"):
        images.store_origin(name, TINY)
    images.purge("gone")
    put = images.store.put
    put("cat/-claim-3-00ff", LONG_AGO, "text/plain")
    put("cat/v3/origin.jpg", TINY, "image/jpeg")
    put("busy/-claim-2-00ff", str(int(time.time())).encode(), "text/plain")
    put("busy/v2/origin.jpg", TINY, "image/jpeg")
    put("gone/10x.jpg", TINY, "image/jpeg")
    put("unknown/origin.jpg", TINY, "image/jpeg")  # Its record may have been lost, and this be all that is left.
    expected = {"cat/-claim-3-00ff", "cat/v3/origin.jpg", "gone/10x.jpg"}
    before = objects(tmp_path)
    planned = [*images.cleaning.clean(dry_run=True)]
    assert keys(planned) == expected and {one.reason for one in planned} == {LEFTOVERS}
    assert keys(images.cleaning.clean()) == expected == before - objects(tmp_path)


def test_a_private_image_is_cleaned_where_it_is(tmp_path: Path) -> None:
    images = open_images(tmp_path, secret="a key", keep_versions=9)
    images.store_origin("cat", TINY, private=True)
    images.warm("cat", ["10x"], ["png"])
    images.store_origin("cat", flat(GREEN, size=(20, 10)), private=True)
    images = open_images(tmp_path, secret="a key", keep_versions=9, formats=["jpg"])
    assert keys(images.cleaning.clean()) == {"-private/cat/10x.png"}
    images = open_images(tmp_path, secret="a key", keep_versions=1)
    assert keys(images.cleaning.clean("ca")) == {"-private/cat/image.json", "-private/cat/origin.jpg"}
    assert images.record("cat").version == 2 and images.info("cat").record.private


def test_only_what_begins_with_a_prefix_is_cleaned(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    for name in ("users/1", "other"):
        images.store_origin(name, TINY)
        images.warm(name, ["10x"])
    images = open_images(tmp_path, sizes=["5x"])
    assert keys(images.cleaning.clean("users/")) == {"users/1/10x.jpg"}
    with pytest.raises(BadRequest):
        [*images.cleaning.clean("-private/")]


class Counted:
    """What a catalogue has counted."""

    def __init__(self, days: int | None, **asked: str) -> None:
        self._since = None if days is None else date.today() - timedelta(days=days)
        self._asked = asked

    def since(self) -> date | None:
        return self._since

    def asked(self, image_id: str, days: int) -> Collection[tuple[str, str]]:
        return {(size, "jpg") for size in self._asked.get(image_id, "").split()}


def test_sizes_go_that_nobody_has_asked_for(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    for name in ("cat", "dog"):
        images.store_origin(name, TINY)
        images.warm(name, ["10x", "5x"])
    for path in tmp_path.rglob("*x.jpg"):
        os.utime(path, (time.time() - 40 * 86_400,) * 2)
    images.warm("dog", ["7x"])  # It is too new to be missed.
    images.cleaning.demand = Counted(60, cat="10x", dog="3x")
    removed = [*images.cleaning.clean(reasons=[UNASKED], days=30)]
    assert keys(removed) == {"cat/5x.jpg", "dog/10x.jpg", "dog/5x.jpg"}
    assert images.exists("cat") and images.store.exists("dog/7x.jpg")


@pytest.mark.parametrize(
    ("demand", "days", "sentence"),
    [
        (None, 30, "set 'catalogue'"),
        (Counted(60), 0, "give more than that"),
        (Counted(60), None, "give more than that"),
        (Counted(10), 30, "has been counted since .*, which is not 30 days"),
        (Counted(None), 30, "counted since never"),
    ],
)
def test_what_was_asked_for_has_to_be_known(demand: Counted | None, days: int | None, sentence: str) -> None:
    images = open_images(MemoryStore())
    images.cleaning.demand = demand
    with pytest.raises((ConfigurationError, BadRequest), match=sentence):
        images.cleaning.clean(reasons=[UNASKED], days=days)


def test_nothing_is_deleted_in_a_store_that_does_not_answer(s3: S3) -> None:
    [nobody] = free_ports(1)
    images = open_images("s3://pics/", s3_endpoint_url=f"http://127.0.0.1:{nobody}", s3_region="x")
    with pytest.raises(StoreUnavailable):
        [*images.cleaning.clean()]


class Halting(MemoryStore):
    """It does not answer any more from some delete on."""

    left = 1000

    def __repr__(self) -> str:
        return "Halting()"

    def delete(self, key: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise StoreUnavailable("It does not answer.")
        super().delete(key)


def test_what_was_stopped_is_gone_on_with() -> None:
    store = Halting()
    images = open_images(store)
    for name in ("a", "b", "c"):
        images.store_origin(name, TINY)
        images.warm(name, ["10x", "5x"])
    images = open_images(store, sizes=["1x"])
    store.left = 3
    removed: list[Removed] = []
    with pytest.raises(StoreUnavailable):
        removed.extend(images.cleaning.clean())
    store.left = 1000
    removed += images.cleaning.clean()
    assert keys(removed) == {f"{name}/{size}.jpg" for name in "abc" for size in ("10x", "5x")}
    assert len(removed) == 6


def test_what_no_record_says_is_left_alone(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    images.store_origin("cat", TINY)
    images.warm("cat", ["10x"])
    (tmp_path / "cat/image.json").write_bytes(b"{")
    before = objects(tmp_path)
    assert [*open_images(tmp_path, sizes=["1x"]).cleaning.clean()] == []
    assert objects(tmp_path) == before
