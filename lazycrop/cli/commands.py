"""The command line: ``lazycrop store``, ``url``, ``warm``, ``purge``, ``serve``, ``worker``, ``check`` and ``demo``.

Every command takes every setting: as a flag, else from ``LAZYCROP_*`` in the environment, else from an ini file.
[click, waitress]
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import Field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from lazycrop import __version__
from lazycrop import settings as config
from lazycrop.access.policy import ANY
from lazycrop.caches.layered import ping
from lazycrop.caches.memcached import Memcached
from lazycrop.errors import BadRequest, LazyCropError, NotFound
from lazycrop.http import answers
from lazycrop.images import LazyCrop
from lazycrop.options import default_of
from lazycrop.playground import DEMO, demo_app
from lazycrop.queues.contract import EMBEDDED, INLINE
from lazycrop.wsgi import Middleware, send

try:
    import click
    import waitress
except ImportError:
    sys.exit("The command line needs click and waitress: pip install lazycrop[cli].")

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Settings = dict[str, Any]

_LISTS = (".tsv", ".txt")
_MEMORY = "memory:"
_BINARY = "application/octet-stream"
# Of glibc: one heap for all threads, which keeps 64 MB of what is freed. Then a picture uses what the last one has
# used, and a 1600x1200 takes 35 ms; 48 where fresh pages are got from the system each time, and given back.
_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}
# Requests that wait for a render, or for another process's, must leave threads for those that need neither.
_SERVER_THREADS = 16
# check asks whether somebody answers at all; how long it took is beside its ticks.
_PATIENCE = 5.0


def main() -> None:
    """Run the command; an error is one sentence on stderr and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _end)
    try:
        commands(prog_name="lazycrop")
    except LazyCropError as error:
        sys.exit(str(error))


def _end(number: int, frame: object) -> NoReturn:
    """End by SIGTERM as in any other way: jobs are finished, temporary folders go."""
    sys.exit(128 + number)


def _stop(number: int, frame: object) -> NoReturn:
    """The same of a server, which is done when it is told so."""
    sys.exit(0)


class _Setting(click.Option):
    """The flag of a setting."""

    def __init__(self, field: Field[Any]) -> None:
        self.setting = field.name
        flag = f"--{field.name.replace('_', '-')}"
        is_switch = isinstance(default_of(field), bool)
        super().__init__(
            [f"{flag}/--no-{flag[2:]}" if is_switch else flag, f"setting_{field.name}"],
            default=None,
            metavar=None if is_switch else "VALUE",
            help=f"{field.metadata['help'].replace('`', '')}{_default(default_of(field))}",
        )


def _default(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name}={one}" for name, one in value.items()]
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return "" if value in (None, "", False) else f" [{value}]"


class _Command(click.Command):
    """A command that is handed all ``settings``, wherever they were given."""

    def __init__(self, *arguments: Any, **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        file = click.Option(["--config"], metavar="FILE", help="An ini file with a section [lazycrop].")
        # The store and all that concerns it first.
        self.params += [file, *map(_Setting, config.OPTIONS.values())]

    def invoke(self, context: click.Context) -> Any:
        given = context.params
        file = given.pop("config")
        environ = {**os.environ, **({f"{config.ENVIRONMENT_PREFIX}CONFIG": file} if file else {})}
        flags = {option.setting: given.pop(str(option.name)) for option in self._settings()}
        # An application that has these commands among its own says what its settings are.
        settings = context.meta.get("lazycrop.settings") or config.from_env(environ)
        given["settings"] = settings | {name: value for name, value in flags.items() if value is not None}
        return super().invoke(context)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        settings = list(self._settings())
        options = [param for param in self.get_params(context) if isinstance(param, click.Option)]
        sections: dict[str, Sequence[click.Option]] = {
            "Options": [option for option in options if option not in settings],
            "Settings; in FILE 'store = …', in the environment LAZYCROP_STORE, where secrets belong": settings,
        }
        for title, shown in sections.items():
            with formatter.section(title):
                formatter.write_dl([record for option in shown if (record := option.get_help_record(context))])

    def _settings(self) -> Iterator[_Setting]:
        return (param for param in self.params if isinstance(param, _Setting))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Store an image once; ask for any size of it by URL, any time later."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine("%(message)s"))
    handler.addFilter(logging.Filter("lazycrop"))  # Other libraries' warnings are about the same, in more lines.
    logging.basicConfig(handlers=[handler])


class _OneLine(logging.Formatter):
    """The reason of a failure in one line, without a traceback."""

    def formatException(self, info: Any) -> str:
        return "".join(traceback.format_exception_only(info[1])).strip()


@commands.command(cls=_Command)
@click.argument("arguments", nargs=-1, required=True, metavar="[IMAGE_ID] SOURCE")
@click.option("--bound", default="4000x4000", show_default=True, help="The box in pixels that an image is shrunk to.")
def store(settings: Settings, arguments: tuple[str, ...], bound: str) -> None:
    """Store one image, or many.

    SOURCE is the URL or the path of an image. Or it is a folder, whose files' names, less their extensions, are the
    image ids; or a .tsv or .txt file, or - for standard input, in which each line is an image id, a tab, and a URL or
    a path. Of these, IMAGE_ID may be left out; where it is given, all ids are below it.
    """
    images = LazyCrop(**settings)
    *ids, source = arguments
    many = _many(source)
    if len(ids) > 1 or (not ids and many is None):
        raise click.UsageError("Give an image id and a source.")
    if many is None:
        record = images.store_origin(ids[0], source, bound)
        click.echo(f"{record.width}x{record.height} {record.format}, {record.length:,} bytes: {record.url}")
        return
    below = f"{ids[0]}/" if ids else ""
    seen = set()

    def store_one(image_id: str, source: str) -> None:
        if not source:
            raise BadRequest("A line is an image id, a tab, and the URL or the path of an image.")
        if image_id in seen:
            raise BadRequest(f"{source!r} would replace another image of the same id; give it an id of its own.")
        seen.add(image_id)
        images.store_origin(below + image_id, source, bound)

    _each("Storing", many, store_one)


def _many(source: str) -> list[tuple[str, str]] | None:
    """The (image id, source) pairs of a folder or a list; None where ``source`` is one image."""
    path = Path(source)
    if source != "-" and path.is_dir():
        files = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
        visible = [file for file in files if not any(part.startswith(".") for part in file.parts)]
        return [(file.with_suffix("").as_posix(), str(path / file)) for file in visible]
    if source != "-" and ("://" in source or path.suffix.lower() not in _LISTS):
        return None
    try:
        text = sys.stdin.buffer.read() if source == "-" else path.read_bytes()
        lines = [line for line in text.decode("utf-8-sig").splitlines() if line.strip()]
    except OSError as error:
        raise BadRequest(f"The file {source!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise BadRequest(f"The file {source!r} is not UTF-8 text; a line is an image id, a tab and a source.") from None
    return [(image_id.strip(), given.strip()) for image_id, _, given in (line.partition("\t") for line in lines)]


def _each(doing: str, items: Sequence[tuple[str, str]], do: Callable[[str, str], object]) -> None:
    """Do it to all items; list those that failed at the end, and exit with status 1 then."""
    failures = []
    with click.progressbar(items, label=f"{doing} {len(items)}", file=sys.stderr) as progress:
        for name, value in progress:
            try:
                do(name, value)
            except LazyCropError as error:
                failures.append(f"{name}: {error}")
    click.echo(f"{len(items) - len(failures)} of {len(items)} done.")
    if failures:
        sys.exit("\n".join(["These failed:", *failures]))


@commands.command(cls=_Command)
@click.argument("image_id")
@click.argument("size")
def url(settings: Settings, image_id: str, size: str) -> None:
    """Print the URL of an image in a size.

    SIZE is written like 200x100 or 400x300-cover, or is the name of a preset.
    """
    click.echo(LazyCrop(**settings).url(image_id, size))


@commands.command(cls=_Command)
@click.argument("image_id")
@click.argument("sizes", nargs=-1, required=True, metavar="SIZE...")
def warm(settings: Settings, image_id: str, sizes: tuple[str, ...]) -> None:
    """Have sizes of an image stored before they are asked for.

    With a broker they are queued for its workers, else they are made here and now.
    """
    images = LazyCrop(**settings)
    if (
        images.config.queue.broker == EMBEDDED
    ):  # It would be left undone what takes longer than the end of a process may.
        images = LazyCrop(**{**settings, "broker": INLINE})
    images.record(image_id)
    _each("Warming", [(size, size) for size in sizes], lambda size, _: images.warm(image_id, [size]))


@commands.command(cls=_Command)
@click.argument("image_id")
def purge(settings: Settings, image_id: str) -> None:
    """Delete all of an image: its origin and every size."""
    click.echo(f"{LazyCrop(**settings).purge(image_id)} objects deleted.")


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


@commands.command(cls=_Command)
@_listens
def serve(settings: Settings, host: str, port: int) -> None:
    """Answer for images on a web server of its own.

    They are below the path that --prefix says. For many users put a CDN or a web server in front.
    """
    with closing(LazyCrop(**settings)) as images:
        application = Middleware(_nothing_else, images)
        listed = [*images.config.policy.presets, *(size for size in images.config.policy.sizes if size != ANY)]
        example = images.url("cat", listed[0] if listed else f"{min(200, images.config.policy.max_edge)}x")
        saying = f"Serving {images.store!r}. Once an image 'cat' is stored, see {{root}}{example}"
        _run(application, host, port, saying)


def _nothing_else(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    return send(answers.error(NotFound("There are only images here, and none at this path.")), environ, start_response)


@commands.command(cls=_Command)
@_listens
def demo(settings: Settings, host: str, port: int) -> None:
    """Show a page whose pictures take any size you like.

    What it stores is in a temporary folder, unless there is a setting 'store'.
    """
    with (
        tempfile.TemporaryDirectory(prefix="lazycrop-demo-") as folder,
        closing(LazyCrop(**{"store": folder, **settings, **DEMO})) as images,
    ):
        _run(demo_app(images), host, port, "The demo is at {root}/ until you press Ctrl-C.")


def _run(application: WSGIApplication, host: str, port: int, saying: str) -> None:
    """Serve until the process is told to end. ``{root}`` in ``saying`` is where."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds what it tried.
        sys.exit(f"Nobody can listen on {host}, port {port}: {reason}. Choose others with --host and --port.")
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True)
    server = waitress.create_server(application, sockets=[listener], threads=_SERVER_THREADS)
    address = f"[{host}]" if family == socket.AF_INET6 else host
    signal.signal(signal.SIGTERM, _stop)
    click.echo(saying.replace("{root}", f"http://{address}:{listener.getsockname()[1]}"))
    server.run()


@commands.command(cls=_Command)
@click.option("--processes", default=os.cpu_count() or 1, show_default="one for each CPU", help="Processes.")
@click.option("--threads", default=4, show_default=True, help="Threads of each process.")
def worker(settings: Settings, processes: int, threads: int) -> None:
    """Store what has been asked for.

    It runs Dramatiq's own command on the queue of the setting 'broker', which is redis://… or amqp://….
    """
    # By the environment and not as arguments, which every user of the machine can read.
    environ = config.to_env(settings)
    for name in [name for name in os.environ if name.startswith(config.ENVIRONMENT_PREFIX)]:
        del os.environ[name]  # It is in the settings already, or none of them.
    os.environ.update(environ)
    from lazycrop.worker import images  # What is wrong with the settings shows here, as one sentence.

    counts = ["--processes", str(processes), "--threads", str(threads)]
    command = ["-m", "dramatiq", "lazycrop.worker", *counts, "--queues", images.config.queue.queue]
    os.environ.update(_MALLOC | os.environ)
    os.execv(sys.executable, [sys.executable, *command])  # In this process's place, so that signals reach it.


@commands.command(cls=_Command)
def check(settings: Settings) -> None:
    """See whether the store, memcached and the broker work."""
    images = LazyCrop(**{**settings, "broker_seconds": _PATIENCE, "memcached_seconds": _PATIENCE})
    checklist = _Checklist()
    _check_store(images, checklist)
    for server in images.config.cache.memcached:
        cache = Memcached([server], seconds=_PATIENCE)
        checklist.check(
            f"memcached {server} gives a lease to one owner only",
            partial(ping, cache),
            "Start it, or correct 'memcached'; until then each process has a cache of its own.",
        )
    checklist.check(
        f"broker {_without_secrets(images.config.queue.broker)} answers",
        lambda: images.jobs.queue.ping(),
        "Start it, or correct 'broker'; until then pictures are answered, and not stored.",
    )
    for warning in _warnings(images):
        click.echo(f"! {warning}")
    images.close()
    sys.exit(checklist.failed)


class _Checklist:
    """Prints a line for each check; ``failed`` when one of them did."""

    def __init__(self) -> None:
        self.failed = False
        try:
            "✓✗".encode(sys.stdout.encoding)
            self._yes, self._no = "✓", "✗"
        except UnicodeEncodeError:
            self._yes, self._no = "ok", "FAILED"

    def check(self, what: str, do: Callable[[], object], advice: str) -> bool:
        """``do`` raises when it is not so; ``advice`` is what to do then."""
        start = time.perf_counter()
        try:
            do()
        except Exception as error:  # Each library has its own.
            reason = error.__cause__ or error  # Our own errors are sentences for clients, and tell them no reasons.
            click.echo(f"{self._no} {what}: {str(reason).rstrip('.') or repr(reason)}. {advice}")
            self.failed = True
            return False
        click.echo(f"{self._yes} {what} ({1000 * (time.perf_counter() - start):.0f} ms)")
        return True


def _check_store(images: LazyCrop, checklist: _Checklist) -> None:
    store, data = images.store, secrets.token_bytes(100)
    key = f"lazycrop-check-{secrets.token_hex(8)}/check.bin"
    advice = "Correct 'store' and its keys, which must permit to put, get and delete objects."
    if not checklist.check(f"{store!r} takes an object", lambda: store.put(key, data, _BINARY), advice):
        return
    checklist.check("it gives the object back", lambda: _expect(store.get(key, limit=len(data)), data), advice)
    address = store.url(key) if images.config.answers.answer == "redirect" else None
    if address is not None:
        checklist.check(
            f"anybody can read {address}",
            lambda: _expect(_fetch(address), data),
            "Permit everybody to read, correct 'public_url', or set answer=stream.",
        )
    checklist.check("it deletes the object", lambda: store.delete(key), advice)
    checklist.check("the object is gone", lambda: _expect(store.exists(key), False), advice)


def _without_secrets(address: str) -> str:
    url = urlsplit(address)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}" if url.scheme else address


def _expect(found: object, wanted: object) -> None:
    if found != wanted:
        raise ValueError("what came is not what was put")


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
        return bytes(answer.read(1_000))


def _warnings(images: LazyCrop) -> Iterator[str]:
    """What works, and may not be meant."""
    settings = images.config
    if images.closed:
        yield "Nothing may be asked for: set 'sizes', 'presets' or 'secret'."
    if images.policy.any:
        yield f"sizes=any: anybody can fill the store with sizes of up to {settings.policy.max_edge} pixels."
    if settings.queue.broker not in (EMBEDDED, INLINE):
        if settings.store.store == _MEMORY:
            yield f"store={_MEMORY} is each process's own: what a worker stores there nobody finds."
        if not settings.cache.memcached:
            yield "There is a broker and no memcached: workers render again what a request has rendered."
