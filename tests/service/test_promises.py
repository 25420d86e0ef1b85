"""What holds whatever comes between: failures, late processes, changes while a request is under way."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from doubles import BLUE, GREEN, RED, Letters, Taking, flat
from lazycrop import Answer, LazyCrop, Size, UnknownImage
from lazycrop.caches.process import ProcessCache
from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import StoreUnavailable
from lazycrop.http import answers
from lazycrop.http.requests import Request
from lazycrop.library import making
from lazycrop.library.renders import Bench
from lazycrop.model.derivatives import Derivative
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.memory import MemoryStore

SIZE = "/cat/90x60.png"
ASKED = Derivative("cat", Size.parse("90x60"), "png")
Make = Callable[..., LazyCrop]
Colour = tuple[int, int, int]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes LazyCrops in memory, and closes them."""
    made: list[LazyCrop] = []

    def open_images(**settings: Any) -> LazyCrop:
        made.append(LazyCrop(**{"store": MemoryStore(), "sizes": "any", "broker": "inline"} | settings))
        return made[-1]

    yield open_images
    for images in made:
        images.close()


def png(colour: Colour, width: int = 300, height: int = 200) -> bytes:
    return flat(colour, "PNG", (width, height))


def body(answer: Answer) -> bytes:
    if isinstance(answer.body, bytes):
        return answer.body
    with answer.body as file:
        return file.read()


def colour(answer: Answer) -> Any:
    with Image.open(io.BytesIO(body(answer))) as image:
        return image.convert("RGB").getpixel((5, 5))


def detail(answer: Answer) -> str:
    return (answer.header("Cache-Status") or "").removeprefix("lazycrop; ")


def ask(images: LazyCrop, path: str = SIZE, **request: Any) -> Answer:
    return images.answer(Request(path, **request))


class Hooked(MemoryStore):
    """A store in memory; ``happens[call, key]`` is done once, before that call."""

    def __init__(self, public_url: str | None = None) -> None:
        super().__init__(public_url)
        self.happens: dict[tuple[str, str], Callable[[], Any]] = {}
        self.down = False

    def _before(self, call: str, key: str) -> None:
        if self.down:
            raise OSError("down")
        self.happens.pop((call, key), lambda: None)()

    def put(self, key: str, *arguments: Any, **options: Any) -> bool:
        self._before("put", key)
        return super().put(key, *arguments, **options)

    def get(self, key: str, limit: int) -> bytes:
        self._before("get", key)
        return super().get(key, limit)

    def exists(self, key: str) -> bool:
        self._before("exists", key)
        return super().exists(key)


# ---- replaced meanwhile ----


def test_a_job_leaves_nothing_of_a_picture_in_whose_place_another_one_is_stored_under_the_same_version(
    make: Make,
) -> None:
    store = Hooked()
    images, other = make(store=store), make(store=store)
    images.store_origin("cat", png(RED))

    def stored_anew() -> None:
        other.purge("cat", forget=True)
        assert other.store_origin("cat", png(BLUE)).version == 1

    store.happens["put", SIZE.removeprefix("/")] = stored_anew
    assert colour(ask(images)) == RED  # who has asked before
    assert colour(ask(make(store=store))) == BLUE
    assert colour(ask(other)) == BLUE


def test_mezzanines_of_a_former_version_leave_the_current_one_current(make: Make) -> None:
    store, big = MemoryStore(), (900, 600)
    before = make(store=store, mezzanine_edges="none", keep_versions=5)
    for each in (RED, BLUE, GREEN):
        before.store_origin("cat", png(each, *big))
    images = make(store=store, keep_versions=5, record_seconds=60)
    second = replace(ASKED, version=2)
    assert not images._records.find(second).record.mezzanines
    for version in (2, 1):
        images.jobs.actors["mezzanines"]({"image_id": "cat", "size": None, "format": "png", "version": version})
    assert images.record("cat").version == make(store=store).record("cat").version == 3
    assert images._records.find(second).record.mezzanines, "they are used at once"
    assert make(store=store).record("cat", 2).mezzanines
    assert colour(ask(make(store=store))) == GREEN


def test_mezzanines_are_of_no_picture_that_came_meanwhile_under_the_same_version(make: Make) -> None:
    store = Hooked()
    late, other = make(store=store), make(store=store, mezzanine_edges="none")
    other.store_origin("cat", png(RED, 900, 600))

    def stored_anew() -> None:
        other.purge("cat", forget=True)
        assert other.store_origin("cat", png(BLUE, 900, 600)).version == 1

    store.happens["put", "cat/mezzanine-256.jpg"] = store.happens["put", "cat/mezzanine-256.png"] = stored_anew
    late.jobs.actors["mezzanines"](ASKED.to_message() | {"version": 1})
    assert len(store.happens) == 1, "it happened"
    assert make(store=store).record("cat").mezzanines == ()
    assert colour(ask(make(store=store))) == BLUE


@pytest.mark.parametrize("public_url", ["https://cdn.example.com/", None])
def test_what_is_found_out_while_an_image_is_purged_is_not_kept(
    make: Make, public_url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Hooked(public_url)
    images = make(store=store, record_seconds=60)
    images.store_origin("cat", png(RED))
    images.warm("cat", ["90x60"], ["png"])
    find_out = images._service._answer_or_error

    def purged_meanwhile(request: Request) -> Answer:
        answer = find_out(request)
        images.purge("cat")
        return answer

    monkeypatch.setattr(images._service, "_answer_or_error", purged_meanwhile)
    first = ask(images)
    monkeypatch.undo()
    assert (first.status, first.header("Location") is None) == ((200, True) if public_url is None else (301, False))
    assert ask(images).status == 404


@pytest.mark.parametrize("public_url", ["https://cdn.example.com/", None])
def test_who_stores_or_purges_an_image_answers_by_that_from_then_on(make: Make, public_url: str | None) -> None:
    images = make(store=MemoryStore(public_url), record_seconds=60)
    etags = []
    for each in (RED, BLUE):
        images.store_origin("cat", png(each))
        images.warm("cat", ["90x60"], ["png"])
        etags += [ask(images).header("ETag") for _ in range(3)][-1:]
    assert etags[0] != etags[1]
    images.purge("cat")
    assert ask(images).status == 404


def test_who_adopts_a_file_anew_answers_by_that_from_then_on(make: Make, tmp_path: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(png(RED))
    images = make(store=MemoryStore("https://cdn.example.com/"), source=tmp_path, source_seconds=600, record_seconds=60)
    images.adopt("cat.png")
    images.warm("cat.png", ["90x60"], ["png"])
    before = [ask(images, "/cat.png/90x60.png").header("Location") for _ in range(3)]
    file.write_bytes(png(BLUE, 301))
    assert images.adopt("cat.png").version == 2
    assert ask(images, "/cat.png/90x60.png").header("Location") not in before


# ---- failures below ----


def test_redirects_outlast_the_store_however_long_it_is_down(make: Make) -> None:
    store = Hooked("https://cdn.example.com/")
    images = make(store=store, record_seconds=0, trust_seconds=0, shortcut_seconds=0)
    images.store_origin("cat", png(RED))
    ask(images)
    assert ask(images).status == 301
    store.down = True
    assert [ask(images).status for _ in range(3)] == [301] * 3


def test_a_render_that_failed_leaves_the_right_to_it_to_whoever_asks_next(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, cache = Hooked(), ProcessCache()
    one, other = (make(store=store, cache=cache, store_rest_seconds=0) for _ in range(2))
    one.store_origin("cat", png(RED))

    def fail() -> None:
        raise OSError("once")

    store.happens["exists", SIZE.removeprefix("/")] = fail
    assert ask(one).status == 503
    monkeypatch.setattr(making.time, "sleep", lambda seconds: pytest.fail("nobody makes it, and yet it is waited for"))
    assert ask(other).status == 200


class Moody(Letters):
    """A queue that takes a job when it is told to."""

    takes = False

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        return self.takes and (super().send(actor, message) or True)


def test_a_job_that_no_broker_took_is_handed_over_by_whoever_asks_next(make: Make) -> None:
    queue = Moody()
    images = make(broker=queue)
    images.store_origin("cat", png(RED))
    assert [detail(ask(images)) for _ in range(2)] == ["fwd=miss; detail=rendered", "hit; detail=hot"]
    assert queue.sent == []
    queue.takes = True
    assert detail(ask(images)) == "hit; detail=hot"
    assert [(actor, message["size"]) for actor, message in queue.sent] == [("store", "90x60")]
    ask(images)
    assert len(queue.sent) == 1


def test_an_order_that_no_broker_took_is_given_again(make: Make) -> None:
    queue = Moody()
    images = make(broker=queue)
    images.store_origin("cat", png(RED))
    for takes in (False, True, True):
        queue.takes = takes
        assert ask(images, "/cat/90x60.auto", accept="image/avif,image/webp").status == 200
    assert sorted(message["format"] for actor, message in queue.sent) == ["avif", "webp"]


def test_where_the_one_who_has_the_right_is_dead_only_the_first_waits_for_him(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, store = ProcessCache(), MemoryStore()
    one, other = (make(store=store, cache=cache, broker=Taking(), follow_seconds=0.1) for _ in range(2))
    one.store_origin("cat", png(RED))
    found = one._records.find(ASKED)
    name = one._state.making_name(found.derivative, found.record.tag)
    with one._state.lease("cat", name) as dead:
        dead.keep()
    assert detail(ask(one)) == "fwd=miss; detail=rendered"
    monkeypatch.setattr(making.time, "sleep", lambda seconds: pytest.fail("the bytes are there"))
    assert detail(ask(other)) == "hit; detail=hot"


def test_a_right_that_has_expired_is_not_taken_from_who_has_it_now(make: Make) -> None:
    state = make()._state
    with state.lease("cat", "something") as late:
        assert late.ours
        state._cache.delete("cat", "lease something")
        with state.lease("cat", "something") as now:
            assert now.ours
            now.keep()
    with state.lease("cat", "something") as third:
        assert not third.ours


def test_what_turns_out_to_be_stored_is_known_to_be_from_then_on(make: Make) -> None:
    store = MemoryStore("https://cdn.example.com/")
    make(store=store).store_origin("cat", png(RED))
    make(store=store).warm("cat", ["90x60"], ["png"])
    calls: list[str] = []
    images = make(store=store, shortcut_seconds=0)
    assert ask(images).status == 301
    exists = store.exists
    store.exists = lambda key: calls.append(key) or exists(key)  # type: ignore[func-returns-value, method-assign]
    assert ask(images).status == 301
    assert calls == []


def test_whatever_happens_below_is_a_sentence_that_tells_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make()
    images.store_origin("cat", png(RED))

    def break_down(*_: object) -> None:
        raise ZeroDivisionError("the password is 1234")

    monkeypatch.setattr(making.Maker, "make", break_down)
    answer = ask(images)
    assert (answer.status, answer.header("Cache-Control")) == (500, "no-store")
    assert body(answer) == b"Something went wrong here; the log says what.\n"


def test_a_shortcut_whose_object_cannot_be_had_is_the_long_way(make: Make, tmp_path: Path) -> None:
    class Odd(FolderStore):
        odd = False

        def get(self, key: str, limit: int) -> bytes:
            if self.odd and key.endswith("90x60.png"):
                raise ZeroDivisionError
            return super().get(key, limit)

    store = Odd(tmp_path)
    images = make(store=store, shortcut_bytes=0)
    images.store_origin("cat", png(RED))
    for _ in range(3):
        ask(images).close()
    store.odd = True
    assert colour(ask(images)) == RED


def test_an_origin_that_is_gone_is_asked_for_again_by_the_next_request(make: Make) -> None:
    store = MemoryStore()
    images, other = make(store=store, record_seconds=60), make(store=store)
    images.store_origin("cat", png(RED))
    assert ask(images, "/cat/50x.png").status == 200
    for key in [key for key in store._objects if "origin" in key or "mezzanine" in key]:
        store.delete(key)
    assert ask(images).status == 404
    other.store_origin("cat", png(BLUE))
    assert colour(ask(images)) == BLUE


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_has_the_status_of_the_setting(make: Make, status: int) -> None:
    images = make(store=MemoryStore("https://cdn.example.com/"), redirect_status=status)
    images.store_origin("cat", png(RED))
    images.warm("cat", ["90x60"], ["png"])
    assert [ask(images).status for _ in range(2)] == [status] * 2


def test_a_file_that_comes_in_parts_is_whole(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read = FolderStore(tmp_path), os.read
    store.put("cat/90x60.png", b"0123456789", "image/png")
    monkeypatch.setattr(os, "read", lambda descriptor, length: read(descriptor, min(length, 3)))
    assert store.get("cat/90x60.png", 100) == b"0123456789"


def test_no_call_of_a_folder_leaves_a_descriptor_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, opened = FolderStore(tmp_path), set[int]()
    real_open, real_close = os.open, os.close

    def counted_open(*arguments: Any, **options: Any) -> int:
        opened.add(descriptor := real_open(*arguments, **options))
        return descriptor

    def counted_close(descriptor: int) -> None:
        opened.discard(descriptor)
        real_close(descriptor)

    monkeypatch.setattr(os, "open", counted_open)
    monkeypatch.setattr(os, "close", counted_close)
    for new in (False, True):
        store.put(f"cat/{new}.png", b"a picture", "image/png", new=new)
        store.copy(f"cat/{new}.png", f"dog/{new}.png", "image/png")
        assert store.get(f"dog/{new}.png", 100) == b"a picture"
        with pytest.raises(StoreUnavailable):
            store.get(f"dog/{new}.png", 3)
        store.delete(f"cat/{new}.png")
    assert opened == set()


def test_mezzanines_that_are_there_are_not_made_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make()
    record = images.store_origin("cat", png(RED, 900, 600))
    monkeypatch.setattr(Bench, "run", lambda *_: pytest.fail("it is made again"))
    images.jobs.actors["mezzanines"](ASKED.to_message() | {"version": 1})
    assert images.record("cat").mezzanines == record.mezzanines != ()


# ---- bounds ----


def test_no_wait_of_a_request_is_for_longer_than_its_seconds(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: dict[str, float] = {}
    flight, slot, store = SingleFlight.run, Bench.slot, Hooked()

    def run(self: Any, key: str, make: Any, seconds: float) -> Any:
        waits[f"flight of {key}"] = seconds
        return flight(self, key, make, seconds)

    def run_slot(self: Any, wait: float) -> Any:
        waits["slot"] = wait
        return slot(self, wait)

    def asked() -> None:
        waits["store"] = left(1e9)

    images = make(store=store, broker=Taking(), request_seconds=1, render_wait_seconds=600, record_seconds=0)
    images.store_origin("cat", png(RED))
    monkeypatch.setattr(SingleFlight, "run", run)
    monkeypatch.setattr(Bench, "slot", run_slot)
    store.happens["exists", SIZE.removeprefix("/")] = asked
    assert ask(images).status == 200
    assert waits.keys() >= {"slot", "store"} and len(waits) >= 4, waits
    assert all(0 < seconds <= 1 for seconds in waits.values()), waits


def test_who_follows_another_process_gives_up_with_the_request(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    images = make(broker=Taking(), request_seconds=0.1, follow_seconds=600)
    images.store_origin("cat", png(RED))
    found = images._records.find(ASKED)
    sleep, sleeps = making.time.sleep, []

    def count(seconds: float) -> None:
        sleeps.append(seconds)
        assert sum(sleeps) < 1, "it waits for longer than its seconds"
        sleep(seconds)

    monkeypatch.setattr(making.time, "sleep", count)
    with images._state.lease("cat", images._state.making_name(found.derivative, found.record.tag)):
        assert ask(images).status in (200, 503)
    assert sleeps


# ---- what every answer says ----

FRESH = answers.Freshness(etag='"x"', modified=datetime.now(UTC), versioned=True, max_age=9)
SECURITY = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "default-src 'none'; sandbox"}


def test_whatever_is_answered_is_neither_sniffed_nor_a_document(make: Make) -> None:
    images = make(store=MemoryStore("https://cdn.example.com/"), sizes="90x60", snap=True, broker=Taking())
    images.store_origin("cat", png(RED))
    images.store_origin("instead", png(RED))
    fallback = make(store=images.store, fallback_image="instead")
    rendered = ask(images)
    given = [
        rendered,
        ask(images),
        ask(images, method="HEAD"),
        ask(images, if_none_match=rendered.header("ETag")),
        ask(images, "/cat/80x50.png"),
        ask(images, "/cat/90x60.jpeg"),
        ask(images, "/dog/90x60.png"),
        ask(images, "/cat/0x0.png"),
        ask(images, method="POST"),
        ask(fallback, "/dog/90x60.png"),
        answers.plain(200, "application/json", b"{}"),
        answers.meanwhile("/x", FRESH),
    ]
    images.jobs.actors["store"](ASKED.to_message() | {"version": 1})
    given += [ask(images), ask(images, redirect=False)]
    statuses = [answer.status for answer in given]
    assert statuses == [200, 200, 200, 304, 302, 301, 404, 400, 405, 404, 200, 302, 301, 200]
    for answer in given:
        assert {name: answer.header(name) for name in SECURITY} == SECURITY, answer
        answer.close()


def test_what_auto_may_not_choose_is_neither_waited_for_nor_ordered(make: Make) -> None:
    queue = Letters()
    images = make(broker=queue, formats=["jpg", "png"])
    images.store_origin("cat", png(RED))
    first = ask(images, "/cat/90x60.auto", accept="image/avif,image/webp,*/*")
    for message in [message for actor, message in queue.sent if actor == "store"]:
        images.jobs.actors["store"](message)
    last = ask(images, "/cat/90x60.auto", accept="image/avif,image/webp,*/*")
    assert first.header("Content-Type") == last.header("Content-Type") == "image/png"
    assert {message["format"] for _, message in queue.sent} == {"png"}
    assert last.header("Cache-Control") == "public, max-age=86400"


def test_an_error_of_auto_varies_as_its_pictures_do(make: Make) -> None:
    images = make()
    assert ask(images, "/dog/90x60.auto").header("Vary") == "Accept"
    assert ask(images, "/dog/90x60.png").header("Vary") is None


# ---- shortcuts ----


@pytest.fixture
def redirecting(make: Make) -> LazyCrop:
    """Its ``cat`` is stored in the size of ``SIZE``."""
    images = make(store=MemoryStore("https://cdn.example.com/"), secret="key", shortcuts=5, record_seconds=60)
    images.store_origin("cat", png(RED))
    images.warm("cat", ["90x60"], ["png"])
    assert ask(images).status == 301
    return images


def test_no_more_shortcuts_are_kept_than_the_setting_says(redirecting: LazyCrop) -> None:
    for number in range(20):
        assert ask(redirecting, query=f"x={number}").status == 301
    assert len(redirecting._service._shortcuts.table) == 5
    assert redirecting.remembered(SIZE, "x=19") is not None


def test_a_long_url_has_no_shortcut(redirecting: LazyCrop) -> None:
    query = f"x={'0' * 1_000}"
    assert ask(redirecting, query=query).status == 301
    assert redirecting.remembered(SIZE, query) is None


def test_a_shortcut_lasts_no_longer_than_its_record_is_fresh(make: Make) -> None:
    images = make(store=MemoryStore("https://cdn.example.com/"), record_seconds=0, trust_seconds=0)
    images.store_origin("cat", png(RED))
    images.warm("cat", ["90x60"], ["png"])
    assert [ask(images).status for _ in range(2)] == [301, 301]
    assert images.remembered(SIZE, "") is None and images.at_hand(SIZE, "") is None


@pytest.mark.parametrize("metrics", [False, True])
def test_a_shortcut_whose_time_is_over_is_none(make: Make, metrics: bool) -> None:
    images = make(store=MemoryStore("https://cdn.example.com/"), metrics=metrics, record_seconds=60)
    images.store_origin("cat", png(RED))
    images.warm("cat", ["90x60"], ["png"])
    ask(images)
    [shortcut] = images._service._shortcuts.table.values()
    assert images.remembered(SIZE, "") is shortcut
    shortcut.until = 0.0
    assert images.remembered(SIZE, "") is images.at_hand(SIZE, "") is images._service._shortcuts.get(SIZE, "") is None


def test_bytes_that_are_kept_are_not_given_for_another_picture_of_the_same_key(make: Make) -> None:
    store = MemoryStore()
    one, other = make(store=store), make(store=store, record_seconds=60)
    for each in (RED, BLUE):
        assert one.store_origin("cat", png(each)).version == 1
        one.warm("cat", ["90x60"], ["png"])
        assert [colour(ask(other)) for _ in range(3)] == [each] * 3
        one.purge("cat", forget=True)
        other._state.forget("cat")  # as when a minute is over
        for shortcut in other._service._shortcuts.table.values():
            shortcut.until = 0.0


def test_a_picture_that_accept_chose_is_nobody_elses_shortcut(make: Make) -> None:
    images = make(store=MemoryStore("https://cdn.example.com/"), record_seconds=60, slow_formats=())
    images.store_origin("cat", png(RED))
    images.warm("cat", ["90x60"], ["png", "webp"])
    for _ in range(2):
        webp = ask(images, "/cat/90x60.auto", accept="image/webp").header("Location") or ""
        plain = ask(images, "/cat/90x60.auto").header("Location") or ""
        assert webp.endswith(".webp") and plain.endswith(".png")


def test_a_purge_is_seen_by_who_asks_for_a_record(make: Make) -> None:
    images = make()
    for version in (1, 2):
        images.store_origin("cat", png(RED))
        assert images.record("cat").version == version
        with suppress(UnknownImage):
            assert images.record("cat", 1).version == 1
    assert images.record("cat").version == 2
