"""Together: several sizes of one image stored by one job, which decodes each picture that they are made from once.

What goes wrong with one of them is no reason to leave the others undone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import NoReturn

from lazycrop.concurrency.timing import measure
from lazycrop.library.common import Common
from lazycrop.library.origins import source_name
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.settings import Recipes, Stage

WAIT = 30.0  # Seconds for a slot: nobody waits for an actor, and its job is not to be lost.

# What one job makes at most: it has 60 seconds, AVIF takes two a megapixel, and the pixels of all wait to be encoded.
_MOST_PIXELS = 8_000_000
_MOST_SIZES = 100

Ending = Callable[[], str]
"""Waits until a derivative is put; returns the recipe of the object."""

Begin = Callable[[Derivative, Record, Stage, bytes], Ending]
"""Begins to put a derivative, unless there is an object."""


def in_jobs(record: Record, derivatives: Iterable[Derivative]) -> Iterator[list[Derivative]]:
    """Derivatives of an image, as many together as one job may make."""
    job: list[Derivative] = []
    pixels = 0
    for one in dict.fromkeys(derivatives):
        more = _pixels(record, one)
        if job and (pixels + more > _MOST_PIXELS or len(job) == _MOST_SIZES):
            yield job
            job, pixels = [], 0
        job.append(one)
        pixels += more
    if job:
        yield job


def _pixels(record: Record, derivative: Derivative) -> int:
    width, height = derivative.size.dimensions(*record.pixels_for(derivative.size)) if derivative.size else (0, 0)
    return width * height


class Together:
    """Makes and puts what one job stores of an image."""

    def __init__(self, common: Common, recipes: Recipes, begin: Begin) -> None:
        self._store, self._records = common.store, common.records
        self._origins, self._renders = common.origins, common.renders
        self._recipes = recipes
        self._begin = begin

    def put(self, wanted: Sequence[Derivative], record: Record) -> tuple[dict[Derivative, str], list[Exception]]:
        """Put those that are not there. Returns the recipe of each that is there now, and what went wrong."""
        looks = self._store.together(*(self._store.begin_exists(record.key_of(one)) for one in wanted))
        there = [one for one, is_there in zip(wanted, looks, strict=True) if is_there]
        recipes = {one: self._records.recipe_of_stored(one, record) for one in there}
        errors: list[Exception] = []
        for group in self._groups([one for one in wanted if one not in recipes], record):
            for one, end in self._begun(group, record).items():
                try:
                    with measure("store"):
                        recipes[one] = end()
                except Exception as error:
                    errors.append(error)
        return recipes, errors

    def _groups(self, wanted: Sequence[Derivative], record: Record) -> Iterator[list[Derivative]]:
        """Those that are made from the same bytes.

        A first stage is by itself: a request may make the same one, with the same ETag, and of one file decoded for a
        larger size there come slightly other bytes.
        """

        def source(one: Derivative) -> tuple[str, str]:
            stage = self._recipes.stored_stage(one)
            return source_name(record, one.size, stage), one.key if stage is Stage.FIRST else ""

        for _, group in groupby(sorted(wanted, key=source), source):
            yield list(group)

    def _begun(self, group: list[Derivative], record: Record) -> dict[Derivative, Ending]:
        """What ends the puts, all of which are under way."""
        stage = self._recipes.stored_stage(group[0])
        try:
            with measure("fetch"):
                data = self._origins.read_for_job(record, group[0].size, stage)
            results = self._renders.sizes(group, record, data, stage, WAIT)
        except Exception as error:
            return {group[0]: partial(_fail, error)}
        return {
            one: partial(_fail, result) if isinstance(result, Exception) else self._begin(one, record, stage, result)
            for one, result in zip(group, results, strict=True)
        }


def _fail(error: Exception) -> NoReturn:
    raise error
