"""lazycrop in Bottle.

::

    app.config.load_config("app.ini")       # a section [lazycrop]
    app.install(LazyCropPlugin())           # or LazyCropPlugin(store="…", sizes=[…])

    @app.post("/pictures/<name>")
    def store(name, lazycrop):              # callbacks that name it are given the LazyCrop
        lazycrop.store_origin(name, request.files.picture.file)

A plugin never sees a URL without a route, and Bottle rewrites headers, so the images are answered by the application's
WSGI callable before it routes. SimpleTemplate has ``lazycrop_url``, ``lazycrop_srcset``, ``lazycrop_img`` and
``lazycrop_picture``; write ``{{!lazycrop_img(…)}}``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Unpack

from bottle import Bottle, HTTPResponse, PluginError, Route, SimpleTemplate, request

from lazycrop import Answer, Helpers, LazyCrop, Middleware, images_for, mount

if TYPE_CHECKING:
    from lazycrop import Settings

__all__ = ["LazyCropPlugin", "response"]


def response(answer: Answer) -> HTTPResponse:
    """An Answer as a callback returns or raises it."""
    return HTTPResponse(answer.body, answer.status, answer.headers)


class LazyCropPlugin:
    """Answers for images, and gives ``lazycrop`` to callbacks that name it.

    ``images``: a LazyCrop; without it one is made from ``lazycrop.*`` in ``app.config`` and from ``settings``, as for
    :class:`lazycrop.LazyCrop`, which count more. ``keyword``: what callbacks call it.
    """

    name = "lazycrop"
    api = 2

    def __init__(
        self, images: LazyCrop | None = None, *, keyword: str = "lazycrop", **settings: Unpack[Settings]
    ) -> None:
        self._given = images
        self._keyword = keyword
        self._settings = settings

    def setup(self, app: Bottle) -> None:
        """Raises :class:`lazycrop.ConfigurationError`."""
        if any(isinstance(other, LazyCropPlugin) for other in app.plugins):
            raise PluginError("There is a LazyCropPlugin in this application already.")
        self.images = images_for(self._given, self._settings, app.config)
        self._app = app
        app.wsgi = Middleware(app.wsgi, self.images)
        SimpleTemplate.defaults.update({name: _helper(name, self) for name in Helpers(self.images).helpers})

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        if self._keyword not in inspect.signature(route.callback).parameters:
            return callback

        def with_images(*arguments: Any, **named: Any) -> Any:
            return callback(*arguments, **named, **{self._keyword: self.images})

        return with_images

    def close(self) -> None:
        """What Bottle calls when the plugin is uninstalled."""
        del self._app.wsgi


def _helper(name: str, last: LazyCropPlugin) -> Callable[..., str]:
    """Templates are Bottle's for the whole process: which application's they are, the request says.

    ``last``: the plugin that was installed last, for where there is no request, or one of an application without any.
    """

    def helper(*arguments: Any, **options: Any) -> str:
        try:
            environ = request.environ or {}
        except RuntimeError:  # This thread has never had a request.
            environ = {}
        plugins = getattr(environ.get("bottle.app"), "plugins", [])
        images = next((plugin for plugin in plugins if isinstance(plugin, LazyCropPlugin)), last).images
        return Helpers(images, mount(environ, images.config.prefix)).helpers[name](*arguments, **options)

    return helper
