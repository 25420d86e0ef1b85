"""lazycrop in Flask.

::

    images = LazyCrop()             # or LazyCrop(app)
    images.init_app(app)            # reads LAZYCROP_STORE, LAZYCROP_SIZES … from app.config

``images`` has the verbs itself: ``images.store_origin("cat", request.files["picture"])``, ``images.purge("cat")`` …
Images are answered by a blueprint at ``LAZYCROP_PREFIX``; ``current_app.extensions["lazycrop"]`` is the application's
:class:`lazycrop.LazyCrop`; templates have ``lazycrop_url``, ``lazycrop_srcset``, ``lazycrop_img`` and
``lazycrop_picture``; ``flask lazycrop`` is the command line under the application's own settings.
"""

from __future__ import annotations

from collections.abc import Callable
from types import MethodType
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, Unpack

import click
from flask import Blueprint, Flask, Response, abort, current_app, has_app_context, has_request_context, request
from werkzeug.routing import BaseConverter
from werkzeug.wsgi import wrap_file

import lazycrop
from lazycrop import Answer, Helpers, ImageApp, LazyCropError, images_for, mount

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers

    from lazycrop import Settings

__all__ = ["LazyCrop", "response"]

# Flask has no rule for every method; the images themselves say which they allow.
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


P = ParamSpec("P")
T = TypeVar("T")


class _Verb(Generic[P, T]):
    """A method of :class:`lazycrop.LazyCrop`, of the images of the current application."""

    def __init__(self, verb: Callable[Concatenate[lazycrop.LazyCrop, P], T]) -> None:
        self._verb = verb
        self.__doc__ = verb.__doc__

    def __get__(self, extension: LazyCrop | None, owner: type[LazyCrop]) -> Callable[P, T]:
        if extension is None:
            return self  # type: ignore[return-value]  # for who reads its documentation
        return MethodType(self._verb, extension.images)


class LazyCrop:
    """The extension. One may serve several applications, each by its own settings.

    ``images``: a :class:`lazycrop.LazyCrop`; without it each application gets one, made from ``LAZYCROP_*`` in
    ``app.config`` and from ``settings``, as for :class:`lazycrop.LazyCrop`, which count more.
    """

    store_origin = _Verb(lazycrop.LazyCrop.store_origin)
    adopt = _Verb(lazycrop.LazyCrop.adopt)
    on = _Verb(lazycrop.LazyCrop.on)
    purge = _Verb(lazycrop.LazyCrop.purge)
    record = _Verb(lazycrop.LazyCrop.record)
    set_private = _Verb(lazycrop.LazyCrop.set_private)
    url = _Verb(lazycrop.LazyCrop.url)
    url_of = _Verb(lazycrop.LazyCrop.url_of)
    warm = _Verb(lazycrop.LazyCrop.warm)

    def __init__(
        self, app: Flask | None = None, *, images: lazycrop.LazyCrop | None = None, **settings: Unpack[Settings]
    ) -> None:
        self._given = images
        self._settings = settings
        self._of_apps: list[lazycrop.LazyCrop] = []
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Raises :class:`lazycrop.ConfigurationError`."""
        images = images_for(self._given, self._settings, app.config, "LAZYCROP_")
        app.extensions["lazycrop"] = images
        self._of_apps.append(images)
        app.url_map.converters["lazycrop"] = _Anything
        app.register_blueprint(_blueprint(ImageApp(images), app), url_prefix=images.config.prefix or None)
        app.cli.add_command(_Commands(images.config.changed))
        for name in Helpers(images).helpers:
            app.add_template_global(_helper(name), name)

    @property
    def images(self) -> lazycrop.LazyCrop:
        """The images of the current application; where there is none, those of the only one that has this extension."""
        if not has_app_context() and len(self._of_apps) == 1:
            return self._of_apps[0]
        images: lazycrop.LazyCrop = current_app.extensions["lazycrop"]
        return images


def _blueprint(images: ImageApp, app: Flask) -> Blueprint:
    blueprint = Blueprint("lazycrop", __name__)
    prefix = images.images.config.prefix

    def image(**of_the_rule: str) -> Response:
        # Not the rule's path: that is decoded, and what is no UTF-8 in it is lost.
        if not request.environ["PATH_INFO"].startswith(f"{prefix}/"):
            abort(404)  # Werkzeug takes any number of slashes at the beginning.
        return response(images.answer(request.environ, prefix))

    for place in _places(app):
        blueprint.add_url_rule(
            "/<lazycrop:path>",
            view_func=image,
            methods=_METHODS,
            provide_automatic_options=False,
            merge_slashes=False,
            **place,
        )
    return blueprint


def _places(app: Flask) -> list[dict[str, str]]:
    """Images are at every host, whatever the application does with hosts."""
    if app.url_map.host_matching:
        return [{"host": "<lazycrop_host>"}]
    return [{}, {"subdomain": "<lazycrop_host>"}] if app.subdomain_matching else [{}]


class _Anything(BaseConverter):
    """All that follows, slashes and line breaks too."""

    regex = r"[\s\S]*"
    part_isolating = False


class _Response(Response):
    """An Answer's headers as they are: werkzeug would drop a 304's Last-Modified and make up lengths and types."""

    default_mimetype = None
    automatically_set_content_length = False

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        return self.headers


def response(answer: Answer) -> Response:
    """An Answer as a view returns it."""
    environ = request.environ if has_request_context() else {}
    body = answer.body if isinstance(answer.body, bytes) else wrap_file(environ, answer.body)
    return _Response(body, f"{answer.status} {answer.reason}", answer.headers, direct_passthrough=True)


def _helper(name: str) -> Callable[..., str]:
    def helper(*arguments: Any, **options: Any) -> str:
        images = current_app.extensions["lazycrop"]
        mounted = mount(request.environ, images.config.prefix) if has_request_context() else None
        return Helpers(images, mounted).helpers[name](*arguments, **options)

    return helper


class _Commands(click.Group):
    """The command line of lazycrop, loaded when somebody asks for it, under the settings of an application."""

    def __init__(self, settings: dict[str, Any]) -> None:
        super().__init__("lazycrop", help="Store, warm and purge images, and more.")
        self._settings = settings

    def list_commands(self, context: click.Context) -> list[str]:
        from lazycrop import cli

        return cli.commands.list_commands(context)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        from lazycrop import cli

        context.meta["lazycrop.settings"] = self._settings
        return cli.commands.get_command(context, name)

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except LazyCropError as error:
            raise click.ClickException(str(error)) from error
