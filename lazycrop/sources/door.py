"""The door: where every connection of a download is opened, to an address that was judged. [urllib3]"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPResponse
from ipaddress import ip_address
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection

from lazycrop.errors import FetchError
from lazycrop.sources.addresses import Rules
from lazycrop.sources.watchdog import Watchdog

logger = logging.getLogger(__name__)

Resolver = Callable[..., list[tuple[Any, ...]]]

_UNREACHABLE = "The source URL could not be reached; check its host, and that it is on the public internet."


@dataclass(frozen=True)
class Door:
    """Opens connections within ``connect_seconds`` each, and has the watchdog end them at the deadline of all."""

    connect_seconds: float
    rules: Rules
    watchdog: Watchdog
    getaddrinfo: Resolver

    def open(self, host: str, port: int) -> socket.socket:
        """A connection to an address of the host, after all its addresses were judged. Raises FetchError."""
        answers = self._resolve(host, port)
        for *_, address in answers:
            if not self.rules.permit(ip_address(address[0])):
                raise failure(_UNREACHABLE, host, f"the address {address[0]} is not permitted")
        reason = "no address was found"
        for family, kind, protocol, _, address in answers:
            connection = socket.socket(family, kind, protocol)
            try:
                connection.settimeout(min(self.connect_seconds, self.watchdog.left))
                connection.connect(address)
                self.watchdog.watch(connection)
                return connection
            except OSError as error:
                connection.close()
                reason = f"{address[0]} could not be connected to: {error}"
        raise failure(_UNREACHABLE, host, reason)

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


def failure(text: str, host: str | None, reason: str) -> FetchError:
    """The error to raise; host and reason go to the log only."""
    logger.warning("Fetching from %s failed: %s.", host, reason, extra={"event": "fetch-failed", "host": host})
    return FetchError(text)


def manager(door: Callable[[], Door]) -> PoolManager:
    """A fresh pool manager whose connections come through the door; urllib3 stays as it is for everybody else.

    ``_new_conn`` is the one place where the address can be chosen without touching SNI, the certificate's name
    or the Host header, which all keep to the URL's host. ``door``: that of the request at hand, whose watchdog watches
    a connection of an earlier one, too.
    """

    class Plain(HTTPConnection):
        response_class = _Response

        def _new_conn(self) -> socket.socket:
            return door().open(self._dns_host, self.port)

        def request(self, *arguments: Any, **named: Any) -> None:
            _watch(door(), self)
            super().request(*arguments, **named)

    class Secure(HTTPSConnection):
        response_class = _Response

        def _new_conn(self) -> socket.socket:
            return door().open(self._dns_host, self.port)

        def request(self, *arguments: Any, **named: Any) -> None:
            _watch(door(), self)
            super().request(*arguments, **named)

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    pools = PoolManager()
    pools.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return pools


def _watch(door: Door, connection: HTTPConnection) -> None:
    if connection.sock is not None:
        door.watchdog.watch(connection.sock)


class _Response(HTTPResponse):
    """An answer framed as RFC 9112, 6 says, where http.client knows one spelling of each field only."""

    def begin(self) -> None:
        super().begin()
        while self.status in (102, 103):  # RFC 9110, 15.2: any number of 1xx may come first; http.client skips 100
            self.headers = None  # type: ignore[assignment]
            super().begin()
        if "chunked" in items(self.headers.get_all("Transfer-Encoding", [])):
            self.chunked, self.chunk_left, self.length = True, None, None
        lengths = set(items(self.headers.get_all("Content-Length", [])))
        if self.length is None and not self.chunked and len(lengths) == 1 and min(lengths).isdecimal():
            self.length = int(min(lengths))  # the same one twice, RFC 9110, 8.6


def items(values: list[str]) -> list[str]:
    """What the lines of a field list, in lower case (RFC 9110, 5.6.1)."""
    return [item.strip().lower() for value in values for item in value.split(",") if item.strip()]


_thread = threading.local()


def tls_context() -> ssl.SSLContext:
    """The system's trusted certificates, read once a thread (50 ms).

    Not once a process: urllib3 sets the context's ALPN protocols at each connection, and OpenSSL copies them
    without a lock when another thread connects.
    """
    if not hasattr(_thread, "tls"):
        _thread.tls = ssl.create_default_context()
    context: ssl.SSLContext = _thread.tls
    return context
