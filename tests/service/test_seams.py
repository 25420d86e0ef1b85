"""Each seam, shown by the smallest second user that it may have: what is changed is one thing."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from lazycrop import ConfigurationError, LazyCrop, Request, UnknownImage
from lazycrop.access.policy import Access, Allowed, Snapped
from lazycrop.build import build
from lazycrop.errors import NotAllowed
from lazycrop.library.making import Maker
from lazycrop.library.origins import Origins
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size
from lazycrop.model.urls import Asked
from lazycrop.pictures.settings import Stage
from lazycrop.service import Service
from lazycrop.settings import make_config


def png(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(file, "PNG")
    return file.getvalue()


def test_a_listener_counts_what_happens_and_nobody_else_knows_of_it() -> None:
    images = LazyCrop(store="memory:", sizes="any", broker="inline")
    heard: Counter[str] = Counter()
    for name in ("stored", "replaced", "rendered", "purged", "failed"):
        images.on(name, lambda event, name=name: heard.update([name]))
    images.store_origin("cat", png())
    images.store_origin("cat", png())
    assert images.answer("/cat/100x.jpg").status == 200
    images.purge("cat")
    assert heard == {"stored": 2, "replaced": 1, "rendered": 2, "purged": 1}  # an origin, and a size in both stages


def test_a_listener_that_fails_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    images = LazyCrop(store="memory:", sizes="any", broker="inline")
    images.on("stored", lambda event: 1 // 0)
    images.store_origin("cat", png())
    assert images.answer("/cat/100x.jpg").status == 200
    assert "a listener failed" in caplog.text


def test_an_event_that_is_none_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(ConfigurationError, match="'stored'"):
        LazyCrop(store="memory:").on("store", print)


def test_origins_may_lie_in_a_dictionary() -> None:
    elsewhere = {"cat": png("blue")}

    class Dictionary(Origins):
        def read(self, record: Record) -> bytes:
            return elsewhere[record.image_id]

        def begin_reading(self, record: Record, size: Size | None, stage: Stage = Stage.FIRST) -> Callable[[], bytes]:
            return lambda: elsewhere[record.image_id]

    config = make_config({"store": "memory:", "sizes": "any", "broker": "inline"})
    parts = build(config)
    data = png("red")
    parts.versions.store("cat", data, "bytes", (300, 200), None, False)
    common = replace(parts.common, origins=Dictionary(parts.common.store, parts.sources, config))
    maker = Maker(common, parts.jobs, parts.budget, config)
    answer = Service(replace(parts, maker=maker), config).answer(Request("/cat/100x.png"))
    assert isinstance(answer.body, bytes)
    assert Image.open(io.BytesIO(answer.body)).convert("RGB").getpixel((5, 5)) == (0, 0, 255)


def test_one_decision_says_no_everywhere() -> None:
    class Never(Access):
        def decide(self, asked: Asked) -> Allowed | Snapped:
            raise NotAllowed("Nobody may see anything on Sundays.")

    config = make_config({"store": "memory:", "sizes": "any", "broker": "inline"})
    parts = build(config)
    parts.versions.store("cat", png(), "bytes", (300, 200), None, False)
    service = Service(replace(parts, access=Never(parts.policy, config.policy)), config)
    requests: list[dict[str, Any]] = [{}, {"method": "HEAD"}, {"if_none_match": "*"}, {"redirect": False}]
    for parts_of_request in requests:
        assert service.answer(Request("/cat/100x.png", **parts_of_request)).status == 404


@pytest.mark.parametrize(
    "setting", ["pixel_memory", "decode_seconds", "max_pixels", "mezzanine_edges", "render_wait_seconds"]
)
def test_what_changes_no_bytes_changes_no_etag(setting: str) -> None:
    values = {"mezzanine_edges": [300], "max_pixels": 1_000_000}
    one, other = (
        LazyCrop(store="memory:", sizes="any", broker="inline", **more)
        for more in ({}, {setting: values.get(setting, 7_000)})
    )
    assert one.config != other.config
    assert one._records.recipe == other._records.recipe


def test_two_bodies_never_share_an_etag_when_the_quality_changes(tmp_path: Any) -> None:
    def process(quality: int) -> LazyCrop:
        return LazyCrop(store=tmp_path, sizes="any", broker="inline", quality={"jpg": quality})

    def ask() -> tuple[bytes, str | None]:
        answer = images.answer("/cat/100x.jpg")
        if not isinstance(answer.body, bytes):
            with answer.body as file:
                answer.body = file.read()
        return answer.body, answer.header("ETag")

    photograph = io.BytesIO()
    Image.effect_noise((300, 200), 80).save(photograph, "PNG")
    images = process(90)
    images.store_origin("cat", photograph.getvalue())
    seen = [ask(), ask()]
    images = process(20)
    seen += [ask(), ask()]  # the old object, under new settings
    images.store.delete("cat/100x.jpg")
    images = process(20)
    seen += [ask(), ask()]  # made again
    bodies: dict[str | None, set[bytes]] = {}
    for body, etag in seen:
        bodies.setdefault(etag, set()).add(body)
    assert len({body for body, _ in seen}) == 4  # of two recipes, in two stages
    assert all(len(found) == 1 for found in bodies.values())


def test_a_purge_is_seen_at_once_by_who_asked_for_the_record_while_it_waited() -> None:
    images = LazyCrop(store="memory:", sizes="any", broker="inline")
    images.store_origin("cat", png())
    delete = images.store.delete

    def asked_meanwhile(key: str) -> None:
        with suppress(UnknownImage):
            images.record("cat")  # a page that shows it
        delete(key)

    images.store.delete = asked_meanwhile  # type: ignore[method-assign]
    images.purge("cat")
    with pytest.raises(UnknownImage):
        images.record("cat")


@pytest.mark.parametrize(("path", "query"), [("/cat/100x.jpeg", ""), ("/cat.jpeg", "size=100x")])
def test_the_other_spelling_of_jpg_is_redirected_to_the_one(path: str, query: str) -> None:
    images = LazyCrop(store="memory:", sizes="any", broker="inline", secret="a key")
    images.store_origin("cat", png())
    answer = images.answer(Request(path, query, mount="/b%C3%A4r/img"))
    location = f"/b%C3%A4r/img{path.removesuffix('jpeg')}jpg" + (f"?{query}" if query else "")
    assert (answer.status, answer.header("Location")) == (301, location)
