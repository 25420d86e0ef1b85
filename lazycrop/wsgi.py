"""WSGI: :class:`ImageApp` answers for images, :class:`Middleware` is the same behind a test of the path's prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import quote

from lazycrop.access.policy import CLOSED
from lazycrop.errors import ConfigurationError
from lazycrop.http.answers import STATUS_LINES, Answer
from lazycrop.service import LazyCrop
from lazycrop.settings import check_prefix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_BLOCK = 65_536  # Bytes of a streamed object at a time.


class ImageApp:
    """A WSGI application that answers for images: mount it where their URLs begin.

    Raises :class:`~lazycrop.errors.ConfigurationError` when nothing may be asked for.
    """

    def __init__(self, images: LazyCrop) -> None:
        if images.policy.closed and not images.config.secret:
            raise ConfigurationError(CLOSED)
        self.images = images
        self._shortcuts = images.shortcuts

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse, prefix: str = "") -> Iterable[bytes]:
        # A redirect that was given a moment ago comes before all else, in as few steps as there can be: under a fast
        # server each of them is a thousandth of its requests per second.
        if (
            environ["REQUEST_METHOD"] == "GET"
            and "HTTP_IF_NONE_MATCH" not in environ
            and "HTTP_IF_MODIFIED_SINCE" not in environ
        ):
            shortcut = self._shortcuts.get(environ.get("PATH_INFO", "")[len(prefix) :], environ.get("QUERY_STRING", ""))
            if shortcut is not None and shortcut.key is None:
                start_response(STATUS_LINES[shortcut.status], list(shortcut.headers))
                return []
        return send(self.answer(environ, prefix), environ, start_response)

    def answer(self, environ: WSGIEnvironment, prefix: str = "") -> Answer:
        """The answer to ``environ``, whose PATH_INFO begins with ``prefix``; for adapters and other gateways."""
        get = environ.get
        return self.images.answer(
            get("PATH_INFO", "")[len(prefix) :],
            query=get("QUERY_STRING", ""),
            method=environ["REQUEST_METHOD"],
            accept=get("HTTP_ACCEPT"),
            if_none_match=get("HTTP_IF_NONE_MATCH"),
            if_modified_since=get("HTTP_IF_MODIFIED_SINCE"),
            mount=_quoted(get("SCRIPT_NAME", "")) + prefix,
        )


class Middleware:
    """A WSGI application in front of ``app``: what is below ``prefix`` is an image, all else reaches ``app`` untouched.

    ``prefix``: that of the images' settings when not given. ``images.url()`` makes URLs below theirs, so say it there.
    """

    def __init__(self, app: WSGIApplication, images: LazyCrop, prefix: str | None = None) -> None:
        self._app = app
        self._images = ImageApp(images)
        self._prefix = images.config.prefix if prefix is None else check_prefix(prefix)
        self._below = f"{self._prefix}/"

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(self._below):
            return self._app(environ, start_response)
        return self._images(environ, start_response, self._prefix)


def _quoted(script_name: str) -> str:
    """As it was in the URL: WSGI hands it over decoded (PEP 3333)."""
    return quote(script_name, safe="/;=,", encoding="latin-1") if script_name else ""


def send(answer: Answer, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Hand ``answer`` to a WSGI server."""
    start_response(STATUS_LINES[answer.status], answer.headers)
    body = answer.body
    if isinstance(body, bytes):
        return [body] if body else []
    wrapper: Callable[[Any, int], Iterable[bytes]] = environ.get("wsgi.file_wrapper", Stream)
    return wrapper(body, _BLOCK)


class Stream:
    """An open file as the body of a response, for servers without ``wsgi.file_wrapper``."""

    def __init__(self, file: BinaryIO, block: int = _BLOCK) -> None:
        self._file = file
        self._block = block

    def __iter__(self) -> Iterator[bytes]:
        while data := self._file.read(self._block):
            yield data

    def close(self) -> None:
        self._file.close()
