"""The command line: ``lazycrop store``, ``url``, ``warm``, ``purge``, ``serve``, ``worker``, ``check`` and ``demo``.

Every command takes every setting: as a flag, else from ``LAZYCROP_*`` in the environment, else from an ini file.
[click, waitress]
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import signal
import sys
import tempfile
import traceback
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from lazycrop import __version__, config
from lazycrop.demo import FORCED, demo_app
from lazycrop.errors import BadRequest, LazyCropError
from lazycrop.middleware import Middleware
from lazycrop.options import default_of
from lazycrop.service import LazyCrop
from lazycrop.tasks import EMBEDDED, INLINE, BrokerQueue

try:
    import click
    import waitress
except ImportError:
    sys.exit("The command line needs click and waitress: pip install lazycrop[cli].")

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Settings = dict[str, Any]

_LISTS = (".tsv", ".txt")
# Requests that wait for a render, or for another process's, must leave threads for those that need neither.
_SERVER_THREADS = 16
_PUBLIC_SECONDS = 5  # To fetch one small object from the public URL.


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


class _Setting(click.Option):
    """The flag of a setting."""

    def __init__(self, field: Field[Any]) -> None:
        self.setting = field.name
        flag = f"--{field.name.replace('_', '-')}"
        is_switch = isinstance(default_of(field), bool)
        super().__init__(
            [f"{flag}/--no-{flag[2:]}" if is_switch else flag, f"setting_{field.name}"],
            default=None,
            metavar=None if is_switch else "…",
            help=f"{field.metadata['help'].replace('`', '')}{_default(default_of(field))}",
        )


def _default(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name}={one}" for name, one in value.items()]
    if isinstance(value, list | tuple):
        value = " ".join(value)
    return "" if value in (None, "", False) else f" [{value}]"


class _Command(click.Command):
    """A command that is handed all ``settings``, wherever they were given."""

    def __init__(self, *arguments: Any, params: list[click.Parameter], **more: Any) -> None:
        file = click.Option(["--config"], metavar="FILE", help="An ini file with a section [lazycrop].")
        super().__init__(*arguments, params=[*params, file, *map(_Setting, fields(config.Config))], **more)

    def invoke(self, context: click.Context) -> Any:
        given = context.params
        file = given.pop("config")
        environ = {**os.environ, **({f"{config.ENVIRONMENT_PREFIX}CONFIG": file} if file else {})}
        flags = {option.setting: given.pop(str(option.name)) for option in self._settings()}
        given["settings"] = config.from_env(environ) | {name: v for name, v in flags.items() if v is not None}
        return super().invoke(context)

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        settings = list(self._settings())
        sections = {
            "Options": [param for param in self.get_params(context) if param not in settings],
            "Settings, each also in FILE, or in the environment as LAZYCROP_STORE, where secrets belong": settings,
        }
        for title, params in sections.items():
            with formatter.section(title):
                formatter.write_dl([record for param in params if (record := param.get_help_record(context))])

    def _settings(self) -> Iterator[_Setting]:
        return (param for param in self.params if isinstance(param, _Setting))


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
def commands() -> None:
    """Store an image once; ask for any size of it by URL, any time later."""
    _log_to_stderr(_OneLine("%(message)s"), logging.WARNING)


class _OneLine(logging.Formatter):
    """The reason of a failure in one line, without a traceback."""

    def formatException(self, info: OptExcInfo) -> str:
        return "".join(traceback.format_exception_only(info[1])).strip()


def _log_to_stderr(formatter: logging.Formatter, level: int) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)


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
        raise BadRequest(f"The file {source!r} is not UTF-8 text; each line is an image id, a tab and a source.") from None
    return [(image_id.strip(), given.strip()) for image_id, _, given in (line.partition("\t") for line in lines)]


def _each(doing: str, items: Sequence[tuple[str, str]], do: Callable[[str, str], None]) -> None:
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
    """Print the URL of an image in a size, such as 200x100, or of a preset."""
    click.echo(LazyCrop(**settings).url(image_id, size))


@commands.command(cls=_Command)
@click.argument("image_id")
@click.argument("sizes", nargs=-1, required=True)
def warm(settings: Settings, image_id: str, sizes: tuple[str, ...]) -> None:
    """Have sizes of an image stored before anybody asks for them.

    With a broker they are queued for its workers, else they are made here and now.
    """
    images = LazyCrop(**settings)
    if images.config.broker == EMBEDDED:
        images = LazyCrop(**{**settings, "broker": INLINE})
    images.record(image_id)
    _each("Warming", [(size, size) for size in sizes], lambda size, _: _ignore(images.warm(image_id, [size])))


def _ignore(result: object) -> None:
    pass


@commands.command(cls=_Command)
@click.argument("image_id")
def purge(settings: Settings, image_id: str) -> None:
    """Delete all of an image: its origin and every size."""
    click.echo(f"{LazyCrop(**settings).purge(image_id)} objects deleted.")


_host = click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
_port = click.option("--port", default=8000, show_default=True, help="The port to listen on; 0 takes a free one.")


@commands.command(cls=_Command)
@_host
@_port
def serve(settings: Settings, host: str, port: int) -> None:
    """Answer for images on a web server of its own, below the path --prefix."""
    images = LazyCrop(**settings)
    application = Middleware(_nothing_else, images)
    example = images.url("cat", next(iter(images.config.presets or images.policy.listed), "200x100"))
    _run(application, images, host, port, f"Serving {images.store!r}: {{root}}{example} is the image 'cat', once stored.")


def _nothing_else(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    raise NotImplementedError


if __name__ == "__main__":
    main()
