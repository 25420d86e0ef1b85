"""The catalogue: ``catalogue create``, ``catalogue sync``, ``sizes``. [click]"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import click

from lazycrop.cli.bulk import shown
from lazycrop.cli.options import Settings, command
from lazycrop.images import LazyCrop

_ROWS = 50  # of each kind; --json has all of them


def _output_options(command: Callable[..., None]) -> Callable[..., None]:
    quiet = click.option("--quiet", "-q", is_flag=True, help="Say nothing of what went well.")
    return click.option("--json", "as_json", is_flag=True, help="Print objects of JSON, one a line.")(quiet(command))


@click.group()
def catalogue() -> None:
    """Keep what the store knows in a database: the setting 'catalogue'."""


@command(shows=("catalogue",))
def create(settings: Settings) -> None:
    """Make the tables that are not there yet."""
    LazyCrop(**settings).catalogue.create()
    click.echo("The catalogue has its tables. Where the store has images already: lazycrop catalogue sync")


@command(shows=("catalogue", "store"))
@_output_options
def sync(settings: Settings, as_json: bool, quiet: bool) -> None:
    """Make the catalogue what the store is.

    It can be run beside traffic, again and again: what is right is only read. One that was stopped leaves what it has
    done. An image whose record cannot be read is named on stderr and left, and the exit status is 1.
    """
    images, progress = LazyCrop(**settings), sys.stderr.isatty() and not quiet

    def tell(done: Any) -> None:
        if progress:
            click.echo(f"\r\x1b[K{done.images:,} images, {done.changed:,} changed", file=sys.stderr, nl=False)

    done = images.catalogue.sync(tell)
    if progress:
        click.echo("\r\x1b[K", file=sys.stderr, nl=False)
    for image_id in done.unreadable:
        click.echo(f"{shown(image_id)}: its record cannot be read; store the image again.", file=sys.stderr)
    if as_json:
        click.echo(json.dumps(asdict(done)))
    elif not quiet:
        click.echo(
            f"{done.images:,} images and {done.sizes:,} sizes; {done.changed:,} were not as the store has them, and "
            f"{done.removed:,} are not in the store any more."
        )
    sys.exit(bool(done.unreadable))


@command(shows=("catalogue", "sizes", "presets"))
@click.option("--days", type=click.IntRange(1), default=30, show_default=True, help="Of how many days, until today.")
@_output_options
def sizes(settings: Settings, days: int, as_json: bool, quiet: bool) -> None:
    """Show which sizes are asked for, which are refused, and what to list.

    What a CDN or a browser has answered by itself is not counted. With --quiet it is only what to list, which an ini
    file takes as it is.
    """
    images = LazyCrop(**settings)
    found = images.catalogue.wanted(days)
    listed = {str(size) for size in images.policy.listed}
    presets = {str(size): name for name, size in images.policy.presets.items()}
    idle = sorted(listed - {one.size for one in found if not one.refused})
    proposed = [size for size in images.catalogue.proposed(found, listed) if size not in presets]
    if as_json:
        for one in found:
            click.echo(json.dumps(asdict(one)))
        click.echo(json.dumps({"idle": idle, "sizes": proposed}))
        return
    if not quiet:
        for kind, title in ((False, "Asked for"), (True, "Refused")):
            for_kind = [one for one in found if one.refused is kind]
            click.echo(f"{title} in {days} days:" if for_kind else f"{title} in {days} days: nothing.")
            for one in for_kind[:_ROWS]:
                of = "" if kind else f" of {one.images:,} images"
                name = f" ({presets[one.size]})" if one.size in presets else ""
                click.echo(f"  {one.count:>12,}  {one.size}{name}{of}")
        if idle:
            click.echo(f"Listed, and nobody asks for: {' '.join(idle)}")
    if proposed or not quiet:
        click.echo(f"sizes = {' '.join(proposed) or 'none'}")


catalogue.add_command(create)
catalogue.add_command(sync)
