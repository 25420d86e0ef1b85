"""Serving: ``serve`` and ``demo``, web servers of their own. [click, waitress]"""

from __future__ import annotations

import logging
import secrets
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import TYPE_CHECKING, NoReturn

import click

from lazycrop import logs
from lazycrop.access.policy import ANY
from lazycrop.cli.options import Settings, command, logs_json
from lazycrop.errors import ConfigurationError, NotFound
from lazycrop.http import answers
from lazycrop.images import LazyCrop
from lazycrop.playground import DEMO, demo_app
from lazycrop.playground.door import is_open
from lazycrop.wsgi import HealthApp, MetricsApp, Middleware, send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# Requests that wait for a render, or for another process's, must leave threads for those that need neither.
_THREADS = 16


def _listens(command: Callable[..., None]) -> Callable[..., None]:
    port = click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        default=8000,
        show_default=True,
        help="The port to listen on; 0 takes a free one.",
    )
    host = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
    return host(port(command))


@command(shows=("store", "sizes", "presets", "prefix"))
@_listens
def serve(settings: Settings, host: str, port: int) -> None:
    """Answer for images on a web server of its own.

    They are below the path that --prefix says. For many users put a CDN or a web server in front. A balancer asks
    /healthz whether it can answer, and /healthz/live whether it lives; Prometheus asks /metrics, with --metrics.
    """
    with closing(LazyCrop(**settings)) as images:
        application = _watched(images)
        policy = images.config.policy
        listed = [*policy.presets, *(size.split()[0] for size in policy.sizes if size != ANY)]
        size = listed[0] if listed else f"{min(200, policy.max_edge)}x"
        saying = f"Serving {images.store!r}. Once an image 'cat' is stored, see {{root}}{images.url('cat', size)}"
        for name, source in images.sources.names.items():
            example = f"{images.config.prefix}/{name and f'{name}/'}FILE/{size}.jpg"
            saying += f"\nWith pictures of {source!r}: {{root}}{example} for each FILE in it"
        _run(lambda _: application, host, port, saying)


def _watched(images: LazyCrop) -> WSGIApplication:
    """Images, and beside them what is for those who watch."""
    health = HealthApp(images)
    beside: dict[str, WSGIApplication] = {"/healthz": health, "/healthz/live": health}
    if images.config.metrics:
        beside["/metrics"] = MetricsApp(images)
    application: WSGIApplication = Middleware(_nothing_else, images)
    if images.config.traces:
        from lazycrop.metrics.spans import continued

        application = continued(application)

    def choose(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return beside.get(environ.get("PATH_INFO", ""), application)(environ, start_response)

    return choose


def _nothing_else(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return send(answers.error(NotFound("There are only images here, and none at this path.")), environ, start_response)


@command(shows=("store",))
@_listens
def demo(settings: Settings, host: str, port: int) -> None:
    """Show a page whose pictures take any size you like.

    What it stores is in a temporary folder, unless there is a setting 'store'. Where other machines can reach it, by
    --host, it asks for a token that it prints.
    """
    token = secrets.token_urlsafe(16) if is_open(host) else None
    link = f"{{root}}/?token={token}" if token else "{root}/"
    with (
        tempfile.TemporaryDirectory(prefix="lazycrop-demo-") as folder,
        closing(LazyCrop(**{"store": folder, **settings, **DEMO})) as images,
    ):
        saying = f"The demo is at {link} until you press Ctrl-C."
        _run(lambda port: demo_app(images, host, port, token), host, port, saying)


def _run(make: Callable[[int], WSGIApplication], host: str, port: int, saying: str) -> None:
    """Serve until the process is told to end. ``{root}`` in ``saying`` is where; ``make`` is given the port."""
    try:
        import waitress
    except ImportError as error:
        raise ConfigurationError("A server of its own needs waitress: pip install lazycrop[cli].") from error
    listener = _listen(host, port)
    port = listener.getsockname()[1]
    if logs_json():
        logs.write_json()
    else:
        logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    server = waitress.create_server(make(port), sockets=[listener], threads=_THREADS)
    address = f"[{host}]" if ":" in host else host
    signal.signal(signal.SIGTERM, _stop)
    click.echo(saying.replace("{root}", f"http://{address}:{port}"))
    server.run()


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds what it tried.
        sys.exit(f"Nobody can listen on {host}, port {port}: {reason}. Choose others with --host and --port.")


def _stop(number: int, frame: object) -> NoReturn:
    """A server is done when it is told to end."""
    sys.exit(0)
