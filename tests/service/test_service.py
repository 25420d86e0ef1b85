"""The life of a derivative in one process: a folder or memory, no server."""

from __future__ import annotations

import gc
import io
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from client import alike
from doubles import Taking
from lazycrop import (
    Answer,
    ConfigurationError,
    ImageApp,
    LazyCrop,
    LazyCropError,
    Middleware,
    Record,
    Size,
    UnknownImage,
)
from lazycrop.caches.process import ProcessCache
from lazycrop.errors import (
    BadImageId,
    BadRequest,
    FetchError,
    ImageTooLarge,
    NotAllowed,
    StoreUnavailable,
    UnsupportedImage,
)
from lazycrop.http.requests import Request
from lazycrop.library import claims
from lazycrop.model.keys import CHANGES
from lazycrop.pictures.settings import Stage
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.memory import MemoryStore
from servers import eventually, photo

FOSSA = photo("Fossa").read_bytes()
Make = Callable[..., LazyCrop]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes LazyCrops on a folder, and closes them."""
    made: list[LazyCrop] = []

    def open_images(**settings: Any) -> LazyCrop:
        made.append(LazyCrop(**{"store": tmp_path / "images", "sizes": "any"} | settings))
        return made[-1]

    yield open_images
    for images in made:
        images.close()


def ask(images: LazyCrop, path: str, **request: Any) -> Answer:
    """The answer, with its body read."""
    answer = images.answer(Request(path, **request))
    if not isinstance(answer.body, bytes):
        with answer.body as file:
            answer.body = file.read()
    return answer


def ask_stored(images: LazyCrop, path: str) -> Answer | None:
    answer = ask(images, path)
    return answer if detail(answer) == "hit; detail=stored" else None


def small(width: int = 300, height: int = 200, colour: str = "red", format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, format)
    return file.getvalue()


def body(answer: Answer) -> bytes:
    assert isinstance(answer.body, bytes)
    return answer.body


def pixel(answer: Answer) -> Any:
    with Image.open(io.BytesIO(body(answer))) as image:
        return image.convert("RGB").getpixel((5, 5))


def dimensions(answer: Answer) -> tuple[int, int]:
    with Image.open(io.BytesIO(body(answer))) as image:
        return image.size


def detail(answer: Answer) -> str:
    status = answer.header("Cache-Status") or ""
    return status.removeprefix("lazycrop; ")


@pytest.mark.parametrize("name", ["Fossa", "Painting", "Picture", "Wine", "friends"])
def test_a_photograph_is_answered_at_once_and_found_in_the_folder_a_moment_later(
    make: Make, name: str, tmp_path: Path
) -> None:
    images = make()
    record = images.store_origin("cat", photo(name))
    for size in ("200x100", "800x600", "400x300-cover"):
        answer = ask(images, f"/cat/{size}.jpg")
        assert (answer.status, detail(answer)) == (200, "fwd=miss; detail=rendered")
        assert dimensions(answer) == Size.parse(size).dimensions(record.width, record.height)
        stored = tmp_path / "images/cat" / f"{size}.jpg"
        eventually(stored.exists, what="the size is stored")
        assert alike(stored.read_bytes(), body(answer))
        again = eventually(partial(ask_stored, images, f"/cat/{size}.jpg"), what="the size is known to be stored")
        assert again.status == 200
        assert again.header("Content-Length") == str(stored.stat().st_size)


@pytest.mark.parametrize("source", ["path", "bytes", "file"])
def test_an_origin_comes_from_a_path_bytes_or_a_file(make: Make, source: str, tmp_path: Path) -> None:
    path = tmp_path / "private" / "cat.png"
    path.parent.mkdir()
    path.write_bytes(small())
    given = {"path": path, "bytes": small(), "file": io.BytesIO(small())}[source]
    record = make().store_origin("cat", given)
    assert (record.width, record.height, record.format, record.version) == (300, 200, "png", 1)
    assert record.url == "/img/cat/origin.png"
    assert "private" not in record.source
    assert record.sha256 and record.length


def test_an_origin_is_shrunk_to_its_bound(make: Make) -> None:
    images = make()
    assert (images.store_origin("a", small(300, 200), "150x150").width, images.record("a").height) == (150, 100)
    assert images.store_origin("b", small(300, 200), "1000x").width == 300
    assert images.store_origin("c", small(300, 200), Size(None, 50)).height == 50
    for bound in ("150x150-cover", "150x150-up", "big", "0x0"):
        with pytest.raises(BadRequest):
            images.store_origin("d", small(), bound)


@pytest.mark.parametrize(
    ("source", "error"),
    [
        (b"no image at all", UnsupportedImage),
        (b"", UnsupportedImage),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", UnsupportedImage),
        (FOSSA[: len(FOSSA) // 2], LazyCropError),
        ("/nowhere/cat.jpg", FetchError),
        ("http://127.0.0.1/cat.jpg", FetchError),
        ("ftp://example.com/cat.jpg", FetchError),
        (bytes(2_000_000), ImageTooLarge),
    ],
)
def test_what_is_no_image_is_a_sentence_and_nothing_is_stored(
    make: Make, source: Any, error: type[LazyCropError], tmp_path: Path
) -> None:
    images = make(download_bytes=1_500_000)
    with pytest.raises(error) as raised:
        images.store_origin("cat", source)
    assert str(raised.value).endswith(".")
    assert 400 <= raised.value.status < 500
    assert not [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    with pytest.raises(UnknownImage):
        images.record("cat")


@pytest.mark.parametrize(
    "image_id", ["", "/", "a/", "../a", "v2", "a/v3", "a\\b", "a\nb", "x" * 201, "200x100.jpg", "a/origin.jpg"]
)
def test_a_bad_image_id_is_refused_before_anything_else(make: Make, image_id: str) -> None:
    with pytest.raises(BadImageId):
        make().store_origin(image_id, b"no image")


class Failing(MemoryStore):
    """A store in memory that fails at a chosen put; with ``late``, after it has put."""

    def __init__(self, fails: Callable[[str], bool], late: bool = False) -> None:
        super().__init__()
        self.fails, self.late = fails, late

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        if self.fails(key):
            if self.late:
                super().put(key, data, content_type, **options)
            raise StoreUnavailable("The store failed.")
        return super().put(key, data, content_type, **options)


def keys(store: MemoryStore, folder: str = "") -> list[str]:
    """Of all objects of images: the list of changes is of none."""
    names = [name for name in store.list(folder) if name != CHANGES]
    return sorted(key for name in names for key in (keys(store, name) if name.endswith("/") else [name]))


@pytest.mark.parametrize("fails", ["origin", "mezzanine", "image.json"])
def test_a_failed_store_leaves_nothing_behind_and_can_be_repeated(make: Make, fails: str) -> None:
    store = Failing(lambda key: fails in key)
    images = make(store=store)
    with pytest.raises(StoreUnavailable):
        images.store_origin("cat", FOSSA)
    assert keys(store) == []
    store.fails = lambda key: False
    assert images.store_origin("cat", FOSSA).version == 1
    before = keys(store)
    store.fails = lambda key: fails in key
    with pytest.raises(StoreUnavailable):
        images.store_origin("cat", FOSSA)
    assert keys(store) == before
    assert images.record("cat").version == 1


def test_a_put_whose_answer_was_lost_is_not_undone(make: Make) -> None:
    images = make(store=Failing(lambda key: key == "cat/image.json", late=True))
    assert images.store_origin("cat", small()).version == 1
    assert ask(images, "/cat/100x.jpg").status == 200


def test_a_store_of_which_nobody_can_say_whether_it_took_place_keeps_all_objects(make: Make) -> None:
    store = Failing(lambda key: key == "cat/image.json", late=True)
    images = make(store=store)
    read = store.get

    def get(key: str, limit: int) -> bytes:
        if "cat/image.json" in keys(store):
            raise StoreUnavailable("The store is down.")
        return read(key, limit)

    store.get = get  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable, match="The store failed"):
        images.store_origin("cat", small())
    store.get = read  # type: ignore[method-assign]
    assert ask(images, "/cat/100x.jpg").status == 200


def test_a_replaced_image_is_a_second_version_with_keys_of_its_own(make: Make, tmp_path: Path) -> None:
    images = make(broker="inline")
    images.store_origin("cat", small(colour="red"))
    assert images.url("cat", "100x") == "/img/cat/100x.jpg"
    red = ask(images, "/cat/100x.jpg")
    record = images.store_origin("cat", small(colour="blue"))
    assert (record.version, record.url) == (2, "/img/cat/v2/origin.png")
    assert images.url("cat", "100x") == "/img/cat/v2/100x.jpg"
    for path in ("/cat/100x.jpg", "/cat/v2/100x.jpg"):
        answer = ask(images, path)
        with Image.open(io.BytesIO(body(answer))) as image:
            assert image.getpixel((5, 5)) == pytest.approx((0, 0, 255), abs=4)
        assert answer.header("ETag") != red.header("ETag")
    assert "immutable" in (ask(images, "/cat/v2/100x.jpg").header("Cache-Control") or "")
    assert ask(images, "/cat/100x.jpg").header("Cache-Control") == "public, max-age=86400"
    assert alike((tmp_path / "images/cat/100x.jpg").read_bytes(), body(red))
    with pytest.raises(BadRequest, match="current"):
        images.purge("cat", version=2)
    assert images.purge("cat", version=1) >= 2
    assert {path.name for path in (tmp_path / "images/cat").iterdir()} == {"image.json", "v2"}
    assert ask(images, "/cat/100x.jpg").status == 200
    assert images.store_origin("cat", small()).version == 3
    assert ask(images, "/cat/v2/100x.jpg").status == 200
    assert ask(images, "/cat/v4/100x.jpg").status == 404


def test_a_purge_takes_all_of_an_image_and_nothing_of_those_below(make: Make, tmp_path: Path) -> None:
    images = make(broker="inline")
    for image_id in ("a", "a", "a/b", "ab"):
        images.store_origin(image_id, small())
        ask(images, f"/{image_id}/100x.jpg")
    images.purge("a")
    assert ask(images, "/a/100x.jpg").status == 404
    assert ask(images, "/a/v2/100x.jpg").status == 404
    assert {path.name for path in (tmp_path / "images/a").iterdir()} == {"b", "image.json"}
    assert ask(images, "/a/b/100x.jpg").status == 200
    assert ask(images, "/ab/100x.jpg").status == 200
    assert images.purge("a") == 0
    # Caches may still have what was at the URLs of the first two versions.
    assert images.store_origin("a", small()).version == 3


def test_a_purge_that_forgets_leaves_nothing_and_numbers_begin_again(make: Make, tmp_path: Path) -> None:
    images = make(broker="inline")
    for _ in range(2):
        images.store_origin("a", small())
    assert images.purge("a", forget=True) == 2
    assert not (tmp_path / "images/a").exists()
    assert images.store_origin("a", small()).version == 1


def test_a_purge_with_a_job_still_queued_or_under_way_leaves_nothing_behind(make: Make) -> None:
    store = MemoryStore()
    images = make(store=store)
    asked = images.store_origin("cat", small())
    message = images.warm("cat", ["100x"])[0].to_message()
    images.close()
    images.purge("cat")
    images.jobs.actors["store"](message)
    assert keys(store) == ["cat/image.json"]

    message["version"] = images.store_origin("cat", small()).version
    put = store.put

    def purged_meanwhile(key: str, *arguments: Any, **options: Any) -> bool:
        if "100x." in key:
            images.purge("cat")
        return put(key, *arguments, **options)

    store.put = purged_meanwhile  # type: ignore[method-assign]
    images.jobs.actors["store"](message)
    assert keys(store) == ["cat/image.json"]
    assert asked.version == 1


def test_a_job_of_the_first_version_leaves_nothing_beside_the_second(make: Make) -> None:
    store = MemoryStore()
    images = make(store=store)
    images.store_origin("cat", small())
    message = images.warm("cat", ["100x"])[0].to_message()
    images.close()
    images.store_origin("cat", small())
    images.purge("cat", 1)
    images.jobs.actors["store"](message)
    assert not store.exists("cat/100x.jpg")


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/cat/0x0.jpg", "", 400),
        ("/cat", "", 400),
        ("/../cat/1x1.jpg", "", 400),
        ("/c\xff\xfet/1x1.jpg", "", 400),
        ("/cat.jpg", "size=%ff", 400),
        ("/cat/100x.exe", "", 400),
        ("/cat/9999x.jpg", "", 404),
        ("/dog/100x.jpg", "", 404),
        ("/cat/v2/100x.jpg", "", 404),
        ("/cat/origin.jpg", "", 404),
        ("/cat/origin.webp", "", 404),
    ],
)
def test_bad_input_is_a_sentence_that_nobody_keeps(make: Make, path: str, query: str, status: int) -> None:
    images = make()
    images.store_origin("cat", small())
    answer = ask(images, path, query=query)
    assert answer.status == status
    assert answer.header("Cache-Control") == "no-store"
    assert answer.header("Content-Type") == "text/plain; charset=utf-8"
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert body(answer).decode().endswith(".\n")


def test_another_method_is_405_with_allow(make: Make) -> None:
    answer = ask(make(), "/cat/100x.jpg", method="POST")
    assert (answer.status, answer.header("Allow")) == (405, "GET, HEAD")


def test_signed_urls_open_what_is_not_listed(make: Make) -> None:
    images = make(sizes="100x", secret=["new", "old"])
    images.store_origin("cat", small())
    assert images.url("cat", "100x") == "/img/cat/100x.jpg"
    signed = images.url("cat", "90x")
    path, _, query = signed.removeprefix("/img").partition("?")
    assert ask(images, path, query=query).status == 200
    assert ask(images, path).status == 403
    assert ask(images, path, query=query[:-2]).status == 403
    path, _, query = images.url("cat", "100x", expires=-1).removeprefix("/img").partition("?")
    assert ask(images, path, query=query).status == 403
    with pytest.raises(NotAllowed):
        images.url("cat", "5000x")


def test_urls_are_made_from_spellings_presets_sizes_and_tuples(make: Make) -> None:
    images = make(sizes="200x100 9x", presets={"card": "400x300-cover"}, prefix="/pictures")
    assert images.url("cat", "card") == "/pictures/cat/400x300-cover.jpg"
    assert images.url("cat", (200, 100), format="webp") == "/pictures/cat/200x100.webp"
    assert images.url("cat", Size(9, None), mount="/sub/img") == "/sub/img/cat/9x.jpg"
    with pytest.raises(NotAllowed):
        images.url("cat", "10x")


def test_a_size_off_the_list_is_redirected_when_snapping_is_on(make: Make) -> None:
    images = make(sizes="100x 50x", snap=True)
    images.store_origin("cat", small())
    answer = ask(images, "/cat/40x.jpg", mount="/sub/img")
    assert (answer.status, answer.header("Location")) == (302, "/sub/img/cat/50x.jpg")
    assert ask(images, "/cat/101x.jpg").status == 404


def test_an_etag_is_known_before_any_work(make: Make) -> None:
    images = make()
    images.store_origin("cat", small())
    head = ask(images, "/cat/100x.jpg", method="HEAD")
    assert (head.status, body(head), detail(head)) == (200, b"", "fwd=miss")
    etag = head.header("ETag")
    assert etag
    for condition in (etag, f'"x", W/{etag}'):
        unchanged = ask(images, "/cat/100x.jpg", if_none_match=condition)
        assert (unchanged.status, body(unchanged)) == (304, b"")
        assert unchanged.header("ETag") == etag
        assert unchanged.header("Cache-Control") == "public, max-age=60"
    rendered = ask(images, "/cat/100x.jpg", if_none_match='"other"')
    assert (rendered.status, rendered.header("ETag")) == (200, etag)
    assert detail(rendered) == "fwd=miss; detail=rendered"


def test_settings_that_change_the_bytes_change_the_etag(make: Make) -> None:
    images = make()
    images.store_origin("cat", small())
    tags = {
        ask(make(**settings), "/cat/10x.jpg", method="HEAD").header("ETag")
        for settings in ({}, {"quality": {"jpg": 50}}, {"background": "000000"}, {"max_age": 5})
    }
    assert len(tags) == 3


def test_what_is_stored_is_redirected_to_where_there_is_a_public_url(make: Make) -> None:
    images = make(public_url="https://cdn.example.com/base", broker="inline", redirect_status=308)
    record = images.store_origin("cat", small())
    assert record.url == "https://cdn.example.com/base/cat/origin.png"
    ask(images, "/cat/400x300-cover@2x.jpg")
    answer = ask(images, "/cat/400x300-cover@2x.jpg")
    assert answer.status == 308
    assert answer.header("Location") == "https://cdn.example.com/base/cat/400x300-cover@2x.jpg"
    assert answer.header("Cache-Control") == "public, max-age=86400"
    assert (
        ask(make(public_url="https://cdn.example.com/base", answer="stream"), "/cat/400x300-cover@2x.jpg").status == 200
    )


def test_a_stored_object_that_somebody_deleted_is_made_again(make: Make, tmp_path: Path) -> None:
    images = make(broker="inline")
    images.store_origin("cat", small())
    ask(images, "/cat/100x.jpg")
    ask(images, "/cat/100x.jpg")
    (tmp_path / "images/cat/100x.jpg").unlink()
    answer = ask(images, "/cat/100x.jpg")
    assert (answer.status, dimensions(answer)) == (200, (100, 67))


def test_a_mezzanine_that_somebody_deleted_is_done_without(make: Make, tmp_path: Path) -> None:
    images = make()
    images.store_origin("cat", FOSSA)
    for path in (tmp_path / "images/cat").glob("mezzanine-*"):
        path.unlink()
    assert ask(images, "/cat/100x.jpg").status == 200


def test_an_origin_that_somebody_deleted_is_an_unknown_image(make: Make, tmp_path: Path) -> None:
    images = make()
    images.store_origin("cat", small())
    (tmp_path / "images/cat/origin.png").unlink()
    answer = ask(images, "/cat/100x.jpg")
    assert (answer.status, answer.header("Cache-Control")) == (404, "no-store")


def test_a_poison_image_costs_two_decodes(make: Make, tmp_path: Path) -> None:
    images = make(mezzanine_edges="none")
    images.store_origin("cat", FOSSA)
    origin = tmp_path / "images/cat/origin.jpg"
    origin.write_bytes(origin.read_bytes()[:100_000])
    texts = [body(ask(images, f"/cat/{width}x.jpg")).decode() for width in (100, 101, 102, 103)]
    assert all(ask(images, f"/cat/{width}x.jpg").status == 422 for width in (100, 104))
    assert ["again in 10 minutes" in text for text in texts] == [False, False, True, True]


def test_one_of_many_threads_renders(make: Make) -> None:
    images = make()
    images.store_origin("cat", FOSSA)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: ask(images, "/cat/800x600.jpg"), range(48)))
    details = [detail(answer) for answer in answers]
    assert details.count("fwd=miss; detail=rendered") == 1
    assert {body(answer) for answer in answers} == {body(answers[0])}


def test_when_all_slots_are_taken_the_answer_is_503_with_retry_after(make: Make) -> None:
    images = make(renders=1, render_wait_seconds=0.05)
    images.store_origin("cat", small())
    with images._renders._benches[Stage.FIRST].slot(1):
        answer = ask(images, "/cat/100x.jpg")
    assert (answer.status, answer.header("Retry-After")) == (503, "2")
    assert answer.header("Cache-Control") == "no-store"
    assert ask(images, "/cat/100x.jpg").status == 200


def test_sizes_are_made_before_anybody_asks(make: Make, tmp_path: Path) -> None:
    images = make()
    images.store_origin("cat", small())
    images.warm("cat", ["100x", (50, 50), "10x-up"[:3]], formats=["jpg", "webp"])
    images.close()
    names = {path.name for path in (tmp_path / "images/cat").iterdir()}
    assert {"100x.jpg", "100x.webp", "50x50.jpg", "50x50.webp", "10x.jpg", "10x.webp"} <= names
    with pytest.raises(UnknownImage):
        images.warm("dog", ["100x"])
    with pytest.raises(NotAllowed):
        images.warm("cat", ["9999x"])


def test_auto_is_answered_fast_first_and_small_later(make: Make) -> None:
    images = make()
    images.store_origin("cat", FOSSA)
    chrome = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
    first = ask(images, "/cat/300x.auto", accept=chrome)
    assert (first.status, first.header("Content-Type"), first.header("Vary")) == (200, "image/webp", "Accept")
    assert first.header("Cache-Control") == "public, max-age=60"

    def small_one() -> Answer | None:
        answer = ask(images, "/cat/300x.auto", accept=chrome)
        return answer if answer.header("Content-Type") == "image/avif" else None

    later = eventually(small_one, 20, what="the small format is stored")
    assert (later.header("Vary"), later.header("Cache-Control")) == ("Accept", "public, max-age=86400")
    for accept in (None, "*/*", "image/*", "junk;;q"):
        plain = ask(images, "/cat/300x.auto", accept=accept)
        assert (plain.header("Content-Type"), plain.header("Vary")) == ("image/jpeg", "Accept")


def test_nothing_may_be_asked_for_unless_something_is_named(make: Make) -> None:
    for wrap in (ImageApp, lambda images: Middleware(lambda e, s: [], images)):
        with pytest.raises(ConfigurationError) as raised:
            wrap(make(sizes=()))
        assert all(way in str(raised.value) for way in ("sizes=[", "presets=", "secret=", 'sizes="any"'))
        wrap(make(sizes=(), secret="key"))


def test_making_a_lazycrop_starts_no_thread_and_writes_nothing(make: Make, tmp_path: Path) -> None:
    before = threading.active_count()
    make().url("cat", "100x")
    assert threading.active_count() == before
    assert not (tmp_path / "images").exists()


def test_a_record_keeps_its_url_out_of_the_store(make: Make, tmp_path: Path) -> None:
    images = make()
    record = images.store_origin("cat", small())
    assert images.record("cat") == record
    stored = Record.from_json((tmp_path / "images/cat/image.json").read_bytes())
    assert stored.url == ""
    assert (stored.sha256, stored.modified) == (record.sha256, record.modified)


def test_a_record_that_is_no_record_is_said_so(make: Make, tmp_path: Path) -> None:
    images = make()
    images.store_origin("cat", small())
    (tmp_path / "images/cat/image.json").write_bytes(b'{"image_id": "cat"}')
    fresh = make(broker="inline")
    answer = ask(fresh, "/cat/100x.jpg")
    assert (answer.status, b"the log says" in body(answer)) == (500, True)
    assert fresh.url("cat", "100x") == "/img/cat/100x.jpg"
    assert fresh.store_origin("cat", small()).version == 2
    assert ask(fresh, "/cat/100x.jpg").status == 200
    (tmp_path / "images/cat/image.json").write_bytes(b"junk")
    fresh.purge("cat", forget=True)
    assert not (tmp_path / "images/cat").exists()


def test_two_stores_of_one_image_at_once_never_mix(make: Make) -> None:
    images = make()
    pictures = [small(100 + number, 50) for number in range(8)]
    with ThreadPoolExecutor(8) as threads:
        records = list(threads.map(lambda data: images.store_origin("cat", data), pictures))
    assert sorted(record.version for record in records) == list(range(1, 9))
    assert images.record("cat").version == 8


def test_a_store_of_ones_own_is_taken_as_it_is(make: Make, tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "own")
    assert make(store=store).store is store


def test_processes_share_a_cache_of_ones_own(make: Make, tmp_path: Path) -> None:
    shared = ProcessCache()
    store = FolderStore(tmp_path / "images")
    one, other = (make(store=store, cache=shared, broker=Taking()) for _ in range(2))
    one.store_origin("cat", FOSSA)
    rendered = ask(one, "/cat/100x.jpg")
    assert detail(rendered) == "fwd=miss; detail=rendered"
    hot = ask(other, "/cat/100x.jpg")
    assert (detail(hot), body(hot)) == ("hit; detail=hot", body(rendered))


def test_an_old_answer_is_timed(make: Make) -> None:
    images = make()
    images.store_origin("cat", FOSSA)
    start = time.perf_counter()
    timing = ask(images, "/cat/800x.jpg").header("Server-Timing") or ""
    elapsed = (time.perf_counter() - start) * 1000
    parts = {name: float(value) for name, _, value in (part.partition(";dur=") for part in timing.split(", "))}
    assert list(parts) == ["lookup", "fetch", "decode", "resize", "encode", "enqueue"]
    assert 0 < sum(parts.values()) <= elapsed + 1


def test_descriptors_do_not_leak(make: Make) -> None:
    images = make(broker="inline")
    images.store_origin("cat", small())
    ask(images, "/cat/100x.jpg")
    before = len(os.listdir("/dev/fd"))
    for _ in range(50):
        ask(images, "/cat/100x.jpg", method="HEAD")
        ask(images, "/cat/100x.jpg")
    assert len(os.listdir("/dev/fd")) <= before + 1


def test_a_secret_may_hold_blanks_and_commas(make: Make) -> None:
    assert make(secret="a long random text, with a comma").config.policy.secret == ("a long random text, with a comma",)
    assert make(secret="new key\n  old, key\n").config.policy.secret == ("new key", "old, key")


def test_a_version_that_was_asked_for_too_early_is_there_when_it_is_stored(make: Make) -> None:
    images = make()
    images.store_origin("cat", small())
    assert ask(images, "/cat/v2/100x.jpg").status == 404
    images.store_origin("cat", small())
    assert ask(images, images.url("cat", "100x").removeprefix("/img")).status == 200


def test_a_former_version_is_no_reason_to_forget_the_current_one(make: Make) -> None:
    images = make()
    for _ in range(2):
        images.store_origin("cat", small())
    with pytest.raises(UnknownImage):
        images.record("cat", version=1)
    assert images.record("cat").version == 2
    assert images.record("cat", version=2).version == 2
    assert ask(images, "/cat/100x.jpg").status == 200


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999 00:00:00 GMT", "-9999999999999", "1 Jan 2147483648 00:00:00", "x" * 8000]
)
def test_a_date_that_is_none_is_no_condition(make: Make, date: str) -> None:
    images = make()
    images.store_origin("cat", small())
    assert ask(images, "/cat/100x.jpg", if_modified_since=date).status == 200


@pytest.mark.parametrize("focal", ["centre", (101, 5), (5,), (1.5, 2), 7])
def test_a_malformed_focal_point_is_refused(make: Make, focal: Any) -> None:
    with pytest.raises(BadRequest):
        make().store_origin("cat", small(), focal=focal)


def test_a_text_is_a_url_and_never_a_file(make: Make) -> None:
    images = make()
    for source in (str(photo("Fossa")), f"file://{photo('Fossa')}"):
        with pytest.raises(FetchError):
            images.store_origin("cat", source)


class Broken(Taking):
    """A queue of somebody's own that fails."""

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        raise RuntimeError("redis://:password@10.0.0.3")


def test_a_queue_that_raises_makes_no_picture_worse(make: Make) -> None:
    images = make(broker=Broken())
    images.store_origin("cat", small())
    for _ in range(3):
        answer = ask(images, "/cat/100x.jpg")
        assert (answer.status, dimensions(answer)) == (200, (100, 67))


def test_an_origin_is_asked_for_in_its_own_format_or_as_auto(make: Make) -> None:
    images = make()
    images.store_origin("cat", small())
    for path in ("/cat/origin.png", "/cat/origin.auto"):
        answer = ask(images, path, accept="image/avif,image/webp")
        assert (answer.status, answer.header("Content-Type")) == (200, "image/png")
    assert ask(images, "/cat/origin.jpg", if_none_match="*").status == 404


@pytest.mark.parametrize("message", [{"size": None}, {"format": "auto"}, {"size": "9999x"}, {"format": "exe"}])
def test_a_job_that_can_never_succeed_is_refused(make: Make, message: dict[str, Any]) -> None:
    images = make()
    images.store_origin("cat", small())
    sound = {"image_id": "cat", "size": "100x", "format": "jpg", "version": 1}
    images.jobs.actors["store"](sound)
    with pytest.raises((BadRequest, NotAllowed)):
        images.jobs.actors["store"](sound | message)


def test_a_job_that_is_tried_again_after_a_purge_takes_its_object_away(make: Make) -> None:
    store = MemoryStore()
    images = make(store=store)
    images.store_origin("cat", small())
    message = {"image_id": "cat", "size": "100x", "format": "jpg", "version": 1}
    images.purge("cat")
    store.put("cat/100x.jpg", b"what an earlier try put", "image/jpeg")
    images.jobs.actors["store"](message)
    assert keys(store) == ["cat/image.json"]


def test_auto_keeps_to_the_formats_that_may_be_asked_for(make: Make) -> None:
    images = make(formats=["jpg"])
    images.store_origin("cat", small())
    answer = ask(images, "/cat/100x.auto", accept="image/avif,image/webp")
    assert (answer.status, answer.header("Content-Type")) == (200, "image/jpeg")


def test_a_url_that_expires_is_kept_no_longer_than_that(make: Make) -> None:
    images = make(sizes=(), secret="key", broker="inline")
    images.store_origin("cat", small())
    path, _, query = images.url("cat", "90x", expires=30).removeprefix("/img").partition("?")
    for _ in range(3):
        control = ask(images, path, query=query).header("Cache-Control") or ""
        assert re.fullmatch(r"private, max-age=(2[5-9]|30)", control)
    # The last one is given again for three seconds, and good for no longer than the URL even then.
    assert int(control.rpartition("=")[2]) <= 27


@pytest.mark.parametrize("size", ["100x", "2000x"])
def test_a_shortcut_never_sends_another_objects_length(make: Make, tmp_path: Path, size: str) -> None:
    images = make(broker="inline")
    images.store_origin("cat", FOSSA)
    for _ in range(3):
        ask(images, f"/cat/{size}.jpg")
    (tmp_path / f"images/cat/{size}.jpg").write_bytes(b"0123456789")
    answer = ask(images, f"/cat/{size}.jpg")
    assert answer.header("Content-Length") == str(len(body(answer)))


def test_what_is_kept_of_a_stored_size_is_gone_with_its_image(make: Make) -> None:
    images = make(broker="inline")
    for colour in ("red", "blue"):
        images.store_origin("cat", small(colour=colour))
        first = body(ask(images, "/cat/100x.png"))
        later = [body(ask(images, "/cat/100x.png")) for _ in range(3)]
        assert len(set(later)) == 1 and alike(first, later[0])
        with Image.open(io.BytesIO(first)) as image:
            assert image.getpixel((5, 5)) == ((255, 0, 0) if colour == "red" else (0, 0, 255))
        images.purge("cat")
        assert ask(images, "/cat/100x.png").status == 404


def test_another_process_sees_within_the_minute_that_an_image_was_stored_anew_under_its_keys(make: Make) -> None:
    one, other = (make(broker="inline", shortcut_seconds=0.2, record_seconds=1) for _ in range(2))
    one.store_origin("cat", small(colour="red"))
    red = body(ask(one, "/cat/100x.gif"))
    assert all(body(ask(other, "/cat/100x.gif")) == red for _ in range(3))
    one.purge("cat")
    one.store_origin("cat", small(colour="blue"))
    new = ask(one, "/cat/100x.gif")
    assert len(body(new)) == len(red) and body(new) != red
    eventually(
        lambda: ask(other, "/cat/100x.gif").header("ETag") == new.header("ETag"), what="the new picture is known of"
    )
    assert all(body(ask(other, "/cat/100x.gif")) == body(new) for _ in range(3))


def test_two_processes_without_a_common_cache_never_mix_two_pictures(make: Make, tmp_path: Path) -> None:
    processes = [make(keep_versions=100) for _ in range(6)]
    pictures = [small(100 + number, 50) for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        records = list(threads.map(lambda images, data: images.store_origin("cat", data), processes, pictures))
    assert len({record.version for record in records}) == 6
    for record in records:
        with Image.open(tmp_path / "images" / record.origin_key) as origin:
            assert origin.size == (record.width, record.height)
    assert make().record("cat").version == max(record.version for record in records)
    assert not list((tmp_path / "images").rglob("-claim"))


class Interrupted(MemoryStore):
    """A store in memory, where something else happens just before a certain object is put for the first time."""

    def __init__(self, key: str, happens: Callable[[], None]) -> None:
        super().__init__()
        self._key, self._happens = key, happens

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        if key == self._key:
            self._key = ""
            self._happens()
        return super().put(key, data, content_type, **options)


@pytest.mark.parametrize("stored_before", [0, 1])
def test_of_two_stores_at_the_same_time_without_a_common_cache_the_later_version_wins(
    make: Make, stored_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The other one, a part of the first one's put, cannot await its end.
    monkeypatch.setattr(claims, "_SETTLE_SECONDS", 0.1)
    blue = []
    store = Interrupted("", lambda: blue.append(other.store_origin("cat", small(colour="blue")).version))
    one, other = (make(store=store, broker="inline") for _ in range(2))
    for _ in range(stored_before):
        one.store_origin("cat", small(colour="black"))
    store._key = "cat/image.json"
    red = one.store_origin("cat", small(colour="red")).version
    assert blue == [red + 1]
    assert one.record("cat").version == make(store=store).record("cat").version == red + 1
    green = make(store=store).store_origin("cat", small(colour="green")).version
    assert green == red + 2
    for version, colour in ((red + 1, (0, 0, 255)), (green, (0, 128, 0))):
        assert pixel(ask(make(store=store), f"/cat/v{version}/50x.png")) == colour


@pytest.mark.slow  # It waits for a claim that nobody takes back.
def test_what_a_failed_purge_has_left_is_never_a_size_of_the_next_image(make: Make) -> None:
    store = MemoryStore()
    images = make(store=store, broker="inline")
    images.store_origin("cat", small(colour="red"))
    ask(images, "/cat/100x.png")
    delete = store.delete

    def only_the_record(key: str) -> None:
        if not key.endswith("image.json"):
            raise StoreUnavailable("The store failed.")
        delete(key)

    store.delete = only_the_record  # type: ignore[method-assign]
    with pytest.raises(StoreUnavailable):
        images.purge("cat")
    store.delete = delete  # type: ignore[method-assign]
    assert ask(images, "/cat/100x.png").status == 404
    images.store_origin("cat", small(colour="blue"))
    assert pixel(ask(images, "/cat/100x.png")) == pixel(ask(images, "/cat/50x.png")) == (0, 0, 255)


def test_what_a_failed_purge_has_left_of_a_later_version_never_comes_back(make: Make) -> None:
    store = MemoryStore()
    images = make(store=store)
    for colour in ("black", "red"):
        images.store_origin("cat", small(colour=colour))
    images.purge("cat", version=1)
    store.delete("cat/image.json")
    blue = make(store=store).store_origin("cat", small(colour="blue"))
    assert blue.version == 3
    assert pixel(ask(make(store=store), "/cat/50x.png")) == (0, 0, 255)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_origin_that_is_gone_is_404(make: Make, method: str) -> None:
    store = MemoryStore()
    images = make(store=store)
    images.store_origin("cat", small())
    store.delete("cat/origin.png")
    answer = ask(images, "/cat/origin.png", method=method)
    assert (answer.status, answer.header("Cache-Control")) == (404, "no-store")


def test_a_queue_that_cannot_be_opened_makes_no_picture_worse(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # As where the client of the broker is not installed.
    monkeypatch.setitem(sys.modules, "dramatiq.brokers.redis", None)
    images = make(broker="redis://localhost/0")
    images.store_origin("cat", small())
    assert [ask(images, "/cat/100x.png").status for _ in range(3)] == [200, 200, 200]


def test_every_answer_explains_itself(make: Make) -> None:
    images = make(sizes="100x", snap=True)
    images.store_origin("cat", small())
    for path in ("/cat/100x.jpg", "/cat/50x.jpg", "/cat/101x.jpg", "/cat/0x0.jpg", "/dog/100x.jpg"):
        answer = ask(images, path)
        assert (answer.header("Cache-Status") or "").startswith("lazycrop; ")
        assert answer.header("Server-Timing")


def test_a_process_that_forks_in_the_middle_of_a_render_leaves_its_child_able_to_render(make: Make) -> None:
    images = make(renders=1, render_wait_seconds=0.2)
    images.store_origin("cat", small())
    with images._renders._benches[Stage.FIRST].slot(1):
        child = os.fork()
        if child == 0:
            os._exit(0 if images.answer(Request("/cat/100x.jpg")).status == 200 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_closed_lazycrop_is_forgotten() -> None:
    images = LazyCrop(store="memory:", sizes="any")
    images.store_origin("cat", small())
    ask(images, "/cat/100x.jpg")
    images.close()
    gone = weakref.ref(images)
    del images
    gc.collect()
    assert gone() is None


def test_an_image_that_was_stored_without_mezzanines_gets_them_after_the_first_request(make: Make) -> None:
    before = make(mezzanine_edges="none").store_origin("cat", FOSSA)
    assert before.mezzanines == ()
    images = make()
    first = ask(images, "/cat/100x.jpg")
    images.close()
    record = make().record("cat")
    assert [mezzanine.edge for mezzanine in record.mezzanines] == [256, 512, 1024]
    assert (record.tag, record.width) == (before.tag, before.width)
    stored = ask(images, "/cat/100x.jpg").header("ETag")
    assert stored != first.header("ETag")
    assert ask(make(), "/cat/100x.jpg").header("ETag") == stored
    for mezzanine in record.mezzanines:
        assert len(images.store.get(record.mezzanine_key(mezzanine), mezzanine.length)) == mezzanine.length
    images.jobs.actors["mezzanines"]({"image_id": "cat", "size": None, "format": "jpg", "version": 1})
    assert images.purge("cat") == 5


def test_mezzanines_that_are_made_while_the_image_is_purged_leave_nothing_behind(make: Make) -> None:
    store = MemoryStore()
    images = make(store=store, mezzanine_edges="none")
    images.store_origin("cat", FOSSA)
    late = make(store=store)
    put = store.put

    def purged_meanwhile(key: str, *arguments: Any, **options: Any) -> bool:
        if "mezzanine-512" in key:
            images.purge("cat")
        return put(key, *arguments, **options)

    store.put = purged_meanwhile  # type: ignore[method-assign]
    late.jobs.actors["mezzanines"]({"image_id": "cat", "size": None, "format": "jpg", "version": 1})
    assert keys(store) == ["cat/image.json"]


def test_a_picture_that_memcached_could_not_hold_is_rendered_once_in_one_process(
    make: Make, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    noise = io.BytesIO()
    Image.frombytes("RGB", (1000, 700), os.urandom(1000 * 700 * 3)).save(noise, "PNG", compress_level=1)
    images = make()
    images.store_origin("cat", noise.getvalue())
    with caplog.at_level("INFO", "lazycrop"):
        answer = ask(images, "/cat/900x.png")
        images.close()
    stored = (tmp_path / "images/cat/900x.png").read_bytes()
    assert alike(stored, body(answer)) and len(stored) > 1_048_576
    assert [record.message.split()[0] for record in caplog.records] == ["rendered", "stored"]


@pytest.mark.parametrize("size", ["100x", "2000x"])
def test_a_stored_size_reaches_the_server_whole_and_a_long_one_through_its_file_wrapper(make: Make, size: str) -> None:
    images = make(broker="inline")
    images.store_origin("cat", FOSSA)
    made = images.store.get(images.warm("cat", [size])[0].key, 10_000_000)
    wrapped = []

    def file_wrapper(file: Any, block: int) -> Any:
        wrapped.append(file)
        return iter(partial(file.read, block), b"")

    environ = {"PATH_INFO": f"/cat/{size}.jpg", "REQUEST_METHOD": "GET", "wsgi.file_wrapper": file_wrapper}
    for _ in range(2):
        headers: dict[str, str] = {}
        sent = ImageApp(images)(dict(environ), lambda status, found, headers=headers: headers.update(found))  # type: ignore[misc]
        assert (b"".join(sent), headers["Content-Length"]) == (made, str(len(made)))
    assert bool(wrapped) and wrapped[-1].fileno() if size == "2000x" else len(made) < 65_536
    for file in wrapped:
        file.close()
