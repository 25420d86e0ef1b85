"""Stores: one contract on all three, and how each of them fails."""

from __future__ import annotations

import hashlib
import os
import secrets
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError

from lazycrop.errors import BadImageId, BadRequest, ConfigurationError, MissingObject, StoreUnavailable
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.sources.bucket import BucketSource
from lazycrop.stores.contract import Store, StoreSettings
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.guarded import Guarded
from lazycrop.stores.memory import MemoryStore
from lazycrop.stores.s3 import S3Store
from lazycrop.testing.contracts import check_store
from servers import HOST, ROOT, S3, FaultProxy, Mode, eventually

QUICK = StoreSettings(store_connect_seconds=0.3, store_read_seconds=0.4, store_write_seconds=0.4, store_seconds=1)
"""Where time is what is tested."""
CALM = StoreSettings(store_connect_seconds=20, store_read_seconds=20, store_write_seconds=20, store_seconds=20)
"""Where it is not: a busy machine may take seconds to build a client."""
BUDGET = 4
"""QUICK's second, and what a busy machine adds; without a limit each of these takes far longer."""


def s3_store(server: S3, endpoint: str | None = None, **arguments: Any) -> S3Store:
    given: dict[str, Any] = {
        "endpoint_url": endpoint or server.endpoint,
        "access_key": server.access_key,
        "secret_key": server.secret_key,
        "region": server.region,
        "base_path": secrets.token_hex(8),
        "settings": CALM,
    }
    return S3Store(server.bucket, **(given | arguments))


def stub_store(port: int, **arguments: Any) -> S3Store:
    endpoint = f"http://{HOST}:{port}"
    given: dict[str, Any] = {"access_key": "lazykey", "secret_key": "lazysecret", "settings": CALM}
    return S3Store("pics", endpoint_url=endpoint, **(given | arguments))


def guarded(store: Store, settings: StoreSettings) -> Guarded:
    """The store as lazycrop uses it."""
    return Guarded(store, settings, threads=settings.store_connections)


@contextmanager
def stub(*pieces: bytes, pause: float = 0) -> Iterator[tuple[int, list[bytes]]]:
    """A server that answers each request with these bytes, piece by piece, and closes; its port, and what it got."""
    stopped = threading.Event()
    requests: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            requests.append(b"".join(iter(self.rfile.readline, b"\r\n")))
            with suppress(OSError):
                for piece in pieces:
                    self.wfile.write(piece)
                    if stopped.wait(pause):
                        return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    with Server((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_address[1], requests
        finally:
            stopped.set()
            server.shutdown()
            thread.join()


@contextmanager
def within(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds


def run(script: str, **environment: str) -> str:
    """What a new Python process prints."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# The contract


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    match request.param:
        case "memory":
            return MemoryStore("https://cdn.example.com/images")
        case "folder":
            return FolderStore(tmp_path / "images", "https://cdn.example.com/images/")
        case _:
            return s3_store(request.getfixturevalue("s3"))


def test_each_store_keeps_the_contract(store: Store) -> None:
    check_store(store)


def test_stores_without_a_public_url_keep_the_contract(tmp_path: Path) -> None:
    check_store(MemoryStore())
    check_store(FolderStore(tmp_path))


def test_a_bucket_without_a_base_path_keeps_the_contract(s3: S3) -> None:
    check_store(S3Store(s3.bucket, **s3_arguments(s3)))


def s3_arguments(server: S3) -> dict[str, Any]:
    keys = {"access_key": server.access_key, "secret_key": server.secret_key}
    return {"endpoint_url": server.endpoint, "settings": CALM, **keys}


class ReplacesWhatIsThere(MemoryStore):
    def put(self, key: str, data: bytes, content_type: str, *, cache_control: str = "", new: bool = False) -> bool:
        return super().put(key, data, content_type)


class Truncates(MemoryStore):
    def get(self, key: str, limit: int) -> bytes:
        return super().get(key, sys.maxsize)[:limit]


class ListsEverything(MemoryStore):
    def list(self, folder: str) -> Iterator[str]:
        return iter([key for key in self._objects if key.startswith(folder)])


class KeepsWhatIsDeleted(MemoryStore):
    def delete(self, key: str) -> None:
        pass


class MissesWithKeyError(MemoryStore):
    def get(self, key: str, limit: int) -> bytes:
        try:
            return super().get(key, limit)
        except MissingObject:
            return b""


class ForgetsToQuote(MemoryStore):
    def url(self, key: str) -> str | None:
        return f"{self.public_url}{key}"


@pytest.mark.parametrize(
    ("broken", "promise"),
    [
        (ReplacesWhatIsThere, "answers False when the object exists"),
        (Truncates, "more bytes than the limit"),
        (ListsEverything, "directly below"),
        (KeepsWhatIsDeleted, "what is deleted does not exist"),
        (MissesWithKeyError, "raise MissingObject"),
        (ForgetsToQuote, "percent-quoted"),
    ],
)
def test_the_check_names_the_promise_that_a_store_breaks(broken: type[MemoryStore], promise: str) -> None:
    with pytest.raises(AssertionError, match=promise):
        check_store(broken("https://cdn.example.com/"))


@pytest.mark.parametrize(
    "url", ["/images/", "cdn.example.com", "ftp://a/", "https:///a", "https://u:p@a/", "http://a?b"]
)
def test_a_public_url_must_be_absolute(url: str, tmp_path: Path) -> None:
    for build in (lambda: MemoryStore(url), lambda: FolderStore(tmp_path, url), lambda: S3Store("b", public_url=url)):
        with pytest.raises(ConfigurationError, match="absolute URL"):
            build()


# S3


def test_anybody_can_fetch_an_object_by_its_url_with_type_and_caching(s3: S3) -> None:
    store = s3_store(s3)
    store.put("cat/a.b-c/400x300-cover-ne@2x.jpg", b"picture", "image/jpeg")
    with urllib.request.urlopen(store.url("cat/a.b-c/400x300-cover-ne@2x.jpg"), timeout=5) as answer:
        assert answer.read() == b"picture"
        assert answer.headers["Content-Type"] == "image/jpeg"
        assert answer.headers["Cache-Control"] == IMMUTABLE


def test_an_object_has_the_cache_control_it_was_put_with(s3: S3) -> None:
    store = s3_store(s3)
    store.put("cat/image.json", b"{}", "application/json", cache_control="no-cache")
    with urllib.request.urlopen(store.url("cat/image.json"), timeout=5) as answer:
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-cache"


def test_nobody_else_can_put(s3: S3) -> None:
    store = s3_store(s3)
    request = urllib.request.Request(store.url("cat/200x.jpg"), data=b"forged", method="PUT")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=5)
    refused.value.close()
    assert refused.value.code == 403
    assert not store.exists("cat/200x.jpg")


def test_keys_region_and_endpoint_come_from_the_environment(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.environment.items():
        monkeypatch.setenv(name, value)
    store = S3Store(s3.bucket, "from/environment")
    assert store.public_url == f"{s3.endpoint}/{s3.bucket}/from/environment/"
    store.put("cat/200x.jpg", b"picture", "image/jpeg")
    assert store.get("cat/200x.jpg", 100) == b"picture"


@pytest.mark.parametrize(
    ("bucket", "base_path", "arguments", "public_url"),
    [
        ("pics", "", {"region": "eu-central-1"}, "https://pics.s3.eu-central-1.amazonaws.com/"),
        ("pics", "/base/path", {"region": "eu-central-1"}, "https://pics.s3.eu-central-1.amazonaws.com/base/path/"),
        ("my.pics", "a", {"region": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com/my.pics/a/"),
        ("pics", "", {"region": "cn-north-1"}, "https://pics.s3.cn-north-1.amazonaws.com.cn/"),
        ("pics", "a", {"endpoint_url": "http://10.0.0.1:9000"}, "http://10.0.0.1:9000/pics/a/"),
        ("pics", "a", {"endpoint_url": "https://s3.example.com/"}, "https://s3.example.com/pics/a/"),
        ("pics", "a", {"public_url": "https://cdn.example.com/x"}, "https://cdn.example.com/x/"),
    ],
)
def test_the_public_url_is_the_buckets_own_unless_given(
    bucket: str, base_path: str, arguments: dict[str, Any], public_url: str
) -> None:
    store = S3Store(bucket, base_path, **arguments)
    assert store.public_url == public_url
    assert store.url("cat/200x100@2x.jpg") == f"{public_url}cat/200x100@2x.jpg"


def test_one_key_alone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="secret_key"):
        S3Store("pics", access_key="lazykey")


def test_secrets_are_in_no_representation_log_or_error(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    store = s3_store(s3, secret_key="a-wrong-secret")
    with pytest.raises(StoreUnavailable) as error:
        store.get("cat/200x.jpg", 100)
    assert "a-wrong-secret" not in f"{store!r} {caplog.text} {error.value!r} {error.value.__cause__!r}"


def test_errors_are_told_to_the_log_and_not_to_the_client(s3: S3, caplog: pytest.LogCaptureFixture) -> None:
    store = guarded(S3Store("no-such-bucket", **s3_arguments(s3)), CALM)
    with pytest.raises(StoreUnavailable) as error:
        store.get("cat/200x.jpg", 100)
    assert "NoSuchBucket" in caplog.text
    for reason in ("Bucket", "bucket", HOST, "cat"):
        assert reason not in str(error.value)


FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
DENIED = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def test_a_missing_object_may_be_403_which_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with stub(FORBIDDEN % (len(DENIED), DENIED)) as (port, _):
        store = stub_store(port)
        with pytest.raises(MissingObject):
            store.get("cat/200x.jpg", 100)
        with pytest.raises(MissingObject):
            store.open("cat/200x.jpg")
    with stub(FORBIDDEN % (0, b"")) as (port, _):  # to a HEAD
        assert not stub_store(port).exists("cat/200x.jpg")
    assert [record.message.count("s3:ListBucket") for record in caplog.records] == [1, 1]


@pytest.mark.parametrize("code", [b"InvalidAccessKeyId", b"SignatureDoesNotMatch", b"RequestTimeTooSkewed"])
def test_another_403_is_no_missing_object(code: bytes) -> None:
    body = b"<Error><Code>%s</Code></Error>" % code
    with stub(FORBIDDEN % (len(body), body)) as (port, _), pytest.raises(StoreUnavailable):
        stub_store(port).get("cat/200x.jpg", 100)


def test_a_put_that_is_forbidden_fails() -> None:
    with stub(FORBIDDEN % (len(DENIED), DENIED)) as (port, _):
        store = stub_store(port)
        with pytest.raises(StoreUnavailable):
            store.put("cat/200x.jpg", b"picture", "image/jpeg")
        with pytest.raises(StoreUnavailable):
            [*store.list("cat/")]


def test_only_what_is_set_is_sent_with_an_object() -> None:
    stored = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    with stub(stored) as (port, requests):
        stub_store(port).put("cat/200x.jpg", b"picture", "image/jpeg")
        stub_store(port, acl="public-read").put("cat/200x.jpg", b"picture", "image/jpeg", new=True)
    plain, full = (request.lower() for request in requests)
    for header in (b"x-amz-acl", b"if-none-match", b"x-amz-checksum", b"x-amz-sdk-checksum", b"x-amz-trailer"):
        assert header not in plain
    assert b"x-amz-acl: public-read" in full
    assert b"if-none-match: *" in full


def test_an_unreachable_store_is_unavailable_within_its_time(s3: S3) -> None:
    with FaultProxy(s3.port) as proxy:
        s3_store(s3, base_path="faults").put("cat/200x.jpg", b"picture", "image/jpeg")
        store = guarded(s3_store(s3, f"http://{proxy.address}", base_path="faults", settings=QUICK), QUICK)
        uses: list[Callable[[], object]] = [
            lambda: store.get("cat/200x.jpg", 100),
            lambda: store.open("cat/200x.jpg"),
            lambda: store.exists("cat/200x.jpg"),
            lambda: store.put("cat/300x.jpg", b"picture", "image/jpeg"),
            lambda: store.delete("cat/300x.jpg"),
            lambda: [*store.list("cat/")],
        ]
        modes: list[Mode] = ["refuse", "reset", "black hole"]
        for mode in modes:
            proxy.set(mode)
            for use in uses:
                with within(BUDGET), pytest.raises(StoreUnavailable):
                    use()
        proxy.set("pass")
        assert eventually(lambda: store.get("cat/200x.jpg", 100)) == b"picture"


def test_what_is_wrong_with_a_connection_is_told_whatever_is_asked(s3: S3) -> None:
    with FaultProxy(s3.port) as proxy:
        store = s3_store(s3, f"http://{proxy.address}", base_path="faults", settings=QUICK)
        source = BucketSource(
            s3.bucket, "faults/", endpoint_url=f"http://{proxy.address}", access_key="a", secret_key="b"
        )
        uses: list[Callable[[], object]] = [
            lambda: store.get("cat/200x.jpg", 100),
            lambda: [*store.list("cat/")],
            lambda: [*store.walk("cat/")],
            lambda: store.delete_many(["cat/1x.jpg", "cat/2x.jpg"]),
            lambda: source.look("cat.jpg", 10),
        ]
        modes: list[Mode] = ["reset", "refuse"]
        for mode in modes:
            proxy.set(mode)
            for use in uses:
                with pytest.raises((StoreUnavailable, OSError)) as raised:
                    use()
                assert isinstance(raised.value.__cause__, BotoCoreError), raised.value.__cause__


def test_a_put_may_take_longer_than_a_read(s3: S3) -> None:
    settings = StoreSettings(store_read_seconds=0.3, store_write_seconds=20)
    with FaultProxy(s3.port) as proxy:
        store = s3_store(s3, f"http://{proxy.address}", settings=settings)
        proxy.set("latency", 0.6)
        assert store.put("cat/200x.jpg", b"picture", "image/jpeg")
        with pytest.raises(StoreUnavailable):
            store.get("cat/200x.jpg", 100)


def test_only_a_read_that_times_out_has_the_store_left_alone(s3: S3) -> None:
    with FaultProxy(s3.port) as proxy:
        settings = replace(CALM, store_read_seconds=3, store_write_seconds=0.4, store_rest_seconds=600)
        s3_store(s3, base_path="rests").put("cat/200x.jpg", b"picture", "image/jpeg")
        store = guarded(s3_store(s3, f"http://{proxy.address}", base_path="rests", settings=settings), settings)
        read, put = partial(store.get, "cat/200x.jpg", 100), partial(store.put, "cat/1x.jpg", b"", "image/jpeg")
        faults: list[tuple[Mode, Callable[[], object]]] = [("reset", read), ("refuse", read), ("black hole", put)]
        for mode, use in faults:
            proxy.set(mode)
            with pytest.raises(StoreUnavailable):
                use()
            proxy.set("pass")
            assert read() == b"picture"
        proxy.set("black hole")
        with pytest.raises(StoreUnavailable):
            read()
        proxy.set("pass")
        with pytest.raises(StoreUnavailable):
            read()


StoreThreads = Callable[[], list[threading.Thread]]


@pytest.fixture
def store_threads() -> StoreThreads:
    """The threads of stores that this test has started."""
    before = {*threading.enumerate()}
    return lambda: [one for one in threading.enumerate() if one.name == "lazycrop-store" and one not in before]


def test_a_store_that_drips_is_unavailable_within_its_time(s3: S3, store_threads: StoreThreads) -> None:
    with FaultProxy(s3.port) as proxy:
        s3_store(s3, base_path="faults").put("cat/200x.jpg", b"picture", "image/jpeg")
        store = guarded(s3_store(s3, f"http://{proxy.address}", base_path="faults", settings=QUICK), QUICK)
        proxy.set("drip", 0.05)  # the headers alone take 20 s
        with within(BUDGET), pytest.raises(StoreUnavailable):
            store.get("cat/200x.jpg", 100)
        with within(BUDGET), pytest.raises(StoreUnavailable):
            store.open("cat/200x.jpg")
        with within(BUDGET), pytest.raises(StoreUnavailable):
            store.exists("cat/200x.jpg")
        proxy.set("pass")
    store.close()
    eventually(lambda: not store_threads(), what="the calls that were left to themselves end")


HEADERS = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n"


def test_a_body_that_drips_is_given_up_and_leaves_no_thread(store_threads: StoreThreads) -> None:
    with stub(HEADERS, *[b"x"] * 1000, pause=0.05) as (port, _):
        store = guarded(stub_store(port, settings=QUICK), QUICK)
        with within(BUDGET), pytest.raises(StoreUnavailable):
            store.get("cat/200x.jpg", 1000)
        store.close()
        eventually(lambda: not store_threads(), 5, "the thread ends with the time, not with the body")


def test_late_calls_do_not_pile_up(store_threads: StoreThreads) -> None:
    few = StoreSettings(store_read_seconds=5, store_seconds=0.3, store_connections=2, store_rest_seconds=0)
    with stub(b"", pause=10) as (port, _):
        store = guarded(stub_store(port, settings=few), few)
        for _ in range(5):
            with pytest.raises(StoreUnavailable):
                store.exists("cat/200x.jpg")
        assert len(store_threads()) == 2
    store.close()
    eventually(lambda: not store_threads(), what="the late calls end")


@pytest.mark.parametrize(
    "answer",
    [
        HEADERS + b"x" * 999,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + b"x" * 500,
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1000,
        b"HTTP/1.1 503 Slow Down\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 7\r\n\r\n<html>\n",
        b"\x00\xff not HTTP\r\n\r\n",
    ],
    ids=["cut", "cut chunk", "no length", "slow down", "no XML", "no HTTP"],
)
def test_an_answer_that_is_cut_or_no_answer_of_s3_is_never_an_object(answer: bytes) -> None:
    with stub(answer) as (port, _):
        store = stub_store(port)
        with pytest.raises((StoreUnavailable, MissingObject)):
            store.get("cat/200x.jpg", 1000)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Ty", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
def test_an_answer_that_is_cut_before_its_body_is_no_empty_folder_and_deletes_and_copies_nothing(answer: bytes) -> None:
    uses: list[Callable[[S3Store], object]] = [
        lambda store: [*store.list("cat/")],
        lambda store: [*store.walk("cat/")],
        lambda store: store.delete_many(["cat/1x.jpg", "cat/2x.jpg"]),
        lambda store: store.copy("cat/1x.jpg", "cat/2x.jpg", "image/jpeg"),
    ]
    with stub(answer) as (port, _):
        for use in uses:
            with pytest.raises(StoreUnavailable):
                use(stub_store(port))


def test_a_stream_that_is_cut_says_so_while_it_is_read() -> None:
    with stub(HEADERS + b"x" * 999) as (port, _):
        opened = stub_store(port).open("cat/200x.jpg")
        assert opened.length == 1000
        assert opened.file.read(900) == b"x" * 900
        with opened.file, pytest.raises(StoreUnavailable):
            opened.file.read()


def test_more_bytes_than_promised_are_not_read() -> None:
    with stub(HEADERS + b"x" * 5000) as (port, _):
        assert stub_store(port).get("cat/200x.jpg", 1000) == b"x" * 1000


def test_importing_stores_loads_no_boto3_and_using_one_leaves_its_default_session_alone(s3: S3) -> None:
    script = """
import sys
from lazycrop.stores.s3 import S3Store
store = S3Store("pics", "from/script")
assert "boto3" not in sys.modules and "botocore" not in sys.modules
store.put("cat/200x.jpg", b"picture", "image/jpeg")
import boto3
assert boto3.DEFAULT_SESSION is None
"""
    run(script, **s3.environment)


def test_a_store_works_on_both_sides_of_a_fork(s3: S3) -> None:
    script = """
import os, sys, warnings
from concurrent.futures import ThreadPoolExecutor
from lazycrop.stores.s3 import S3Store

def read_all():
    with ThreadPoolExecutor(4) as pool:
        for number, data in enumerate(pool.map(lambda n: store.get(f"cat/{n % 4}x.jpg", 100_000), range(40))):
            assert data == b"%d" % (number % 4) * 50_000

store = S3Store("pics", "from/fork")
for number in range(4):
    store.put(f"cat/{number}x.jpg", b"%d" % number * 50_000, "image/jpeg")
read_all()
warnings.simplefilter("ignore", DeprecationWarning)  # a thread may be ending just now
child = os.fork()
try:
    read_all()
    code = 0
except BaseException as error:
    print(repr(error), file=sys.stderr)
    code = 1
if child == 0:
    os._exit(code)
_, status = os.waitpid(child, 0)
assert code == 0 and status == 0
"""
    run(script, **s3.environment)


def test_a_store_works_while_the_interpreter_ends(s3: S3) -> None:
    script = """
import atexit
from lazycrop.stores.s3 import S3Store
store = S3Store("pics", "from/exit")
store.put("cat/200x.jpg", b"picture", "image/jpeg")
atexit.register(lambda: print(store.get("cat/200x.jpg", 100).decode()))
"""
    assert run(script, **s3.environment) == "picture"


# A folder


@pytest.mark.parametrize("key", ["../secret", "a/../../secret", "/etc/passwd", "a//b", "", ".hidden", "a/.b", "a\0b"])
def test_a_key_never_leaves_the_folder(key: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    store = FolderStore(tmp_path / "images")
    for use in (
        lambda: store.get(key, 100),
        lambda: store.open(key),
        lambda: store.exists(key),
        lambda: store.put(key, b"forged", "image/jpeg"),
        lambda: store.delete(key),
    ):
        with pytest.raises(BadRequest, match="malformed"):
            use()
    with pytest.raises(BadRequest, match="malformed"):
        store.list("../")
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_a_symbolic_link_below_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "200x.jpg").write_bytes(b"secret")
    images = tmp_path / "images"
    images.mkdir()
    (images / "cat").symlink_to(outside)
    (images / "dog.jpg").symlink_to(outside / "200x.jpg")
    store = FolderStore(images)
    for key in ("cat/200x.jpg", "dog.jpg"):
        with pytest.raises(StoreUnavailable):
            store.get(key, 100)
        with pytest.raises(StoreUnavailable):
            store.put(key, b"forged", "image/jpeg")
        with pytest.raises(StoreUnavailable):
            store.delete(key)
    assert [*store.list("")] == []
    assert (outside / "200x.jpg").read_bytes() == b"secret"


def test_the_folder_itself_may_be_a_link_and_stays_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "images").symlink_to(tmp_path / "disk")
    monkeypatch.chdir(tmp_path)
    store = FolderStore("./images")
    monkeypatch.chdir("/")
    store.put("cat/200x.jpg", b"picture", "image/jpeg")
    assert (tmp_path / "disk/cat/200x.jpg").read_bytes() == b"picture"


def test_an_object_can_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        FolderStore(tmp_path).put("200x.jpg", b"picture", "image/jpeg")
    finally:
        os.umask(before)
    assert (tmp_path / "200x.jpg").stat().st_mode & 0o777 == 0o640


def test_names_that_clash_are_a_sentence(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("cat", b"picture", "image/jpeg")
    store.put("dog/200x.jpg", b"picture", "image/jpeg")
    for new in (False, True):
        with pytest.raises(BadImageId, match="another image"):
            store.put("cat/200x.jpg", b"picture", "image/jpeg", new=new)
        with pytest.raises(BadImageId, match="another image"):
            store.put("dog", b"picture", "image/jpeg", new=new)
    assert sorted(tmp_path.rglob("*")) == [tmp_path / name for name in ("cat", "dog", "dog/200x.jpg")]


def test_a_full_disk_is_a_sentence_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"""
import resource
from lazycrop.errors import StoreUnavailable
from lazycrop.stores.folder import FolderStore
store = FolderStore({str(tmp_path)!r})
store.put("cat/200x.jpg", b"old", "image/jpeg")
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
for key in ("cat/200x.jpg", "dog/200x.jpg"):
    try:
        store.put(key, bytes(2000), "image/jpeg")
    except StoreUnavailable:
        print(key)
"""
    assert run(script).split() == ["cat/200x.jpg", "dog/200x.jpg"]
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "cat", tmp_path / "cat/200x.jpg"]
    assert (tmp_path / "cat/200x.jpg").read_bytes() == b"old"


def test_delete_removes_empty_folders_up_to_the_store_itself(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "images")
    store.put("users/42/avatar/200x.jpg", b"picture", "image/jpeg")
    store.put("users/43/200x.jpg", b"picture", "image/jpeg")
    store.delete("users/42/avatar/200x.jpg")
    assert [*store.list("users/")] == ["users/43/"]
    store.delete("users/43/200x.jpg")
    assert [*(tmp_path / "images").iterdir()] == []


WRITER = """
import hashlib, itertools, secrets, sys
from lazycrop.stores.folder import FolderStore
store = FolderStore(sys.argv[1])
for number in itertools.count():
    data = secrets.token_bytes(32) * 100_000
    store.put(f"cat/{number % 3}x.jpg", hashlib.sha256(data).digest() + data, "image/jpeg")
    print(number, flush=True)
"""


def is_whole(data: bytes) -> bool:
    return hashlib.sha256(data[32:]).digest() == data[:32]


@pytest.mark.slow
def test_a_process_killed_while_it_puts_leaves_only_whole_objects(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    for kill_after in range(5):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as writer:
            assert writer.stdout
            for _ in range(1 + kill_after):
                assert writer.stdout.readline(), "the writer ended by itself"
            for _ in range(10):  # reading while it writes on, so that the kill comes anywhere
                assert is_whole(store.get("cat/0x.jpg", 10_000_000))
            writer.kill()
    for key in store.list("cat/"):
        assert is_whole(store.get(key, 10_000_000))


KILLED_WHILE_PUTTING = """
import os, signal, sys
from lazycrop.stores.folder import FolderStore
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
FolderStore(sys.argv[1]).put("cat/300x.jpg", b"picture", "image/jpeg")
"""


def test_what_a_killed_put_left_is_invisible_and_goes_with_the_last_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put("cat/200x.jpg", b"picture", "image/jpeg")
    command = [sys.executable, "-c", KILLED_WHILE_PUTTING, str(tmp_path)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=30)
    [leftover] = (tmp_path / "cat").glob(".*")
    assert [*store.list("cat/")] == ["cat/200x.jpg"]
    assert not store.exists("cat/300x.jpg")
    os.utime(leftover, (0, 0))
    store.delete("cat/200x.jpg")
    assert [*tmp_path.iterdir()] == []


def test_puts_deletes_and_lists_at_once_disturb_nobody(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "images")
    keys = [f"cat/v{version}/deep/{width}x.jpg" for version in (2, 3) for width in (100, 200)]
    picture = secrets.token_bytes(1000)

    def work(number: int) -> None:
        for turn in range(100):
            key = keys[(number + turn) % len(keys)]
            store.put(key, picture, "image/jpeg", new=turn % 2 == 0)
            with suppress(MissingObject):
                assert store.get(key, 1000) == picture
            for listed in store.list("cat/v2/deep/"):
                assert listed in keys
            store.delete(keys[(number + turn * 3) % len(keys)])

    with ThreadPoolExecutor(6) as pool:
        for _ in pool.map(work, range(6)):
            pass
    for key in keys:
        store.delete(key)
    assert [*(tmp_path / "images").iterdir()] == []


@pytest.mark.parametrize("step", ["makedirs", "replace"])
def test_a_delete_between_two_steps_of_a_put_does_not_make_it_fail(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FolderStore(tmp_path / "images")
    store.put("cat/100x.jpg", b"picture", "image/jpeg")
    original = getattr(os, step)

    def step_and_delete(*arguments: Any, **options: Any) -> None:
        monkeypatch.undo()
        original(*arguments, **options)
        for key in ("cat/200x.jpg", "cat/100x.jpg"):
            store.delete(key)
        assert not (tmp_path / "images/cat").exists(), "the delete took the folder away"

    monkeypatch.setattr(os, step, step_and_delete)
    assert store.put("cat/200x.jpg", b"picture", "image/jpeg")
    assert store.exists("cat/200x.jpg") == (step == "makedirs")
