"""Fetching an origin from a URL that a stranger may have given, out of a server that may be hostile.

Every connection, also that of each redirect, is opened at one door: it resolves the host once, refuses it when
any of the answers is not a public address, and connects to the very address that it has judged. One watchdog
ends the whole download at its deadline. The caller learns the class of a failure only; host and reason are
logged. Query strings and credentials go into neither.
"""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, PoolManager, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, ProtocolError, SSLError
from urllib3.exceptions import TimeoutError as PoolTimeoutError
from urllib3.util import Url, parse_url

from lazycrop.errors import FetchError, ImageTooLarge
from lazycrop.options import option
from lazycrop.sources.addresses import Rules

_log = logging.getLogger(__name__)

_MAX_URL = 8_000  # characters; what RFC 9110, 4.1 asks every party to support at least
_URL = re.compile(r"https?://[!-~]+", re.ASCII | re.IGNORECASE)

_MALFORMED = (
    f"The source URL is malformed; write http:// or https://, a host and a path, in printable ASCII"
    f" (percent-encoded, hosts as xn--…) and at most {_MAX_URL:,} characters."
)
_UNREACHABLE = "The source URL could not be reached; check its host, and that it is on the public internet."
_TOO_SLOW = "The source URL took too long to answer; try again later, or give another one."

_Resolver = Callable[..., list[tuple[Any, ...]]]


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


def fetch(
    url: str,
    settings: DownloadSettings,
    *,
    tls: ssl.SSLContext | None = None,
    getaddrinfo: _Resolver = socket.getaddrinfo,
) -> bytes:
    """The bytes behind an http or https URL.

    ``tls``: trusted certificates other than the system's; no other thread may be using it. ``getaddrinfo``: a
    resolver of the same signature as the one of :mod:`socket`; whatever it answers is judged all the same.
    Raises :class:`~lazycrop.errors.FetchError`, and :class:`~lazycrop.errors.ImageTooLarge` for more bytes than
    allowed. Ends at the latest when ``download_seconds`` have passed.
    """
    target = _target(url, settings)
    rules = Rules.read(settings.allow_networks, settings.deny_networks)
    with _Watchdog(settings.download_seconds) as watchdog:
        door = _Door(settings, rules, watchdog, getaddrinfo)
        for _ in range(settings.download_redirects + 1):
            pool_options = {"ssl_context": tls or _tls_context()} if target.scheme == "https" else None
            # Closed by hand: a manager leaves an idle connection open for as long as anything holds the pool.
            with closing(
                _manager(door).connection_from_host(target.host, target.port, target.scheme, pool_options)
            ) as pool:
                answer = _ask(pool, target, settings, watchdog)
            if isinstance(answer, bytes):
                return answer
            target = _redirected(target, answer, settings)
    raise FetchError(f"The source URL redirects more than {settings.download_redirects} times; give the final URL.")


def describe(url: str) -> str:
    """The URL without credentials, query and fragment, fit to be kept and shown. Raises FetchError if malformed."""
    return _parse(url)._replace(auth=None, query=None, fragment=None).url


class _Watchdog:
    """Shuts down the watched connection at the deadline, whatever it is doing then, and says so in ``fired``.

    Nothing else ends a server that drips: a socket's timeout starts anew with every byte. A connection that was
    shut looks like one that has ended, so nothing read may be believed before :meth:`check`.
    """

    def __init__(self, seconds: float) -> None:
        self.fired = False
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    @property
    def left(self) -> float:
        """Seconds until the deadline, always above 0 (which a socket would take for "do not block")."""
        return max(0.001, self._deadline - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Watch this connection, and no other one any more."""
        with self._lock:
            self._release()
            # A descriptor of its own: TLS takes the socket over, and a number once closed may be somebody else's.
            self._watched = connection.dup()
            if self.fired:
                self._shut()

    def check(self) -> None:
        """Raise TimeoutError if the deadline has passed: what was read by then may be cut."""
        if self.fired:
            raise TimeoutError

    def __enter__(self) -> _Watchdog:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._release()

    def _fire(self) -> None:
        with self._lock:
            self.fired = True
            self._shut()

    def _shut(self) -> None:
        if self._watched is not None:
            with suppress(OSError):  # the server was first
                self._watched.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._watched is not None:
            self._watched.close()


@dataclass(frozen=True)
class _Door:
    """Where every connection of a download is opened."""

    settings: DownloadSettings
    rules: Rules
    watchdog: _Watchdog
    getaddrinfo: _Resolver

    def open(self, host: str, port: int) -> socket.socket:
        """A connection to an address of the host, after all its addresses were judged. Raises FetchError."""
        answers = self._resolve(host, port)
        for *_, address in answers:
            if not self.rules.permit(ip_address(address[0])):
                raise _failure(_UNREACHABLE, host, f"the address {address[0]} is not permitted")
        reason = "no address was found"
        for family, kind, protocol, _, address in answers:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(min(self.settings.download_connect_seconds, self.watchdog.left))
                connection.connect(address)
                self.watchdog.watch(connection)
                return connection
            except OSError as error:
                connection.close()
                reason = f"{address[0]} could not be connected to: {error}"
        raise _failure(_UNREACHABLE, host, reason)

    def _resolve(self, host: str, port: int) -> list[tuple[Any, ...]]:
        """The answers of the resolver; none when it fails, or has none before the deadline.

        It is asked in a thread, which is left behind then: nothing else bounds a name server that does not answer.
        """
        answers: list[tuple[Any, ...]] = []

        def ask() -> None:
            with suppress(OSError, UnicodeError):  # unknown names; labels that are empty or too long
                answers.extend(self.getaddrinfo(host, port, type=socket.SOCK_STREAM))

        thread = threading.Thread(target=ask, name="lazycrop-resolver", daemon=True)
        thread.start()
        thread.join(self.watchdog.left)
        return answers.copy()


def _manager(door: _Door) -> PoolManager:
    """A fresh pool manager whose connections come through the door; urllib3 stays as it is for everybody else.

    ``_new_conn`` is the one place where the address can be chosen without touching SNI, the certificate's name
    or the Host header, which all keep to the URL's host.
    """

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return door.open(self._dns_host, self.port)

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return door.open(self._dns_host, self.port)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    manager = PoolManager()
    manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return manager


_thread = threading.local()


def _tls_context() -> ssl.SSLContext:
    """The system's trusted certificates, read once a thread (50 ms).

    Not once a process: urllib3 sets the context's ALPN protocols at each connection, and OpenSSL copies them
    without a lock when another thread connects.
    """
    if not hasattr(_thread, "tls"):
        _thread.tls = ssl.create_default_context()
    context: ssl.SSLContext = _thread.tls
    return context


def _ask(pool: HTTPConnectionPool, target: Url, settings: DownloadSettings, watchdog: _Watchdog) -> bytes | str:
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
    raise _failure(text, target.host, reason)


def _explained(error: Exception, watchdog: _Watchdog) -> tuple[str, str]:
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
        raise _failure(text, target.host, f"status {response.status}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity" or (
        response.headers.get("Transfer-Encoding", "chunked").lower() != "chunked"
    ):
        text = "The source URL answered with an encoded body, which was not asked for; give another one."
        raise _failure(text, target.host, "encoded body")
    body = bytearray()
    while len(body) + (response.length_remaining or 0) <= settings.download_bytes:
        chunk = response.read1(65_536)
        body += chunk
        if not body:  # also what is left when the server breaks off within its headers
            raise ProtocolError
        if not chunk:
            return bytes(body)
    raise ImageTooLarge(f"The image has more than {settings.download_bytes:,} bytes; give a smaller one.")


def _redirected(source: Url, location: str, settings: DownloadSettings) -> Url:
    joined = ""
    with suppress(ValueError):  # http://[::1
        joined = urljoin(source.url, location)
    target = _target(joined, settings)
    if source.scheme == "https" and target.scheme == "http":
        raise FetchError("The source URL redirects from https to http; give one that stays with https.")
    return target


def _target(url: str, settings: DownloadSettings) -> Url:
    """The parts of a URL that may be fetched as far as can be told from its text. Raises FetchError."""
    target = _parse(url)
    if target.auth is not None:
        raise FetchError("The source URL has a user name or a password; give one without.")
    port = str(target.port or {"http": 80, "https": 443}[target.scheme or ""])
    if port not in settings.download_ports:
        raise FetchError(f"The source URL has port {port}; allowed are {', '.join(settings.download_ports)}.")
    return target


def _parse(url: str) -> Url:
    parsed = Url()
    if len(url) <= _MAX_URL and _URL.fullmatch(url):
        with suppress(HTTPError, ValueError):
            parsed = parse_url(url)
    # A % would be the zone of an IPv6 address, or an encoded host: neither is a public name.
    if not parsed.host or "%" in parsed.host:
        raise FetchError(_MALFORMED)
    return parsed


def _failure(text: str, host: str | None, reason: str) -> FetchError:
    """The error to raise; host and reason go to the log only."""
    _log.warning("Fetching from %s failed: %s.", host, reason)
    return FetchError(text)
