"""What each adapter adds in its framework's own way; that the images are the same is in test_behaviour."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import colander
import pytest
from werkzeug.datastructures import FileStorage, MultiDict
from wtforms import Form, MultipleFileField, StringField

import flask_lazycrop
import paste_lazycrop
import wheezy_lazycrop
from bottle_lazycrop import LazyCropPlugin
from flask_lazycrop.forms import Picture as FlaskPicture
from frameworks import APPLICATIONS, ini_values
from lazycrop import ConfigurationError, LazyCrop
from lazycrop.stores.contract import Opened
from lazycrop.stores.folder import FolderStore
from pyramid_lazycrop.forms import Picture as PyramidPicture
from servers import S3, eventually, photo

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

FOSSA = photo("Fossa")
FRAMEWORKS = [name for name in APPLICATIONS if name != "wsgi"]


class Answered:
    """What a WSGI application answered; ``close`` is what a server does at the end."""

    def __init__(
        self, app: WSGIApplication, path: str, method: str = "GET", script_name: str = "", **more: Any
    ) -> None:
        environ: dict[str, Any] = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": script_name}
        environ |= {"QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1", **more}
        setup_testing_defaults(environ)
        started: list[Any] = []
        self.chunks = app(environ, lambda *arguments: started.append(arguments))  # type: ignore[arg-type, return-value]
        self.body = b"" if more.get("unread") else b"".join(self.chunks)
        status, self.headers = started[0][0], dict(started[0][1])
        self.status = int(status.split()[0])
        if not more.get("unread"):
            self.close()

    @property
    def text(self) -> str:
        return self.body.decode()

    def close(self) -> None:
        getattr(self.chunks, "close", lambda: None)()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with a cat."""
    LazyCrop(store=tmp_path / "images").store_origin("cat", FOSSA)
    return tmp_path / "images"


@pytest.fixture
def settings(folder: Path) -> dict[str, Any]:
    return {"store": str(folder), "sizes": ["200x100", "200x100@2x"], "broker": "inline"}


class WatchedStore(FolderStore):
    """Remembers what it opened."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened: list[Opened] = []

    def open(self, key: str) -> Opened:
        self.opened.append(super().open(key))
        return self.opened[-1]


@pytest.mark.parametrize("framework", [name for name in FRAMEWORKS if name != "paste"])
@pytest.mark.parametrize("read", [True, False])
def test_a_streamed_file_is_closed_whether_or_not_it_was_read(framework: str, read: bool, folder: Path) -> None:
    store = WatchedStore(folder)
    app = APPLICATIONS[framework]({"store": store, "sizes": ["200x100"], "broker": "inline"})
    assert Answered(app, "/img/cat/200x100.jpg").status == 200
    store.opened.clear()
    answered = Answered(app, "/img/cat/200x100.jpg", unread=not read)
    if read:
        assert answered.body == (folder / "cat/200x100.jpg").read_bytes()
    answered.close()
    # On a thread of the store's, for which nobody waits.
    [opened] = store.opened
    eventually(lambda: opened.file.closed, what="the file is closed")
    head = Answered(app, "/img/cat/200x100.jpg", "HEAD")
    assert head.body == b"" and head.headers["Content-Length"] == str((folder / "cat/200x100.jpg").stat().st_size)
    eventually(lambda: all(opened.file.closed for opened in store.opened), what="the file is closed")


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_protocol_of_wsgi_is_kept(framework: str, settings: dict[str, Any]) -> None:
    app = validator(APPLICATIONS[framework](settings))
    for path in (
        "/img/cat/200x100.jpg",
        "/img/cat/200x100.jpg",
        "/img/cat/9x.jpg",
        "/img/c%ff/9x.jpg",
        "/img/dog/200x100.jpg",
    ):
        for method in ("HEAD", "GET", "POST"):
            assert Answered(app, path, method).status < 500
    etag = Answered(app, "/img/cat/200x100.jpg").headers["ETag"]
    assert Answered(app, "/img/cat/200x100.jpg", HTTP_IF_NONE_MATCH=etag).status == 304


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_application_that_names_no_size_does_not_start(framework: str, folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="Nothing may be asked for yet"):
        APPLICATIONS[framework]({"store": str(folder)})


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_a_setting_that_does_not_exist_is_named(framework: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="'sises'; did you mean 'sizes'"):
        APPLICATIONS[framework]({**settings, "sises": "200x100"})


# Flask


def flask_app(settings: dict[str, Any], **more: Any) -> Any:
    from flask import Flask

    app = Flask(__name__)
    app.config.update({f"LAZYCROP_{name.upper()}": value for name, value in settings.items()}, **more)
    return app


def test_two_flask_applications_have_buckets_of_their_own(s3: S3) -> None:
    client = s3.client()
    client.create_bucket(Bucket="second")
    extension = flask_lazycrop.LazyCrop(
        s3_endpoint_url=s3.endpoint,
        s3_access_key=s3.access_key,
        s3_secret_key=s3.secret_key,
        s3_region=s3.region,
        sizes=["200x100"],
        broker="inline",
    )
    apps = {bucket: flask_app({"store": f"s3://{bucket}/base"}) for bucket in (s3.bucket, "second")}
    try:
        for bucket, app in apps.items():
            extension.init_app(app)
            with app.app_context():
                extension.images.store_origin(f"of-{bucket}", FOSSA)
        for bucket, app in apps.items():
            statuses = [app.test_client().get(f"/img/of-{bucket}/200x100.jpg").status_code for _ in range(2)]
            assert statuses == [200, 301]
            location = app.test_client().get(f"/img/of-{bucket}/200x100.jpg").headers["Location"]
            assert location == f"{s3.endpoint}/{bucket}/base/of-{bucket}/200x100.jpg"
            client.head_object(Bucket=bucket, Key=f"base/of-{bucket}/200x100.jpg")
            [other] = {*apps} - {bucket}
            assert app.test_client().get(f"/img/of-{other}/200x100.jpg").status_code == 404
    finally:
        for found in client.list_objects_v2(Bucket="second").get("Contents", ()):
            client.delete_object(Bucket="second", Key=found["Key"])
        client.delete_bucket(Bucket="second")
        client.close()


def test_what_a_flask_application_does_before_and_after_a_request_is_done_for_images(settings: dict[str, Any]) -> None:
    from flask import abort, request

    app = flask_app(settings)
    flask_lazycrop.LazyCrop(app)
    app.before_request(lambda: abort(401) if "Authorization" not in request.headers else None)

    @app.after_request
    def mark(response: Any) -> Any:
        response.headers["X-Mark"] = "yes"
        return response

    client = app.test_client()
    assert client.get("/img/cat/200x100.jpg").status_code == 401
    answer = client.get("/img/cat/200x100.jpg", headers={"Authorization": "x"})
    assert (answer.status_code, answer.headers["X-Mark"]) == (200, "yes")


def test_flask_templates_work_without_a_request(settings: dict[str, Any]) -> None:
    from flask import render_template_string

    app = flask_app({**settings, "prefix": "/media"})
    flask_lazycrop.LazyCrop(app)
    with app.app_context():
        assert render_template_string("{{ lazycrop_url('cat', '200x100') }}") == "/media/cat/200x100.jpg"
    with app.test_request_context("/", base_url="http://localhost/b\u00e4r"):
        assert render_template_string("{{ lazycrop_url('cat', '200x100') }}") == "/b%C3%A4r/media/cat/200x100.jpg"


def test_images_may_be_mounted_at_the_root_of_a_flask_application(settings: dict[str, Any]) -> None:
    app = flask_app({**settings, "prefix": ""})
    app.add_url_rule("/about", "about", lambda: "about")
    flask_lazycrop.LazyCrop(app)
    assert app.test_client().get("/cat/200x100.jpg").status_code == 200
    assert app.test_client().get("/about").text == "about"


def test_flasks_command_line_has_lazycrops_under_the_settings_of_the_application(settings: dict[str, Any]) -> None:
    app = flask_app({**settings, "prefix": "/media", "store": FolderStore(settings["store"])})
    flask_lazycrop.LazyCrop(app)
    runner = app.test_cli_runner()
    assert runner.invoke(args=["lazycrop", "url", "cat", "200x100"]).output == "/media/cat/200x100.jpg\n"
    shown = runner.invoke(args=["lazycrop", "url", "cat", "200x100", "--prefix", "/flag"]).output
    assert shown == "/flag/cat/200x100.jpg\n"
    refused = runner.invoke(args=["lazycrop", "url", "cat", "9x"])
    assert refused.exit_code == 1 and refused.output.startswith("Error: The size '9x' may not be asked for")
    assert {"store", "url", "warm", "purge", "worker"} <= set(runner.invoke(args=["lazycrop"]).output.split())


def test_flasks_extension_has_the_verbs_itself(settings: dict[str, Any]) -> None:
    app, other = flask_app(settings), flask_app({**settings, "prefix": "/other"})
    images = flask_lazycrop.LazyCrop(app)
    assert images.url("cat", "200x100") == "/img/cat/200x100.jpg"  # The only application needs not be at hand.
    record = images.store_origin("dog", FOSSA)
    assert images.record("dog") == record and images.url_of(record, "200x100") == "/img/dog/200x100.jpg"
    images.init_app(other)
    with other.app_context():
        assert images.url("cat", "200x100") == "/other/cat/200x100.jpg"
        assert images.warm("dog", ["200x100"]) and images.purge("dog") > 1
    with pytest.raises(RuntimeError, match="application context"):
        images.url("cat", "200x100")
    assert "Store an image" in str(flask_lazycrop.LazyCrop.store_origin.__doc__)


def test_flask_answers_for_images_at_every_host(settings: dict[str, Any]) -> None:
    from flask import Flask, render_template_string

    app = Flask(__name__, host_matching=True, static_host="static.example")
    app.config.update({f"LAZYCROP_{name.upper()}": value for name, value in settings.items()})
    flask_lazycrop.LazyCrop(app)
    page = "{{ lazycrop_url('cat', '200x100') }}"
    app.add_url_rule("/", "page", lambda: render_template_string(page), host="shop.example")
    client = app.test_client()
    for host in ("shop.example", "static.example", "127.0.0.1:5000"):
        with client.get("/img/cat/200x100.jpg", base_url=f"http://{host}") as answer:
            assert answer.status_code == 200
    assert client.get("/", base_url="http://shop.example").text == "/img/cat/200x100.jpg"
    assert client.get("/", base_url="http://other.example").status_code == 404


class Upload(Form):  # type: ignore[misc]
    pictures = MultipleFileField(validators=[FlaskPicture()])
    url = StringField(validators=[FlaskPicture()])


def test_a_form_of_flask_says_what_is_wrong_with_a_picture(settings: dict[str, Any]) -> None:
    app = flask_app(settings)
    images = flask_lazycrop.LazyCrop(app)

    def form(pictures: list[bytes], url: str = "") -> Any:
        files = [FileStorage(io.BytesIO(data), "cat.jpg") for data in pictures]
        return Upload(MultiDict([*(("pictures", file) for file in files), ("url", url)]))

    with app.app_context():
        right = form([FOSSA.read_bytes()])
        assert right.validate() and form([]).validate()
        images.store_origin("right", right.pictures.data[0])  # It is where it was.
        wrong = form([b"no picture"], "http://127.0.0.1/cat.jpg")
        assert not wrong.validate()
        assert [message[-1] for message in (*wrong.errors["pictures"], *wrong.errors["url"])] == [".", "."]
        assert not form([FOSSA.read_bytes()[:9000]]).validate()


# Pyramid


def configurator(**settings: Any) -> Any:
    from pyramid.config import Configurator

    config = Configurator(settings={f"lazycrop.{name}": value for name, value in settings.items()})
    config.include("pyramid_lazycrop")
    return config


def test_a_pyramid_application_has_images_below_two_route_prefixes(settings: dict[str, Any], tmp_path: Path) -> None:
    other = LazyCrop(store=tmp_path / "other", sizes=["300x"])
    other.store_origin("dog", FOSSA)
    config = configurator()
    with config.route_prefix_context("shop"):
        config.set_lazycrop(**settings)
    with config.route_prefix_context("blog"):
        config.set_lazycrop(other)
    with config.route_prefix_context("shop/inner"):
        config.set_lazycrop(other)
    for prefix in ("shop", "blog", "blog/more", "shop/inner", "none", "shopping"):
        config.add_route(prefix, f"/{prefix}/page")
        config.add_view(lambda request: request.lazycrop, route_name=prefix, renderer="lazycrop_url")
    config.add_renderer("lazycrop_url", lambda info: show_url)
    app = config.make_wsgi_app()
    assert Answered(app, "/shop/img/cat/200x100.jpg").status == 200
    assert Answered(app, "/blog/img/dog/300x.jpg").status == 200
    for path in ("/shop/img/dog/300x.jpg", "/blog/img/cat/200x100.jpg", "/img/cat/200x100.jpg"):
        assert Answered(app, path).status == 404
    assert Answered(app, "/shop/page", script_name="/below").text == "/below/shop/img/cat/200x100.jpg"
    assert Answered(app, "/blog/page").text == Answered(app, "/blog/more/page").text == "/blog/img/dog/300x.jpg"
    assert Answered(app, "/shop/inner/page").text == "/shop/inner/img/dog/300x.jpg"
    # Elsewhere it is the first one.
    assert Answered(app, "/none/page").text == Answered(app, "/shopping/page").text == "/shop/img/cat/200x100.jpg"


def show_url(images: LazyCrop, system: Any) -> Any:
    image = ("cat", "200x100") if images.config.policy.sizes[0] == "200x100" else ("dog", "300x")
    return system["lazycrop_url"](*image)


def test_the_adapter_honours_the_route_prefix_that_it_is_included_with(settings: dict[str, Any]) -> None:
    from pyramid.config import Configurator

    with Configurator(settings={f"lazycrop.{name}": value for name, value in settings.items()}) as config:
        config.include("pyramid_lazycrop", route_prefix="/media/")
    app = config.make_wsgi_app()
    assert Answered(app, "/media/img/cat/200x100.jpg").status == 200


def test_what_the_application_sets_replaces_what_the_ini_file_set(settings: dict[str, Any]) -> None:
    config = configurator(**ini_values(settings))
    config.set_lazycrop(prefix="/pictures")
    app = config.make_wsgi_app()
    assert Answered(app, "/pictures/cat/200x100.jpg").status == 200
    assert Answered(app, "/img/cat/200x100.jpg").status == 404


def test_setting_images_twice_in_one_place_is_a_conflict(settings: dict[str, Any]) -> None:
    from pyramid.exceptions import ConfigurationConflictError

    config = configurator()

    def one(config: Any) -> None:
        config.set_lazycrop(**settings)

    def other(config: Any) -> None:
        config.set_lazycrop(**settings)

    config.include(one)
    config.include(other)
    with pytest.raises(ConfigurationConflictError, match="lazycrop"):
        config.commit()


def test_pyramid_can_say_which_images_are_mounted_where(settings: dict[str, Any]) -> None:
    config = configurator(**settings)
    config.commit()
    [found] = config.introspector.get_category("lazycrop")
    introspectable = found["introspectable"]
    assert introspectable.discriminator == "/img" and introspectable["images"].config.policy.sizes == (
        "200x100",
        "200x100@2x",
    )
    assert "FolderStore" in introspectable.title


def test_a_pyramid_application_without_images_may_include_the_adapter() -> None:
    config = configurator()
    config.add_renderer("text", lambda info: lambda value, system: value)
    config.add_route("page", "/")
    config.add_view(lambda request: "page", route_name="page", renderer="text")
    assert Answered(config.make_wsgi_app(), "/").text == "page"


def test_pyramids_templates_render_with_a_dummy_request_and_without_one(settings: dict[str, Any]) -> None:
    from jinja2 import DictLoader
    from pyramid import testing
    from pyramid.renderers import render
    from pyramid.request import apply_request_extensions

    with testing.testConfig() as config:
        config.include("pyramid_jinja2")
        config.include("pyramid_lazycrop")
        config.set_lazycrop(**settings)
        config.get_jinja2_environment().loader = DictLoader({"page.jinja2": "{{ lazycrop_url('cat', '200x100') }}"})
        below = testing.DummyRequest(environ={"SCRIPT_NAME": "/below"})
        for request in (None, testing.DummyRequest(), testing.DummyRequest(path="/page")):
            assert render("page.jinja2", {}, request=request) == "/img/cat/200x100.jpg"
        assert render("page.jinja2", {}, request=below) == "/below/img/cat/200x100.jpg"
        apply_request_extensions(below)
        assert below.lazycrop.url("cat", "200x100") == "/img/cat/200x100.jpg"


def test_a_form_of_pyramid_says_what_is_wrong_with_a_picture(settings: dict[str, Any]) -> None:
    from pyramid import testing
    from pyramid.request import apply_request_extensions

    node = colander.SchemaNode(colander.Mapping())
    with testing.testConfig() as config:
        config.include("pyramid_lazycrop")
        config.set_lazycrop(**settings)
        request = testing.DummyRequest()
        apply_request_extensions(request)
        config.begin(request)
        for images in (None, request.lazycrop):
            validate = PyramidPicture(images)
            for right in ({"fp": FOSSA.open("rb"), "filename": "cat.jpg"}, {"fp": None}):
                validate(node, right)
                if right["fp"]:
                    assert right["fp"].tell() == 0
                    right["fp"].close()
            for wrong in ({"fp": io.BytesIO(b"no picture")}, "http://127.0.0.1/cat.jpg"):
                with pytest.raises(colander.Invalid, match=r"\.'?"):
                    validate(node, wrong)


# wheezy.web


def test_wheezys_error_pages_are_not_shown_for_images(
    settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its middleware turns each status from 400 on into a redirect, or fails with a KeyError."""
    with caplog.at_level(logging.ERROR):
        assert Answered(APPLICATIONS["wheezy"](settings), "/img/dog/200x100.jpg").status == 404
    assert not caplog.records


def test_wheezys_options_may_hold_a_lazycrop(settings: dict[str, Any]) -> None:
    from wheezy.http import HTTPResponse, WSGIApplication

    images = LazyCrop(**settings)

    def page(request: Any, following: Any) -> Any:
        response = HTTPResponse()
        response.write(wheezy_lazycrop.template_helpers(request)["lazycrop_url"]("cat", "200x100"))
        return response

    options = {"ENCODING": "UTF-8", "lazycrop": images}
    factories = [wheezy_lazycrop.lazycrop_middleware_factory, lambda options: page]
    app = WSGIApplication(factories, options)
    assert options["lazycrop"] is images
    assert Answered(app, "/img/cat/200x100.jpg").status == 200
    assert Answered(app, "/", script_name="/b\u00c3\u00a4r").text == "/b%C3%A4r/img/cat/200x100.jpg"


def test_wheezys_routes_take_paths_as_they_are(settings: dict[str, Any]) -> None:
    app = APPLICATIONS["wheezy-routed"](settings)
    assert Answered(app, "/img/cat/200x100.jpg").status == 200
    answered = Answered(app, "//img/cat/200x100.jpg")
    assert answered.status == 404 and answered.body == b"", "not an image's answer, but wheezy's own"


# Bottle


def bottle_app(plugin: LazyCropPlugin, **config: Any) -> Any:
    from bottle import Bottle

    app = Bottle()
    app.config.update(config)
    app.install(plugin)
    return app


def test_bottles_callbacks_that_name_it_are_given_the_lazycrop(settings: dict[str, Any]) -> None:
    app = bottle_app(LazyCropPlugin(**settings))
    app.route("/url/<name>", callback=lambda name, lazycrop: lazycrop.url(name, "200x100"))
    app.route("/plain/<name>", callback=lambda name: name)
    assert Answered(app, "/url/cat").text == "/img/cat/200x100.jpg"
    assert Answered(app, "/plain/cat").text == "cat"
    app = bottle_app(LazyCropPlugin(keyword="images", **settings))
    app.route("/url/<name>", callback=lambda name, images, lazycrop=None: images.url(name, "200x100") + str(lazycrop))
    assert Answered(app, "/url/cat").text == "/img/cat/200x100.jpgNone"


def test_bottles_configuration_and_the_plugins_keywords_come_together(settings: dict[str, Any]) -> None:
    mine = {f"lazycrop.{name}": value for name, value in ini_values(settings).items()}
    app = bottle_app(LazyCropPlugin(prefix="/media"), **mine, **{"lazycrop.prefix": "/other"})
    assert Answered(app, "/media/cat/200x100.jpg").status == 200
    images = LazyCrop(**settings)
    plugin = LazyCropPlugin(images)
    assert Answered(bottle_app(plugin), "/img/cat/200x100.jpg").status == 200 and plugin.images is images


def test_a_bottle_plugin_can_be_uninstalled(settings: dict[str, Any]) -> None:
    plugin = LazyCropPlugin(**settings)
    app = bottle_app(plugin)
    app.uninstall(plugin)
    assert Answered(app, "/img/cat/200x100.jpg").status == 404
    app.install(LazyCropPlugin(**settings))
    assert Answered(app, "/img/cat/200x100.jpg").status == 200


def test_a_second_bottle_plugin_is_refused(settings: dict[str, Any]) -> None:
    from bottle import PluginError

    app = bottle_app(LazyCropPlugin(**settings))
    with pytest.raises(PluginError, match="already"):
        app.install(LazyCropPlugin(**settings))


def test_bottles_templates_know_the_application_of_the_request(settings: dict[str, Any]) -> None:
    from bottle import template

    apps = [bottle_app(LazyCropPlugin(**settings, prefix=prefix)) for prefix in ("/one", "/two")]
    for app in apps:
        app.route("/", callback=lambda: template("{{lazycrop_url('cat', '200x100')}}"))
    assert [Answered(app, "/").text for app in apps] == ["/one/cat/200x100.jpg", "/two/cat/200x100.jpg"]


# PasteDeploy


def load(path: Path, text: str) -> Any:
    from paste.deploy import loadapp

    path.write_text(text)
    return loadapp(f"config:{path}")


FILTER = """
[DEFAULT]
lazycrop.store = %(here)s/images
lazycrop.sizes = 200x100
other = setting of other sections

[app:main]
paste.app_factory = test_adapters:paste_app
filter-with = images

[filter:images]
paste.filter_factory = paste_lazycrop:filter_factory
prefix = /media
snap = false
presets =
    card=300x200-cover
    wide=800x
"""


def paste_app(global_conf: Any, **settings: str) -> WSGIApplication:
    def application(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [f"{environ['PATH_INFO']} is not for images".encode()]

    return application


def test_an_ini_file_puts_images_in_front_of_an_application(folder: Path) -> None:
    app = load(folder.parent / "site.ini", FILTER)
    assert Answered(app, "/media/cat/200x100.jpg").status == Answered(app, "/media/cat/card.jpg").status == 200
    assert Answered(app, "/media/cat/100x100.jpg").status == 404, "'false' is not true"
    assert Answered(app, "/img/cat/200x100.jpg").text == "/img/cat/200x100.jpg is not for images"


def test_a_section_says_more_than_the_default(folder: Path) -> None:
    app = load(folder.parent / "site.ini", FILTER + "sizes = 400x\n")
    assert Answered(app, "/media/cat/400x.jpg").status == 200
    assert Answered(app, "/media/cat/200x100.jpg").status == 404


def test_an_ini_file_with_an_unknown_setting_does_not_load(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="'qality'"):
        load(folder.parent / "site.ini", FILTER + "qality = 80\n")
    with pytest.raises(ConfigurationError, match="'stroe'"):
        load(folder.parent / "site.ini", FILTER.replace("lazycrop.store", "lazycrop.stroe"))
    with pytest.raises(ConfigurationError, match="'snap' is 'maybe'"):
        load(folder.parent / "site.ini", FILTER.replace("snap = false", "snap = maybe"))


def test_a_section_of_an_ini_file_may_wrap_the_next_application(folder: Path) -> None:
    text = FILTER.replace("[app:main]", "[app:page]").replace("filter-with = images\n", "")
    text += "\n[filter-app:main]\npaste.filter_app_factory = paste_lazycrop:filter_app_factory\nnext = page\n"
    app = load(folder.parent / "site.ini", text)
    assert Answered(app, "/img/cat/200x100.jpg").status == 200
    assert Answered(app, "/page").text == "/page is not for images"


def test_images_may_be_an_application_of_an_ini_file(folder: Path) -> None:
    text = FILTER[: FILTER.index("[app:main]")] + "[app:main]\npaste.app_factory = paste_lazycrop:app_factory\n"
    app = load(folder.parent / "site.ini", text)
    assert Answered(app, "/cat/200x100.jpg", script_name="/media").status == 200
    assert paste_lazycrop.app_factory({}, store=str(folder), sizes="200x100").images.config.policy.sizes == ("200x100",)
