"""One site, made with each framework: images below a prefix, and at ``/`` a page of the framework's own templates."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazycrop import Helpers, LazyCrop, Middleware
from servers import HOST

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Settings = Mapping[str, Any]

TITLE = "<!doctype html><meta charset=utf-8><title>Pictures</title><body style='margin:0'>\n"
CALLS = (
    "lazycrop_img('cat', '400x300-cover', alt='A \"cat\" & <co>', class_='photo')",
    "lazycrop_img('cat', 'x200', widths=[320, 640, 1280], sizes='320px', loading='eager')",
    "lazycrop_picture('Größe, 1 %20/Кот', '200x', placeholder=False)",
    "lazycrop_img('gone', '100x50', alt='gone')",
)
END = "<p>Text below.</p>\n"


def python_page(before: str, after: str) -> str:
    """The page in a template language whose expressions are Python's, between ``before`` and ``after``."""
    return TITLE + "".join(f"<div>{before}{call}{after}</div>\n" for call in CALLS) + END


def wsgi_app(settings: Settings) -> WSGIApplication:
    images = LazyCrop(**settings)

    def page(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        helpers = Helpers(images, environ["SCRIPT_NAME"] + images.config.prefix).helpers
        calls = [f"<div>{eval(call, dict(helpers))}</div>\n" for call in CALLS]
        return ["".join([TITLE, *calls, END]).encode()]

    return Middleware(page, images)


def flask_app(settings: Settings) -> WSGIApplication:
    from flask import Flask, render_template_string

    from flask_lazycrop import LazyCrop as Extension

    app = Flask(__name__)
    app.config.update({f"LAZYCROP_{name.upper()}": value for name, value in settings.items()})
    Extension(app)
    app.add_url_rule("/", "page", lambda: render_template_string(python_page("{{ ", " }}")))
    return app


def pyramid_app(settings: Settings) -> WSGIApplication:
    from jinja2 import DictLoader
    from pyramid.config import Configurator

    with Configurator(settings={f"lazycrop.{name}": value for name, value in settings.items()}) as config:
        config.include("pyramid_jinja2")
        config.include("pyramid_lazycrop")
        config.add_route("page", "/")
        config.add_view(lambda request: {}, route_name="page", renderer="page.jinja2")
    config.get_jinja2_environment().loader = DictLoader({"page.jinja2": python_page("{{ ", " }}")})
    return config.make_wsgi_app()  # type: ignore[no-any-return]


def wheezy_app(settings: Settings, routed: bool = False) -> WSGIApplication:
    from wheezy.http import WSGIApplication
    from wheezy.template.engine import Engine
    from wheezy.template.ext.core import CoreExtension
    from wheezy.template.loader import DictLoader
    from wheezy.web.handlers import BaseHandler
    from wheezy.web.middleware import (
        bootstrap_defaults,
        http_error_middleware_factory,
        path_routing_middleware_factory,
    )

    from wheezy_lazycrop import ImagesMixin, image_urls, lazycrop_middleware_factory

    class Page(ImagesMixin, BaseHandler):  # type: ignore[misc]
        def get(self) -> Any:
            return self.render_response("page.html")

    required = "@require(lazycrop_img, lazycrop_picture)\n"
    engine = Engine(DictLoader({"page.html": required + python_page("@", "")}), [CoreExtension()])
    options = {
        "ENCODING": "UTF-8",
        "ticket": None,  # Else wheezy warns of the one that it makes; nobody logs in here.
        "render_template": lambda name, context: engine.get_template(name).render(context),
    }
    images = LazyCrop(**settings)
    urls = [("", Page)]
    if routed:
        options["lazycrop"] = images
        middleware = [path_routing_middleware_factory]
        urls += image_urls(images)
    else:
        options.update({f"LAZYCROP_{name.upper()}": value for name, value in settings.items()})
        middleware = [
            lazycrop_middleware_factory,
            http_error_middleware_factory,
            path_routing_middleware_factory,
        ]
    return WSGIApplication([bootstrap_defaults(url_mapping=urls), *middleware], options)  # type: ignore[no-any-return]


def wheezy_routed_app(settings: Settings) -> WSGIApplication:
    return wheezy_app(settings, routed=True)


def bottle_app(settings: Settings) -> WSGIApplication:
    from bottle import Bottle, template

    from bottle_lazycrop import LazyCropPlugin

    app = Bottle()
    app.config.update({f"lazycrop.{name}": value for name, value in settings.items()})
    app.install(LazyCropPlugin())
    app.route("/", callback=lambda: template(python_page("{{!", "}}")))
    return app  # type: ignore[no-any-return]


def paste_app(settings: Settings) -> WSGIApplication:
    from paste_lazycrop import filter_factory

    return filter_factory({}, **ini_values(settings))(nothing({}))


def nothing(global_conf: Settings) -> WSGIApplication:
    """PasteDeploy has no templates."""

    def page(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return []

    return page


def django_app(settings: Settings) -> WSGIApplication:
    import django
    from django.conf import settings as django_settings
    from django.core.handlers.wsgi import WSGIHandler
    from django.http import HttpRequest, HttpResponse
    from django.template import Context, Engine, Library
    from django.urls import get_script_prefix, path

    images = LazyCrop(**settings)
    library = Library()

    @library.simple_tag
    def lazycrop(name: str, *arguments: Any, **options: Any) -> str:
        mount = get_script_prefix().rstrip("/") + images.config.prefix
        return Helpers(images, mount).helpers[f"lazycrop_{name}"](*arguments, **options)

    calls = (
        """{% lazycrop "img" "cat" "400x300-cover" alt='A "cat" & <co>' class_="photo" %}""",
        """{% lazycrop "img" "cat" "x200" widths=widths sizes="320px" loading="eager" %}""",
        """{% lazycrop "picture" "Größe, 1 %20/Кот" "200x" placeholder=False %}""",
        """{% lazycrop "img" "gone" "100x50" alt="gone" %}""",
    )
    engine = Engine()
    engine.template_builtins.append(library)
    template = engine.from_string(TITLE + "".join(f"<div>{call}</div>\n" for call in calls) + END)

    def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse(template.render(Context({"widths": [320, 640, 1280]})))

    class urls:
        urlpatterns = (path("", page),)

    # Django has one configuration for a process; all that these sites differ in is the page: each request says which.
    if not django_settings.configured:
        django_settings.configure(ROOT_URLCONF=urls, ALLOWED_HOSTS=[HOST], SECRET_KEY="secret", LOGGING_CONFIG=None)
        django.setup()
    handler = WSGIHandler()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        django_settings.ROOT_URLCONF = urls
        return handler(environ, start_response)

    return Middleware(application, images)


APPLICATIONS: dict[str, Callable[[Settings], WSGIApplication]] = {
    "wsgi": wsgi_app,
    "flask": flask_app,
    "pyramid": pyramid_app,
    "wheezy": wheezy_app,
    "wheezy-routed": wheezy_routed_app,
    "bottle": bottle_app,
    "paste": paste_app,
    "django": django_app,
}


def application(framework: str, settings: str) -> WSGIApplication:
    """For servers that are other processes; ``settings`` is the path of a JSON file."""
    return APPLICATIONS[framework](json.loads(Path(settings).read_text()))


def ini_values(settings: Settings) -> dict[str, str]:
    """Settings as an ini file has them."""

    def text(value: Any) -> str:
        if isinstance(value, Mapping):
            value = [f"{name}={one}" for name, one in value.items()]
        return " ".join(value) if isinstance(value, list) else str(value)

    return {name: text(value) for name, value in settings.items()}


@contextmanager
def serving(app: WSGIApplication, script_name: str = "") -> Iterator[str]:
    """``app`` under waitress in a thread; gives its URL, without a slash at the end."""
    import waitress

    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    server = waitress.create_server(app, host=HOST, port=0, url_prefix=script_name, threads=4)
    sockets, stopping = server._map, threading.Event()

    def run() -> None:  # server.run() ends by a signal only.
        while not stopping.is_set():
            server.asyncore.loop(timeout=0.05, map=sockets, count=1)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://{HOST}:{server.effective_port}{script_name}"
    finally:
        stopping.set()
        thread.join(10)
        server.task_dispatcher.shutdown()
        server.asyncore.close_all(sockets, ignore_all=True)
