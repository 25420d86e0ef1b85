"""Editing: ``focal``, ``crop`` and ``rename``, what a person says of an image that is stored. [click]"""

from __future__ import annotations

from typing import Any

import click

from lazycrop.cli.listing import described, record_content
from lazycrop.cli.options import Settings, command
from lazycrop.cli.output import Output, output_options
from lazycrop.images import LazyCrop
from lazycrop.model.records import Record

NONE = "none"


def read_point(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    """A focal point as it is typed: ``30,40``, or ``auto``; None where it is not given."""
    if value in (None, "auto"):
        return value
    x, _, y = str(value).partition(",")
    if not (x.strip().isdecimal() and y.strip().isdecimal()):
        raise click.BadParameter(f"{value!r} is no point; write 30,40, in per cent from the left and the top, or auto.")
    return int(x), int(y)


def _point_or_none(context: click.Context, option: click.Parameter, value: str) -> Any:
    return None if value == NONE else read_point(context, option, value)


def _part(context: click.Context, option: click.Parameter, value: str) -> Any:
    if value == NONE:
        return None
    try:
        left, top, width, height = map(float, value.split(","))
    except ValueError:
        raise click.BadParameter(
            f"{value!r} is no part; write LEFT,TOP,WIDTH,HEIGHT such as 10,0,50,100, in per cent, or {NONE}."
        ) from None
    return left, top, width, height


@command(shows=("store",))
@click.argument("image_id")
@click.argument("point", metavar="X,Y|auto|none", callback=_point_or_none)
@output_options
def focal(settings: Settings, image_id: str, point: Any, as_json: bool, quiet: bool) -> None:
    """Say where the subject of an image is, in per cent from the left and the top.

    auto looks for it, none forgets it. The sizes of the image get new URLs.
    """
    _tell(LazyCrop(**settings).set_focal(image_id, point), Output(as_json, quiet))


@command(shows=("store", "presets"))
@click.argument("image_id")
@click.argument("shape")
@click.argument("part", metavar="LEFT,TOP,WIDTH,HEIGHT|none", callback=_part)
@output_options
def crop(settings: Settings, image_id: str, shape: str, part: Any, as_json: bool, quiet: bool) -> None:
    """Say which part of an image is shown by its sizes of one shape, in per cent.

    SHAPE is a preset, or a size such as 4x3; of the sizes that are cover and have no gravity, each in these proportions
    shows the part, or the middle of it. none forgets it. The sizes of the image get new URLs.
    """
    _tell(LazyCrop(**settings).set_crop(image_id, shape, part), Output(as_json, quiet))


@command(shows=("store",))
@click.argument("image_id")
@click.argument("to")
@output_options
def rename(settings: Settings, image_id: str, to: str, as_json: bool, quiet: bool) -> None:
    """Give an image another id, which no image has yet.

    At each moment one of the two names works. The sizes of the image are made again when they are asked for.
    """
    _tell(LazyCrop(**settings).rename(image_id, to), Output(as_json, quiet))


def _tell(record: Record, output: Output) -> None:
    output.item(record_content(record), described(record))
