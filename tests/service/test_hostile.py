"""What strangers send: what every answer says of itself and where it leads, and what is left of their pictures."""

from __future__ import annotations

import io
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

import corpus
from client import ask, get
from doubles import GREEN, RED, Dictionary, Taking, flat, opening
from frameworks import serving
from lazycrop import LazyCrop
from lazycrop.http.answers import Answer
from lazycrop.model.derivatives import CONTENT_TYPES, IMMUTABLE
from lazycrop.pictures.settings import Stage
from lazycrop.stores import MemoryStore
from lazycrop.wsgi import ImageApp
from servers import eventually

CDN = "https://cdn.example.com/pictures/"
Open = Callable[..., LazyCrop]


class Recording(MemoryStore):
    """Knows with which headers each object was put, and may be down."""

    def __init__(self, public_url: str | None = None) -> None:
        super().__init__(public_url)
        self.types: dict[str, tuple[str, str | None]] = {}
        self.broken: Exception | None = None

    def put(self, key: str, data: bytes, content_type: str, **options: Any) -> bool:
        self.types[key] = content_type, options.get("cache_control")
        return super().put(key, data, content_type, **options)

    def get(self, key: str, limit: int) -> bytes:
        if self.broken:
            raise self.broken
        return super().get(key, limit)


@pytest.fixture
def open_images() -> Iterator[Open]:
    with opening(lambda: Recording(CDN), sizes="any", broker="inline", mezzanine_edges="none") as make:
        yield make


# ---- headers ----


def answers_of_every_kind(open_images: Open) -> Iterator[tuple[str, int, Answer]]:
    """What it is, the status that it has to have, and the answer."""
    images = open_images(snap=True, sizes=["100x", "400x"], secret="a key", max_edge=1000)
    images.store_origin("cat", flat(RED))
    images.store_origin("secret", flat(RED), private=True)
    yield "asked first with HEAD", 200, ask(images, "/cat/100x.jpg", method="HEAD")
    rendered = ask(images, "/cat/100x.jpg")
    yield "rendered", 200, rendered
    yield "stored", 301, ask(images, "/cat/100x.jpg")
    yield "stored, by a shortcut", 301, ask(images, "/cat/100x.jpg")
    stored = ask(images, "/cat/100x.jpg").header("ETag")
    yield "unchanged", 304, ask(images, "/cat/100x.jpg", if_none_match=stored)
    yield "stored, its HEAD", 301, ask(images, "/cat/100x.jpg", method="HEAD")
    yield "another spelling", 301, ask(images, "/cat/100x.jpeg")
    yield "snapped", 302, ask(images, "/cat/300x.jpg")
    yield "private", 200, ask(images, images.url("secret", "100x"))
    yield "private, streamed", 200, ask(images, images.url("secret", "100x"))
    yield "the form of a query", 301, ask(images, "/cat.jpg?size=100x")
    yield "chosen by Accept", 200, ask(images, "/cat/400x.auto", accept="image/webp")
    for path, status in (
        *(("/cat/0x0.jpg", 400), ("/../cat/100x.jpg", 400), ("/cat/700x.jpg", 403), ("/cat/100x.jpg?s=x", 403)),
        *(("/secret/100x.jpg", 403), ("/cat/5000x.jpg", 404), ("/dog/100x.jpg", 404), ("/cat/v9/100x.jpg", 404)),
    ):
        yield path, status, ask(images, path)
    yield "another method", 405, ask(images, "/cat/100x.jpg", method="POST")

    streaming = open_images(answer="stream", fallback_image="nobody")
    streaming.store_origin("nobody", flat(RED))
    streaming.store_origin("cat", flat(RED))
    ask(streaming, "/cat/100x.jpg")
    yield "streamed", 200, ask(streaming, "/cat/100x.jpg")
    yield "streamed, by a shortcut", 200, ask(streaming, "/cat/100x.jpg")
    yield "the origin", 200, ask(streaming, "/cat/origin.jpg")
    yield "the fallback", 404, ask(streaming, "/dog/100x.jpg")
    streamed = ask(streaming, "/cat/100x.jpg").header("ETag")
    yield "streamed, unchanged", 304, ask(streaming, "/cat/100x.jpg", if_none_match=streamed)

    source = Dictionary(text__jpg=b"no picture", cut__png=flat(RED, "PNG", (900, 900))[:400])
    adopting = open_images(source=source)
    yield "no picture", 415, ask(adopting, "/text.jpg/100x.jpg")
    yield "a broken one", 422, ask(adopting, "/cut.png/100x.jpg")

    busy = open_images(renders=1, render_wait_seconds=0.01)
    busy.store_origin("cat", flat(RED))
    with busy._renders._benches[Stage.FIRST].slot(1):
        yield "too much to do", 503, ask(busy, "/cat/100x.jpg")
    busy.store_origin("dog", flat(RED))
    busy.warm("dog", ["400x"])
    with busy._renders._benches[Stage.FIRST].slot(1):
        yield "the nearest size", 302, ask(busy, "/dog/100x.jpg")

    store = Recording(CDN)
    images = open_images(store, record_seconds=0)
    images.store_origin("cat", flat(RED))
    store.broken = OSError("10.0.0.7 is down.")
    yield "the store is down", 503, ask(images, "/cat/100x.jpg")
    images._service._answer_or_follow = None  # type: ignore[assignment,method-assign]
    yield "a fault of our own", 500, ask(images, "/cat/100x.jpg")


def test_every_answer_says_that_it_is_never_a_document(open_images: Open) -> None:
    seen = set()
    for what, status, answer in answers_of_every_kind(open_images):
        said = f"{what}: {answer.status} {answer.headers}"
        assert answer.status == status, said
        assert answer.header("X-Content-Type-Options") == "nosniff", said
        assert answer.header("Content-Security-Policy") == "default-src 'none'; sandbox", said
        names = [name.lower() for name, _ in answer.headers]
        assert len(names) == len({*names}), said
        kind = answer.header("Content-Type")
        if answer.header("Location") or status == 304:
            assert (kind, answer.body) == (None, b""), said
        elif status == 200 or what == "the fallback":
            assert kind in CONTENT_TYPES.values(), said
        else:
            assert kind == "text/plain; charset=utf-8", said
            assert answer.header("Cache-Control") == "no-store", said
            assert b"10.0.0.7" not in answer.body, said  # type: ignore[operator]
        seen.add(status)
    assert seen == {200, 301, 302, 304, 400, 403, 404, 405, 415, 422, 500, 503}


@pytest.mark.parametrize("format", CONTENT_TYPES)
def test_a_stored_object_has_the_type_of_its_key_and_is_kept_for_ever(open_images: Open, format: str) -> None:
    store = Recording(CDN)
    images = open_images(store, mezzanine_edges=[256])
    # The name of an image says nothing of its type.
    images.store_origin("page.html", flat(RED, "PNG"))
    ask(images, f"/page.html/100x.{format}")
    objects = {key: put for key, put in store.types.items() if key.startswith("page.html/") and "/-claim" not in key}
    assert f"page.html/100x.{format}" in objects
    assert objects.pop("page.html/image.json")[0] == "application/json"
    for key, (content_type, control) in objects.items():
        assert content_type == CONTENT_TYPES[key.rpartition(".")[2]], key
        assert control in (None, IMMUTABLE), key  # None is what a store takes by itself, which is the same.


# ---- hosts ----


HOSTILE = {
    "Host": "evil.example",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Proto": "javascript",
    "X-Forwarded-Prefix": "//evil.example",
    "X-Forwarded-Server": "evil.example",
    "X-Original-URL": "//evil.example/",
    "X-Rewrite-URL": "//evil.example/",
    "Forwarded": "host=evil.example;proto=javascript",
    "Referer": "https://evil.example/",
    "Origin": "https://evil.example",
}


def test_no_header_has_a_say_in_where_an_answer_leads(open_images: Open) -> None:
    images = open_images(snap=True, sizes=["100x", "400x"])
    images.store_origin("cat", flat(RED))
    with serving(ImageApp(images)) as url:
        get(f"{url}/cat/100x.jpg", **HOSTILE)
        led = [get(url + path, **HOSTILE) for path in ("/cat/100x.jpg", "/cat/300x.jpg", "/cat/100x.jpeg")]
        missing = get(f"{url}/dog/100x.jpg", **HOSTILE)
        away = [
            get(url + path) for path in ("//evil.example/300x.jpg", "/%2f%2fevil.example/300x.jpg", "/%5cevil/1x.jpg")
        ]
    assert [(reply.status, reply.headers["location"]) for reply in led] == [
        (301, f"{CDN}cat/100x.jpg"),
        (302, "/cat/400x.jpg"),
        (301, "/cat/100x.jpg"),
    ]
    assert not any("evil" in str(reply.headers) or b"evil" in reply.body for reply in (*led, missing))
    # One slash is a path of this very site; two would be another host.
    assert not any(reply.headers.get("location", "/").startswith(("//", "/\\", "/%")) for reply in away)


# ---- privacy ----


def planted_tiff(im: Image.Image) -> bytes:
    info = {270: corpus.MARKER.decode(), 315: corpus.MARKER.decode(), 700: corpus.XMP, 33723: corpus.MARKER}
    return corpus.saved(im, "TIFF", tiffinfo=info, icc_profile=corpus.planted_icc()) + corpus.MARKER


def planted_mpo(im: Image.Image) -> bytes:
    """With a second picture, which has words of its own."""
    data = corpus.saved(im, "MPO", save_all=True, append_images=[im.rotate(180)], exif=corpus.planted_exif())
    at = data.rindex(b"\xff\xd8") + 2
    return data[:at] + corpus.jpeg_segment(0xFE, corpus.MARKER) + data[at:] + corpus.MARKER


def planted_archive(im: Image.Image) -> bytes:
    """A picture that is an archive, too: those are read from their end."""
    name = b"page.html"
    entry = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, 0, len(corpus.MARKER), len(corpus.MARKER), len(name), 0)
    return corpus.saved(im, "GIF") + b"PK\x03\x04" + entry + name + corpus.MARKER + b"PK\x05\x06" + bytes(18)


def planted_heic(im: Image.Image) -> bytes:
    pillow_heif = pytest.importorskip("pillow_heif")
    file = io.BytesIO()
    words = {"exif": corpus.planted_exif(), "xmp": corpus.XMP, "icc_profile": corpus.planted_icc()}
    pillow_heif.from_pillow(im).save(file, quality=80, **words)
    return file.getvalue() + struct.pack(">I4s", 8 + len(corpus.MARKER), b"free") + corpus.MARKER


PLANTED: dict[str, Callable[[Image.Image], bytes]] = {
    **corpus.PLANTED,
    "png-palette": lambda im: corpus.planted_png(im.quantize(16)),
    "png-transparent": lambda im: corpus.planted_png(im.convert("RGBA")),
    "jpeg-grey": lambda im: corpus.planted_jpeg(im.convert("L")),
    "jpeg-archive": lambda im: corpus.planted_jpeg(im) + b"PK\x05\x06" + bytes(18),
    "gif-archive": planted_archive,
    "mpo": planted_mpo,
    "heic": planted_heic,
    "tiff": planted_tiff,
    "bmp": lambda im: corpus.saved(im, "BMP") + corpus.MARKER,
}
CONFIGURED = ("jpg", "png", "webp", "avif", "gif", "tiff", "bmp", "heic")


@pytest.mark.parametrize("name", PLANTED)
def test_nothing_but_the_picture_is_in_any_object_or_answer(open_images: Open, name: str) -> None:
    data = PLANTED[name](corpus.rgb().resize((1000, 700)))
    assert corpus.MARKER in data
    settings = {
        "mezzanine_edges": [256],
        "input_formats": CONFIGURED,
        "stages": 1,
        "effort": "png=0",
        "source": Dictionary(cat=data),
    }
    for copies in (None, False, True):
        store = Recording()
        images = open_images(store, **settings, copy_origins=bool(copies))
        if copies is None:
            images.store_origin("cat", data)
        else:
            images.adopt("cat")
        paths = [f"/cat/origin.{images.record('cat').format}", *(f"/cat/40x.{format}" for format in CONTENT_TYPES)]
        # These are no smaller than the picture, so that nothing of it has to change.
        shown = [ask(images, path) for path in (*paths, "/cat/1000x.png", "/cat/1000x.jpg")]
        assert {answer.status for answer in shown} == {200}
        assert not [answer for answer in shown if corpus.MARKER in answer.body]  # type: ignore[operator]
        kept = {key: store.get(key, 10_000_000) for key in store.types if store.exists(key)}
        assert any("mezzanine" in key for key in kept) and "cat/40x.jpg" in kept, (copies, list(kept))
        assert [key for key, content in kept.items() if corpus.MARKER in content] == []
        for answer in shown:
            with Image.open(io.BytesIO(answer.body)) as im:  # type: ignore[arg-type]
                assert not im.getexif() and not {"exif", "xmp", "comment", "icc_profile", "photoshop"} & set(im.info)


# ---- slow readers, and those who leave ----


def test_who_reads_slowly_or_leaves_holds_no_render_and_no_descriptor(open_images: Open, tmp_path: Path) -> None:
    images = open_images(
        tmp_path, renders=1, render_wait_seconds=30, request_seconds=60, answer="stream", stages=1, effort="png=0"
    )
    images.store_origin("noise", corpus.saved(Image.effect_noise((1500, 1500), 90), "PNG"))
    images.store_origin("cat", flat(GREEN))
    with serving(ImageApp(images)) as url:
        assert get(f"{url}/noise/1500x.png").status == 200  # stored from now on
        assert get(f"{url}/cat/20x.jpg").status == 200
        before = len(os.listdir("/dev/fd"))
        clients = []
        for path in ("/noise/1500x.png", "/noise/origin.png", "/noise/1499x.png"):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", urlsplit(url).port))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            assert client.recv(12) == b"HTTP/1.1 200"  # The rest of it is not read.
            clients.append(client)
        for width in range(30, 35):
            assert get(f"{url}/cat/{width}x.jpg").status == 200
        for client in clients:
            client.close()
        eventually(lambda: len(os.listdir("/dev/fd")) <= before, 20, "what was opened for them is closed")


def test_what_a_job_says_leads_nowhere(open_images: Open) -> None:
    """A message names an image; whatever else stands in it counts for nothing."""
    store = Recording(CDN)
    images = open_images(store, broker=Taking())
    images.store_origin("cat", flat(RED))
    message = {"image_id": "cat", "size": "100x", "format": "jpg", "version": 1}
    more = {"key": "../elsewhere", "url": "https://evil.example/", "data": "x", "content_type": "text/html"}
    images.jobs.actors["store"](message | more)
    assert ask(images, "/cat/100x.jpg").header("Location") == f"{CDN}cat/100x.jpg"
    assert store.types["cat/100x.jpg"][0] == "image/jpeg"
    assert "elsewhere" not in str(store.types)
