"""What is given to an adapter: images, or settings, of which keywords count more; and hosts of any kind."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import bottle_lazycrop
import flask_lazycrop
import paste_lazycrop
import pyramid_lazycrop
import wheezy_lazycrop
from lazycrop import Answer, ConfigurationError, LazyCrop
from servers import photo

FOSSA = photo("Fossa")
Given = dict[str, Any]


def flask(config: Given, **given: Any) -> LazyCrop:
    from flask import Flask

    app = Flask(__name__)
    app.config.update({f"LAZYCROP_{name.upper()}": value for name, value in config.items()})
    flask_lazycrop.LazyCrop(app, **given)
    return app.extensions["lazycrop"]  # type: ignore[no-any-return]


def pyramid(config: Given, **given: Any) -> LazyCrop:
    from pyramid.config import Configurator

    configurator = Configurator(settings={f"lazycrop.{name}": value for name, value in config.items()})
    configurator.add_directive("set_lazycrop", pyramid_lazycrop.set_lazycrop)
    configurator.set_lazycrop(**given)
    configurator.commit()
    return configurator.registry["lazycrop"][""].app.images  # type: ignore[no-any-return]


def bottle(config: Given, **given: Any) -> LazyCrop:
    from bottle import Bottle

    app = Bottle()
    app.config.update({f"lazycrop.{name}": value for name, value in config.items()})
    plugin = bottle_lazycrop.LazyCropPlugin(**given)
    app.install(plugin)
    return plugin.images


def wheezy(config: Given, **given: Any) -> LazyCrop:
    options = {f"LAZYCROP_{name.upper()}": value for name, value in config.items()}
    partial(wheezy_lazycrop.lazycrop_middleware_factory, **given)(options)
    return options["lazycrop"]  # type: ignore[no-any-return]


def paste(config: Given, **given: Any) -> LazyCrop:
    global_conf = {f"lazycrop.{name}": value for name, value in config.items()}
    paste_lazycrop.filter_factory(global_conf, **given)(lambda *_: [])
    paste_lazycrop.filter_app_factory(lambda *_: [], global_conf, **given)
    return paste_lazycrop.app_factory(global_conf, **given).images


ADAPTERS: dict[str, Callable[..., LazyCrop]] = {
    "flask": flask,
    "pyramid": pyramid,
    "bottle": bottle,
    "wheezy": wheezy,
    "paste": paste,
}


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_keywords_count_more_than_the_configuration(adapter: str) -> None:
    config = {"store": "memory:", "sizes": "1x1", "prefix": "/one", "max_edge": "50"}
    images = ADAPTERS[adapter](config, prefix="/two", sizes=[(2, 2)])
    assert (images.config.prefix, images.config.policy.sizes, images.config.policy.max_edge) == ("/two", ("2x2",), 50)


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_images_may_be_given_and_no_keywords_beside_them(adapter: str) -> None:
    images = LazyCrop(store="memory:", sizes="any")
    assert ADAPTERS[adapter]({}, images=images) is images
    with pytest.raises(ConfigurationError, match="'sizes' is given beside 'images'"):
        ADAPTERS[adapter]({}, images=images, sizes="any")
    with pytest.raises(ConfigurationError, match="'images' is a str"):
        ADAPTERS[adapter]({}, images="memory:")


@pytest.mark.parametrize(
    "adapter", [flask_lazycrop, pyramid_lazycrop, bottle_lazycrop, wheezy_lazycrop, paste_lazycrop]
)
def test_every_adapter_makes_a_response_of_an_answer(adapter: Any) -> None:
    assert list(inspect.signature(adapter.response).parameters) == ["answer"]
    headers = [("Content-Type", "text/plain"), ("Content-Length", "1")]
    made = adapter.response(Answer(422, headers, b"x"))
    if adapter is paste_lazycrop:
        started: list[Any] = []
        assert b"".join(made({}, lambda *arguments: started.append(arguments))) == b"x"
        assert started[0] == ("422 Unprocessable Content", headers) or started[0][0].startswith("422")
    else:
        assert getattr(made, "status_code", None) == 422


def test_the_commands_of_flask_know_the_images_that_were_given(tmp_path: Path) -> None:
    from flask import Flask

    app = Flask(__name__)
    flask_lazycrop.LazyCrop(app, images=LazyCrop(store=tmp_path, sizes=[(200, 100)], secret=["a, b"], prefix="/x"))
    result = app.test_cli_runner().invoke(args=["lazycrop", "url", "cat", "200x100"])
    assert result.output == "/x/cat/200x100.jpg\n"


def flask_site(images: LazyCrop, **options: Any) -> Any:
    from flask import Flask

    app = Flask("site", **options)
    flask_lazycrop.LazyCrop(app, images=images)
    return app


@pytest.fixture
def images() -> LazyCrop:
    images = LazyCrop(store="memory:", sizes=["200x100"], broker="inline")
    images.store_origin("cat", FOSSA)
    return images


@pytest.mark.parametrize("host", ["localhost", "localhost:5000", "cdn.example.com", "[::1]:8000"])
@pytest.mark.parametrize("options", [{}, {"host_matching": True, "static_host": "localhost"}])
def test_flask_answers_for_images_at_every_host(images: LazyCrop, host: str, options: Given) -> None:
    app = flask_site(images, **options)
    page = {"host": "localhost"} if options else {}
    app.add_url_rule("/", view_func=lambda: "page", **page)
    assert app.test_client().get("/", base_url="http://localhost").status_code == 200
    assert app.test_client().get("/img/cat/200x100.jpg", base_url=f"http://{host}").status_code == 200


@pytest.mark.filterwarnings("ignore:Current server name")
@pytest.mark.parametrize("host", ["example.com", "www.example.com", "a.b.example.com", "elsewhere.org"])
def test_flask_answers_for_images_at_every_subdomain(images: LazyCrop, host: str) -> None:
    app = flask_site(images, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.com"
    app.add_url_rule("/", view_func=lambda: "page")
    assert app.test_client().get("/img/cat/200x100.jpg", base_url=f"http://{host}").status_code == 200


def test_pyramid_renders_with_a_request_of_a_test() -> None:
    from pyramid import testing
    from pyramid.renderers import render

    class Renderer:
        def __init__(self, info: Any) -> None:
            pass

        def __call__(self, value: Any, system: Any) -> str:
            return str(system["lazycrop_url"]("cat", "200x100"))

    request = testing.DummyRequest()
    config = testing.setUp(request=request, settings={"lazycrop.store": "memory:", "lazycrop.sizes": "200x100"})
    try:
        config.add_renderer(".txt", Renderer)
        config.include("pyramid_lazycrop")
        config.commit()
        config.registry["lazycrop"][""].app.images.store_origin("cat", FOSSA)
        assert render("a.txt", {}, request=request) == "/img/cat/200x100.jpg"
        bare = testing.DummyRequest(environ={"SCRIPT_NAME": "/below"}, path="/")
        assert render("a.txt", {}, request=bare) == "/below/img/cat/200x100.jpg"
    finally:
        testing.tearDown()


def test_bottles_templates_work_without_a_request_and_below_another_application(images: LazyCrop) -> None:
    from bottle import Bottle, template

    app, below = Bottle(), Bottle()
    app.install(bottle_lazycrop.LazyCropPlugin(images))
    with ThreadPoolExecutor(1) as thread:  # One that has never had a request: Bottle keeps a thread's last one.
        assert thread.submit(template, "{{lazycrop_url('cat', '200x100')}}").result() == "/img/cat/200x100.jpg"
    below.route("/", callback=lambda: template("{{lazycrop_url('cat', '200x100')}}"))
    app.mount("/below/", below)
    started: list[Any] = []
    from wsgiref.util import setup_testing_defaults

    environ: dict[str, Any] = {"PATH_INFO": "/below/"}
    setup_testing_defaults(environ)
    assert b"/cat/200x100.jpg" in b"".join(app(environ, lambda *arguments: started.append(arguments)))
