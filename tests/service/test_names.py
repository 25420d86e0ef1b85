"""Images with names as people give them: the same in every store, cache, log and header, and never a way out."""

from __future__ import annotations

import io
import json
import logging
import os
import unicodedata
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit
from wsgiref.util import setup_testing_defaults

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from client import alike
from conftest import Base
from lazycrop import BadImageId, Helpers, ImageApp, LazyCrop, Request
from lazycrop.http.answers import Answer
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import CHANGES
from lazycrop.stores import FolderStore, MemoryStore, Store
from lazycrop.testing import check_store
from servers import S3, Memcached

NAMES = [
    *("Größe 1.jpg", "кот/2024", "猫の写真", "한글", "שלום", "🐈/👩‍👩‍👧‍👦", "100%", "%20", "%2e%2e", "a%2Fb", "#1+ 1"),
    *('it\'s "new"', "a;b,c&d=e?f", "cat.jpeg", " ", "a.", "-a", "ẹ\u0301", "a\u202egpj", "😀" * 62),
]
SIZE = "60x30"


@pytest.fixture(params=["memory", "folder", "s3"])
def given_store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of a store whose objects have URLs."""
    match request.param:
        case "memory":
            return {"store": MemoryStore("https://cdn.example.com/")}
        case "folder":
            return {"store": tmp_path / "images", "public_url": "https://cdn.example.com/"}
        case _:
            s3: S3 = request.getfixturevalue("s3")
            base: Base = request.getfixturevalue("s3_base")
            keys = {"access_key": s3.access_key, "secret_key": s3.secret_key, "region": s3.region}
            patience = {f"store_{kind}_seconds": 20 for kind in ("connect", "read", "write")} | {"store_seconds": 20}
            given = {"store": base.store, "s3_endpoint_url": s3.endpoint, "public_url": base.public_url, **patience}
            return given | {f"s3_{name}": value for name, value in keys.items()}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (120, 60), "red").save(file, "PNG")
    return file.getvalue()


def make(given: dict[str, Any], **more: Any) -> LazyCrop:
    return LazyCrop(**{"sizes": [SIZE, "30x30-cover"], "broker": "inline", "request_seconds": 60, **given, **more})


def ask(images: LazyCrop, url: str, **parts: Any) -> Answer:
    """The answer to a URL, as a WSGI server hands it over; what is sent of it is ASCII."""
    path, _, query = url.removeprefix("/img").partition("?")
    answer = images.answer(Request(unquote_to_bytes(path).decode("latin-1"), query, **parts))
    if not isinstance(answer.body, bytes):
        with answer.body as file:
            answer.body = file.read()
    for name, value in answer.headers:
        assert name.isascii() and value.isascii() and value.isprintable()
    return answer


def objects(store: Store, folder: str = "") -> list[str]:
    """All keys below; SeaweedFS lists folders that are empty, too."""
    found = [name for name in store.list(folder) if name != CHANGES]  # which are of no image
    below = [key for name in found if name.endswith("/") for key in objects(store, name)]
    return [name for name in found if not name.endswith("/")] + below


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_any_language_lives_as_any_other_does(given_store: dict[str, Any], name: str) -> None:
    images = make(given_store)
    url = f"/img/{quote(name)}/{SIZE}.jpg"
    for spelling in (name, unicodedata.normalize("NFD", name)):
        record = images.store_origin(spelling, picture())
        assert record.image_id == images.record(spelling).image_id == name
        assert record.url.endswith(f"/{quote(record.origin_key)}")
    assert images.url(name, SIZE) == url.replace(f"/{SIZE}", f"/v2/{SIZE}"), "both were the same image"
    missed, hit = ask(images, url), ask(images, url)
    assert (missed.status, hit.status) == (200, 301)
    location = hit.header("Location") or ""
    assert location == images.stored_url(images.warm(name, [SIZE])[0])
    assert location.endswith(f"/{quote(name)}/v2/{SIZE}.jpg")
    if location.startswith("http://127"):
        with urllib.request.urlopen(location, timeout=20) as answer:
            assert alike(answer.read(), missed.body)
    assert f"{name}/v2/{SIZE}.jpg" in {*images.store.list(f"{name}/v2/")}
    streaming = ask(make(given_store, answer="stream"), url)
    assert streaming.status == 200 and alike(streaming.body, missed.body)
    assert images.purge(name) >= 3
    assert objects(images.store) == [f"{name}/image.json"]
    images.purge(name, forget=True)
    assert objects(images.store) == []


@pytest.mark.parametrize("name", ["Größe, 1 %20+#.jpg", "🐈/猫"])
def test_a_private_image_with_such_a_name_is_presigned(given_store: dict[str, Any], name: str) -> None:
    images = make(given_store, secret="a key", private_answer="presign")
    images.store_origin(name, picture(), private=True)
    url = images.url(name, SIZE)
    path, _, query = url.partition("?")
    assert ask(images, path).status == 403
    missed, hit = ask(images, url), ask(images, url)
    location = hit.header("Location")
    if location is None:
        assert alike(hit.body, missed.body)
    else:
        with urllib.request.urlopen(location, timeout=20) as answer:
            assert alike(answer.read(), missed.body)
    taken_apart = quote(unicodedata.normalize("NFD", name))
    assert ask(images, f"/img/{taken_apart}/{SIZE}.jpg?{query}").status < 400, "the same signature opens it"


def test_two_processes_know_such_an_image_by_memcached(memcached: Memcached) -> None:
    store = MemoryStore("https://cdn.example.com/")
    first, second = (make({"store": store}, memcached=[memcached.address], memcached_seconds=10) for _ in range(2))
    for name in NAMES:
        first.store_origin(name, picture())
        url = first.url(name, SIZE)
        assert ask(first, url).status == 200
        assert ask(second, url).header("Cache-Status") == "lazycrop; hit; detail=stored"
    first.close()
    second.close()


def test_a_page_shows_such_names_so_that_no_browser_errs() -> None:
    images = make({"store": MemoryStore()}, sizes="any")
    for name in NAMES:
        images.store_origin(name, picture())
        helpers = Helpers(images)
        html = helpers.picture(name, "60x30", widths=[30, 60], alt="") + helpers.img(name, "60x30", alt="")
        candidates = helpers.srcset(name, [30, 60]).split(", ")
        assert html.isascii() and [one.split(" ")[1] for one in candidates] == ["30w", "60w"]
        for candidate in candidates:
            assert urlsplit(candidate.split(" ")[0]).path.startswith(f"/img/{quote(name)}/")


def test_a_log_has_such_names_on_one_line_and_escaped(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "lazycrop")
    images = make({"store": MemoryStore()})
    for name in ("Größe\u202egpj.exe", "a b"):
        images.store_origin(name, picture())
        assert ask(images, images.url(name, SIZE)).status == 200
    for forged in ("a\nb", "a\u2028b", "\x1b[2J", "a\u202eb", "\x85"):
        assert ask(images, f"/img/{quote(forged)}/{SIZE}.jpg").status in (400, 404)
    said = [record.getMessage() for record in caplog.records]
    assert any("'Größe\\u202egpj.exe/60x30.jpg'" in line for line in said)
    assert all(line.isprintable() for line in said)


def test_a_redirect_of_the_longest_name_is_given_again_by_shortcut() -> None:
    images = make({"store": MemoryStore("https://cdn.example.com/")}, secret="a key")
    name = "🐈" * 200
    images.store_origin(name, picture())
    for size in (SIZE, "50x50-contain-bg336699@2x"):
        path, _, query = images.url(name, size).removeprefix("/img").partition("?")
        path = unquote_to_bytes(path).decode("latin-1")
        assert [images.answer(Request(path, query)).status for _ in range(2)] == [200, 301]
        assert images.remembered(path, query) is not None


@pytest.mark.parametrize("name", ["猫" * 86, "a" * 200 + "/" + "🐈" * 64, "x" * 100 + "é" * 100])
def test_a_name_that_no_file_can_have_is_a_sentence_in_a_folder_only(name: str, tmp_path: Path) -> None:
    if len(name) > 200:
        name = name[100:]
    images = make({"store": tmp_path / "images"})
    with pytest.raises(BadImageId, match="255 bytes"):
        images.store_origin(name, picture())
    assert ask(images, f"/img/{quote(name)}/{SIZE}.jpg").status == 404
    assert images.purge(name) == 0
    assert [*tmp_path.rglob("*")] in ([], [tmp_path / "images"])
    assert make({"store": MemoryStore()}).store_origin(name, picture()).image_id == name


WAYS_OUT = [
    *(
        "..",
        "a/../../b",
        "./b",
        "%2e%2e",
        "..%2f..",
        "..\\..",
        "%5c..",
        "．．/b",
        "\uff0e\uff0e",
        "․․/b",
        "..;/b",
        "...",
        "....//",
    ),
    *(
        "a/%00",
        "a\0b",
        "/",
        "//b",
        "~",
        "~root",
        "a/.",
        ".hidden",
        "-private/b",
        "-PRIVATE/b",
        "C:",
        "C:\\b",
        "\\\\host\\b",
        "file:",
    ),
]


@pytest.mark.parametrize("name", WAYS_OUT)
def test_nothing_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a/b/images"
    make({"store": tmp_path / "a/b"}).store_origin("images/cat", picture())
    make({"store": tmp_path}).store_origin("b", picture())
    (folder / ".hidden").mkdir()
    outside = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    images = make({"store": folder}, sizes="any", answer="stream")
    for tail in (f"/{SIZE}.jpg", "/origin.png", "/b/origin.png", "/image.json", ".jpg?size=9x"):
        for path in (name + tail, quote(name) + tail, quote(quote(name, safe=""), safe="") + tail):
            assert ask(images, f"/img/{path}").status in (400, 404)
    for image_id in (name, f"{name}/b", f"b/{name}"):
        try:
            record = images.store_origin(image_id, picture())
        except BadImageId:
            continue
        written = {path for path in tmp_path.rglob("*") if path.is_file()} - outside.keys()
        assert written and all(path.is_relative_to(folder) for path in written)
        images.purge(record.image_id, forget=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == outside


@pytest.mark.parametrize(
    "path", [b"\xc0\xae\xc0\xae", b"\xe0\x80\xae", b"caf\xe9", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff"]
)
def test_bytes_that_are_no_utf_8_are_a_sentence(path: bytes) -> None:
    answer = make({"store": MemoryStore()}).answer(Request(f"/{path.decode('latin-1')}/{SIZE}.jpg"))
    assert answer.status == 400 and isinstance(answer.body, bytes) and b"is no UTF-8" in answer.body
    assert answer.body.decode().strip().isprintable()


def test_a_path_as_text_is_as_good_as_a_request() -> None:
    images = make({"store": MemoryStore("https://cdn.example.com/")})
    images.store_origin("Größe 1", picture())
    assert images.answer(f"/Größe 1/{SIZE}.jpg").status == 200
    assert images.answer(f"/Gro\u0308ße 1/{SIZE}.jpg").status == 301
    assert images.answer(f"/\ud800/{SIZE}.jpg").status == 400


@pytest.fixture(scope="module")
def app() -> Iterator[ImageApp]:
    images = make({"store": MemoryStore("https://cdn.example.com/")}, sizes="any", snap=True)
    images.store_origin("é", picture())
    yield ImageApp(images)
    images.close()


ENDS = st.sampled_from(["/1x1.jpg", ".jpeg", "/v2/9x.auto"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.one_of(
        st.binary(max_size=40),
        st.builds("{}{}".format, st.text(st.characters(exclude_categories=["Cs"])), ENDS).map(str.encode),
        st.builds(lambda data, end: data + end.encode(), st.binary(max_size=12), ENDS),
    ),
    query=st.one_of(st.just(b""), st.binary(max_size=20), st.binary(max_size=9).map(lambda data: b"size=9x&" + data)),
)
@example("é/1x1.jpeg".encode(), b'\xff "<')
def test_whatever_comes_is_answered_in_ascii_and_is_no_fault_of_ours(app: ImageApp, path: bytes, query: bytes) -> None:
    environ = {
        "PATH_INFO": "/" + path.decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1").translate({10: "", 13: ""}),
    }
    setup_testing_defaults(environ)
    answered: list[Any] = []
    body = app(environ, lambda status, headers: answered.append((status, headers)))
    b"".join(body).decode("latin-1")
    [(status, headers)] = answered
    assert int(status.split()[0]) < 500
    assert all(value.isascii() and value.isprintable() for _, value in headers)


def test_a_job_and_a_record_are_ascii_on_their_way() -> None:
    for name in NAMES:
        derivative = Derivative(name, None, "jpg", 2)
        sent = json.dumps(derivative.to_message())
        assert sent.isascii() and Derivative.from_message(json.loads(sent)) == derivative


class Encodes(MemoryStore):
    """As a store that takes only ASCII would be written at first."""

    def put(self, key: str, *arguments: Any, **options: Any) -> bool:
        return super().put(key.encode("ascii", "replace").decode(), *arguments, **options)


def test_a_store_that_loses_names_is_found_out(tmp_path: Path) -> None:
    check_store(FolderStore(tmp_path))
    assert os.listdir(tmp_path) == []
    with pytest.raises(AssertionError, match="any language"):
        check_store(Encodes())
