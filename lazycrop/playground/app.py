"""Playground: the page, and what its script asks for, as a WSGI application.

Whoever reaches it sees all images, those that are private too, and may store and forget them.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterable
from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from lazycrop.errors import (
    BadRequest,
    Forbidden,
    ImageTooLarge,
    LazyCropError,
    MethodNotAllowed,
    NotFound,
    UnsupportedImage,
)
from lazycrop.http import answers
from lazycrop.http.answers import Answer
from lazycrop.http.negotiation import named_formats
from lazycrop.http.requests import Request, as_wsgi, mount
from lazycrop.images import LazyCrop
from lazycrop.model import urls
from lazycrop.model.records import Record
from lazycrop.playground.page import document
from lazycrop.playground.snippets import formats_of, snippets
from lazycrop.wsgi import send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_FILE, _JSON = "application/octet-stream", "application/json"
_URL_BYTES = 20_000  # Of a request that gives a URL.
_OFFERED = ("avif", "webp")  # In the order of the bits that the page's script reads.
_LISTED = 100  # Ids that are proposed.
_PICTURES = "/img"


def _nothing() -> None:
    """What is done where nothing has to be."""


class Playground:
    """A page to try sizes on, with an application's own images: a WSGI application to mount behind its login.

    It shows what policy permits, signs what has to be signed, and streams what is stored, so that it can say how each
    picture came about. ``mount``: where the application has its images; the setting ``prefix`` when not given.
    ``image_id``: what is shown first; the first of the store when not given. ``may_change``: whether images can be
    stored and forgotten from it.
    """

    def __init__(
        self,
        images: LazyCrop,
        *,
        mount: str | None = None,
        image_id: str | None = None,
        may_change: bool = True,
        after_forgetting: Callable[[], None] = _nothing,
    ) -> None:
        self._images = images
        self._mount = images.config.prefix if mount is None else mount
        self._image_id = image_id
        self._may_change = may_change
        self._after_forgetting = after_forgetting

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        try:
            answer = self._answer(environ["REQUEST_METHOD"], environ)
        except LazyCropError as error:
            answer = answers.error(error)
        return send(answer.without_body() if environ["REQUEST_METHOD"] == "HEAD" else answer, environ, start_response)

    def _answer(self, method: str, environ: WSGIEnvironment) -> Answer:
        path = Request(environ.get("PATH_INFO", "")).text
        if path.startswith(f"{_PICTURES}/"):
            return self._picture(environ)
        if method in answers.METHODS:
            return self._read(path, environ)
        kind, _, image_id = path.lstrip("/").partition("/")
        if kind != "images" or (method, bool(image_id)) not in (("POST", False), ("DELETE", True)):
            raise NotFound("There is nothing here; the page is at /.")
        if not self._may_change:
            raise Forbidden("Nothing can be changed on this page; it is for looking.")
        return self._forgotten(image_id) if image_id else self._stored(environ)

    def _read(self, path: str, environ: WSGIEnvironment) -> Answer:
        query = dict(parse_qsl(environ.get("QUERY_STRING", ""), errors="replace"))
        if path == "":  # What the page asks for is beside it, so its path ends in a slash.
            query_string = environ.get("QUERY_STRING", "")
            return answers.elsewhere(f"{mount(environ)}/" + (f"?{query_string}" if query_string.isascii() else ""))
        if path == "/":
            return self._page(environ)
        if path == "/acceptance.svg":
            return _acceptance(environ.get("HTTP_ACCEPT", ""))
        if path == "/images" and "prefix" in query:
            return _json([record.image_id for record in islice(self._images.list(query["prefix"]), _LISTED)])
        kind, _, image_id = path[1:].partition("/")
        if kind == "images" and image_id:
            return self._described(self._images.record(image_id))
        if kind == "sizes" and image_id:
            return self._sizes(image_id)
        if kind == "snippets" and image_id:
            record = self._images.record(image_id)
            return _json(snippets(self._images, self._mount, record, query.get("size", ""), query.get("format", "")))
        raise NotFound("There is nothing here; the page is at /.")

    def _page(self, environ: WSGIEnvironment) -> Answer:
        first = self._image_id or next((record.image_id for record in self._images.list()), "")
        return document(
            "page.html",
            image=first,
            mount=self._mount,
            presets=" ".join(self._images.policy.presets),
            formats=" ".join(formats_of(self._images)),
            change="yes" if self._may_change else "",
        )

    def _picture(self, environ: WSGIEnvironment) -> Answer:
        """The picture as the application would answer it, signed, and streamed where it would redirect."""
        if environ["REQUEST_METHOD"] not in answers.METHODS:
            raise MethodNotAllowed("A picture is read with GET and HEAD.")
        request = Request.from_environ(environ, _PICTURES)
        asked = urls.parse(request.text, "", self._images.policy.presets, self._images.sources.covers).derivative
        url = urlsplit(
            self._images.url(
                asked.image_id, asked.size or "origin", format=asked.format, version=asked.version, mount=""
            )
        )
        return self._images.answer(request._replace(path=as_wsgi(unquote(url.path)), query=url.query, redirect=False))

    def _stored(self, environ: WSGIEnvironment) -> Answer:
        source = self._source(environ)
        return self._described(self._images.store_origin(f"upload-{secrets.token_hex(4)}", source, focal="auto"))

    def _forgotten(self, image_id: str) -> Answer:
        self._images.record(image_id)
        gone = self._images.purge(image_id)
        self._after_forgetting()
        return _json({"objects": gone})

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

    def _described(self, record: Record) -> Answer:
        names = ("image_id", "version", "width", "height", "format", "length", "frames", "placeholder", "focal")
        content: dict[str, Any] = {name: getattr(record, name) for name in names}
        content["private"] = record.private
        return _json(content)

    def _sizes(self, image_id: str) -> Answer:
        info = self._images.info(image_id)
        return _json({"length": info.length, "sizes": [asdict(size) for size in info.sizes]})


def _json(content: Any) -> Answer:
    return answers.plain(200, _JSON, json.dumps(content).encode())


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
