"""One site, made with each framework: images below a prefix, and at ``/`` a page of the framework's own templates."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lazycrop import Helpers, LazyCrop, Middleware, asgi
from lazycrop.http.requests import path_in
from servers import HOST, answers, eventually, free_ports

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


def asgi_app(settings: Settings) -> asgi.Application:
    images = LazyCrop(**settings)

    async def page(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        if scope["type"] == "lifespan":
            return await asgi.ImageApp(images)(scope, receive, send)
        helpers = asgi.AsyncHelpers(images, scope["root_path"] + images.config.prefix)
        body, status = await async_page(helpers), 200 if path_in(scope) == "/" else 404
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body.encode()})

    return asgi.Middleware(page, images)


async def async_page(helpers: asgi.AsyncHelpers) -> str:
    known = {"lazycrop_img": helpers.img, "lazycrop_picture": helpers.picture}
    return "".join([TITLE, *[f"<div>{await eval(call, dict(known))}</div>\n" for call in CALLS], END])


def starlette_app(settings: Settings) -> asgi.Application:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    images = LazyCrop(**settings)

    async def page(request: Request) -> HTMLResponse:
        mount = request.scope["root_path"] + images.config.prefix
        return HTMLResponse(await async_page(asgi.AsyncHelpers(images, mount)))

    app = Starlette(routes=[Route("/", page)])
    app.add_middleware(asgi.Middleware, images=images)
    return app


DJANGO_CALLS = (
    """{% lazycrop_img "cat" "400x300-cover" alt='A "cat" & <co>' class_="photo" %}""",
    """{% lazycrop_img "cat" "x200" widths="320 640 1280" sizes="320px" loading="eager" %}""",
    """{% lazycrop_picture "Größe, 1 %20/Кот" "200x" placeholder=False %}""",
    """{% lazycrop_img "gone" "100x50" alt="gone" %}""",
)


def setup_django() -> None:
    """With the one configuration of this process; what a site differs in, it says."""
    import django
    from django.conf import settings

    if not settings.configured:
        os.environ["DJANGO_SETTINGS_MODULE"] = "django_project.settings"
        django.setup()
        del os.environ["DJANGO_SETTINGS_MODULE"]  # It was read, and programs that tests start are none of Django's.


def django_site(settings: Settings, in_middleware: bool) -> dict[str, Any]:
    """Its settings, which each request says anew."""
    setup_django()
    from django.http import HttpRequest, HttpResponse
    from django.template import Context, Engine
    from django.urls import include, path

    engine = Engine(libraries={"lazycrop": "django_lazycrop.templatetags.lazycrop"}, builtins=[])
    page = "".join(f"<div>{call}</div>\n" for call in DJANGO_CALLS)
    template = engine.from_string("{% load lazycrop %}" + TITLE + page + END)

    def show(request: HttpRequest) -> HttpResponse:
        return HttpResponse(template.render(Context()))

    images = LazyCrop(**settings)
    routes = [path("", show)]
    if not in_middleware:
        routes.append(path(f"{images.config.prefix.strip('/')}/", include("django_lazycrop.urls")))

    class urls:
        urlpatterns = routes

    middleware = ["django_lazycrop.middleware"] if in_middleware else []
    return {"ROOT_URLCONF": urls, "MIDDLEWARE": middleware, "LAZYCROP": images}


def django_app(settings: Settings, in_middleware: bool = False) -> WSGIApplication:
    site = django_site(settings, in_middleware)
    from django.core.handlers.wsgi import WSGIHandler

    use_site(site)
    handler = WSGIHandler()

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        use_site(site)
        return handler(environ, start_response)

    return application


def use_site(site: Mapping[str, Any]) -> None:
    from django.conf import settings

    for name, value in site.items():
        setattr(settings, name, value)
    from django_lazycrop.serving import _serving

    _serving()  # Which a site does when it starts, or at its first request.


def django_middleware_app(settings: Settings) -> WSGIApplication:
    return django_app(settings, in_middleware=True)


def django_asgi_app(settings: Settings, in_middleware: bool = False) -> asgi.Application:
    site = django_site(settings, in_middleware)
    from django.core.handlers.asgi import ASGIHandler

    use_site(site)
    handler = ASGIHandler()

    async def application(scope: asgi.Scope, receive: asgi.Receive, send: asgi.Send) -> None:
        use_site(site)
        await handler(scope, receive, send)

    return application


def django_asgi_middleware_app(settings: Settings) -> asgi.Application:
    return django_asgi_app(settings, in_middleware=True)


APPLICATIONS: dict[str, Callable[[Settings], WSGIApplication]] = {
    "wsgi": wsgi_app,
    "flask": flask_app,
    "pyramid": pyramid_app,
    "wheezy": wheezy_app,
    "wheezy-routed": wheezy_routed_app,
    "bottle": bottle_app,
    "paste": paste_app,
    "django": django_app,
    "django-middleware": django_middleware_app,
}

ASGI_APPLICATIONS: dict[str, Callable[[Settings], asgi.Application]] = {
    "asgi": asgi_app,
    "starlette": starlette_app,
    "django-asgi": django_asgi_app,
    "django-asgi-middleware": django_asgi_middleware_app,
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


@contextmanager
def under_uvicorn(app: asgi.Application, root_path: str = "") -> Iterator[str]:
    """``app`` under uvicorn in a thread; gives its URL, as a proxy in front of it would ask."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, root_path=root_path, log_config=None))
    with socket.create_server((HOST, 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            eventually(lambda: server.started, what="uvicorn answers")
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


@contextmanager
def under_hypercorn(app: asgi.Application, root_path: str = "") -> Iterator[str]:
    """The same under hypercorn, which has no ``root_path`` in its paths."""
    from hypercorn.asyncio import serve
    from hypercorn.config import Config

    [port] = free_ports(1)
    config = Config()
    config.bind, config.root_path, config.accesslog, config.errorlog = [f"{HOST}:{port}"], root_path, None, None
    stopping = threading.Event()

    async def stopped() -> None:
        while not stopping.is_set():
            await asyncio.sleep(0.05)

    thread = threading.Thread(target=lambda: asyncio.run(serve(app, config, shutdown_trigger=stopped)))
    thread.start()
    try:
        eventually(lambda: answers(f"http://{HOST}:{port}/"), what="hypercorn answers")
        yield f"http://{HOST}:{port}"
    finally:
        stopping.set()
        thread.join(10)
