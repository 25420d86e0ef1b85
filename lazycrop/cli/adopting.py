"""Adopting: ``adopt``, which makes images of all that sources have, ahead of the first request. [click]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import click

from lazycrop.cli.bulk import Item, Outcome, changes, each, failed, for_many, jobs_option, outcome, read_lines
from lazycrop.cli.options import Settings, command
from lazycrop.errors import BadRequest, ConfigurationError, LazyCropError
from lazycrop.images import LazyCrop
from lazycrop.model.keys import composed


@command(shows=("store", "source", "sources"))
@click.argument("places", nargs=-1, metavar="[SOURCE[/FOLDER]]... [-]")
@jobs_option
def adopt(settings: Settings, places: tuple[str, ...], jobs: int) -> None:
    """Make images of what sources have, ahead of the first request.

    SOURCE is the name of one of the setting 'sources', and FOLDER a folder in it; of the only 'source', which has no
    name, give the folder alone. Where nothing is given, it is all that all sources have. With - the names of files are
    read from standard input, one a line, below the place before it: a site cannot list its own.

    What was adopted and has not changed is looked at and not read, so that a run that was stopped goes on where it
    was. A file that is no image is counted. One that is named as an image and is broken or too large is named on
    stderr, and the exit status is 1.

    \b
    lazycrop adopt
    lazycrop adopt media/2024 --jobs 2
    lazycrop adopt old - < names.txt
    """
    images = for_many(settings, jobs)
    if not images.sources:
        raise ConfigurationError("There is nothing to adopt from: set 'source', or name several in 'sources'.")
    kind = changes(images)

    def adopt_one(image_id: str) -> list[Outcome]:
        return [outcome(image_id, lambda: kind(images.adopt(image_id).image_id), of_any_kind=True)]

    each("adopted", _items(images, places, adopt_one), jobs)


def _items(images: LazyCrop, places: tuple[str, ...], adopt_one: Callable[[str], list[Outcome]]) -> Iterator[Item]:
    if "-" in places[:-1] or (places[-1:] == ("-",) and len(places) > 2):
        raise click.UsageError("Give one SOURCE at most before -, and nothing after it.")
    below = [_below(images, place) for place in places if place != "-"]
    if "-" in places:
        return _named(below[0] if below else "", adopt_one)
    return _found(images, below or [f"{name}/" if name else "" for name in images.sources.names], adopt_one)


def _below(images: LazyCrop, place: str) -> str:
    """What all ids begin with that are of this place."""
    place, names = composed(place.strip("/")), images.sources.names
    if "" not in names and place.partition("/")[0] not in names:
        raise BadRequest(f"There is no source {place.partition('/')[0]!r}; 'sources' names {', '.join(names)}.")
    return f"{place}/" if place else ""


def _named(below: str, adopt_one: Callable[[str], list[Outcome]]) -> Iterator[Item]:
    return (partial(adopt_one, below + name) for name in read_lines("-", "the name of a file"))


def _found(images: LazyCrop, places: list[str], adopt_one: Callable[[str], list[Outcome]]) -> Iterator[Item]:
    """What is found in all places. One that cannot list has failed, for_many, and the others are gone through."""
    for below in places:
        name, is_empty = below.rstrip("/"), True
        try:
            for image_id in images.sources.walk(below):
                is_empty = False
                yield partial(adopt_one, image_id)
            if is_empty and name not in images.sources.names:
                yield partial(_not_found, name, BadRequest("The source has no such folder, or nothing in it."))
        except BadRequest as error:
            how = " ".join(["lazycrop adopt", *filter(None, [name]), "-"])
            yield partial(_not_found, name or "source", BadRequest(f"{error} One a line: {how} < names.txt"))
        except LazyCropError as error:
            yield partial(_not_found, name or "source", error)


def _not_found(name: str, error: LazyCropError) -> list[Outcome]:
    return [failed(name, error)]
