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
from typing import Any
from urllib.parse import quote

from bottle import Bottle, PluginError, Route, SimpleTemplate, request

from lazycrop import Helpers, LazyCrop, Middleware

__all__ = ["LazyCropPlugin"]


class LazyCropPlugin:
    """Answers for images, and gives ``lazycrop`` to callbacks that name it.

    ``images``: a LazyCrop; without it one is made from ``lazycrop.*`` in ``app.config`` and from ``settings``, which
    count more. ``keyword``: what callbacks call it.
    """

    name = "lazycrop"
    api = 2

    def __init__(self, images: LazyCrop | None = None, *, keyword: str = "lazycrop", **settings: Any) -> None:
        self._given = images
        self._keyword = keyword
        self._settings = settings

    def setup(self, app: Bottle) -> None:
        """Raises :class:`lazycrop.ConfigurationError`."""
        if any(isinstance(other, LazyCropPlugin) for other in app.plugins):
            raise PluginError("There is a LazyCropPlugin in this application already.")
        own = {f"lazycrop.{name}": value for name, value in self._settings.items()}
        self.images = self._given or LazyCrop.from_mapping({**app.config, **own})
        self._app = app
        app.wsgi = Middleware(app.wsgi, self.images)
        SimpleTemplate.defaults.update({name: _helper(name) for name in Helpers(self.images).helpers})

    def apply(self, callback: Callable[..., Any], route: Route) -> Callable[..., Any]:
        if self._keyword not in inspect.signature(route.callback).parameters:
            return callback

        def with_images(*arguments: Any, **named: Any) -> Any:
            return callback(*arguments, **named, **{self._keyword: self.images})

        return with_images

    def close(self) -> None:
        """What Bottle calls when the plugin is uninstalled."""
        del self._app.wsgi


def _helper(name: str) -> Callable[..., str]:
    """Templates are Bottle's for the whole process: which application's they are, the request says."""

    def helper(*arguments: Any, **options: Any) -> str:
        [plugin] = [plugin for plugin in request.app.plugins if isinstance(plugin, LazyCropPlugin)]
        mount = quote(request.environ.get("SCRIPT_NAME", ""), encoding="latin-1") + plugin.images.config.prefix
        return Helpers(plugin.images, mount).helpers[name](*arguments, **options)

    return helper
