"""The life of a derivative on real servers: S3, memcached, a broker, a worker of its own, two web processes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from client import Reply, alike, get, pixels
from conftest import Base
from lazycrop import LazyCrop, Size
from lazycrop.stores.contract import Store
from servers import HOST, ROOT, S3, Memcached, RabbitMQ, Server, Valkey, eventually, free_ports, photo, running


@dataclass
class Site:
    """Two web processes and a worker; ``images`` is the application's own LazyCrop."""

    url: str
    images: LazyCrop
    web: Server
    worker: Server

    def redirect(self, path: str) -> Reply:
        """The reply once it is a redirect."""

        def redirected() -> Reply | None:
            reply = get(self.url + path)
            return reply if reply.status == 301 else None

        return eventually(redirected, 30, f"{path} is stored")

    def logged(self, text: str) -> list[str]:
        return re.findall(text, self.web.log.read_text() + self.worker.log.read_text())


Start = Callable[..., Site]


@pytest.fixture
def start(s3: S3, s3_base: Base, memcached: Memcached, tmp_path: Path) -> Iterator[Start]:
    """Starts a site on a broker."""
    with ExitStack() as stack:

        def start_site(broker: Valkey | RabbitMQ, **more: str) -> Site:
            settings = {
                "store": s3_base.store,
                "s3_endpoint_url": s3.endpoint,
                "s3_access_key": s3.access_key,
                "s3_secret_key": s3.secret_key,
                "public_url": s3_base.public_url,
                "memcached": memcached.address,
                "memcached_rest_seconds": "0.5",
                "broker": broker.url,
                "broker_rest_seconds": "0.5",
                "sizes": "any",
                "lease_seconds": "2",
                "hot_seconds": "2",
                **more,
            }
            environment = {f"LAZYCROP_{name.upper()}": value for name, value in settings.items()}
            for folder in ("web", "worker"):
                (tmp_path / folder).mkdir()
            worker_log = tmp_path / "worker" / f"{Path(sys.executable).name}.log"
            worker = stack.enter_context(
                running(
                    [sys.executable, "-m", "dramatiq", "lazycrop.worker", "-p", "1", "-t", "4"],
                    ready=lambda: "Worker process is ready for action" in worker_log.read_text(),
                    folder=tmp_path / "worker",
                    env=environment,
                )
            )
            [port] = free_ports(1)
            gunicorn = [sys.executable, "-m", "gunicorn", "-b", f"{HOST}:{port}", "-w", "2", "--threads", "32"]
            web = stack.enter_context(
                running(
                    [*gunicorn, "--preload", "apps:application"],
                    ready=f"http://{HOST}:{port}/",
                    folder=tmp_path / "web",
                    env={**environment, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"},
                )
            )
            images = LazyCrop(**settings)
            stack.callback(images.close)
            return Site(f"http://{HOST}:{port}/img", images, web, worker)

        yield start_site


@pytest.mark.parametrize("broker", ["valkey", "rabbitmq"])
def test_first_a_picture_then_a_redirect_to_an_object_that_anybody_can_fetch(
    start: Start, broker: str, request: pytest.FixtureRequest
) -> None:
    site = start(request.getfixturevalue(broker))
    record = site.images.store_origin("users/42/cat", photo("Wine"))
    assert get(record.url).headers["content-type"] == "image/jpeg"
    for size in ("200x100", "800x600", "400x300-cover@2x"):
        for format, kind in {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}.items():
            path = f"/users/42/cat/{size}.{format}"
            first = get(site.url + path)
            assert (first.status, first.headers["content-type"]) == (200, kind)
            assert pixels(first.body) == Size.parse(size).dimensions(record.width, record.height)
            redirect = site.redirect(path)
            assert redirect.headers["cache-control"] == "public, max-age=86400"
            stored = get(redirect.headers["location"])
            assert stored.status == 200
            assert alike(stored.body, first.body)
            assert stored.headers["content-type"] == kind
            assert stored.headers["cache-control"] == "public, max-age=31536000, immutable"


def test_64_clients_ask_two_processes_for_one_new_size(start: Start, valkey: Valkey) -> None:
    patient = {"memcached_seconds": "5", "broker_seconds": "5", "follow_seconds": "20", "request_seconds": "30"}
    patient["waiting_requests"] = "64"  # also on a machine that has too much to do
    site = start(valkey, lease_seconds="60", hot_seconds="60", **patient)
    site.images.store_origin("cat", photo("Painting"), "6000x6000")
    with ThreadPoolExecutor(64) as clients:
        replies = list(clients.map(get, [f"{site.url}/cat/1600x1200.jpg"] * 64))
    assert {reply.status for reply in replies} <= {200, 301}
    pictures = {reply.body for reply in replies if reply.status == 200}
    assert len(pictures) == 1
    redirect = site.redirect("/cat/1600x1200.jpg")
    assert alike(get(redirect.headers["location"]).body, pictures.pop())
    assert len(site.logged("rendered 'cat/1600x1200.jpg'")) == 1
    assert len(site.logged("stored 'cat/1600x1200.jpg'")) == 1


@pytest.mark.parametrize("broker", ["valkey", "rabbitmq"])
def test_pictures_keep_coming_while_memcached_the_broker_and_the_worker_are_down_one_after_the_other(
    start: Start, memcached: Memcached, broker: str, request: pytest.FixtureRequest
) -> None:
    server: Valkey | RabbitMQ = request.getfixturevalue(broker)
    site = start(server)
    site.images.store_origin("cat", photo("Fossa"))
    down: dict[str, Server] = {"memcached": memcached, "broker": server, "worker": site.worker}
    for number, (name, stopped) in enumerate(down.items(), 1):
        stopped.kill()
        paths = [f"/cat/{100 * number + width}x.jpg" for width in range(5)]
        for path in paths * 2:
            reply = get(site.url + path)
            assert reply.status in (200, 301), (name, reply)
            if reply.status == 200:
                assert pixels(reply.body)[0] == int(path[5:-5])
        stopped.start()
        for path in paths:
            assert pixels(get(site.redirect(path).headers["location"]).body)[0] == int(path[5:-5])


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(start: Start, valkey: Valkey) -> None:
    site = start(valkey)
    site.images.store_origin("cat", photo("Fossa"))
    paths = [f"/cat/{width}x.jpg" for width in range(500, 520)]
    for number, path in enumerate(paths):
        assert get(site.url + path).status == 200
        if number == 10:
            site.worker.kill()
            site.worker.start()
    for path in paths:
        site.redirect(path)


def test_a_replaced_image_and_its_purge_are_seen_by_every_process(start: Start, valkey: Valkey) -> None:
    site = start(valkey, shortcut_seconds="0.2")
    site.images.store_origin("cat", photo("Fossa"))
    get(f"{site.url}/cat/200x100-cover.jpg")
    old = site.redirect("/cat/200x100-cover.jpg").headers["location"]
    site.images.store_origin("cat", photo("Wine"))
    assert site.images.url("cat", "200x100-cover") == "/img/cat/v2/200x100-cover.jpg"
    new = eventually(
        partial(picture, f"{site.url}/cat/200x100-cover.jpg"), what="each process has seen that it is replaced"
    )
    assert new.body != get(old).body
    moved = site.redirect("/cat/200x100-cover.jpg").headers["location"]
    assert moved.endswith("/cat/v2/200x100-cover.jpg")
    versioned = get(f"{site.url}/cat/v2/200x100-cover.jpg")
    assert versioned.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert get(old).status == 200
    site.images.purge("cat", 1)
    assert get(old).status == 404
    assert alike(get(moved).body, new.body)
    site.worker.kill()
    assert get(f"{site.url}/cat/300x.jpg").status == 200
    site.images.purge("cat")
    site.worker.start()
    eventually(lambda: get(f"{site.url}/cat/300x.jpg").status == 404, what="each process has seen that it is purged")
    eventually(lambda: valkey_is_idle(site), 30, "the queued job is done")
    assert objects(site.images.store, "cat/") == ["cat/image.json"]  # which says that it was purged


def picture(url: str) -> Reply | None:
    reply = get(url)
    return reply if reply.status == 200 else None


def objects(store: Store, folder: str) -> list[str]:
    """All keys below ``folder``. (SeaweedFS goes on listing a folder that was emptied a moment ago.)"""
    return [key for name in store.list(folder) for key in (objects(store, name) if name.endswith("/") else [name])]


def valkey_is_idle(site: Site) -> bool:
    """No message waits, and none is being worked on."""
    import redis

    queue = "lazycrop:lazycrop:lazycrop"  # Its namespace, and its own name.
    with redis.Redis.from_url(site.images.config.queue.broker) as client:
        waiting = client.llen(queue) + client.hlen(f"{queue}.msgs")
    return not waiting


def test_when_the_store_is_down_stored_sizes_still_redirect_and_others_are_503(
    start: Start, valkey: Valkey, s3: S3
) -> None:
    site = start(valkey, record_seconds="1")
    site.images.store_origin("cat", photo("Fossa"))
    get(f"{site.url}/cat/200x.jpg")
    site.redirect("/cat/200x.jpg")
    s3.kill()
    for path, status in {"/cat/200x.jpg": 301, "/cat/201x.jpg": 503, "/dog/200x.jpg": 503}.items():
        reply = get(site.url + path)
        assert reply.status == status
        if status == 503:
            assert reply.headers["cache-control"] == "no-store"
            assert reply.headers["retry-after"]
            assert b"Traceback" not in reply.body
    s3.start()
    eventually(lambda: get(f"{site.url}/cat/201x.jpg").status == 200, 30, "the store is asked again after its rest")
