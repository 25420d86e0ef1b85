"""Serving: how a request of Django's is answered, by a view or by a middleware, in a thread or in the event loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from inspect import iscoroutinefunction
from typing import Any, BinaryIO
from urllib.parse import quote

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.urls import NoReverseMatch, get_script_prefix, reverse
from django.utils.decorators import sync_and_async_middleware
from django.views.decorators.csrf import csrf_exempt

from django_lazycrop.pictures import get_images
from lazycrop import Answer, LazyCrop, Request, asgi

MIDDLEWARE = "django_lazycrop.middleware"
_PATH = "lazycrop.path"

GetResponse = Callable[[HttpRequest], Any]

_app: asgi.ImageApp | None = None


def _serving() -> asgi.ImageApp:
    """The application of the project's images. Raises :class:`lazycrop.ConfigurationError`, also where it is closed."""
    global _app
    images, app = get_images(), _app
    if app is None or app.images is not images:
        app = _app = asgi.ImageApp(images)
    return app


@csrf_exempt  # type: ignore[untyped-decorator]
def image(request: HttpRequest, path: str) -> HttpResponseBase:
    """The view. ``path``: what its route has of the request's, decoded in Django's way."""
    prefix = request.path_info[: len(request.path_info) - len(path)].removesuffix("/")
    app = _serving()
    return response(app.images.answer(_asked(request, prefix)), request)


@sync_and_async_middleware  # type: ignore[untyped-decorator]
def middleware(get_response: GetResponse) -> GetResponse:
    """Answers what is below ``prefix`` of the images; under ASGI what was asked a moment ago in the event loop."""
    _serving()
    if iscoroutinefunction(get_response):

        async def answer_soon(request: HttpRequest) -> HttpResponseBase:
            app = _serving()
            if not _is_below(request, app.images):
                return await get_response(request)
            return response(await app.answer(_asked(request, app.images.config.prefix)), request)

        return answer_soon

    def answer(request: HttpRequest) -> HttpResponseBase:
        images = _serving().images
        if not _is_below(request, images):
            return get_response(request)
        return response(images.answer(_asked(request, images.config.prefix)), request)

    return answer


def response(answer: Answer, request: HttpRequest | None = None) -> HttpResponseBase:
    """An Answer as a view returns it. ``request``: needed under ASGI, which wants files sent in another way."""
    headers = dict(answer.headers)
    typed = {} if "Content-Type" in headers else {"content_type": ""}  # Else it asks the settings for one.
    made = _response_of(answer.body, request)(status=answer.status, reason=answer.reason, headers=headers, **typed)
    if typed:
        del made.headers["Content-Type"]
    return made


def _response_of(body: bytes | BinaryIO, request: HttpRequest | None) -> Callable[..., HttpResponseBase]:
    if isinstance(body, bytes):
        return partial(HttpResponse, body)
    if isinstance(request, ASGIRequest):
        return partial(StreamingHttpResponse, _serving().blocks(body))
    return partial(_File, body)


class _File(FileResponse):  # type: ignore[misc]
    """An Answer's headers as they are: Django would guess some of its own."""

    block_size = 65_536

    def set_headers(self, filelike: object) -> None:
        pass


def mount() -> str:
    """Where images are mounted for the request at hand, percent-encoded."""
    if MIDDLEWARE not in settings.MIDDLEWARE:
        try:
            return str(reverse("lazycrop:image", kwargs={"path": ""})).removesuffix("/")
        except NoReverseMatch:  # They are answered by some other means.
            pass
    return _below_script(get_images().config.prefix)


def _is_below(request: HttpRequest, images: LazyCrop) -> bool:
    return bool(request.path_info.startswith(f"{images.config.prefix}/"))


def _asked(request: HttpRequest, prefix: str) -> Request:
    """What a request asks for, below ``prefix`` of its path, to the byte."""
    before = _as_wsgi(prefix)
    if isinstance(request, ASGIRequest):
        asked = Request.from_scope(request.scope, before)
    else:
        path = request.environ.get(_PATH, _as_wsgi(request.path_info))
        asked = Request.from_environ({**request.environ, "PATH_INFO": path}, before)
    return asked._replace(mount=_below_script(prefix))


def connect() -> None:
    signals.request_started.connect(_keep_path, dispatch_uid="lazycrop")


def _keep_path(environ: dict[str, Any] | None = None, **more: Any) -> None:
    """Keep what the server said: Django puts a path of its own there, which has lost the bytes that are no UTF-8."""
    if environ is not None:
        environ[_PATH] = environ.get("PATH_INFO", "")


def _as_wsgi(path: str) -> str:
    return path.encode().decode("latin-1")


def _below_script(prefix: str) -> str:
    return quote(f"{get_script_prefix().rstrip('/')}{prefix}", safe="/;=,")
