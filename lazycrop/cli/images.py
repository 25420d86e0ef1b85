"""Images: ``url``, ``warm`` and ``purge``. [click]"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import click

from lazycrop.cli.bulk import NO_IMAGE, Item, Outcome, changes, each, jobs_option, outcome, shown
from lazycrop.cli.options import Settings, command
from lazycrop.cli.output import Output, ask, count_of, output_options, yes_option
from lazycrop.errors import LazyCropError, UnknownImage
from lazycrop.images import LazyCrop
from lazycrop.model.derivatives import Derivative
from lazycrop.queues.contract import EMBEDDED, INLINE
from lazycrop.stores.contract import checked_url


def _each(sizes: Sequence[str], do: Callable[[str], object], done: str) -> None:
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
@click.option("--absolute", metavar="SITE", help="With the site before it, such as https://www.example.com.")
def url(settings: Settings, image_id: str, size: str, expires: int | None, absolute: str | None) -> None:
    """Print the URL of an image in a size.

    SIZE is written like 200x100 or 400x300-cover, or is the name of a preset.
    """
    site = (checked_url("--absolute", absolute) or "").rstrip("/")
    click.echo(site + LazyCrop(**settings).url(image_id, size, expires=expires))


@command(shows=("format",))
@click.argument("arguments", nargs=-1, metavar="[IMAGE_ID] SIZE...")
@click.option("--preset", "presets", multiple=True, metavar="NAME", help="A size by its name; may be given again.")
@click.option("--all", "is_for_all", is_flag=True, help="Of every image of the store; then there is no IMAGE_ID.")
@jobs_option
def warm(settings: Settings, arguments: tuple[str, ...], presets: tuple[str, ...], is_for_all: bool, jobs: int) -> None:
    """Have sizes of an image, or of all, stored before they are asked for.

    Of one image: with a broker they are queued for its workers, else they are made here and now. Of all they are made
    here in any case, several images at once; what is stored is skipped, so that a run that was stopped goes on where it
    was.

    \b
    lazycrop warm cat 200x100 800x
    lazycrop warm --all --preset card
    """
    ids, sizes = arguments[: not is_for_all], [*arguments[not is_for_all :], *presets]
    if not sizes or (not ids and not is_for_all):
        raise click.UsageError("Give the id of an image, or --all; and a size, or --preset.")
    if is_for_all:
        _warm_all(settings, sizes, jobs)
    else:
        _warm_one(settings, ids[0], sizes)


def _warm_one(settings: Settings, image_id: str, sizes: list[str]) -> None:
    images = LazyCrop(**settings)
    if images.config.queue.broker == EMBEDDED:  # What takes longer than the end of a process may, would be left undone.
        images = LazyCrop(**{**settings, "broker": INLINE})
    images.record(image_id)

    done = "done" if images.config.queue.broker == INLINE else "queued; workers store them"
    try:
        images.warm(image_id, sizes)  # Together they take less.
        click.echo(f"{len(sizes)} of {len(sizes)} {done}.")
    except LazyCropError:  # Which of them it is, they say one by one.
        _each(sizes, lambda size: images.warm(image_id, [size]), done)


def _warm_all(settings: Settings, sizes: list[str], jobs: int) -> None:
    here = {**settings, "broker": INLINE}
    images = LazyCrop(**here)
    for size in sizes:  # What may not be asked for is one mistake, and not one of each image.
        images.policy.check(Derivative("-", images.size(size), images.config.format))
    items = (Item(one, partial(_warmed, one)) for one in images.listing.ids())
    each("warmed", items, partial(_warming, sizes=sizes), here, jobs)


def _warming(images: LazyCrop, *, sizes: list[str]) -> Callable[[str], str]:
    kind = changes(images)

    def warm_one(image_id: str) -> str:
        try:
            images.warm(image_id, sizes)
        except UnknownImage:  # purged, and only the number of its last version is left
            return NO_IMAGE
        return kind(image_id)

    return warm_one


def _warmed(image_id: str, warm_one: Callable[[str], str]) -> list[Outcome]:
    return [outcome(image_id, partial(warm_one, image_id), of_any_kind=False)]


@command(shows=("store",))
@click.argument("image_id")
@click.option("--version", type=click.IntRange(1), metavar="N", help="Delete this former version alone.")
@yes_option
@output_options
def purge(settings: Settings, image_id: str, version: int | None, yes: bool, as_json: bool, quiet: bool) -> None:
    """Delete all of an image: its origin and every size."""
    images = LazyCrop(**settings)
    image_id = images.read_id(image_id)
    ask(f"Delete {f'version {version}' if version else 'all'} of {shown(image_id)}?", yes)
    objects = images.purge(image_id, version)
    content = {"image_id": image_id, "version": version, "objects": objects}
    Output(as_json, quiet).item(content, f"{count_of(objects, 'object')} deleted.")
