"""The classic API, as its own documentation shows it, on real servers."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID
from wsgiref.util import setup_testing_defaults

import pytest

from client import alike, get, pixels
from conftest import Base
from lazycrop import Answer, BadImageId, BadRequest, BadSize, ConfigurationError, storage
from servers import HOST, ROOT, S3, Memcached, Valkey, eventually, free_ports, photo, running

Configure = Callable[..., storage.S3ImageStorage]


@pytest.fixture
def configured(s3: S3, s3_base: Base, memcached: Memcached) -> Iterator[Configure]:
    """Makes storages as an application does."""

    def configure(
        image_id: str = "cat", ext: str = "jpg", engine: str = "webob", base_path: str = "/"
    ) -> storage.S3ImageStorage:
        images = storage.S3ImageStorage(image_id, ext)
        images.configure(
            {"access_key": s3.access_key, "secret_key": s3.secret_key},
            s3.bucket,
            f"{s3.endpoint}/{s3.bucket}/",
            f"/{s3_base.prefix}{base_path.strip('/')}",
            s3_endpoint_url=s3.endpoint,
        )
        images.configure_webengine(engine)
        images.configure_memcache([memcached.address])
        return images

    yield configure
    for images in storage._opened.values():
        images.close()
    storage._opened.clear()


def stored_response(images: storage.S3ImageStorage, requested: Any) -> Any:
    def redirected() -> Any:
        response = images.get_requested_image(requested)
        return response if response.status_int == 301 else None

    return eventually(redirected, 30, "the size is stored")


def test_first_an_image_then_a_permanent_redirect(configured: Configure, s3: S3, s3_base: Base) -> None:
    images = configured()
    base = f"{s3.endpoint}/{s3.bucket}/{s3_base.prefix}"
    url = images.store_origin(photo("Fossa"), "4000x4000")
    assert url == f"{base}cat/origin.jpg"
    assert pixels(get(url).body) == (4000, 2250)
    first = images.get_requested_image("https://microsoft.com/?size=200x100")
    assert (first.status_int, first.content_type, pixels(first.body)) == (200, "image/jpeg", (178, 100))
    redirect = stored_response(images, (200, 100))
    assert redirect.location == f"{base}cat/200x100.jpg"
    assert alike(get(redirect.location).body, first.body)
    picture = images.get_requested_image("?size=200x100", return_image=True)
    assert picture.status_int == 200 and alike(picture.body, first.body)


@pytest.mark.parametrize("source", ["bytes", "file", "path"])
def test_an_origin_comes_from_wherever_it_is(configured: Configure, source: str) -> None:
    images = configured(source)
    path = photo("friends")
    with path.open("rb") as file:
        url = images.store_origin({"bytes": path.read_bytes(), "file": file, "path": path}[source])
    assert get(url).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    "requested",
    ["https://example.com/", "?size=", "?size=big", "?size=0x0", "?size=1x1&size=2x2", (0, 0), (None, None), ""],
)
def test_a_size_that_is_none_is_the_typed_error(configured: Configure, requested: Any) -> None:
    with pytest.raises(BadSize):
        configured().get_requested_image(requested)


def test_what_is_not_configured_is_said(configured: Configure) -> None:
    with pytest.raises(BadImageId):
        storage.S3ImageStorage("../cat", "jpg")
    images = storage.S3ImageStorage("cat", "jpg")
    with pytest.raises(ConfigurationError, match="configure_webengine"):
        images.get_requested_image((1, 1))
    with pytest.raises(ConfigurationError, match="django"):
        images.configure_webengine("rails")
    with pytest.raises(ConfigurationError, match="configure"):
        images.store_origin(b"")


@pytest.mark.parametrize("engine", ["wheezy", "flask", "pyramid", "bottle", "webob", "django"])
def test_each_engine_gets_a_response_of_its_own(configured: Configure, engine: str) -> None:
    images = configured("cat", engine=engine)
    images.store_origin(photo("Fossa"))
    response = images.get_requested_image((100, None))
    modules = [each.__module__.partition(".")[0] for each in type(response).__mro__]
    assert engine in modules
    status = getattr(response, "status_code", None) or getattr(response, "status_int", None)
    assert status == 200


@pytest.mark.parametrize("engine", ["wheezy", "flask", "pyramid", "bottle", "webob", "django"])
@pytest.mark.parametrize("status", [200, 301, 304, 404, 503])
def test_a_response_has_the_status_headers_and_body_of_the_answer(engine: str, status: int) -> None:
    images = storage.S3ImageStorage("cat")
    images.configure_webengine(engine)
    assert images._respond is not None
    body = b"" if status in (301, 304) else b"a sentence"
    headers = [("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"), ("Content-Length", str(len(body)))]
    response = images._respond(Answer(status, [*headers, ("Content-Type", "text/plain; charset=utf-8")], body))
    found = getattr(response, "status_code", None) or getattr(response, "status_int", None)
    assert found == status
    assert dict(response.headers)["X-Content-Type-Options"] == "nosniff"


def test_a_job_of_another_kind_is_done_by_a_task_of_ones_own_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, done = storage.s3_store_image, list[str]()
    monkeypatch.setattr(storage, "s3_store_image", lambda message: plain(message))
    images = storage.S3ImageStorage("cat")
    images.configure({}, "bucket", "https://cdn.example.com/", "/jobs")
    jobs = images.images.jobs
    for actor in ("store", "mezzanines"):
        monkeypatch.setitem(jobs.actors, actor, lambda message, actor=actor: done.append(actor))
    for actor in ("mezzanines", "store"):
        assert jobs.hand_over(actor, {"image_id": "cat", "size": "90x", "format": "jpg", "version": 1})
    images.images.close()
    storage._opened.clear()
    assert done == ["mezzanines", "store"]


def test_two_storages_with_different_buckets_live_in_one_process(configured: Configure) -> None:
    one, other = configured(base_path="one"), configured(base_path="other")
    one.store_origin(photo("Fossa"))
    other.store_origin(photo("Wine"))
    assert one.images is not other.images
    assert one.images is configured("dog", base_path="one").images
    locations = [stored_response(images, (100, 100)).location for images in (one, other)]
    assert ["one/cat/100x100.jpg" in locations[0], "other/cat/100x100.jpg" in locations[1]] == [True, True]
    assert get(locations[0]).body != get(locations[1]).body


@pytest.mark.parametrize("word", ["send", "delay", None])
def test_a_task_of_ones_own_is_called_by_its_own_word(
    configured: Configure, word: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages: list[dict[str, Any]] = []
    plain = storage.s3_store_image

    def work(message: dict[str, Any]) -> None:
        messages.append(message)
        plain(message)

    task: Any = type("Task", (), {word: staticmethod(work)})() if word else work
    monkeypatch.setattr(storage, "s3_store_image", task)
    images = configured()
    images.store_origin(photo("Fossa"))
    images.get_requested_image((100, None))
    stored_response(images, (100, None))
    assert len(messages) == 1
    assert "secret" not in str(messages)
    assert abs(messages[0].pop("since") - time.time()) < 60
    assert messages[0] == {
        "store": images.images.config.store.store, "image_id": "cat", "size": "100x", "format": "jpg", "version": 1,
    }  # fmt: skip


def test_a_message_for_a_store_that_is_not_configured_is_refused(configured: Configure) -> None:
    message = {"store": "s3://somebody/elses", "image_id": "cat", "size": "100x", "format": "jpg", "version": 1}
    with pytest.raises(ConfigurationError, match="somebody"):
        storage.s3_store_image(message)
    with pytest.raises(ConfigurationError):
        storage.s3_store_image({})


REDIRECTS = {
    "webob": lambda response: _wsgi(response),
    "pyramid": lambda response: _wsgi(response),
    "flask": lambda response: _wsgi(response),
    "bottle": lambda response: response.headers["Location"],
    "wheezy": lambda response: dict(response.headers)["Location"],
    "django": lambda response: response.headers["Location"],
}


def _wsgi(response: Any) -> str:
    environ: dict[str, Any] = {"HTTP_HOST": "evil.example", "REQUEST_METHOD": "GET"}
    setup_testing_defaults(environ)
    started: list[Any] = []
    list(response(environ, lambda *arguments: started.append(arguments)))
    return str(dict(started[0][1])["Location"])


@pytest.mark.parametrize("engine", REDIRECTS)
def test_a_location_that_is_a_path_stays_one_whatever_the_host_header_says(engine: str) -> None:
    images = storage.S3ImageStorage("cat")
    images.configure_webengine(engine)
    assert images._respond is not None
    response = images._respond(Answer(302, [("Location", "/img/cat/200x100.jpg"), ("Content-Type", "text/plain")]))
    assert REDIRECTS[engine](response) == "/img/cat/200x100.jpg"


@pytest.mark.parametrize(
    ("given", "format"),
    [("JPG", "jpg"), (".Jpeg", "jpg"), ("jpe", "jpg"), ("JFIF", "jpg"), (".PNG", "png"), ("auto", "auto")],
)
def test_an_extension_is_a_format_however_it_is_written(given: str, format: str) -> None:
    assert storage.S3ImageStorage("cat", given).ext == format


@pytest.mark.parametrize("ext", ["tif", "tiff", "", ".", "jpg.png", "jpegjpg", "../jpg"])
def test_an_extension_of_no_format_is_refused_at_once(ext: str) -> None:
    with pytest.raises(BadRequest, match="jpg, png"):
        storage.S3ImageStorage("cat", ext)


def test_an_id_of_a_row_is_its_text() -> None:
    assert storage.S3ImageStorage(42).image_id == "42"
    assert storage.S3ImageStorage(UUID(int=1)).image_id == str(UUID(int=1))
    for none in (None, 1.5, True, b"cat"):
        with pytest.raises(BadImageId):
            storage.S3ImageStorage(none)  # type: ignore[arg-type]


def test_an_engine_that_is_not_installed_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bottle_lazycrop", None)
    with pytest.raises(ConfigurationError, match=r"lazycrop\[bottle\]"):
        storage.S3ImageStorage("cat").configure_webengine("bottle")


APPLICATION = """
import os
from wheezy.http import HTTPResponse, WSGIApplication
from wheezy.web.middleware import bootstrap_defaults, path_routing_middleware_factory
from lazycrop import storage
{task}

images = storage.S3ImageStorage("cat", "jpg")
images.configure(
    {{"access_key": "lazykey", "secret_key": "lazysecret"}},
    "pics",
    os.environ["BASE_URL"],
    os.environ["BASE_PATH"],
    s3_endpoint_url=os.environ["ENDPOINT"],
)
images.configure_webengine("wheezy")
images.configure_memcache([os.environ["MEMCACHED"]])


def page(request):
    return images.get_requested_image(request.environ["QUERY_STRING"] and "/?" + request.environ["QUERY_STRING"])


application = WSGIApplication([bootstrap_defaults(url_mapping=[("", page)]), path_routing_middleware_factory], {{}})
"""
CELERY = """
from celery import Celery
celery_app = Celery("pictures", broker=os.environ["BROKER"])
storage.s3_store_image = celery_app.task(storage.s3_store_image)
"""
DRAMATIQ = """
import dramatiq
from dramatiq.brokers.redis import RedisBroker
dramatiq.set_broker(RedisBroker(url=os.environ["BROKER"]))
storage.s3_store_image = dramatiq.actor(storage.s3_store_image)
"""
WORKERS = {
    "celery": (
        CELERY,
        ["-m", "celery", "-A", "site_with_images:celery_app", "worker", "-l", "INFO", "-c", "1", "-P", "threads"],
        "ready.",
    ),
    "dramatiq": (DRAMATIQ, ["-m", "dramatiq", "site_with_images", "-p", "1", "-t", "2"], "ready for action"),
    "plain": ("", ["-m", "dramatiq", "lazycrop.worker", "-p", "1", "-t", "2"], "ready for action"),
}


@pytest.mark.parametrize("kind", WORKERS)
def test_the_example_runs_on_wheezy_with_a_worker_of_its_own(
    kind: str, s3: S3, s3_base: Base, memcached: Memcached, valkey: Valkey, tmp_path: Path, configured: Configure
) -> None:
    task, worker_command, ready = WORKERS[kind]
    (tmp_path / "site_with_images.py").write_text(APPLICATION.format(task=task))
    environment = {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "adapters"), str(tmp_path)]),
        "BASE_URL": f"{s3.endpoint}/{s3.bucket}/",
        "BASE_PATH": f"/{s3_base.prefix}",
        "ENDPOINT": s3.endpoint,
        "MEMCACHED": memcached.address,
        "BROKER": valkey.url,
    }
    if kind == "plain":  # The worker knows the bucket from its environment alone.
        environment |= {
            "LAZYCROP_STORE": f"s3://{s3.bucket}/{s3_base.prefix.strip('/')}",
            "LAZYCROP_S3_ENDPOINT_URL": s3.endpoint,
            "LAZYCROP_S3_ACCESS_KEY": s3.access_key,
            "LAZYCROP_S3_SECRET_KEY": s3.secret_key,
            "LAZYCROP_MEMCACHED": memcached.address,
            "LAZYCROP_BROKER": valkey.url,
            "LAZYCROP_SIZES": "any",
        }
    configured().store_origin(photo("Fossa"))
    [port] = free_ports(1)
    log = tmp_path / "worker" / f"{Path(sys.executable).name}.log"
    log.parent.mkdir()
    waitress = [sys.executable, "-m", "waitress", f"--listen={HOST}:{port}", "site_with_images:application"]
    with (
        running(
            [sys.executable, *worker_command],
            ready=lambda: ready in log.read_text(),
            folder=log.parent,
            env=environment,
        ),
        running(waitress, ready=f"http://{HOST}:{port}/?size=1x1", folder=tmp_path, env=environment),
    ):
        url = f"http://{HOST}:{port}/?size=320x200"
        first = get(url)
        assert (first.status, first.headers["content-type"], pixels(first.body)) == (200, "image/jpeg", (320, 180))
        redirect = eventually(lambda: (reply := get(url)).status == 301 and reply, 120, "the worker has stored it")
        with urllib.request.urlopen(redirect.headers["location"], timeout=10) as stored:
            assert alike(stored.read(), first.body)
