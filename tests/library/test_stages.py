"""A size is answered in its first stage and stored in its last: two bodies, two tags, and nobody keeps the first."""

from __future__ import annotations

import threading
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from client import alike
from doubles import Letters
from lazycrop import ConfigurationError, LazyCrop, Request
from lazycrop.http.answers import Answer
from lazycrop.library.jobs import SINCE, STORE
from lazycrop.model.derivatives import Derivative
from lazycrop.model.sizes import Size
from lazycrop.pictures.settings import Stage
from lazycrop.stores import MemoryStore

PHOTO = Path(__file__).parents[1] / "photos"
STAGED = ["jpg", "png", "webp", "avif"]


def photograph() -> Path:
    return sorted(PHOTO.glob("*.jpg"))[0]


def open_images(**settings: Any) -> LazyCrop:
    """Jobs go to nobody until :func:`work` does them."""
    return LazyCrop(**{"store": MemoryStore(), "sizes": "any", "broker": Letters(), **settings})


def stored(images: LazyCrop, key: str) -> bytes:
    return images.store.get(key, 10_000_000)


def work(images: LazyCrop, late: float = 0) -> None:
    """Do what was sent, so many seconds after visitors asked for it."""
    sent, images.jobs.queue.sent = images.jobs.queue.sent, []  # type: ignore[attr-defined]
    for actor, message in sent:
        if SINCE in message:
            message[SINCE] -= late
        images.jobs.actors[actor](message)


def ask(images: LazyCrop, path: str, **parts: Any) -> tuple[Answer, bytes]:
    answer = images.answer(Request(path, **parts))
    body = answer.body
    if not isinstance(body, bytes):
        with body as file:
            body = file.read()
    return answer, body


def again(images: LazyCrop, **settings: Any) -> LazyCrop:
    """Another process, which has no cache in common with it."""
    return open_images(store=images.store, **settings)


@pytest.mark.parametrize("format", STAGED)
def test_the_store_has_the_last_stage_which_shows_the_same_in_fewer_bytes(format: str) -> None:
    images = open_images()
    images.store_origin("cat", photograph())
    _, first = ask(images, f"/cat/320x.{format}")
    work(images)
    last = stored(images, f"cat/320x.{format}")
    assert len(last) < len(first)
    assert alike(first, last)
    answer, body = ask(images, f"/cat/320x.{format}")
    assert (answer.status, body) == (200, last), "the hot bytes are still there, and are no longer answered"


@pytest.mark.parametrize("versioned", [False, True])
def test_the_first_stage_is_kept_for_a_minute_and_has_no_date(versioned: bool) -> None:
    images = open_images()
    images.store_origin("cat", photograph())
    images.store_origin("cat", photograph())
    path = "/cat/v2/320x.jpg" if versioned else "/cat/320x.jpg"
    for _ in range(2):  # made, and hot
        first, _ = ask(images, path)
        assert first.header("Cache-Control") == "public, max-age=60"
        assert first.header("Last-Modified") is None
    work(images)
    last, _ = ask(images, path)
    assert last.header("Last-Modified")
    assert last.header("Cache-Control") == (
        "public, max-age=31536000, immutable" if versioned else "public, max-age=86400"
    )
    assert last.header("ETag") != first.header("ETag")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_who_asks_again_with_the_first_tag_gets_the_last_stage_as_soon_as_there_is_one(method: str) -> None:
    images = open_images()
    images.store_origin("cat", photograph())
    first, _ = ask(images, "/cat/320x.jpg")
    tag = first.header("ETag")
    unchanged, _ = ask(images, "/cat/320x.jpg", method=method, if_none_match=tag)
    assert unchanged.status == 304
    assert unchanged.header("Cache-Control") == "public, max-age=60"
    work(images)
    last = stored(images, "cat/320x.jpg")
    for process in (images, again(images)):  # the second one knows of no marker and of no hot bytes
        answer, body = ask(process, "/cat/320x.jpg", method=method, if_none_match=tag)
        assert (answer.status, answer.header("ETag") == tag) == (200, False)
        assert body == (last if method == "GET" else b"")
        assert answer.header("Content-Length") == str(len(last))
        seen, _ = ask(process, "/cat/320x.jpg", method=method, if_none_match=answer.header("ETag"))
        assert seen.status == 304


def test_a_date_says_that_nothing_changed_only_where_it_came_with_these_bytes() -> None:
    images = open_images()
    images.store_origin("cat", photograph())
    ask(images, "/cat/320x.jpg")
    date_of_answer = formatdate(time.time() + 5, usegmt=True)  # what some clients send for want of a better one
    assert ask(images, "/cat/320x.jpg", if_modified_since=date_of_answer)[0].status == 200
    work(images)
    last, _ = ask(images, "/cat/320x.jpg", if_modified_since=date_of_answer)
    assert last.status == 200
    assert ask(images, "/cat/320x.jpg", if_modified_since=last.header("Last-Modified"))[0].status == 304


def test_no_two_bodies_have_one_tag_in_whatever_order_processes_answer() -> None:
    seen: dict[str | None, set[bytes]] = {}

    def see(process: LazyCrop) -> None:
        answer, body = ask(process, "/cat/320x.jpg")
        seen.setdefault(answer.header("ETag"), set()).add(body)

    for late in (0, 1_000):
        images = open_images()
        images.store_origin("cat", photograph())
        others = [again(images), again(images, stages=1), again(images, quality={"jpg": 40})]
        for process in (images, *others):
            see(process)
        work(images, late)
        for process in (images, *others, again(images), again(images, stages=1)):
            see(process)
        assert all(len(bodies) == 1 for bodies in seen.values())
        seen.clear()


def test_one_stage_is_stored_as_it_was_answered_under_one_tag() -> None:
    images = open_images(stages=1)
    images.store_origin("cat", photograph())
    images.store_origin("cat", photograph())
    first, answered = ask(images, "/cat/v2/320x.webp")
    assert "immutable" in (first.header("Cache-Control") or "")
    work(images)
    assert stored(images, "cat/v2/320x.webp") == answered
    assert ask(images, "/cat/v2/320x.webp")[0].header("ETag") == first.header("ETag")


def test_a_worker_that_is_late_stores_what_was_answered_and_says_so() -> None:
    images = open_images(backlog_seconds=20)
    late: list[bool] = []
    images.on("stored", lambda event: late.append(event.late))
    images.store_origin("cat", photograph())
    answered = {size: ask(images, f"/cat/{size}.jpg") for size in ("320x", "400x")}
    sent = images.jobs.queue.sent  # type: ignore[attr-defined]
    sent[1:], second = [], sent[1:]
    work(images, late=19)
    images.jobs.queue.sent = second  # type: ignore[attr-defined]
    work(images, late=25)
    assert late == [False, False, True]
    assert stored(images, "cat/320x.jpg") != answered["320x"][1]
    first, body = answered["400x"]
    assert stored(images, "cat/400x.jpg") == body
    last, _ = ask(images, "/cat/400x.jpg")
    assert last.header("ETag") == first.header("ETag")
    assert last.header("Cache-Control") == "public, max-age=86400"


def test_what_is_made_ahead_may_wait_as_long_as_it_likes() -> None:
    images = open_images()
    images.store_origin("cat", photograph())
    images.warm("cat", ["320x"])
    assert all(SINCE not in message for _, message in images.jobs.queue.sent)  # type: ignore[attr-defined]


@pytest.mark.parametrize("since", ["yesterday", None, True, [1], float("nan"), 10**400])
def test_junk_for_the_time_of_a_job_stores_it_all_the_same(since: Any) -> None:
    images = open_images()
    record = images.store_origin("cat", photograph())
    message = Derivative("cat", Size.parse("320x"), "jpg", record.version).to_message() | {SINCE: since}
    images.jobs.actors[STORE](message)
    assert images.store.exists("cat/320x.jpg")


def test_nobody_who_waits_for_an_answer_waits_for_a_worker_of_the_same_process() -> None:
    images = open_images(renders=1)
    images.store_origin("cat", photograph())
    begun, go_on = threading.Event(), threading.Event()

    def encode_slowly() -> None:
        begun.set()
        go_on.wait(30)

    bench = images._renders._benches[Stage.LAST]
    worker = threading.Thread(target=bench.run, args=(encode_slowly, 1))
    worker.start()
    try:
        assert begun.wait(10)
        assert ask(images, "/cat/320x.jpg")[0].status == 200
    finally:
        go_on.set()
        worker.join()


@pytest.mark.parametrize("settings", [{"stages": 3}, {"store_effort": {"jpg": 99}}, {"store_effort": {"gif": 1}}])
def test_stages_that_cannot_be_are_refused_with_what_can(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"stages|store_effort"):
        open_images(**settings)
