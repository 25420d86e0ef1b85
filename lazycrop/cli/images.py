"""Images: ``store``, ``url``, ``warm`` and ``purge``. [click]"""

from __future__ import annotations

import mimetypes
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from lazycrop.cli.options import Settings, command
from lazycrop.errors import BadRequest, LazyCropError, UnsupportedImage
from lazycrop.images import LazyCrop
from lazycrop.model.keys import composed
from lazycrop.model.sizes import DEFAULT_BOUND
from lazycrop.queues.contract import EMBEDDED, INLINE

_LISTS = (".tsv", ".txt")


def _focal(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    x, _, y = (value or "auto").partition(",")
    if value in (None, "auto"):
        return value
    if not (x.strip().isdecimal() and y.strip().isdecimal()):
        raise click.BadParameter(f"{value!r} is no point; write 30,40, in per cent from the left and the top, or auto.")
    return int(x), int(y)


@command(shows=("store",))
@click.argument("arguments", nargs=-1, required=True, metavar="[IMAGE_ID] SOURCE")
@click.option("--bound", default=DEFAULT_BOUND, show_default=True, help="The box in pixels that an image is shrunk to.")
@click.option(
    "--focal", callback=_focal, metavar="X,Y|auto", help="Where the subject is, in per cent; or auto, to have it found."
)
def store(settings: Settings, arguments: tuple[str, ...], bound: str, focal: Any) -> None:
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
        record = images.store_origin(ids[0], _url_or_path(source), bound, focal=focal)
        click.echo(f"{record.width}x{record.height} {record.format}, {record.length:,} bytes: {record.url}")
        return
    below = f"{ids[0]}/" if ids else ""
    seen = set()

    def store_one(image_id: str, source: str) -> str | None:
        if not source:
            raise BadRequest("A line is an image id, a tab, and the URL or the path of an image.")
        if composed(image_id) in seen:
            raise BadRequest(f"{source!r} would replace another image of the same id; give it an id of its own.")
        try:
            images.store_origin(below + image_id, _url_or_path(source), bound, focal=focal)
        except UnsupportedImage:
            if _is_named_as_image(source):
                raise
            return "no image"
        seen.add(composed(image_id))
        return None

    _each("Storing", many, store_one)


def _url_or_path(source: str) -> str | Path:
    return source if "://" in source else Path(source)


def _is_named_as_image(source: str) -> bool:
    kind, _ = mimetypes.guess_type(source, strict=False)
    return kind is None or kind.startswith("image/")


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


def _each(
    doing: str, items: Sequence[tuple[str, str]], do: Callable[[str, str], str | None], done: str = "done"
) -> None:
    """Do it to all items; list those that failed at the end, and exit with status 1 then.

    ``do`` returns None, or why there was nothing to do.
    """
    failures, idle = [], []
    with click.progressbar(items, label=f"{doing} {len(items)}", file=sys.stderr) as progress:
        for name, value in progress:
            try:
                idle += [f"{_shown(value)}: {why}" for why in [do(name, value)] if why is not None]
            except LazyCropError as error:
                failures.append(f"{_shown(name)}: {error}")
    click.echo(f"{len(items) - len(failures) - len(idle)} of {len(items)} {done}.")
    if idle:
        click.echo("\n".join([f"{len(idle)} left out:", *idle]))
    if failures:
        sys.exit("\n".join(["These failed:", *failures]))


def _shown(name: str) -> str:
    """A name as it can be printed; those of files may be no text, and may be commands to a terminal."""
    text = name if name.isprintable() else repr(name)
    return text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)


@command(shows=("format", "prefix"))
@click.argument("image_id")
@click.argument("size")
@click.option("--expires", type=click.IntRange(1), metavar="SECONDS", help="Refuse it after so long; needs a 'secret'.")
def url(settings: Settings, image_id: str, size: str, expires: int | None) -> None:
    """Print the URL of an image in a size.

    SIZE is written like 200x100 or 400x300-cover, or is the name of a preset.
    """
    click.echo(LazyCrop(**settings).url(image_id, size, expires=expires))


@command(shows=("format",))
@click.argument("image_id")
@click.argument("sizes", nargs=-1, required=True, metavar="SIZE...")
def warm(settings: Settings, image_id: str, sizes: tuple[str, ...]) -> None:
    """Have sizes of an image stored before they are asked for.

    With a broker they are queued for its workers, else they are made here and now.
    """
    images = LazyCrop(**settings)
    if images.config.queue.broker == EMBEDDED:  # What takes longer than the end of a process may, would be left undone.
        images = LazyCrop(**{**settings, "broker": INLINE})
    images.record(image_id)

    def warm_one(size: str, _: str) -> None:
        images.warm(image_id, [size])

    done = "done" if images.config.queue.broker == INLINE else "queued; workers store them"
    _each("Warming", [(size, size) for size in sizes], warm_one, done)


@command(shows=("store",))
@click.argument("image_id")
@click.option("--version", type=click.IntRange(1), metavar="N", help="Delete this former version alone.")
def purge(settings: Settings, image_id: str, version: int | None) -> None:
    """Delete all of an image: its origin and every size."""
    click.echo(f"{LazyCrop(**settings).purge(image_id, version)} objects deleted.")
