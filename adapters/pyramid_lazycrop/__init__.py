"""lazycrop in Pyramid.

::

    config.include("pyramid_lazycrop")      # or pyramid.includes = pyramid_lazycrop, in the ini file

With settings ``lazycrop.*`` that is all. ``config.set_lazycrop(...)`` takes settings from Python, or a LazyCrop, below
the current route prefix; several route prefixes may each have their own. Images are answered by a tween, which sees
paths as the client sent them. ``request.lazycrop`` is the :class:`lazycrop.LazyCrop`; templates of any renderer have
``lazycrop_url``, ``lazycrop_srcset``, ``lazycrop_img`` and ``lazycrop_picture``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Unpack

from pyramid.config import Configurator
from pyramid.events import BeforeRender
from pyramid.registry import Registry
from pyramid.request import Request
from pyramid.response import FileIter, Response
from pyramid.threadlocal import get_current_registry

from lazycrop import Answer, Helpers, ImageApp, LazyCrop, images_for, mount

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from lazycrop import Settings

__all__ = ["includeme", "response", "set_lazycrop", "tween_factory"]


class _Site(NamedTuple):
    """Images, and the path below which they are mounted."""

    prefix: str
    app: ImageApp


def includeme(config: Configurator) -> None:
    config.add_directive("set_lazycrop", set_lazycrop)
    config.add_request_method(_images, "lazycrop", reify=True)
    config.add_subscriber(_add_helpers, BeforeRender)
    config.add_tween("pyramid_lazycrop.tween_factory")
    if any(name.startswith("lazycrop.") for name in config.registry.settings):
        config.set_lazycrop()


def set_lazycrop(config: Configurator, images: LazyCrop | None = None, **settings: Unpack[Settings]) -> None:
    """Mount ``images`` below the current route prefix and their own ``prefix``.

    ``settings``: as for :class:`lazycrop.LazyCrop`, over those in the ini file; not with ``images``.
    Raises :class:`lazycrop.ConfigurationError`.
    """
    app = ImageApp(images_for(images, settings, config.registry.settings))
    root = f"/{config.route_prefix.strip('/')}" if config.route_prefix else ""
    site = _Site(root + app.images.config.prefix, app)

    def register() -> None:
        config.registry.setdefault("lazycrop", {})[root] = site

    shown = config.introspectable("lazycrop", site.prefix, f"{site.prefix} from {app.images.store!r}", "lazycrop")
    shown["images"] = app.images
    config.action(("lazycrop", root), register, introspectables=(shown,))


def tween_factory(handler: Callable[[Request], Response], registry: Registry) -> Callable[[Request], Response]:
    sites = [(f"{prefix}/", prefix, app) for prefix, app in registry.get("lazycrop", {}).values()]

    def tween(request: Request) -> Response:
        environ = request.environ
        for below, prefix, app in sites:
            if environ.get("PATH_INFO", "").startswith(below):
                return response(app.answer(environ, prefix))
        return handler(request)

    return tween


def response(answer: Answer) -> Response:
    """An Answer as a view returns it."""
    return _Response(answer)


class _Response(Response):  # type: ignore[misc]
    """An Answer as it is: WebOb would make a Location absolute by what the Host header says."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(status=f"{answer.status} {answer.reason}", headerlist=answer.headers, app_iter=_chunks(answer))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        start_response(self.status, self.headerlist)
        return self.app_iter  # type: ignore[no-any-return]


def _chunks(answer: Answer) -> Iterable[bytes]:
    if not isinstance(answer.body, bytes):
        return FileIter(answer.body)  # type: ignore[no-any-return]
    return [answer.body] if answer.body else []


def _site(registry: Registry, environ: Mapping[str, Any]) -> _Site:
    """That of the innermost route prefix which the request is below; the first one elsewhere."""
    sites: dict[str, _Site] = registry["lazycrop"]
    above = [root for root in sites if f"{environ.get('PATH_INFO', '')}/".startswith(f"{root}/")]
    return sites[max(above, key=len, default=next(iter(sites)))]


def _images(request: Request) -> LazyCrop:
    return _site(request.registry, request.environ).app.images


def _add_helpers(event: BeforeRender) -> None:
    """Also for a DummyRequest, which may have no environ, and for a mail, which has no request."""
    request = event.get("request")
    registry = get_current_registry() if request is None else request.registry
    environ = getattr(request, "environ", None) or {}
    if "lazycrop" in registry:
        site = _site(registry, environ)
        event.update(Helpers(site.app.images, mount(environ, site.prefix)).helpers)
