"""WSGI: :class:`ImageApp` answers for images, :class:`Middleware` is the same behind a test of the path's prefix.

:class:`HealthApp` and :class:`MetricsApp` are for those who watch them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, BinaryIO

from lazycrop.access.policy import CLOSED
from lazycrop.errors import ConfigurationError
from lazycrop.http.answers import STATUS_LINES, Answer, plain
from lazycrop.http.requests import Request
from lazycrop.images import LazyCrop
from lazycrop.settings import PREFIX, check_prefix, from_mapping, with_file

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_BLOCK = 65_536  # Bytes of a streamed object at a time.


class ImageApp:
    """A WSGI application that answers for images: mount it where their URLs begin, which SCRIPT_NAME then says.

    Raises :class:`~lazycrop.errors.ConfigurationError` when nothing may be asked for.
    """

    def __init__(self, images: LazyCrop) -> None:
        if images.closed:
            raise ConfigurationError(CLOSED)
        self.images = images
        self._remembered = images.remembered

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.respond(environ, start_response, "")

    def respond(self, environ: WSGIEnvironment, start_response: StartResponse, prefix: str) -> Iterable[bytes]:
        """The same of images below ``prefix`` of PATH_INFO."""
        # A redirect that was given a moment ago comes before all else, in as few steps as there can be: under a fast
        # server each of them is a thousandth of its requests per second.
        if (
            environ["REQUEST_METHOD"] == "GET"
            and "HTTP_IF_NONE_MATCH" not in environ
            and "HTTP_IF_MODIFIED_SINCE" not in environ
        ):
            path, query = environ.get("PATH_INFO", "")[len(prefix) :], environ.get("QUERY_STRING", "")
            if (redirect := self._remembered(path, query)) is not None:
                start_response(STATUS_LINES[redirect.status], list(redirect.headers))
                return []
        return send(self.answer(environ, prefix), environ, start_response)

    def answer(self, environ: WSGIEnvironment, prefix: str = "") -> Answer:
        """The answer to ``environ``, whose PATH_INFO begins with ``prefix``; for adapters and other gateways."""
        return self.images.answer(Request.from_environ(environ, prefix))


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
        return self._images.respond(environ, start_response, self._prefix)


class HealthApp:
    """A WSGI application that says whether this process can answer for images: mount it where a balancer asks.

    200 where it can, and 503 where it cannot because the store does not answer; the body says of store, cache and queue
    whether they do. Below it, at ``/live``, it is 200 as long as the process answers at all.
    """

    def __init__(self, images: LazyCrop) -> None:
        self._images = images

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").endswith("/live"):
            return send(plain(200, "application/json", b'{"status": "alive"}\n'), environ, start_response)
        health = self._images.watch.health()
        said = {"status": health.status, **{part: reason or "ok" for part, reason in asdict(health).items()}}
        body = f"{json.dumps(said)}\n".encode()
        return send(plain(200 if health.ready else 503, "application/json", body), environ, start_response)


class MetricsApp:
    """A WSGI application for Prometheus: what all processes have counted, and how many jobs wait at this moment.

    Raises :class:`~lazycrop.errors.ConfigurationError` where nothing is counted.
    """

    def __init__(self, images: LazyCrop) -> None:
        if not images.config.metrics:
            raise ConfigurationError("Nothing is counted: set 'metrics'.")
        from lazycrop.metrics.counts import page

        self._page = page
        self._images = images

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return send(plain(200, *self._page(self._queue())), environ, start_response)

    def _queue(self) -> Mapping[str, float]:
        try:
            backlog = self._images.watch.backlog()
        except Exception:  # Each broker has its own; its guard tells of it.
            return {"up": 0}
        return {"up": 1, **asdict(backlog)} if backlog is not None else {}


def images_for(
    images: LazyCrop | None, keywords: Mapping[str, Any], mapping: Mapping[str, Any], prefix: str = PREFIX
) -> LazyCrop:
    """What an adapter answers with: ``images`` where it is given some, else a LazyCrop of its own.

    That is made of ``keywords`` and, where they do not say it, of those in ``mapping`` that begin with ``prefix``.
    Raises :class:`~lazycrop.errors.ConfigurationError`, also for keywords beside ``images``.
    """
    if images is None:
        return LazyCrop(**with_file({**from_mapping(mapping, prefix), **keywords}))
    if not isinstance(images, LazyCrop):
        raise ConfigurationError(f"'images' is a {type(images).__name__}; it is a LazyCrop.")
    if keywords:
        raise ConfigurationError(
            f"{next(iter(keywords))!r} is given beside 'images', which have settings of their own; give one of them."
        )
    return images


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
