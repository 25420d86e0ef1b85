"""Fixtures: real servers, each started when the first test asks for it and stopped after the last.

A test that stops one may leave it so: before the next test it runs again, and is empty.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import botocore.session
import hypothesis
import pytest

from servers import CHROMIUM, CHROMIUM_FLAGS, S3, Memcached, PostgreSQL, RabbitMQ, Server, Valkey, sweep_pika
from servers import caching_nginx as nginx_that_caches

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ServerType = TypeVar("ServerType", bound=Server)


# A machine that does other things too is no reason to fail.
hypothesis.settings.register_profile("lazycrop", deadline=None)
hypothesis.settings.register_profile("quick", deadline=None, max_examples=20)
hypothesis.settings.load_profile("lazycrop")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no server, no browser and no patience")


def pytest_configure(config: pytest.Config) -> None:
    """Keep this machine's settings and credentials out of the tests, and end the servers whenever pytest is ended."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "LAZYCROP_"))]:
        del os.environ[name]
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_CONFIG_FILE"] = os.environ["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if config.option.quick:
        config.option.markexpr = "not (servers or browser or slow)"
        hypothesis.settings.load_profile("quick")


SERVERS = {"s3", "memcached", "second_memcached", "valkey", "rabbitmq", "postgresql"}
# Files of which each test starts processes, fills the memory, or goes through hundreds of pictures.
SLOW = (
    *("test_life.py", "test_cli.py", "test_playground.py", "test_corpus.py", "test_pages.py", "test_behaviour.py"),
    *("test_typing.py", "test_examples.py", "test_bombs.py", "test_packaging.py", "test_quality.py", "test_model.py"),
    *("test_adapters.py", "test_servers.py", "test_interleavings.py", "test_fences.py", "test_bulk.py"),
    *("test_following.py", "test_many_files.py", "test_upkeep.py", "test_mutants.py", "test_faults.py"),
    # Servers of their own that are slow, broken or gone, and clocks that have to pass.
    *("test_download.py", "test_site_source.py", "test_s3_servers.py", "test_memcached.py", "test_quiet.py"),
    *("test_waits.py", "test_free_threads.py", "test_sources_end_to_end.py", "test_images_given.py", "test_auto.py"),
    *(
        "test_guarded.py",
        "test_file_systems.py",
        "test_nginx.py",
        "test_stages_in_caches.py",
        "test_django.py",
        "test_asgi.py",
    ),
    *("test_catalogue.py", "test_transactions.py", "test_demand.py", "test_gallery.py"),
    *("test_watching.py", "test_metrics.py", "test_queue_command.py", "test_playground_jobs.py"),
    *("test_tutorials.py", "test_site.py", "test_deploy_files.py", "test_soak.py"),
)
# The files that take longest, in this order. They are begun first: else one process does the last of them alone.
LONGEST = (
    *("test_soak.py", *SLOW, "test_storage.py", "test_redis_broker.py", "test_stores.py", "test_service.py"),
    "test_render.py",
    *("test_jpeg.py", "test_sizes.py", "test_queues.py"),
)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is left out needs not even be imported, which takes some of these files a second."""
    return True if config.option.quick and collection_path.name in SLOW else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a server or a browser, and what takes long, so that ``--quick`` can leave it out."""
    for item in items:
        # A test may ask for its server by a parameter: request.getfixturevalue("valkey").
        parameters = getattr(item, "callspec", None)
        asked = {*getattr(item, "fixturenames", ()), *(map(str, parameters.params.values()) if parameters else ())}
        if asked & SERVERS:
            item.add_marker(pytest.mark.servers)
        if "chromium" in asked:
            item.add_marker(pytest.mark.browser)
        if item.path.name in SLOW:
            item.add_marker(pytest.mark.slow)
    # After pytest-randomly has shuffled them; each file's tests stay together, in their random order.
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


class Servers:
    """Those that were started, by the name of their fixture."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self._folders = folders
        self.started: dict[str, Server] = {}

    def start(self, name: str, kind: Callable[[Path], ServerType]) -> Iterator[ServerType]:
        server = kind(self._folders.mktemp(name))
        self.started[name] = server
        try:
            server.start()
            yield server
        finally:
            del self.started[name]
            server.stop()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Servers:
    return Servers(tmp_path_factory)


@pytest.fixture(autouse=True)
def _as_new(request: pytest.FixtureRequest, servers: Servers) -> Iterator[None]:
    """After a test, the servers that it used run and are empty, and programs that another one starts are none of
    Django's.
    """
    yield
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)
    for name, server in list(servers.started.items()):
        if name in request.fixturenames:
            if not server.runs:
                server.start()
            server.clear()


@pytest.fixture(scope="session", autouse=True)
def _one_loader() -> None:
    """Each session of boto3 reads the description of S3 anew, 0.3 s of work: those of the tests share what is read."""
    botocore.session.create_loader = lru_cache(botocore.session.create_loader)


@pytest.fixture(scope="session")
def s3(servers: Servers) -> Iterator[S3]:
    """A store that speaks S3: ``endpoint``, ``access_key``, ``secret_key``, ``environment``, ``client()``.

    Its bucket ``pics`` can be read by anybody.
    """
    yield from servers.start("s3", S3)


@dataclass(frozen=True)
class Base:
    """A place of its own in the bucket: ``prefix`` of the keys, ``store`` and ``public_url`` as LazyCrop takes them."""

    bucket: str
    prefix: str
    store: str
    public_url: str


_numbers = count(1)


@pytest.fixture
def s3_base(s3: S3) -> Base:
    """A base path in the bucket ``pics`` that no other test uses."""
    prefix = f"test-{next(_numbers)}/"
    return Base(s3.bucket, prefix, f"s3://{s3.bucket}/{prefix}", f"{s3.endpoint}/{s3.bucket}/{prefix}")


@pytest.fixture(scope="session")
def memcached(servers: Servers) -> Iterator[Memcached]:
    """``address`` is ``host:port``."""
    yield from servers.start("memcached", Memcached)


@pytest.fixture(scope="session")
def second_memcached(servers: Servers) -> Iterator[Memcached]:
    """Another one, for what spreads its keys over several."""
    yield from servers.start("second_memcached", Memcached)


@pytest.fixture(scope="session")
def valkey(servers: Servers) -> Iterator[Valkey]:
    """A Redis server by another name: ``url`` is ``redis://…``."""
    yield from servers.start("valkey", Valkey)


@pytest.fixture(scope="session")
def rabbitmq(servers: Servers) -> Iterator[RabbitMQ]:
    """``url`` is ``amqp://…``."""
    sweep_pika()
    yield from servers.start("rabbitmq", RabbitMQ)


@pytest.fixture
def caching_nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """Given the URL of a server, the URL of an nginx in front of it that caches: ``servers.caching_nginx``."""
    with ExitStack() as stack:
        yield lambda upstream: stack.enter_context(nginx_that_caches(upstream, tmp_path_factory.mktemp("nginx")))


@pytest.fixture(scope="session")
def postgresql(servers: Servers) -> Iterator[PostgreSQL]:
    """``url`` is ``postgresql+psycopg://…``."""
    started: list[PostgreSQL] = []

    def make(folder: Path) -> PostgreSQL:
        started.append(PostgreSQL(folder))
        return started[0]

    yield from servers.start("postgresql", make)
    started[0].remove()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser without a window. Not for the whole session: while it is there, asyncio.run() fails in this thread."""
    executable = CHROMIUM.require()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()
