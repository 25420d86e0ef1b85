"""Sites as sources: what each answer means, and that no request leaves what was configured."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote

import pytest

import hostile
from lazycrop.errors import BadRequest, ConfigurationError, ImageTooLarge, SourceUnavailable
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.site import SiteSource

LOOPBACK = DownloadSettings(allow_networks=("127.0.0.0/8",))
DATE = "Fri, 01 Mar 2024 12:00:00 GMT"


class Site(ThreadingHTTPServer):
    """Its files, by their paths; ``headers`` and ``status`` of every answer; ``redirects`` by path."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.headers = {"ETag": '"one"'}
        self.status: int | None = None
        self.ranges = self.lengths = True
        self.connections = 0
        self.asked: list[str] = []

    def handle_error(self, *arguments: object) -> None:
        """A client that has read enough goes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/images/"

    def source(self, **options: Any) -> SiteSource:
        return SiteSource(self.url, **{"settings": LOOPBACK, **options})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Site

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        site = self.server
        site.asked.append(self.path)
        if target := site.redirects.get(self.path):
            self._send(302, b"moved", {"Location": target})
        elif site.status:
            self._send(site.status, b"an answer", {})
        elif (data := site.files.get(unquote(self.path))) is None:
            self._send(404, b"no", {})
        else:
            self._send_file(data)

    def _send_file(self, data: bytes) -> None:
        part = re.fullmatch(r"bytes=0-(\d+)", self.headers.get("Range", ""))
        if part and self.server.ranges and not data:
            self._send(416, b"", {"Content-Range": "bytes */0"})
        elif part and self.server.ranges:
            some = data[: int(part[1]) + 1]
            self._send(206, some, {**self.server.headers, "Content-Range": f"bytes 0-{len(some) - 1}/{len(data)}"})
        else:
            self._send(200, data, self.server.headers)

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", "text/html")
        for name, value in headers.items():
            self.send_header(name, value)
        if self.server.lengths:
            self.send_header("Content-Length", str(len(data)))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Site]:
    with Site() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as server:
        yield server


@pytest.mark.parametrize("name", ["cat.jpg", "2024/Größe 1.jpg", "日本/写真 #1?.png", "100%25 + 'a';,&=.jpg", "😀.gif"])
def test_names_are_percent_encoded(site: Site, name: str) -> None:
    site.files[f"/images/{name}"] = b"picture"
    seen = site.source().read(name, 100)
    assert seen and (seen.data, seen.length, seen.validator) == (b"picture", 7, '"one"')
    assert site.asked == [f"/images/{quote(name)}"]
    assert site.source().describe(name) == site.url + quote(name)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("lengths", [True, False])
@pytest.mark.parametrize("headers", [{"ETag": 'W/"1"'}, {"Last-Modified": DATE}, {}])
def test_a_look_agrees_with_a_read(site: Site, ranges: bool, lengths: bool, headers: dict[str, str]) -> None:
    site.ranges, site.lengths, site.headers = ranges, lengths, headers
    source, site.files["/images/cat.jpg"] = site.source(), b"0123456789" * 20_000
    whole = source.read("cat.jpg", 200_000)
    for first in (0, 1, 5, 300_000):
        seen = source.look("cat.jpg", first)
        assert whole and seen and seen.validator == whole.validator
        assert seen.data == whole.data[:first] and seen.length in (200_000, None)
    site.files["/images/cat.jpg"] = b"another"
    site.headers = {name: f"{value[:-4]}2GMT" for name, value in headers.items()}
    other = source.look("cat.jpg")
    assert other and whole and other.validator != whole.validator
    with pytest.raises(ImageTooLarge, match="6 bytes"):
        source.read("cat.jpg", 6)


@pytest.mark.parametrize("headers", [{"ETag": '"0"'}, {}])
@pytest.mark.parametrize("ranges", [True, False])
def test_an_empty_file_is_there(site: Site, headers: dict[str, str], ranges: bool) -> None:
    site.headers, site.ranges, site.files["/images/cat.jpg"] = headers, ranges, b""
    seen = site.source().look("cat.jpg", 100)
    assert seen and (seen.data, seen.length) == (b"", 0)
    assert seen == site.source().read("cat.jpg", 100)


def test_a_date_that_is_of_this_second_is_no_validator(site: Site) -> None:
    site.headers, site.files["/images/cat.jpg"] = {"Last-Modified": DATE, "Date": DATE}, b"cat"
    seen = site.source().look("cat.jpg")
    assert seen and seen.validator.startswith("sha256-")


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 414])
def test_what_is_refused_is_not_there(site: Site, status: int) -> None:
    site.status = status
    assert site.source().look("cat.jpg") is site.source().read("cat.jpg", 100) is None


@pytest.mark.parametrize("status", [429, 503])
def test_a_site_that_is_busy_cannot_tell(site: Site, status: int) -> None:
    site.status = status
    with pytest.raises(OSError, match=str(status)):
        site.source().look("cat.jpg")


@pytest.mark.parametrize("status", [203, 204, 206, 304, 408, 500, 502])
def test_an_answer_that_cannot_be_used_is_an_error_of_this_file(site: Site, status: int) -> None:
    site.status = status
    with pytest.raises(SourceUnavailable):
        site.source().look("cat.jpg")


def test_a_connection_is_used_again(site: Site) -> None:
    source, site.files["/images/cat.jpg"] = site.source(), b"picture" * 100
    for _ in range(25):
        assert source.read("cat.jpg", 1000) and source.look("cat.jpg", 10) and source.look("none.jpg") is None
    assert site.connections == 1


def test_a_connection_that_the_server_has_ended_is_opened_again() -> None:
    with hostile.Server(hostile.answer(b"picture")) as server:  # ends each connection without saying so
        source = SiteSource(server.url.removesuffix("cat.jpg"), settings=LOOPBACK)
        for _ in range(3):
            seen = source.read("cat.jpg", 100)
            assert seen and seen.data == b"picture"


@pytest.mark.parametrize("way", ["http://{host}/images/new/cat.jpg", "/images/cat%20.jpg", "kitten.jpg"])
def test_a_redirect_may_stay_below(site: Site, way: str) -> None:
    site.redirects["/images/cat.jpg"] = way.format(host=site.url.split("/")[2])
    site.files |= dict.fromkeys(["/images/new/cat.jpg", "/images/cat .jpg", "/images/kitten.jpg"], b"moved")
    seen = site.source().read("cat.jpg", 100)
    assert seen and seen.data == b"moved"


def test_no_redirect_leads_out(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with serving() as other:
        ways = ["/secret.jpg", "../secret.jpg", "/images/../secret.jpg", "/images/..%2fsecret.jpg", "/imagesX/s.jpg"]
        ways += ["/images/%2e%2e/secret.jpg", "/images/.%2E/secret.jpg", "/images/a\\..\\..\\secret.jpg", "/images/%2"]
        ways += [f"{other.url}cat.jpg", f"//127.0.0.1:{other.server_port}/images/cat.jpg", "ftp://127.0.0.1/images/a"]
        ways += [f"http://user@127.0.0.1:{site.server_port}/images/kitten.jpg", "/images/cat.jpg", "http://[::1"]
        site.files |= dict.fromkeys(["/secret.jpg", "/imagesX/s.jpg"], b"secret")
        for way in ways:
            site.redirects["/images/cat.jpg"] = way
            assert site.source().read("cat.jpg", 100) is None, way
        assert {path.partition("?")[0] for path in site.asked} <= {"/images/cat.jpg", "/images/%252"}
        assert not other.asked
    assert "user@" not in caplog.text


@pytest.mark.parametrize("name", ["", "..", "../secret.jpg", "a/../../secret.jpg", "/secret.jpg", "a//b", "a\\b", "\0"])
def test_no_name_leads_out(site: Site, name: str) -> None:
    assert site.source().look(name) is None
    assert not site.asked


def test_a_private_host_needs_permission(site: Site) -> None:
    site.files["/images/cat.jpg"] = b"picture"
    with pytest.raises(OSError, match="could not be reached"):
        site.source(settings=DownloadSettings()).look("cat.jpg")
    assert not site.connections


def test_a_name_that_comes_to_mean_another_host_is_refused(site: Site) -> None:
    answers = ["127.0.0.1", "10.0.0.1"]
    site.files["/images/cat.jpg"], site.lengths = b"picture", False  # so each read needs a connection of its own

    def resolve(host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        return [(2, 1, 6, "", (answers.pop(0), port))]

    source = SiteSource(site.url.replace("127.0.0.1", "old.example.com"), settings=LOOPBACK, getaddrinfo=resolve)
    assert source.read("cat.jpg", 100)
    with pytest.raises(OSError):
        source.read("cat.jpg", 100)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ncut",
        b"HTTP/1.1 200 OK\r\nContent-",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\nabcde",
        b"",
        b"no HTTP\r\n\r\n",
    ],
)
def test_an_answer_that_was_cut_is_no_file(answer: bytes) -> None:
    with hostile.Server(hostile.raw(answer)) as server:
        source = SiteSource(server.url.removesuffix("cat.jpg"), settings=LOOPBACK)
        for _ in range(2):
            with pytest.raises(SourceUnavailable):
                source.read("cat.jpg", 1000)
            with pytest.raises(SourceUnavailable):
                source.look("cat.jpg", 1000)


@pytest.mark.parametrize("behave", [hostile.silent, hostile.repeat(b"HTTP/1.1 200 OK\r\n\r\n", b"x", 0.05)])
def test_a_site_that_takes_too_long_is_not_waited_for(behave: hostile.Behaviour) -> None:
    with hostile.Server(behave) as server:
        source = SiteSource(server.url.removesuffix("cat.jpg"), settings=LOOPBACK, seconds=0.3)
        with pytest.raises(TimeoutError):
            source.read("cat.jpg", 1000)


def test_a_site_cannot_list(site: Site) -> None:
    with pytest.raises(BadRequest, match="cannot list its images"):
        site.source().walk()


@pytest.mark.parametrize("url", ["http://", "https://user:pa55@host/", "https://host/?key=pa55", "https://host/#a"])
def test_a_url_that_is_no_site_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        SiteSource(url)
    assert "pa55" not in str(caught.value)
