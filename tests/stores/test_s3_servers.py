"""S3 servers that know less than Amazon's: what they refuse is done in another way, once it was tried."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from click.testing import CliRunner

from lazycrop.cli import commands
from lazycrop.errors import StoreUnavailable
from lazycrop.stores.contract import StoreSettings
from lazycrop.stores.s3 import S3Store
from servers import HOST, S3

CALM = StoreSettings(store_connect_seconds=20, store_read_seconds=20, store_write_seconds=20, store_seconds=20)


class Server(ThreadingHTTPServer):
    """Keeps a bucket's objects. ``refusals``: the answers to the next puts with a condition, ``always``: to all."""

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.objects: dict[str, bytes] = {}
        self.refusals: list[tuple[int, str]] = []
        self.always: tuple[int, str] | None = None
        self.ignores_conditions = self.refuses_puts = False
        self.refuses_list_v2: int | None = None
        self.lists_by = 1000
        self.conditions = 0
        self.sends_chunks = False


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *arguments: object) -> None:
        pass

    def reply(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def fail(self, status: int, code: str) -> None:
        self.reply(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

    @property
    def key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix("/pics").lstrip("/")

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.refuses_puts:
            return self.fail(403, "AccessDenied")
        if self.headers["If-None-Match"] and not self.server.ignores_conditions:
            self.server.conditions += 1
            refusal = self.server.refusals.pop(0) if self.server.refusals else self.server.always
            if refusal:
                return self.fail(*refusal)
            if self.key in self.server.objects:
                return self.fail(412, "PreconditionFailed")
        self.server.objects[self.key] = body
        return self.reply(200)

    def do_DELETE(self) -> None:
        self.server.objects.pop(self.key, None)
        self.reply(204)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if not self.key:
            return self.list()
        if self.key not in self.server.objects:
            return self.fail(404, "NoSuchKey")
        if self.server.sends_chunks and self.command == "GET":
            return self.reply_in_chunks(self.server.objects[self.key])
        return self.reply(200, self.server.objects[self.key])

    def reply_in_chunks(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (body[:3], body[3:]):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        self.wfile.write(b"0\r\n\r\n")

    def list(self) -> None:
        query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        if "list-type" in query and self.server.refuses_list_v2:
            return self.fail(self.server.refuses_list_v2, "NotImplemented")
        names = [name for name in sorted(self.server.objects) if name.startswith(query["prefix"])]
        names = [name for name in names if name > query.get("marker", "")]
        page, rest = names[: self.server.lists_by], names[self.server.lists_by :]
        found = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in page)
        # The next marker only comes with a delimiter from some, and not at all from others.
        body = f"<ListBucketResult><IsTruncated>{str(bool(rest)).lower()}</IsTruncated>{found}</ListBucketResult>"
        return self.reply(200, body.encode())


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def store_of(server: Server) -> S3Store:
    endpoint = f"http://{HOST}:{server.server_port}"
    return S3Store("pics", endpoint_url=endpoint, access_key="a", secret_key="b", region="us-east-1", settings=CALM)


def put(store: S3Store, data: bytes = b"picture") -> bool:
    return store.put("cat/200x.jpg", data, "image/jpeg", new=True)


@pytest.mark.parametrize(
    "refusal",
    [
        (501, "NotImplemented"),
        (400, "NotImplemented"),
        (400, "InvalidArgument"),
        (403, "SignatureDoesNotMatch"),
        (405, "MethodNotAllowed"),
        (409, "Conflict"),
        (411, "MissingContentLength"),
        (417, "ExpectationFailed"),
        (422, "Unprocessable"),
        (428, "PreconditionRequired"),
        (505, "Unsupported"),
    ],
)
def test_what_is_refused_with_a_condition_is_put_without_after_a_look(
    refusal: tuple[int, str], server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.always = refusal
    store = store_of(server)
    assert store.conditional_puts is None
    assert put(store)
    assert not put(store, b"another")
    assert server.objects["cat/200x.jpg"] == b"picture"
    assert (store.conditional_puts, server.conditions) == (False, 1)
    assert [record.message.count("refuses puts") for record in caplog.records] == [1]


def test_a_conflict_is_tried_again(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.refusals = [(409, "ConditionalRequestConflict")] * 2
    store = store_of(server)
    assert put(store)
    assert server.conditions == 3
    assert not put(store, b"another")
    assert store.conditional_puts is True
    assert not caplog.records


def test_a_conflict_that_lasts_ends_with_a_look(server: Server) -> None:
    server.always = (409, "ConditionalRequestConflict")
    store = store_of(server)
    assert put(store)
    assert not put(store, b"another")
    assert (server.objects["cat/200x.jpg"], store.conditional_puts) == (b"picture", None)


def test_what_is_refused_without_a_condition_too_says_nothing_of_conditions(server: Server) -> None:
    server.refuses_puts = True
    store = store_of(server)
    with pytest.raises(StoreUnavailable):
        put(store)
    assert store.conditional_puts is None


def test_what_a_server_does_with_conditions_can_be_found_out(server: Server, s3: S3) -> None:
    assert store_of(server).probe_conditional_puts("-check")
    server.ignores_conditions = True
    store = store_of(server)
    assert not store.probe_conditional_puts("-check")
    assert put(store)
    assert not put(store, b"another"), "it looks from then on"
    server.ignores_conditions, server.always = False, (501, "NotImplemented")
    assert not store_of(server).probe_conditional_puts("-check")
    assert list(server.objects) == ["cat/200x.jpg"]
    real = S3Store(s3.bucket, "probed", **given(s3))
    assert real.probe_conditional_puts("-check")


def given(s3: S3) -> dict[str, str]:
    return {"endpoint_url": s3.endpoint, "access_key": s3.access_key, "secret_key": s3.secret_key, "region": s3.region}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_that_has_too_much_to_do_is_not_asked_once_more(status: int, server: Server) -> None:
    server.always = (status, "SlowDown")
    store = store_of(server)
    with pytest.raises(StoreUnavailable):
        put(store)
    assert (store.conditional_puts, server.conditions) == (None, 1)


def test_an_object_of_which_the_server_tells_no_length_is_read_to_its_end(server: Server) -> None:
    server.objects["cat/200x.jpg"] = b"picture"
    server.sends_chunks = True
    store = store_of(server)
    assert store.get("cat/200x.jpg", 7) == b"picture"
    with pytest.raises(StoreUnavailable):
        store.get("cat/200x.jpg", 6)
    opened = store.open("cat/200x.jpg")
    with opened.file:
        assert (opened.file.read(), opened.length) == (b"picture", 7)


@pytest.mark.parametrize("status", [None, 400, 405, 501])
def test_a_server_that_lists_as_to_the_first_version_is_listed_to_the_end(status: int | None, server: Server) -> None:
    server.refuses_list_v2 = status
    server.lists_by = 3
    server.objects = {f"cat/{number}x.jpg": b"" for number in range(100, 110)}
    assert [*store_of(server).list("cat/")] == sorted(server.objects)


def test_a_list_that_goes_round_in_circles_is_an_error(server: Server) -> None:
    server.lists_by = 0
    server.objects = {"cat/100x.jpg": b""}
    with pytest.raises(StoreUnavailable):
        [*store_of(server).list("cat/")]


@pytest.mark.parametrize("kind", ["keeps", "refuses", "ignores"])
def test_check_tells_what_the_server_does_with_conditions(
    server: Server, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.always = (501, "NotImplemented") if kind == "refuses" else None
    server.ignores_conditions = kind == "ignores"
    place = {"STORE": "s3://pics/a", "S3_ENDPOINT_URL": f"http://{HOST}:{server.server_port}", "ANSWER": "stream"}
    keys = {"S3_ACCESS_KEY": "lazykey", "S3_SECRET_KEY": "lazysecret", "S3_REGION": "us-east-1"}
    for name, value in {**place, **keys, "SIZES": "any", "BROKER": "inline"}.items():
        monkeypatch.setenv(f"LAZYCROP_{name}", value)
    done = CliRunner().invoke(commands, ["check"])
    said = next(line for line in done.output.splitlines() if "it leaves an object alone that must be new" in line)
    assert said[0] == ("✓" if kind == "keeps" else "!")
    assert not server.objects and done.exit_code == 0
