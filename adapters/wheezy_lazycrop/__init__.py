"""lazycrop in wheezy.web.

A middleware, which reads ``LAZYCROP_STORE``, ``LAZYCROP_SIZES`` … from the options, and stands before the one that
turns errors into pages::

    WSGIApplication([bootstrap_defaults(url_mapping=all_urls), lazycrop_middleware_factory,
                     http_error_middleware_factory, path_routing_middleware_factory], options)

or, for those who prefer routes, ``all_urls += image_urls(images)``. ``options["lazycrop"]`` is the
:class:`lazycrop.LazyCrop`; a handler with :class:`ImagesMixin` has ``lazycrop_url``, ``lazycrop_srcset``,
``lazycrop_img`` and ``lazycrop_picture`` in its templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Unpack
from wsgiref.util import FileWrapper

from wheezy.core.descriptors import attribute
from wheezy.http import HTTPRequest, HTTPResponse

from lazycrop import Answer, Helpers, ImageApp, LazyCrop, images_for, mount

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

    from lazycrop import Settings

__all__ = ["ImagesMixin", "image_urls", "lazycrop_middleware_factory", "response", "template_helpers"]

Handler = Callable[[HTTPRequest], HTTPResponse]


def response(answer: Answer) -> HTTPResponse:
    """An Answer as a handler returns it."""
    return _Response(answer)


class _Response(HTTPResponse):  # type: ignore[misc]
    """An Answer as it is: HTTPResponse holds the whole body, knows no 422, and adds ``Cache-Control: private``."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.header("Content-Type") or "")
        self.status_code = answer.status
        self.headers = answer.headers
        self._answer = answer

    def __call__(self, start_response: StartResponse) -> Iterable[bytes]:
        start_response(f"{self.status_code} {self._answer.reason}", self.headers)
        body = self._answer.body
        if not isinstance(body, bytes):
            return FileWrapper(body, 65_536)
        return [body] if body else []


def lazycrop_middleware_factory(
    options: dict[str, Any], images: LazyCrop | None = None, **settings: Unpack[Settings]
) -> Callable[[HTTPRequest, Handler], HTTPResponse]:
    """Images below ``LAZYCROP_PREFIX``.

    ``images``: a LazyCrop, also as ``options["lazycrop"]``; without it one is made from ``LAZYCROP_*`` in the options
    and from ``settings``, as for :class:`lazycrop.LazyCrop`, which count more (hand them over by functools.partial).
    Raises :class:`lazycrop.ConfigurationError`.
    """
    images = images_for(images or options.get("lazycrop"), settings, options, "LAZYCROP_")
    options["lazycrop"] = images
    app = ImageApp(images)
    prefix = images.config.prefix

    def middleware(request: HTTPRequest, following: Handler) -> HTTPResponse:
        environ = request.environ
        if environ["PATH_INFO"].startswith(f"{prefix}/"):
            return response(app.answer(environ, prefix))
        return following(request)

    return middleware


def image_urls(images: LazyCrop | None = None, **settings: Unpack[Settings]) -> list[tuple[str, Handler]]:
    """A URL mapping for ``images``, or for a LazyCrop that is made from ``settings``.

    Say ``options["lazycrop"] = images`` too, if templates are to have the helpers.
    """
    images = images_for(images, settings, {})
    app = ImageApp(images)
    prefix = images.config.prefix

    def handler(request: HTTPRequest) -> HTTPResponse | None:
        # The router takes any number of slashes at the beginning.
        if not request.environ["PATH_INFO"].startswith(f"{prefix}/"):
            return None
        return response(app.answer(request.environ, prefix))

    return [(rf"{re.escape(prefix.lstrip('/'))}/[\s\S]*", handler)]


def template_helpers(request: HTTPRequest) -> dict[str, Callable[..., str]]:
    """For the templates of a handler that is a function."""
    images = request.options["lazycrop"]
    return Helpers(images, mount(request.environ, images.config.prefix)).helpers


class ImagesMixin:
    """For a handler class, before wheezy's own: ``class Page(ImagesMixin, BaseHandler)``."""

    @attribute  # type: ignore[untyped-decorator]
    def helpers(self) -> dict[str, Any]:
        return {**super().helpers, **template_helpers(self.request)}  # type: ignore[misc,attr-defined]
