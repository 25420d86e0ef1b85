"""Fetching an origin: from no address that is not public, for no longer than allowed, and without telling why."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hostile import BROKEN, ENDLESS, OVERSIZED, PICTURE, Behaviour, Server, answer, raw, redirect, repeat, silent
from lazycrop.errors import ConfigurationError, FetchError, ImageTooLarge
from lazycrop.sources.addresses import is_public
from lazycrop.sources.download import DownloadSettings, fetch
from lazycrop.sources.locations import describe
from servers import eventually

DEADLINE = 0.5
SLACK = 1.5  # 0.2 s is what is promised; the rest is for a loaded machine. Left alone, each takes 3 s and more.

REFUSED_ADDRESSES = [
    "0.0.0.0",
    "0.255.255.255",
    "10.0.0.0",
    "10.255.255.255",
    "100.64.0.0",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.255",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.0",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.0",
    "192.168.255.255",
    "198.18.0.0",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",  # IPv4-compatible
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:7f00:1",  # IPv4-translated
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",  # NAT64 of a local prefix
    "100::1",
    "1fff:ffff::1",
    "2001::1",  # Teredo
    "2001:1ff:ffff::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "3fff:fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fdff::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
    "2606:4700::5efe:7f00:1",  # ISATAP
    "2606:4700::200:5efe:808:808",
]

PUBLIC_ADDRESSES = [
    "1.0.0.0",
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.0",
    "168.63.129.15",
    "168.63.129.17",
    "169.253.255.255",
    "169.255.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "191.255.255.255",
    "192.0.1.0",
    "192.0.3.0",
    "192.88.98.255",
    "192.88.100.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "198.51.99.255",
    "198.51.101.0",
    "203.0.112.255",
    "203.0.114.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2000::1",
    "2001:200::1",
    "2001:db7:ffff::1",
    "2001:db9::1",
    "2003::1",
    "2606:4700:4700::1111",
    "3ffe:ffff::1",
    "3fff:1000::1",
]

# Other spellings, which a resolver takes for refused addresses.
SPELLINGS = [
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0X7F.0.0.0x1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "localhost",
    "LOCALHOST",
    "%6cocalhost",
    "[0:0:0:0:0:0:0:1]",
    "[::FFFF:7F00:1]",
    "0xa9fea9fe",
    "\uff11\uff12\uff17.0.0.1",
    "127\u30020\u30020\u30021",
    "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",  # localhost, in circles
]

MALFORMED = [
    "",
    "cat.jpg",
    "/etc/passwd",
    "//example.com/cat.jpg",
    "http:",
    "http://",
    "http:///",
    "http:///cat.jpg",
    "http:example.com/cat.jpg",
    "http://?x",
    "http://:80/",
    "http://[::1",
    "http://[::1]x/",
    "http://[::1%25lo]/",
    "http://[fe80::1%25eth0]/",
    "http://ex%2fample.com/",
    "http://ex%00ample.com/",
    "http://example.com:99999/",
    "http://example.com:x/",
    "http://example.com:-80/",
    "ftp://example.com/cat.jpg",
    "file:///etc/passwd",
    "gopher://example.com/",
    "data:image/png;base64,AAAA",
    "javascript:alert(1)",
    "http+unix://%2ftmp%2fsocket/",
    "http\u017f://example.com/",
    "http://example.com/cat.jpg\n",
    "http://example.com/\r\nX-Injected: 1",
    "http://exa\tmple.com/",
    "http://example.com/\x00",
    "http://example.com/\x7f",
    "http://example.com/\ud800",
    "http://ex\uff0fample.com/",
    "http://ex\u2100mple.com/",
    "http://b\u00fc cher.example/",
    "http://example.com/" + "a" * 10_000,
    "http://" + "a" * 10_000,
]


@pytest.fixture(autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """After each test there are no other threads, and no more descriptors, than before it.

    Fewer there may be: what an earlier test left to the garbage collector may go at any time.
    """

    def descriptors() -> int:
        return len(os.listdir("/dev/fd"))

    threads, opened = set(threading.enumerate()), descriptors()
    yield
    eventually(lambda: set(threading.enumerate()) <= threads, 2, "a resolver's thread that has answered has gone")
    eventually(lambda: descriptors() <= opened, 2, "what was opened is closed")


@pytest.fixture(scope="module")
def private() -> Iterator[Server]:
    """What nobody may reach: a server of this machine. It answers, so that a leak is a picture."""
    with Server(answer()) as server:
        yield server


def settings_for(*servers: Server, **changes: Any) -> DownloadSettings:
    """Those that permit this machine's servers."""
    ports: Any = tuple(str(server.port) for server in servers)
    return DownloadSettings(**{"download_ports": ports, "allow_networks": ("127.0.0.0/8",)} | changes)


class Names:
    """A resolver of given names: each has a list of answers, given one after the other; the last one stays."""

    def __init__(self, **names: list[list[str]]) -> None:
        self.names = {name.replace("_", "."): answers for name, answers in names.items()}
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **options: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        answers = self.names[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        numeric = socket.AI_NUMERICHOST
        return [row for address in addresses for row in socket.getaddrinfo(address, port, flags=numeric, **options)]


def refusal(caplog: pytest.LogCaptureFixture, url: str, settings: DownloadSettings, **seams: Any) -> str:
    """The caller's text of a download that ends because of an address, not because nobody is there."""
    with caplog.at_level(logging.WARNING, "lazycrop.sources"), pytest.raises(FetchError) as caught:
        fetch(url, settings, **seams)
    assert caplog.messages[-1].endswith("is not permitted.")
    return str(caught.value)


def bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


# -- addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_an_address_outside_the_public_internet_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_an_address_beside_the_refused_networks_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@examples(deadline=None)
@given(st.ip_addresses(v=4))
def test_a_mapped_or_nat64_address_is_as_public_as_the_ipv4_address_in_it(address: IPv4Address) -> None:
    assert is_public(IPv6Address(f"::ffff:{address}")) == is_public(address)
    assert is_public(IPv6Address(f"64:ff9b::{address}")) == is_public(address)
    assert not is_public(IPv6Address(f"::{address}"))
    assert not is_public(IPv6Address(int.from_bytes(b"\x20\x02" + address.packed + bytes(10), "big")))


@pytest.mark.parametrize("host", [bracketed(address) for address in REFUSED_ADDRESSES] + SPELLINGS)
def test_a_url_of_a_refused_address_is_not_connected_to(
    host: str, private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    refusal(caplog, f"http://{host}:{private.port}/", settings_for(private, allow_networks=()))
    assert private.connections == 0


@pytest.mark.parametrize("address", REFUSED_ADDRESSES)
def test_a_name_that_resolves_to_a_refused_address_is_not_connected_to(
    address: str, private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(private, allow_networks=("127.0.0.2/32",))
    for answers in ([address], ["127.0.0.2", address], [address, "127.0.0.2"]):
        names = Names(cats_test=[answers])
        refusal(caplog, f"http://cats.test:{private.port}/", settings, getaddrinfo=names)
    assert private.connections == 0


@pytest.mark.parametrize("host", [bracketed(address) for address in REFUSED_ADDRESSES] + SPELLINGS)
def test_a_redirect_to_a_refused_address_is_not_followed(
    host: str, private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(redirect(f"http://{host}:{private.port}/"), host="127.0.0.2") as server:
        refusal(caplog, server.url, settings_for(server, private, allow_networks=("127.0.0.2/32",)))
        assert (server.connections, private.connections) == (1, 0)


def test_a_name_is_resolved_once_and_the_judged_address_connected_to(private: Server) -> None:
    names = Names(cats_test=[["127.0.0.2"], ["127.0.0.1"]])
    with Server(answer(), host="127.0.0.2") as server:
        settings = settings_for(server, allow_networks=("127.0.0.2/32",))
        assert fetch(f"http://cats.test:{server.port}/", settings, getaddrinfo=names) == PICTURE
    assert names.asked == ["cats.test"]
    assert f"Host: cats.test:{server.port}".encode() in server.requests[0]


def test_a_name_that_was_public_and_is_private_at_the_redirect_is_not_connected_to(
    private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names(cats_test=[["127.0.0.2"], ["127.0.0.1"]])
    with Server(redirect(f"http://cats.test:{private.port}/"), host="127.0.0.2") as server:
        settings = settings_for(server, private, allow_networks=("127.0.0.2/32",))
        refusal(caplog, f"http://cats.test:{server.port}/", settings, getaddrinfo=names)
        assert (server.connections, private.connections) == (1, 0)


def test_the_next_address_is_tried_when_one_does_not_answer() -> None:
    with Server(answer(), host="127.0.0.2") as server:
        url = f"http://cats.test:{server.port}/"
        names = Names(cats_test=[["127.0.0.3", "127.0.0.2"]])
        assert fetch(url, settings_for(server), getaddrinfo=names) == PICTURE


@pytest.mark.parametrize(
    ("allow", "deny"),
    [
        (("127.0.0.0/8",), ("127.0.0.1/32",)),
        (("127.0.0.1/32",), ("127.0.0.0/8",)),
        (("127.0.0.0/8", "::/0"), ("0.0.0.0/0",)),
        ((), ()),
        (("127.0.0.2/32",), ()),
    ],
)
@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[64:ff9b::127.0.0.1]"])
def test_deny_wins_over_allow_whatever_the_spelling(
    host: str, allow: tuple[str, ...], deny: tuple[str, ...], private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    settings = settings_for(private, allow_networks=allow, deny_networks=deny)
    refusal(caplog, f"http://{host}:{private.port}/", settings)
    assert private.connections == 0


def test_deny_wins_over_the_public_addresses(caplog: pytest.LogCaptureFixture) -> None:
    names = Names(cats_test=[["8.8.8.8"]])
    refusal(caplog, "http://cats.test/", DownloadSettings(deny_networks=("8.8.0.0/16",)), getaddrinfo=names)


@pytest.mark.parametrize("text", ["everything", "10.0.0.0/33", "10.0.0.1/8", ""])
def test_a_malformed_network_is_a_configuration_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="allow_networks"):
        fetch("http://127.0.0.1/", DownloadSettings(allow_networks=(text,)))
    with pytest.raises(ConfigurationError, match="deny_networks"):
        fetch("http://127.0.0.1/", DownloadSettings(deny_networks=(text,)))


# -- URLs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises(FetchError, match=r"malformed.*http://"):
        fetch(url, DownloadSettings())
    with pytest.raises(FetchError, match="malformed"):
        describe(url)


@examples(deadline=None)
@given(st.text(st.characters(min_codepoint=32), max_size=30))
def test_no_url_ends_in_anything_but_a_fetch_error(text: str) -> None:
    def unknown(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror

    for url in (text, f"http://{text}", f"http://example.com:{text}", f"https://example.com/{text}"):
        with pytest.raises(FetchError):
            fetch(url, DownloadSettings(), getaddrinfo=unknown)


@pytest.mark.parametrize("host", ["a..b", ".a", "a" * 64 + ".test", "xn--\x2d", "-", "_"])
def test_a_host_that_no_resolver_takes_could_not_be_reached(host: str) -> None:
    with pytest.raises(FetchError, match="could not be reached"):
        fetch(f"http://{host}/", DownloadSettings())


@pytest.mark.parametrize("userinfo", ["user@", "user:secret@", ":secret@", ":@", "user%40:@", "a@b@"])
def test_credentials_in_the_url_are_refused(userinfo: str, private: Server) -> None:
    settings = settings_for(private)
    with pytest.raises(FetchError, match="user name or a password"):
        fetch(f"http://{userinfo}127.0.0.1:{private.port}/", settings)
    with (
        Server(redirect(f"http://{userinfo}127.0.0.1:{private.port}/")) as server,
        pytest.raises(FetchError, match="user name or a password"),
    ):
        fetch(server.url, settings_for(server, private))
    assert private.connections == 0


def test_other_ports_than_the_allowed_are_refused(private: Server) -> None:
    refused = pytest.raises(FetchError, match=rf"has port {private.port}; allowed are 80, 443")
    settings = DownloadSettings(allow_networks=("127.0.0.0/8",))
    with refused:
        fetch(private.url, settings)
    with Server(redirect(private.url)) as server, pytest.raises(FetchError, match=f"has port {private.port}"):
        fetch(server.url, settings_for(server))
    for url in ("http://127.0.0.1:0/", "http://127.0.0.1/", "https://127.0.0.1/"):
        with pytest.raises(FetchError, match="has port"):
            fetch(url, settings_for(private))
    assert private.connections == 0


@pytest.mark.parametrize(
    ("url", "described"),
    [
        ("http://example.com", "http://example.com"),
        ("HTTPS://Example.COM:444/Cat.jpg", "https://example.com:444/Cat.jpg"),
        ("https://user:secret@example.com/cat.jpg?token=secret#secret", "https://example.com/cat.jpg"),
        ("https://user%3Asecret@example.com?token=secret", "https://example.com"),
        ("http://a:secret@b:secret@[::1]:80/x#?secret", "http://[::1]:80/x"),
    ],
)
def test_a_url_is_described_without_credentials_query_and_fragment(url: str, described: str) -> None:
    assert describe(url) == described


# -- requests and answers -------------------------------------------------------------------------------------


def test_the_body_is_handed_back_byte_for_byte() -> None:
    body = os.urandom(300_000)
    with Server(answer(body)) as server:
        assert fetch(server.url, settings_for(server)) == body


def test_ipv6_is_spoken() -> None:
    with Server(answer(), host="::1") as server:
        assert fetch(server.url, settings_for(server, allow_networks=("::1/128",))) == PICTURE
    assert f"Host: [::1]:{server.port}".encode() in server.requests[0]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\nabcde",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\nContent-Length: 5\r\n\r\nabcdefghi",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
    ],
    ids=["chunked", "until the end", "HTTP/1.0", "more than it said", "after 100 Continue"],
)
def test_a_body_is_read_as_its_headers_frame_it(data: bytes) -> None:
    with Server(raw(data)) as server:
        assert fetch(server.url, settings_for(server)) == b"abcde"


def test_a_body_of_exactly_the_limit_is_accepted_and_one_byte_more_is_too_large() -> None:
    for behave in (answer(b"x" * 1_000), raw(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000)):
        with Server(behave) as server:
            assert len(fetch(server.url, settings_for(server, download_bytes=1_000))) == 1_000
            with pytest.raises(ImageTooLarge, match="999 bytes"):
                fetch(server.url, settings_for(server, download_bytes=999))


def test_a_request_asks_for_identity_and_carries_nothing_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, private: Server
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{private.port}")
    with Server(answer()) as last, Server(redirect(last.url + "?a=b#c", "Set-Cookie: a=b; Path=/")) as server:
        assert fetch(server.url, settings_for(server, last)) == PICTURE
    assert private.connections == 0
    (request,) = last.requests
    first, *headers = request.decode().split("\r\n")
    assert first == "GET /cat.jpg?a=b HTTP/1.1"
    assert sorted(headers) == [
        "",
        "",
        "Accept-Encoding: identity",
        "Accept: image/*",
        f"Host: 127.0.0.1:{last.port}",
        "User-Agent: lazycrop",
    ]


@pytest.mark.parametrize("status", ["301 A", "302 B", "303 C", "307 D", "308 E"])
def test_a_redirect_is_followed_wherever_it_is_relative_to(status: str) -> None:
    def behave(connection: socket.socket) -> None:
        moved = answer(b"ignored", "Location: ../dog.jpg?x=1", status=status)
        (moved if len(server.requests) == 1 else answer())(connection)

    with Server(behave) as server:
        assert fetch(server.url, settings_for(server)) == PICTURE
    assert server.requests[1].startswith(b"GET /dog.jpg?x=1 ")


def test_no_more_redirects_are_followed_than_allowed() -> None:
    def behave(connection: socket.socket) -> None:
        (redirect("/again.jpg") if len(server.requests) <= 2 else answer())(connection)

    with Server(behave) as server:
        assert fetch(server.url, settings_for(server, download_redirects=2)) == PICTURE
    with Server(behave) as server, pytest.raises(FetchError, match="redirects more than 1 times"):
        fetch(server.url, settings_for(server, download_redirects=1))
    assert server.connections == 2


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/", "http://[::1", "/\x01", "file:///x", "//ex ample/"])
def test_a_redirect_to_a_malformed_url_is_refused(location: str) -> None:
    with Server(raw(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\n\r\n".encode("latin-1"))) as server:
        with pytest.raises(FetchError, match="malformed"):
            fetch(server.url, settings_for(server))
        assert server.connections == 1


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("/k\u00e4se a.jpg", b"/k%C3%A4se%20a.jpg"),
        ("/a|b.jpg?x=\u00e4 b#\u00fc", b"/a%7Cb.jpg?x=%C3%A4%20b"),
        ("/100%.jpg?a=%41", b"/100%25.jpg?a=%41"),
        ("/a\\b.jpg?a\\b", b"/a/b.jpg?a%5Cb"),
        ("/already%20%c3%a9.jpg", b"/already%20%C3%A9.jpg"),
    ],
)
def test_what_a_person_types_is_asked_for_as_a_browser_does(url: str, asked: bytes) -> None:
    with Server(answer()) as server:
        typed = f" http://127.0.0.1:{server.port}{url} "
        assert fetch(typed, settings_for(server)) == PICTURE
        assert server.requests[0].startswith(b"GET " + asked + b" HTTP/1.1\r\n")
        assert describe(typed).isascii()


@pytest.mark.parametrize(
    ("host", "resolved"),
    [
        ("b\u00fccher.test", "xn--bcher-kva.test"),
        ("BU\u0308CHER\u3002test", "xn--bcher-kva.test"),
        ("stra\u00dfe.test", "xn--strae-oqa.test"),
        ("\u4f8b\u3048.\u30c6\u30b9\u30c8", "xn--r8jz45g.xn--zckzah"),
        ("xn--bcher-kva.test", "xn--bcher-kva.test"),
    ],
)
def test_a_host_in_letters_of_the_world_goes_through_the_same_door(
    host: str, resolved: str, private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names()
    names.names |= {"127.0.0.2": [["127.0.0.2"]], resolved: [["127.0.0.2"]]}
    with Server(answer(), host="127.0.0.2") as server:
        settings = settings_for(server, private, allow_networks=("127.0.0.2/32",))
        assert fetch(f"http://{host}:{server.port}/", settings, getaddrinfo=names) == PICTURE
        assert f"Host: {resolved}:{server.port}".encode() in server.requests[0]
        with Server(redirect(f"//{host}:{private.port}/"), host="127.0.0.2") as first:
            settings = settings_for(first, private, allow_networks=("127.0.0.2/32",))
            names.names[resolved] = [["127.0.0.1"]]
            refusal(caplog, first.url, settings, getaddrinfo=names)
    assert private.connections == 0


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/café.jpg".encode(), b"/caf%C3%A9.jpg"),
        ("/\u00c5\u0405.jpg".encode(), b"/%C3%85%D0%85.jpg"),  # Its bytes are line ends in other encodings.
        (b"/caf\xe9.jpg?x=\xe9", b"/caf%E9.jpg?x=%E9"),
        (b"/a b.jpg", b"/a%20b.jpg"),
        (b"  /a.jpg \t", b"/a.jpg"),
        (b"/a\tb.jpg", b"/ab.jpg"),
        (b"/a%20b%zz.jpg#\xc3\xa9", b"/a%20b%25zz.jpg"),
        (b"dog.jpg", b"/dog.jpg"),
        (b"./x/../dog.jpg", b"/dog.jpg"),
        (b"\\images\\dog.jpg", b"/images/dog.jpg"),
        (b"?x=1", b"/cat.jpg?x=1"),
        (b"//127.0.0.1:PORT/dog.jpg", b"/dog.jpg"),
        (b"HTTP://127.0.0.1:PORT", b"/"),
    ],
)
def test_a_redirect_is_followed_as_servers_write_it(location: bytes, asked: bytes) -> None:
    def behave(connection: socket.socket) -> None:
        target = location.replace(b"PORT", str(server.port).encode())
        moved = raw(b"HTTP/1.1 302 Found\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n")
        (moved if len(server.requests) == 1 else answer())(connection)

    with Server(behave) as server:
        assert fetch(server.url, settings_for(server)) == PICTURE
    assert server.requests[1].startswith(b"GET " + asked + b" HTTP/1.1\r\n")


@pytest.mark.parametrize("location", ["/\x01", "ftp://127.0.0.1/", "http://a:b@127.0.0.1/", "http://127.0.0.1:1/"])
def test_a_bad_redirect_is_not_blamed_on_the_source(location: str) -> None:
    with Server(redirect(location)) as server, pytest.raises(FetchError, match="redirects to"):
        fetch(server.url, settings_for(server))


@pytest.mark.parametrize(
    "coding", ["identity", "", "none", "Binary", "utf-8", "UTF-8, identity", "aws-chunked", "aws-chunked,aws-chunked"]
)
def test_a_content_encoding_that_codes_nothing_is_fine(coding: str) -> None:
    for headers in ([f"Content-Encoding: {coding}"], [f"content-encoding:{coding}", f"Content-Encoding: {coding}"]):
        with Server(answer(PICTURE, *headers)) as server:
            assert fetch(server.url, settings_for(server)) == PICTURE


@pytest.mark.parametrize(
    "coding", ["gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "compress", "aws-chunked, gzip", "gzip;q=1", "xz"]
)
def test_a_content_encoding_that_changes_bytes_is_refused(coding: str) -> None:
    behave = answer(PICTURE, "Content-Encoding: identity", f"Content-Encoding: {coding}")
    with Server(behave) as server, pytest.raises(FetchError, match="encoded body"):
        fetch(server.url, settings_for(server))


@pytest.mark.parametrize(
    "head",
    [
        b"200 OK\r\nTransfer-Encoding: Chunked \r\n",
        b"200 OK\r\nTransfer-Encoding: identity, chunked\r\nContent-Length: 3\r\n",
        b"200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"200 OK\r\nTransfer-Encoding: \r\nTransfer-Encoding:\tCHUNKED\r\n",
        b"103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_chunks_are_read_however_they_are_announced(head: bytes) -> None:
    body = b'3 ;name="x;y"\r\nabc\r\n002\r\nde\r\n0\r\n\r\n'
    with Server(raw(b"HTTP/1.1 " + head + b"\r\n" + body)) as server:
        assert fetch(server.url, settings_for(server)) == b"abcde"


@pytest.mark.parametrize(
    "head",
    [
        b"200\r\nContent-Length: 5\r\n",
        b"200 \xc3\x96K, \xff so it is\r\nContent-Length:    5   \r\n",
        b"200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        b"200 OK\r\nContent-Length: 5, 5\r\n",
        b"200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 5\r\n",
    ],
)
def test_a_length_counts_however_it_is_written(head: bytes) -> None:
    """The server keeps its connection open: whoever has not understood it waits for more."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 " + head + b"\r\nabcde")
        silent(connection)

    with Server(behave) as server:
        assert fetch(server.url, settings_for(server)) == b"abcde"


@pytest.mark.parametrize(
    "head", ["300 Multiple Choices\r\nLocation: /a", "304 Not Modified", "302 Found\r\nLocation:", "301 Moved"]
)
def test_an_answer_that_leads_nowhere_is_an_error(head: str) -> None:
    with Server(raw(f"HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n".encode())) as server:
        with pytest.raises(FetchError, match="answered with an error"):
            fetch(server.url, settings_for(server))
        assert server.connections == 1


# -- time and size --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # ssl.create_default_context() reads all the system's roots
    authority.configure_trust(context)
    return context


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def hostile(behave: Behaviour, authority: trustme.CA, tls: bool) -> Server:
    return Server(behave, tls=serving(authority.issue_cert("127.0.0.1")) if tls else None)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("behave", ENDLESS.values(), ids=ENDLESS)
def test_a_server_that_never_ends_is_left_at_the_deadline(behave: Behaviour, tls: bool, authority: trustme.CA) -> None:
    trusted = trusting(authority)
    with hostile(behave, authority, tls) as server:
        start = time.monotonic()
        with pytest.raises(FetchError, match="took too long"):
            fetch(server.url, settings_for(server, download_seconds=DEADLINE), tls=trusted)
        assert DEADLINE - 0.01 <= time.monotonic() - start < DEADLINE + SLACK


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("behave", BROKEN.values(), ids=BROKEN)
def test_a_server_that_breaks_off_or_breaks_the_rules_gives_no_picture(
    behave: Behaviour, tls: bool, authority: trustme.CA
) -> None:
    trusted = trusting(authority)
    with hostile(behave, authority, tls) as server:
        start = time.monotonic()
        with pytest.raises(FetchError) as caught:
            fetch(server.url, settings_for(server), tls=trusted)
        assert "too long" not in str(caught.value)
        assert time.monotonic() - start < SLACK


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize("behave", OVERSIZED.values(), ids=OVERSIZED)
def test_a_server_that_sends_too_much_is_left_at_the_limit(behave: Behaviour, tls: bool, authority: trustme.CA) -> None:
    with hostile(behave, authority, tls) as server, pytest.raises(ImageTooLarge):
        fetch(server.url, settings_for(server, download_bytes=1_000_000), tls=trusting(authority))


@pytest.mark.parametrize("head", [b"", b"Content-Length: 1000000000\r\n"], ids=["without length", "with length"])
def test_the_deadline_holds_while_bytes_pour_in(head: bytes) -> None:
    with Server(repeat(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n", b"." * 65_536, 0.001)) as server:
        start = time.monotonic()
        with pytest.raises(FetchError, match="took too long"):
            fetch(server.url, settings_for(server, download_bytes=10**9, download_seconds=DEADLINE))
        assert time.monotonic() - start < DEADLINE + SLACK


def test_redirects_share_one_deadline() -> None:
    def behave(connection: socket.socket) -> None:
        time.sleep(DEADLINE / 3)
        redirect("/again.jpg")(connection)

    with Server(behave) as server:
        start = time.monotonic()
        with pytest.raises(FetchError, match="took too long"):
            fetch(server.url, settings_for(server, download_redirects=20, download_seconds=DEADLINE))
        assert time.monotonic() - start < DEADLINE + SLACK


def test_a_server_that_is_silent_for_the_read_timeout_is_left_before_the_deadline() -> None:
    with Server(silent) as server:
        start = time.monotonic()
        with pytest.raises(FetchError, match="took too long"):
            fetch(server.url, settings_for(server, download_read_seconds=0.1))
        assert time.monotonic() - start < 0.1 + SLACK


def test_a_server_that_never_shakes_hands_is_left_at_the_deadline(authority: trustme.CA) -> None:
    trusted = trusting(authority)
    with Server(silent) as server:  # speaks no TLS, and waits for the end of a request
        url = server.url.replace("http:", "https:")
        start = time.monotonic()
        with pytest.raises(FetchError, match="took too long"):
            fetch(url, settings_for(server, download_connect_seconds=10, download_seconds=DEADLINE), tls=trusted)
        assert time.monotonic() - start < DEADLINE + SLACK


@pytest.mark.parametrize(("connect", "whole"), [(0.2, 10.0), (10.0, 0.2)], ids=["connect timeout", "deadline"])
def test_a_server_that_accepts_nobody_is_left_at_the_earlier_limit(connect: float, whole: float) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, socket.socket() as first:
        port = listener.getsockname()[1]
        first.connect(("127.0.0.1", port))  # takes the one place in the queue; the next is never answered
        limits: Any = {"download_connect_seconds": connect, "download_seconds": whole}
        settings = DownloadSettings(allow_networks=("127.0.0.0/8",), download_ports=(str(port),), **limits)
        start = time.monotonic()
        with pytest.raises(FetchError, match="could not be reached"):
            fetch(f"http://127.0.0.1:{port}/", settings)
        assert time.monotonic() - start < 0.2 + SLACK


def test_a_resolver_that_never_answers_is_left_at_the_deadline() -> None:
    done = threading.Event()

    def stuck(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        done.wait(10)
        return []

    start = time.monotonic()
    with pytest.raises(FetchError, match="could not be reached"):
        fetch("http://cats.test/", DownloadSettings(download_seconds=DEADLINE), getaddrinfo=stuck)
    assert time.monotonic() - start < DEADLINE + SLACK
    done.set()


# -- certificates ---------------------------------------------------------------------------------------------


def test_a_good_certificate_is_accepted_for_the_name_though_the_address_is_pinned(authority: trustme.CA) -> None:
    names = Names(cats_test=[["127.0.0.1"], ["127.0.0.2"]])
    asked_for = []
    context = serving(authority.issue_cert("cats.test"))
    context.sni_callback = lambda _, name, __: asked_for.append(name)
    with Server(answer(), tls=context) as server:
        url = f"https://cats.test:{server.port}/"
        assert fetch(url, settings_for(server), tls=trusting(authority), getaddrinfo=names) == PICTURE
    assert asked_for == names.asked == ["cats.test"]


def bad_certificates(authority: trustme.CA) -> dict[str, ssl.SSLContext]:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    self_signed = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    lonely = trustme.CA()
    with lonely.private_key_pem.tempfile() as key, lonely.cert_pem.tempfile() as certificate:
        self_signed.load_cert_chain(certificate, key)
    return {
        "wrong name": serving(authority.issue_cert("dogs.test")),
        "name of the address": serving(authority.issue_cert("127.0.0.1")),
        "unknown authority": serving(trustme.CA().issue_cert("cats.test")),
        "self-signed": self_signed,
        "expired": serving(authority.issue_cert("cats.test", not_after=yesterday)),
        "not yet valid": serving(authority.issue_cert("cats.test", not_before=datetime.now(UTC) + timedelta(days=1))),
    }


@pytest.mark.parametrize(
    "kind", ["wrong name", "name of the address", "unknown authority", "self-signed", "expired", "not yet valid"]
)
def test_a_bad_certificate_is_refused(kind: str, authority: trustme.CA) -> None:
    names = Names(cats_test=[["127.0.0.1"]])
    with Server(answer(), tls=bad_certificates(authority)[kind]) as server:
        url = f"https://cats.test:{server.port}/"
        with pytest.raises(FetchError, match="certificate"):
            fetch(url, settings_for(server), tls=trusting(authority), getaddrinfo=names)
        assert server.connections == 1
    assert server.requests == []


def test_the_trusted_certificates_are_the_systems_unless_others_are_handed_in(authority: trustme.CA) -> None:
    with hostile(answer(), authority, tls=True) as server, pytest.raises(FetchError, match="certificate"):
        fetch(server.url, settings_for(server))


def test_a_redirect_from_https_to_http_is_refused_and_the_reverse_is_followed(authority: trustme.CA) -> None:
    with Server(answer()) as plain, hostile(redirect(plain.url), authority, tls=True) as secure:
        with pytest.raises(FetchError, match="from https to http"):
            fetch(secure.url, settings_for(plain, secure), tls=trusting(authority))
        assert plain.connections == 0
    with hostile(answer(), authority, tls=True) as secure, Server(redirect(secure.url)) as plain:
        assert fetch(plain.url, settings_for(plain, secure), tls=trusting(authority)) == PICTURE


# -- what is told ---------------------------------------------------------------------------------------------


def test_a_refused_address_reads_as_one_that_could_not_be_connected_to(
    private: Server, caplog: pytest.LogCaptureFixture
) -> None:
    refused = refusal(caplog, private.url, settings_for(private, allow_networks=()))
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    settings = DownloadSettings(allow_networks=("127.0.0.0/8",), download_ports=(str(port), "80"))
    for url, names in (
        (f"http://127.0.0.1:{port}/", socket.getaddrinfo),
        ("http://cats.test/", Names(cats_test=[[]])),
        (f"https://cats.test:{port}/", Names(cats_test=[["127.0.0.1"]])),
    ):
        with pytest.raises(FetchError) as caught:
            fetch(url, settings, getaddrinfo=names)
        assert str(caught.value) == refused


@pytest.mark.parametrize("behave", [*ENDLESS.values(), *BROKEN.values()], ids=[*ENDLESS, *BROKEN])
def test_an_error_tells_the_caller_no_host_and_nobody_the_query(
    behave: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    with Server(behave) as server, caplog.at_level(logging.DEBUG, "lazycrop"), pytest.raises(FetchError) as caught:
        fetch(f"{server.url}?token=secret", settings_for(server, download_seconds=0.2))
    assert caught.value.__context__ is None
    assert "127.0.0.1" not in str(caught.value)
    told = [r.getMessage() for r in caplog.records if r.name.startswith("lazycrop.sources")]
    assert not [text for text in [str(caught.value), *told] if "secret" in text]


@pytest.mark.parametrize(
    "url",
    [
        "http://user:secret@127.0.0.1/",
        "http://[::1?token=secret",
        "http://127.0.0.1:99999/?token=secret",
        "http://127.0.0.1:1/?token=secret",
        "http://127.0.0.1/?token=secret",
        "http://secret:secret@[::1",
        "ftp://user:secret@127.0.0.1/",
    ],
)
def test_an_error_and_its_traceback_show_neither_query_nor_credentials(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(FetchError) as caught:
        fetch(url, DownloadSettings())
    assert caught.value.__context__ is None
    assert "secret" not in str(caught.value) + caplog.text
    assert not any(text in str(caught.value) for text in ("127.0.0.1", "::1"))


def test_the_host_and_the_reason_are_logged(private: Server, caplog: pytest.LogCaptureFixture) -> None:
    refusal(caplog, f"{private.url}?token=secret", settings_for(private, allow_networks=()))
    assert caplog.messages == ["Fetching from 127.0.0.1 failed: the address 127.0.0.1 is not permitted."]
