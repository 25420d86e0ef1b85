"""Servers that no client should trust, on addresses of this machine, each connection in a thread of its own.

A behaviour is a function that is given the connection after the request was read; the connection is closed when it
returns. All of them end by themselves, at the latest a few seconds after the client has gone.
"""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

Behaviour = Callable[[socket.socket], None]

PICTURE = b"\xff\xd8\xff a picture"


class Server:
    """A server at ``url`` which counts its ``connections`` and keeps the ``requests`` that it was sent."""

    def __init__(self, behave: Behaviour, *, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.connections = 0
        self.requests: list[bytes] = []
        self._tls = tls
        self._family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._host = host
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Server:
        self._listener = socket.create_server((self._host, 0), family=self._family)
        self._listener.settimeout(0.02)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    @property
    def url(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}/cat.jpg"

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, name="hostile", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                connection, _ = self._listener.accept()
                self.connections += 1
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(5)
        with connection, suppress(OSError):
            if self._tls is None:
                self._answer(connection)
            else:
                with self._tls.wrap_socket(connection, server_side=True) as secure:
                    self._answer(secure)

    def _answer(self, connection: socket.socket) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            received = connection.recv(65_536)
            if not received:
                return
            request += received
        self.requests.append(request)
        self.behave(connection)


def answer(body: bytes = PICTURE, *headers: str, status: str = "200 OK", length: int | None = None) -> Behaviour:
    """Sends this body; ``length`` is what it claims to have, where that is a lie."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers, "", ""]
    return raw("\r\n".join(lines).encode() + body)


def raw(data: bytes) -> Behaviour:
    """Sends just this."""
    return lambda connection: connection.sendall(data)


def redirect(location: str, *headers: str) -> Behaviour:
    return answer(b"", f"Location: {location}", *headers, status="302 Found")


def repeat(start: bytes, again: bytes, pause: float = 0.0) -> Behaviour:
    """Sends ``start``, and then ``again`` and again; for 30 s or until the client has gone."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(start)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            connection.sendall(again)
            time.sleep(pause)

    return behave


def silent(connection: socket.socket) -> None:
    """Says nothing, until the client has gone."""
    connection.recv(1)


def silent_body(connection: socket.socket) -> None:
    connection.sendall(_HEAD + b"Content-Length: 9\r\n\r\n")
    silent(connection)


_HEAD = b"HTTP/1.1 200 OK\r\n"
_CHUNKED = _HEAD + b"Transfer-Encoding: chunked\r\n\r\n"

# Those that would never end.
ENDLESS: dict[str, Behaviour] = {
    "drips the body": repeat(_HEAD + b"Content-Length: 1000000\r\n\r\n", b".", 0.02),
    "drips a body without length": repeat(_HEAD + b"\r\n", b".", 0.02),
    "drips chunks": repeat(_CHUNKED, b"1\r\n.\r\n", 0.02),
    "drips a chunk's length": repeat(_CHUNKED, b"0", 0.02),
    "drips the status line": repeat(b"HTTP/1.1 200 ", b"O", 0.02),
    "drips a header": repeat(_HEAD + b"X-Slow: ", b"z", 0.02),
    "drips a header before a picture": repeat(_HEAD + b"Content-Length: 0\r\nX-Slow: ", b"z", 0.02),
    "drips a redirect": repeat(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/", b"z", 0.02),
    "floods with 100 Continue": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "drips 100 Continue": repeat(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
    "never ends the trailers": repeat(_CHUNKED + b"0\r\n", b"X-Trailer: z\r\n", 0.02),
    "is silent": silent,
    "is silent after the headers": silent_body,
}

# Those that break off, or break the protocol; none of these is a picture.
BROKEN: dict[str, Behaviour] = {
    "closes at once": raw(b""),
    "closes in the headers": raw(_HEAD + b"Content-Le"),
    "sends less than it said": answer(length=1_000),
    "sends nothing of what it said": answer(b"", length=1_000),
    "closes in a chunk": raw(_CHUNKED + b"ff\r\nabc"),
    "closes between chunks": raw(_CHUNKED + b"3\r\nabc\r\n"),
    "sends a chunk of negative length": raw(_CHUNKED + b"-5\r\nabcde\r\n0\r\n\r\n"),
    "sends a chunk of no length": raw(_CHUNKED + b"xyz\r\nabcde\r\n0\r\n\r\n"),
    "says two lengths": answer(PICTURE, "Content-Length: 3"),
    "sends endless header lines": repeat(_HEAD, b"X-More: z\r\n"),
    "sends an endless header": repeat(_HEAD + b"X-Long: ", b"z" * 65_536),
    "echoes the request": raw(b"GET /cat.jpg?token=secret HTTP/1.1\r\n\r\n"),
    "speaks no HTTP": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "sends a gzip bomb": answer(gzip.compress(bytes(50_000_000)), "Content-Encoding: gzip"),
    "sends two encodings": answer(PICTURE, "Content-Encoding: identity", "Content-Encoding: br"),
    "encodes the transfer": answer(PICTURE, "Transfer-Encoding: gzip, chunked"),
    "answers 404": answer(status="404 Not Found"),
    "answers 206": answer(status="206 Partial Content"),
    "answers 204": answer(b"", status="204 No Content"),
    "answers 103": answer(b"", status="103 Early Hints"),
    "redirects to nowhere": answer(b"", status="302 Found"),
    "redirects to itself": redirect("/cat.jpg"),
    "redirects to itself with an endless body": repeat(
        b"HTTP/1.1 302 Found\r\nLocation: /cat.jpg\r\n\r\n", b"." * 65_536
    ),
}

# Those that send more than anybody wants.
OVERSIZED: dict[str, Behaviour] = {
    "sends an infinite body": repeat(_HEAD + b"\r\n", b"." * 65_536),
    "sends infinite chunks": repeat(_CHUNKED, b"10000\r\n" + b"." * 65_536 + b"\r\n"),
    "says that it is large": answer(PICTURE, length=10**12),
}
