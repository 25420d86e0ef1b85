"""Listing: ``list``, ``info`` and ``usage``, of what the store has. [click]"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from lazycrop.cli.bulk import shown
from lazycrop.cli.options import Settings, command
from lazycrop.cli.output import Output, count_of, output_options, size_of
from lazycrop.images import LazyCrop
from lazycrop.library.listing import Info
from lazycrop.model.records import Record


@command(shows=("store",))
@click.argument("prefix", default="")
@click.option("--after", default="", metavar="ID", help="Go on after the image of this id.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="End after so many.")
@output_options
def list_(settings: Settings, prefix: str, after: str, limit: int | None, as_json: bool, quiet: bool) -> None:
    """List the images of the store, in the order of its keys.

    PREFIX is what their ids begin with. A line is an image id, and after tabs its pixels, format, bytes and version;
    with --quiet the id alone, with --json its record.
    """
    output = Output(as_json, quiet)
    for number, record in enumerate(LazyCrop(**settings).list(prefix, after), 1):
        output.tell(record_content(record), shown(record.image_id) if quiet else _line(record))
        if number == limit:
            return


list_.name = "list"


def _line(record: Record) -> str:
    pixels = f"{record.width}x{record.height}"
    parts = (shown(record.image_id), pixels, record.format, f"{record.length}", f"v{record.version}")
    return "\t".join(parts)


def record_content(record: Record) -> dict[str, Any]:
    """A record for a program."""
    return {**json.loads(record.to_json()), "url": record.url}


@command(shows=("store",))
@click.argument("image_id")
@output_options
def info(settings: Settings, image_id: str, as_json: bool, quiet: bool) -> None:
    """Show what the store has of an image: its record, and each size with its bytes."""
    found = LazyCrop(**settings).info(image_id)
    content = {
        "record": record_content(found.record),
        "sizes": [asdict(one) for one in found.sizes],
        "bytes": found.length,
    }
    Output(as_json, quiet).tell(content, _quiet(found) if quiet else _described(found))


def _quiet(found: Info) -> str:
    return "\n".join(shown(one.key) for one in found.sizes)


def _described(found: Info) -> str:
    sizes = [f"{one.size}.{one.format}\tv{one.version}\t{one.length}" for one in found.sizes]
    rest = [_fact("sizes", len(sizes)), *sizes, _fact("in all", size_of(found.length))]
    return "\n".join([described(found.record), *rest])


def described(record: Record) -> str:
    """A record for a person, a fact a line."""
    facts = {
        "id": shown(record.image_id),
        "version": record.version,
        "origin": f"{record.width}x{record.height} {record.format}, {size_of(record.length)}",
        "url": record.url,
        "source": shown(record.source),
        "stored": record.stored_at,
        "sha256": record.sha256,
        "focal point": "{},{}".format(*record.focal) if record.focal else None,
        "crops": ", ".join("{}x{}".format(*crop.shape) for crop in record.crops),
        "private": "yes" if record.private else None,
    }
    return "\n".join(_fact(name, fact) for name, fact in facts.items() if fact)


def _fact(name: str, fact: object) -> str:
    return f"{name + ':':13}{fact}"


@command(shows=("store",))
@click.argument("prefix", default="")
@output_options
def usage(settings: Settings, prefix: str, as_json: bool, quiet: bool) -> None:
    """Say how many images and sizes the store has, and how many bytes they take.

    PREFIX is what the ids of the images begin with that are counted.
    """
    found = LazyCrop(**settings).usage(prefix)
    content = {"images": found.images, "sizes": found.sizes, "objects": found.objects, "bytes": found.length}
    parts = (count_of(found.images, "image"), count_of(found.sizes, "size"), count_of(found.objects, "object"))
    Output(as_json, quiet).tell({"prefix": prefix, **content}, f"{', '.join(parts)}, {size_of(found.length)}.")
