"""Adopting: ``adopt``, which makes images of all that sources have, ahead of the first request. [click]"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import click

from lazycrop.cli.bulk import Item, Outcome, changes, each, for_many, jobs_option, not_done, outcome, read_lines
from lazycrop.cli.options import Settings, command
from lazycrop.errors import BadRequest, ConfigurationError, LazyCropError
from lazycrop.images import LazyCrop
from lazycrop.model.keys import composed

AdoptOne = Callable[[str], str]
"""Adopts the image of an id; returns whether that was done or not needed."""


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
    each("adopted", _items(images, places), _adopting, settings, jobs)


def _adopting(images: LazyCrop) -> AdoptOne:
    kind = changes(images)
    return lambda image_id: kind(images.adopt(image_id).image_id)


def _item(image_id: str) -> Item:
    return Item(image_id, partial(_adopted, image_id))


def _adopted(image_id: str, adopt_one: AdoptOne) -> list[Outcome]:
    return [outcome(image_id, partial(adopt_one, image_id), of_any_kind=True)]


def _items(images: LazyCrop, places: tuple[str, ...]) -> Iterator[Item]:
    if "-" in places[:-1] or (places[-1:] == ("-",) and len(places) > 2):
        raise click.UsageError("Give one SOURCE at most before -, and nothing after it.")
    below = [_below(images, place) for place in places if place != "-"]
    if "-" in places:
        return _named(below[0] if below else "")
    return _found(images, below or [f"{name}/" if name else "" for name in images.sources.names])


def _below(images: LazyCrop, place: str) -> str:
    """What all ids begin with that are of this place."""
    place, names = composed(place.strip("/")), images.sources.names
    if "" not in names and place.partition("/")[0] not in names:
        raise BadRequest(f"There is no source {place.partition('/')[0]!r}; 'sources' names {', '.join(names)}.")
    return f"{place}/" if place else ""


def _named(below: str) -> Iterator[Item]:
    return (_item(below + name) for name in read_lines("-", "the name of a file"))


def _found(images: LazyCrop, places: list[str]) -> Iterator[Item]:
    """What is found in all places. One that cannot list has failed, and the others are gone through."""
    for below in places:
        name, is_empty = below.rstrip("/"), True
        try:
            for image_id in images.sources.walk(below):
                is_empty = False
                yield _item(image_id)
            if is_empty and name not in images.sources.names:
                yield not_done(name, BadRequest("The source has no such folder, or nothing in it."))
        except BadRequest as error:
            how = " ".join(["lazycrop adopt", *filter(None, [name]), "-"])
            yield not_done(name or "source", BadRequest(f"{error} One a line: {how} < names.txt"))
        except LazyCropError as error:
            yield not_done(name or "source", error)
