"""The demo: one page on which a picture takes any size that is asked for, and says how it came about.

A WSGI application for one person on one machine, not for the open internet: whoever reaches it may store images.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Iterable
from importlib import resources
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from lazycrop.errors import (
    BadRequest,
    Forbidden,
    ImageTooLarge,
    LazyCropError,
    NotFound,
    UnknownImage,
    UnsupportedImage,
)
from lazycrop.http import answers
from lazycrop.http.answers import Answer
from lazycrop.http.negotiation import named_formats
from lazycrop.http.requests import Request
from lazycrop.images import LazyCrop
from lazycrop.model.records import Record
from lazycrop.wsgi import Middleware, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

DEMO = {"sizes": "any", "answer": "stream", "prefix": "/img"}
"""The settings that the page counts on. A redirect to a store would hide from its script how a picture came about."""

PHOTOGRAPH = "seeding"
"""The id of the photograph that is there from the start."""

_SMALL = "224x168-cover"  # As the page shows the image beside its name.
_FILE, _JSON = "application/octet-stream", "application/json"
_URL_BYTES = 20_000  # Of a request that gives a URL.
_OFFERED = ("avif", "webp")  # In the order of the bits that the page's script reads.
_ALL = ("0.0.0.0", "::")


def demo_app(images: LazyCrop, host: str = "127.0.0.1", port: int | None = None) -> WSGIApplication:
    """The page, and the images behind it, as one application; it stores the photograph if it is not there.

    ``host``, ``port``: where it listens. Whoever asks for it by another name is refused; without a port, by that of
    another host only.
    """
    try:
        images.record(PHOTOGRAPH)
    except UnknownImage:
        images.store_origin(PHOTOGRAPH, _resource("seeding.jpg"), focal="auto")
    images.warm(PHOTOGRAPH, [_SMALL])  # It starts the workers, which the first request would else wait for.
    return _addressed(Middleware(_Demo(images), images), host, port)


def _addressed(app: WSGIApplication, host: str, port: int | None) -> WSGIApplication:
    """``app`` for those who mean it: a page of another site can have its own name lead here (DNS rebinding)."""
    name = f"[{host}]" if ":" in host else host
    names = {"localhost", "127.0.0.1", "[::1]", name.lower()}

    def addressed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?", environ.get("HTTP_HOST", "").lower())
        # Listening on all addresses, it is reached by any; what is no name cannot be made to lead here.
        known = found and (found[1] in names or (host in _ALL and _is_address(found[1])))
        if not found or not known or (port is not None and int(found[2] or 80) != port):
            where = f"localhost:{port}" if port else "localhost"
            refusal = Forbidden(f"This is the demo of {where}; ask for it there.")
            return send(answers.error(refusal), environ, start_response)
        return app(environ, start_response)

    return addressed


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name.strip("[]")))
    except ValueError:
        return False


class _Demo:
    """``GET /`` the page · ``GET /images/<id>`` an image's record · ``POST /images`` store a file or a URL's."""

    def __init__(self, images: LazyCrop) -> None:
        self._images = images
        page = _resource("page.html")
        self._page = Answer(
            200,
            [
                ("Content-Type", "text/html; charset=utf-8"),
                ("Content-Length", str(len(page))),
                ("Cache-Control", "no-cache"),
                ("Content-Security-Policy", _content_security_policy(page.decode())),
                ("Referrer-Policy", "no-referrer"),
                ("X-Content-Type-Options", "nosniff"),
            ],
            page,
        )

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._answer(environ["REQUEST_METHOD"], environ.get("PATH_INFO", ""), environ)
        except LazyCropError as error:
            answer = answers.error(error)
        if environ["REQUEST_METHOD"] == "HEAD":
            answer = Answer(answer.status, answer.headers)
        return send(answer, environ, start_response)

    def _answer(self, method: str, path: str, environ: WSGIEnvironment) -> Answer:
        if method in answers.METHODS and path == "/":
            return Answer(self._page.status, [*self._page.headers], self._page.body)
        if method in answers.METHODS and path == "/acceptance.svg":
            return _acceptance(environ.get("HTTP_ACCEPT", ""))
        if method in answers.METHODS and path.startswith("/images/"):
            return _described(self._images.record(Request(path).text.removeprefix("/images/")))
        if method == "POST" and path == "/images":
            source = self._source(environ)
            return _described(self._images.store_origin(f"upload-{secrets.token_hex(4)}", source, focal="auto"))
        raise NotFound("There is nothing here; the demo's page is at /.")

    def _source(self, environ: WSGIEnvironment) -> str | bytes:
        """The file that is sent, or the URL.

        These two types only: another site's page can send neither without being asked for permission first
        (Fetch, 4.8: they are not CORS-safelisted), which nobody gives here.
        """
        kind = environ.get("CONTENT_TYPE", "").partition(";")[0]
        if kind == _FILE:
            return _body(environ, self._images.config.download.download_bytes)
        if kind == _JSON:
            return _url(_body(environ, _URL_BYTES))
        raise UnsupportedImage(f"Send an image as {_FILE}, or a URL as {_JSON}.")


def _body(environ: WSGIEnvironment, limit: int) -> bytes:
    given = environ.get("CONTENT_LENGTH") or "0"
    if not re.fullmatch("[0-9]{1,20}", given):
        raise BadRequest("The Content-Length is malformed; it is a number of bytes.")
    length = int(given)
    if length > limit:
        raise ImageTooLarge(f"This file has {length:,} bytes; {limit:,} are allowed.")
    try:
        body = bytes(environ["wsgi.input"].read(length))
    except OSError:  # The client has gone.
        body = b""
    if len(body) < length:
        raise BadRequest(f"Of {length:,} bytes only {len(body):,} came; send them again.")
    return body


def _url(body: bytes) -> str:
    try:
        url = json.loads(body)["url"]
    except (ValueError, TypeError, LookupError, RecursionError):
        url = None
    if not isinstance(url, str):
        raise BadRequest('A URL is sent as {"url": "https://…"}.')
    return url


def _acceptance(accept: str) -> Answer:
    """A picture whose width says what an <img> of this browser asks for: scripts cannot see that, nor would ask so."""
    chosen = named_formats(accept, _OFFERED)
    width = 1 + sum(1 << bit for bit, format in enumerate(_OFFERED) if format in chosen)
    body = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="1"/>'.encode()
    headers = [("Content-Type", "image/svg+xml"), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    return Answer(200, headers, body)


def _described(record: Record) -> Answer:
    names = ("image_id", "width", "height", "format", "length", "frames", "placeholder")
    content: dict[str, Any] = {name: getattr(record, name) for name in names}
    body = json.dumps(content).encode()
    headers = [("Content-Type", _JSON), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    return Answer(200, headers, body)


def _content_security_policy(page: str) -> str:
    """Nothing but this page's own style and script runs, and it talks to nobody but this server."""
    hashes = {
        kind: base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        for kind, content in re.findall(r"<(style|script)>(.*?)</\1>", page, re.DOTALL)
    }
    return (
        f"default-src 'none'; style-src 'sha256-{hashes['style']}'; script-src 'sha256-{hashes['script']}'; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _resource(name: str) -> bytes:
    return resources.files(__name__).joinpath(name).read_bytes()
