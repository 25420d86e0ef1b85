"""Images: ``url``, ``warm`` and ``purge``. [click]"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import click

from lazycrop.cli.bulk import shown
from lazycrop.cli.options import Settings, command
from lazycrop.errors import LazyCropError
from lazycrop.images import LazyCrop
from lazycrop.queues.contract import EMBEDDED, INLINE


def _each(sizes: Sequence[str], do: Callable[[str], None], done: str) -> None:
    """Do it to all sizes; list those that failed at the end, and exit with status 1 then."""
    failures = []
    with click.progressbar(sizes, label=f"Warming {len(sizes)}", file=sys.stderr) as progress:
        for size in progress:
            try:
                do(size)
            except LazyCropError as error:
                failures.append(f"{shown(size)}: {error}")
    click.echo(f"{len(sizes) - len(failures)} of {len(sizes)} {done}.")
    if failures:
        sys.exit("\n".join(["These failed:", *failures]))


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

    def warm_one(size: str) -> None:
        images.warm(image_id, [size])

    done = "done" if images.config.queue.broker == INLINE else "queued; workers store them"
    _each(sizes, warm_one, done)


@command(shows=("store",))
@click.argument("image_id")
@click.option("--version", type=click.IntRange(1), metavar="N", help="Delete this former version alone.")
def purge(settings: Settings, image_id: str, version: int | None) -> None:
    """Delete all of an image: its origin and every size."""
    click.echo(f"{LazyCrop(**settings).purge(image_id, version)} objects deleted.")
