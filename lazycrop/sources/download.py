"""Fetching an origin from a URL that a stranger may have given, out of a server that may be hostile. [urllib3]

Every connection, also that of each redirect, is opened at one door: it resolves the host once, refuses it when
any of the answers is not a public address, and connects to the very address that it has judged. One watchdog
ends the whole download at its deadline. The caller learns the class of a failure only; host and reason are
logged. Query strings and credentials go into neither.
"""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import closing
from dataclasses import dataclass

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as PoolTimeoutError
from urllib3.util import Url

from lazycrop.errors import ConfigurationError, FetchError, ImageTooLarge
from lazycrop.options import option
from lazycrop.sources.addresses import Rules
from lazycrop.sources.door import Door, Resolver, failure, items, manager, tls_context
from lazycrop.sources.locations import parsed, redirected
from lazycrop.sources.watchdog import Watchdog

_TOO_SLOW = "The source URL took too long to answer; try again later, or give another one."

# Content codings that change bytes: those of IANA's registry and of programs. Servers send names of charsets, of
# transports and of nothing in the same place, and browsers show the picture.
_CODINGS = {
    *("gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "dcb", "dcz", "aes128gcm", "exi"),
    *("pack200-gzip", "bzip2", "x-bzip2", "lzma", "xz", "x-xz", "lz4", "snappy", "sdch"),
}

_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class DownloadSettings:
    """What a download may cost, and where it may go."""

    download_bytes: int = option(20_000_000, "The most bytes that the file behind a source URL may have.")
    download_seconds: float = option(10.0, "The seconds within which a download is complete, redirects included.")
    download_connect_seconds: float = option(2.0, "The most seconds to connect to an address of the source's host.")
    download_read_seconds: float = option(5.0, "The most seconds that the source's server may be silent.")
    download_redirects: int = option(3, "The most redirects that are followed from a source URL.")
    download_ports: tuple[str, ...] = option(("80", "443"), "The ports that a source URL may have.")
    allow_networks: tuple[str, ...] = option(
        (), "Networks, as 10.1.0.0/16, that may be fetched from although they are not public."
    )
    deny_networks: tuple[str, ...] = option(
        (), "Networks that are never fetched from, although public or in allow_networks."
    )

    def __post_init__(self) -> None:
        Rules.read(self.allow_networks, self.deny_networks)
        for port in self.download_ports:
            if not _PORT.fullmatch(port):
                raise ConfigurationError(f"{port!r} in 'download_ports' is no port; one is a number, such as 8080.")


def fetch(
    url: str,
    settings: DownloadSettings,
    *,
    tls: ssl.SSLContext | None = None,
    getaddrinfo: Resolver = socket.getaddrinfo,
) -> bytes:
    """The bytes behind an http or https URL.

    ``tls``: trusted certificates other than the system's; no other thread may be using it. ``getaddrinfo``: a
    resolver of the same signature as the one of :mod:`socket`; whatever it answers is judged all the same.
    Raises :class:`~lazycrop.errors.FetchError`, and :class:`~lazycrop.errors.ImageTooLarge` for more bytes than
    allowed. Ends at the latest when ``download_seconds`` have passed.
    """
    target = _permitted(parsed(url), "The source URL", settings)
    rules = Rules.read(settings.allow_networks, settings.deny_networks)
    with Watchdog(settings.download_seconds) as watchdog:
        door = Door(settings.download_connect_seconds, rules, watchdog, getaddrinfo)
        for _ in range(settings.download_redirects + 1):
            pool_options = {"ssl_context": tls or tls_context()} if target.scheme == "https" else None
            # Closed by hand: a manager leaves an idle connection open for as long as anything holds the pool.
            with closing(
                manager(lambda: door).connection_from_host(target.host, target.port, target.scheme, pool_options)
            ) as pool:
                answer = _ask(pool, target, settings, watchdog)
            if isinstance(answer, bytes):
                return answer
            target = _redirected(target, answer, settings)
    raise FetchError(f"The source URL redirects more than {settings.download_redirects} times; give the final URL.")


def _ask(pool: HTTPConnectionPool, target: Url, settings: DownloadSettings, watchdog: Watchdog) -> bytes | str:
    """One request: the body, or the location that it is redirected to. Raises FetchError, ImageTooLarge."""
    try:
        response = pool.urlopen(
            "GET",
            target.request_uri,
            headers={"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "lazycrop"},
            timeout=Timeout(connect=settings.download_connect_seconds, read=settings.download_read_seconds),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        with closing(response):
            watchdog.check()
            answer = response.get_redirect_location() or _body(response, target, settings)
            watchdog.check()
            return answer
    except (HTTPError, OSError, ValueError) as error:
        text, reason = _explained(error, watchdog)
    # Raised out here, so that no traceback shows urllib3's own errors, which quote the URL.
    raise failure(text, target.host, reason)


def _explained(error: Exception, watchdog: Watchdog) -> tuple[str, str]:
    """The class of a failed request for the caller, and the reason for the log, which must not quote the server."""
    reason = " after ".join(type(e).__name__ for e in (error, error.__context__) if e is not None)
    if watchdog.fired:
        return _TOO_SLOW, "the deadline passed"
    if isinstance(error, PoolTimeoutError):
        return _TOO_SLOW, reason
    if isinstance(error, SSLError):
        return "The source URL's server could not prove that it is the one named; check its certificate.", str(error)
    return "The source URL's answer was broken off or malformed; try again later, or give another one.", reason


def _body(response: BaseHTTPResponse, target: Url, settings: DownloadSettings) -> bytes:
    """All bytes of an answer, which must be a plain one."""
    if response.status != 200:
        text = "The source URL answered with an error; check that it shows an image in a browser."
        raise failure(text, target.host, f"status {response.status}")
    if is_encoded(response):
        text = "The source URL answered with an encoded body, which was not asked for; give another one."
        raise failure(text, target.host, "encoded body")
    body = bytearray()
    while len(body) + (response.length_remaining or 0) <= settings.download_bytes:
        chunk = response.read1(65_536)
        body += chunk
        if not body:  # also what is left when the server breaks off within its headers
            raise ProtocolError
        if not chunk:
            return bytes(body)
    raise ImageTooLarge(f"The image has more than {settings.download_bytes:,} bytes; give a smaller one.")


def is_encoded(response: BaseHTTPResponse) -> bool:
    coded = re.findall(r"[\w-]+", ",".join(response.headers.getlist("Content-Encoding")).lower())
    transfer = items(response.headers.getlist("Transfer-Encoding"))
    return not _CODINGS.isdisjoint(coded) or not {"identity", "chunked"}.issuperset(transfer)


def _redirected(source: Url, location: str, settings: DownloadSettings) -> Url:
    target = _permitted(redirected(source, location), "What the source URL redirects to", settings)
    if source.scheme == "https" and target.scheme == "http":
        raise FetchError("The source URL redirects from https to http; give one that stays with https.")
    return target


def _permitted(target: Url, what: str, settings: DownloadSettings) -> Url:
    """A URL that may be fetched as far as can be told from its text; ``what`` it is, for the FetchError else."""
    if target.auth is not None:
        raise FetchError(f"{what} has a user name or a password; give a URL without.")
    port = str(target.port or {"http": 80, "https": 443}[target.scheme or ""])
    if port not in settings.download_ports:
        raise FetchError(f"{what} has port {port}; allowed are {', '.join(settings.download_ports)}.")
    return target
