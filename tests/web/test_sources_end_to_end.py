"""Whole ways of pictures that exist already: from a bucket and a site, to one size in the store."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from PIL import Image

from conftest import Base
from doubles import GREEN, RED, flat
from lazycrop import LazyCrop
from lazycrop.http.answers import Answer
from lazycrop.stores.memory import MemoryStore
from servers import HOST, S3, Memcached, eventually

NAMES = ["cat.jpg", "2024/Größe 1.jpg", "два слова/100%20 #1.jpg", "写真/🦊+'\".jpg"]


def body(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else answer.body.read()


def is_red(answer: Answer) -> bool:
    assert answer.status == 200, body(answer)
    red, green, _ = Image.open(io.BytesIO(body(answer))).convert("RGB").getpixel((5, 5))  # type: ignore[misc]
    return bool(red > green)


class Site(ThreadingHTTPServer):
    """``files`` by the path of a request. ``way``: how it answers; ``reads``: how often a file was sent whole."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__((HOST, port), Handler)
        self.files: dict[str, bytes] = {}
        self.way = "range"
        self.reads: Counter[str] = Counter()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class Handler(BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        data = self.server.files.get(self.path)
        if data is None:
            self.send_error(404)
            return
        ranged = self.headers.get("Range") if self.server.way == "range" else None
        if not ranged:
            self.server.reads[self.path] += 1
        first = int(ranged.partition("-")[2]) + 1 if ranged else len(data)
        self.send_response(206 if ranged else 200)
        if ranged:
            self.send_header("Content-Range", f"bytes 0-{min(first, len(data)) - 1}/{len(data)}")
        if self.server.way != "no length":
            self.send_header("Content-Length", str(min(first, len(data))))
        self.send_header("Content-Type", "text/html" if self.server.way == "wrong type" else "image/jpeg")
        self.send_header("ETag", f'"{hash(data)}"')
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data[:first])

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.stop()


def opened(**settings: Any) -> LazyCrop:
    given = {"store": MemoryStore(), "sizes": "any", "broker": "inline", "record_seconds": 0, **settings}
    return LazyCrop(source_seconds=1, source_rest_seconds=0.01, allow_networks=[f"{HOST}/32"], **given)


def test_a_bucket_that_may_only_be_read_gives_all_of_its_pictures(s3: S3, s3_base: Base) -> None:
    client = s3.client()
    try:
        for name in NAMES:
            client.put_object(Bucket=s3_base.bucket, Key=s3_base.prefix + name, Body=flat(RED))
        access_key, secret_key = s3.reader_of_objects
        own = f"endpoint_url={s3.endpoint}&region={s3.region}&access_key={access_key}&secret_key={secret_key}"
        images = opened(source=f"s3://{s3_base.bucket}/{s3_base.prefix}?{own}")
        assert all(is_red(images.answer(f"/{name}/90x60.jpg")) for name in NAMES)
        assert images.answer("/none.jpg/90x60.jpg").status == 404
        client.put_object(Bucket=s3_base.bucket, Key=s3_base.prefix + NAMES[0], Body=flat(GREEN))
        images.jobs.actors["look"]({"image_id": NAMES[0], "size": None, "format": "jpg", "version": 1})
        assert not is_red(images.answer(f"/{NAMES[0]}/90x60.jpg"))
    finally:
        client.close()


@pytest.mark.parametrize("way", ["range", "no range", "no length", "wrong type"])
def test_a_site_gives_its_pictures_whatever_it_says_of_them(site: Site, way: str) -> None:
    site.way = way
    site.files = {"/media/cat.jpg": flat(RED, size=(3000, 2000)), "/media/Gr%C3%B6%C3%9Fe%201.jpg": flat(RED)}
    images = opened(source=f"http://{HOST}:{site.server_port}/media/")
    for name in ("cat.jpg", "Größe 1.jpg"):
        assert is_red(images.answer(f"/{name}/90x60.jpg"))
        assert images.record(name).at_source
        assert is_red(images.answer(f"/{name}/890x.jpg"))


def test_a_site_that_goes_and_comes_back_takes_nothing_along() -> None:
    site = Site()
    port = site.server_port
    site.files = {"/cat.jpg": flat(RED), "/dog.jpg": flat(RED)}
    images = opened(source=f"http://{HOST}:{port}/")
    assert is_red(images.answer("/cat.jpg/90x60.jpg"))
    site.stop()
    answer = images.answer("/dog.jpg/90x60.jpg")
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")
    assert is_red(images.answer("/cat.jpg/90x60.jpg"))
    assert is_red(images.answer("/cat.jpg/80x.jpg"))  # of the copies
    with pytest.raises(Exception, match="not available"):
        images.jobs.actors["look"]({"image_id": "cat.jpg", "size": None, "format": "jpg", "version": 1})
    assert is_red(images.answer("/cat.jpg/90x60.jpg"))
    site, files = Site(port), site.files
    site.files = files
    threading.Event().wait(0.02)  # the rest
    assert is_red(images.answer("/dog.jpg/90x60.jpg"))
    site.stop()


def test_a_bucket_that_is_killed_and_comes_back_takes_nothing_along(s3: S3, s3_base: Base, tmp_path: Path) -> None:
    client = s3.client()
    for name in NAMES:
        client.put_object(Bucket=s3_base.bucket, Key=s3_base.prefix + name, Body=flat(RED))
    client.close()
    access_key, secret_key = s3.reader
    own = f"endpoint_url={s3.endpoint}&region={s3.region}&access_key={access_key}&secret_key={secret_key}"
    images = opened(
        source=f"s3://{s3_base.bucket}/{s3_base.prefix}?{own}",
        store=str(tmp_path / "sizes"),
        public_url="https://cdn.example.com/",
    )
    stored, fresh = NAMES[:2], NAMES[2:]
    assert all(is_red(images.answer(f"/{name}/90x60.jpg")) for name in stored)
    s3.kill()
    for name in fresh:
        answer = images.answer(f"/{name}/90x60.jpg")
        assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")
        assert b"not available" in body(answer)
    threading.Event().wait(1)  # source_seconds: a look at the file is due, and is in vain.
    for name in stored:
        answer = images.answer(f"/{name}/90x60.jpg")
        place = f"https://cdn.example.com/{quote(name)}/90x60.jpg"
        assert (answer.status, dict(answer.headers)["Location"]) == (301, place)
        assert is_red(images.answer(f"/{name}/80x.jpg"))  # of the copies
    s3.start()
    eventually(lambda: images.answer(f"/{fresh[0]}/90x60.jpg").status == 200, what="it is asked again after the rest")
    assert all(is_red(images.answer(f"/{name}/80x.jpg")) for name in fresh)
    assert images.answer("/none.jpg/90x60.jpg").status == 404
    images.close()


# Asks for one size by 32 clients when a line comes, and prints how often it rendered and what colours it was given.
ASK = """
import io, json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from PIL import Image
from lazycrop import LazyCrop
images = LazyCrop(**json.loads(sys.argv[1]))
images.record("ready.jpg")
rendered, barrier = [], threading.Barrier(32)
images.on("rendered", lambda event: event.stage == 1 and rendered.append(event.key))
def ask(_):
    barrier.wait()
    answer = images.answer("/cat.jpg/90x60.jpg")
    with answer.body if hasattr(answer.body, "read") else io.BytesIO(answer.body) as body:
        return answer.status, Image.open(io.BytesIO(body.read())).getpixel((5, 5))[0] > 150
with ThreadPoolExecutor(32) as pool:
    print(flush=True)
    sys.stdin.readline()
    said = [*pool.map(ask, range(32))]
images.close()
print(json.dumps([len(rendered), sorted(set(said))]))
"""


@pytest.mark.parametrize("shared", [True, False])
def test_many_who_ask_two_processes_have_the_file_read_once_by_each(
    site: Site, memcached: Memcached, shared: bool, tmp_path: Path
) -> None:
    site.files = {"/cat.jpg": flat(RED, size=(3000, 2000)), "/ready.jpg": flat(RED)}
    settings = {
        "source": f"http://{HOST}:{site.server_port}/",
        "store": str(tmp_path / "sizes"),
        "sizes": "any",
        "broker": "embedded",
        "allow_networks": [f"{HOST}/32"],
        **({"memcached": memcached.address} if shared else {}),
    }
    command = [sys.executable, "-c", ASK, json.dumps(settings)]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for process in both:
            assert process.stdout and process.stdout.readline()
        for process in both:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    finally:
        for process in both:
            process.kill()
            process.communicate()
    assert [colours for _, colours in said] == [[[200, True]]] * 2
    assert sum(rendered for rendered, _ in said) == 1 if shared else all(rendered <= 1 for rendered, _ in said)
    assert site.reads["/cat.jpg"] <= (2 if shared else 4)  # by each who answers; and by each who makes the copies
    kept = {path.name for path in (tmp_path / "sizes" / "cat.jpg").iterdir()}
    assert {name for name in kept if not name.startswith("mezzanine-")} == {"90x60.jpg", "image.json", "origin.source"}
