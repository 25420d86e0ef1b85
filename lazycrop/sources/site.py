"""Sites: a source behind a URL. Each connection comes through the door of all downloads, and is kept for the next."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
from collections.abc import Callable
from typing import NoReturn
from urllib.parse import quote, unquote

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError, ProtocolError
from urllib3.exceptions import TimeoutError as PoolTimeoutError
from urllib3.util import Url

from lazycrop.concurrency.forks import renew
from lazycrop.errors import BadRequest, ConfigurationError, FetchError, SourceUnavailable
from lazycrop.options import shown
from lazycrop.sources.addresses import Rules
from lazycrop.sources.answers import BROKEN, NotInPart, beginning, finish, taken, whole
from lazycrop.sources.contract import Seen
from lazycrop.sources.door import Door, Resolver, manager, tls_context
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.locations import parsed, redirected
from lazycrop.sources.names import segments
from lazycrop.sources.watchdog import Watchdog

logger = logging.getLogger(__name__)

_PORTS = {"http": 80, "https": 443}
_LEAVES = re.compile(r"%(?:2f|5c|2e|00)", re.IGNORECASE)  # what a server may take for a slash or a dot after all


class SiteSource:
    """The files below a URL such as ``https://old.example.com/images/``; nothing else of that site or of another.

    A redirect is followed where it stays below. Its host may be a private one where ``allow_networks`` has it, and its
    port any. What a server refuses (4xx) is not there, but for 408 and 429; of one that answers 429 or 503 it is not
    known. A validator is the ETag; else the date of change and the length, where the server says both and the file has
    not just been changed; else the hash of the whole file, which a look has then to read. ``seconds``: the longest wait
    for one look or read, redirects included. A site cannot list its files.
    """

    def __init__(
        self,
        url: str,
        *,
        settings: DownloadSettings = DownloadSettings(),
        seconds: float = 5.0,
        getaddrinfo: Resolver = socket.getaddrinfo,
        tls: Callable[[], ssl.SSLContext] = tls_context,
    ) -> None:
        self._base = _base(url)
        self._settings = settings
        self._rules = Rules.read(settings.allow_networks, settings.deny_networks)
        self._seconds = seconds
        self._getaddrinfo = getaddrinfo
        self._tls = tls
        self._warned = False
        renew(self)

    def after_fork(self) -> None:
        """Each thread has connections of its own: with a TLS context of its own, it must."""
        self._thread = threading.local()

    def __repr__(self) -> str:
        return f"SiteSource({self._base.url!r})"

    def describe(self, name: str) -> str:
        return self._url(name.split("/")).url

    def look(self, name: str, first: int = 0) -> Seen | None:
        part = f"bytes=0-{max(first, 1) - 1}"
        try:
            return self._ask(name, {"Range": part}, lambda response: beginning(response, first))
        except NotInPart:
            return self._ask(name, {}, lambda response: beginning(response, first, self._settings.download_bytes))

    def read(self, name: str, limit: int) -> Seen | None:
        return self._ask(name, {}, lambda response: whole(response, limit))

    def walk(self, below: str = "") -> NoReturn:
        raise BadRequest(f"The source {self._base.url} is a site, which cannot list its images; name them.")

    def _url(self, parts: list[str]) -> Url:
        return self._base._replace(path=f"{self._base.path}{'/'.join(quote(part, safe='') for part in parts)}")

    def _ask(self, name: str, headers: dict[str, str], take: Callable[[BaseHTTPResponse], Seen]) -> Seen | None:
        """What ``take`` makes of the answer, after redirects; None where there is no such file."""
        parts = segments(name)
        if parts is None:
            return None
        target = self._url(parts)
        with Watchdog(self._seconds) as watchdog:
            self._thread.door = Door(self._settings.download_connect_seconds, self._rules, watchdog, self._getaddrinfo)
            for _ in range(self._settings.download_redirects + 1):
                answer = self._answer(target, headers, take, watchdog)
                if not isinstance(answer, str):
                    return answer
                inside = self._redirected(target, answer)
                if inside is None:
                    return None
                target = inside
        return None

    def _answer(
        self, target: Url, headers: dict[str, str], take: Callable[[BaseHTTPResponse], Seen], watchdog: Watchdog
    ) -> Seen | str | None:
        """One request, or two: a server may end a connection at the moment at which it is used again."""
        pool = self._pool(target)
        for is_last in (False, True) if pool.num_requests else (True,):
            try:
                return self._once(pool, target, headers, take, watchdog)
            except ProtocolError as error:
                if is_last:
                    raise SourceUnavailable(BROKEN) from error
        raise AssertionError("the last one returns or raises")

    def _once(
        self,
        pool: HTTPConnectionPool,
        target: Url,
        headers: dict[str, str],
        take: Callable[[BaseHTTPResponse], Seen],
        watchdog: Watchdog,
    ) -> Seen | str | None:
        try:
            response = pool.urlopen(
                "GET",
                target.request_uri,
                headers={
                    "Accept": "image/*,*/*;q=0.1",
                    "Accept-Encoding": "identity",
                    "User-Agent": "lazycrop",
                    **headers,
                },
                timeout=Timeout(
                    connect=self._settings.download_connect_seconds, read=self._settings.download_read_seconds
                ),
                retries=False,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            try:
                answer = taken(response, take)
                watchdog.check()
                return answer
            finally:
                finish(response)
        except FetchError as error:  # of the door, whose sentence is for whoever gives a URL
            raise OSError(str(error)) from None
        except (HTTPError, OSError, ValueError) as error:
            if watchdog.fired or isinstance(error, TimeoutError | PoolTimeoutError):
                raise TimeoutError(f"no answer in time ({type(error).__name__})") from None
            raise

    def _pool(self, target: Url) -> HTTPConnectionPool:
        """This thread's connection to the host, if it has one."""
        own = self._thread
        if not hasattr(own, "pools"):
            own.pools = manager(lambda: own.door)
        pool_options = {"ssl_context": self._tls()} if target.scheme == "https" else None
        pool: HTTPConnectionPool = own.pools.connection_from_host(target.host, target.port, target.scheme, pool_options)
        return pool

    def _redirected(self, source: Url, location: str) -> Url | None:
        """Where a redirect leads, if that is below the source; from http to https it may go, not back."""
        try:
            target = redirected(source, location)
        except FetchError:
            return None
        base, path = self._base, target.path or "/"
        is_same = _site(target) == _site(base) or (
            (base.scheme, _site(base)[2], target.scheme, _site(target)[2]) == ("http", 80, "https", 443)
            and target.host == base.host
        )
        is_back = source.scheme == "https" and target.scheme == "http"
        is_below = unquote(path).startswith(unquote(base.path or "/")) and ".." not in unquote(path).split("/")
        if is_same and not is_back and is_below and target.auth is None and not _LEAVES.search(path):
            return target
        self._warn_of_redirect(target)
        return None

    def _warn_of_redirect(self, target: Url) -> None:
        if not self._warned:
            self._warned = True
            logger.warning(
                "%r redirects to %s, which is outside of it: such images are not there.",
                self,
                target._replace(auth=None, query=None, fragment=None).url,
                extra={"event": "source-redirects"},
            )


def _site(url: Url) -> tuple[str | None, str | None, int]:
    return url.scheme, url.host, url.port or _PORTS[url.scheme or ""]


def _base(url: str) -> Url:
    try:
        base = parsed(url)
    except FetchError:
        raise ConfigurationError(f"A source is {shown(url)}, which is no URL such as https://host/path/.") from None
    if base.auth is not None or base.query is not None or base.fragment is not None:
        raise ConfigurationError(f"A source is {shown(url)}; give its URL without a user, a query and a fragment.")
    return base._replace(path=f"{(base.path or '').rstrip('/')}/")
