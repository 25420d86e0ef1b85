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
from typing import TYPE_CHECKING, Any

from lazycrop.errors import BadRequest, ImageTooLarge, LazyCropError, NotFound, UnknownImage, UnsupportedImage
from lazycrop.http import answers
from lazycrop.http.answers import Answer
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


def demo_app(images: LazyCrop) -> WSGIApplication:
    """The page, and the images behind it, as one application; it stores the photograph if it is not there."""
    try:
        images.record(PHOTOGRAPH)
    except UnknownImage:
        images.store_origin(PHOTOGRAPH, _resource("seeding.jpg"), focal="auto")
    images.warm(PHOTOGRAPH, [_SMALL])  # It starts the workers, which the first request would else wait for.
    return Middleware(_Demo(images), images)


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
        if method in answers.METHODS and path.startswith("/images/"):
            return _described(self._images.record(path.removeprefix("/images/")))
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
    length = environ.get("CONTENT_LENGTH") or "0"
    if int(length) > limit:
        raise ImageTooLarge(f"This file has {int(length):,} bytes; {limit:,} are allowed.")
    return bytes(environ["wsgi.input"].read(int(length)))


def _url(body: bytes) -> str:
    try:
        url = json.loads(body)["url"]
    except (ValueError, TypeError, LookupError):
        raise BadRequest('A URL is sent as {"url": "https://…"}.') from None
    # Anything else would be taken for the path of a file on this machine.
    if not isinstance(url, str) or not re.match("https?://", url, re.IGNORECASE):
        raise BadRequest("That is no URL; one begins with https:// or http://.")
    return url


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
