"""Overload: what is shown in place of a size that cannot be made now, because too many others are.

That is the nearest size that is stored, of the same fit, and at least as large: the browser makes it smaller, and the
page has its picture.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import log

from lazycrop.access.policy import Policy
from lazycrop.errors import NotAllowed, Unavailable
from lazycrop.library.common import Common
from lazycrop.library.records import Found
from lazycrop.library.stored_sizes import StoredSizes
from lazycrop.model.derivatives import AUTO, Derivative
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size

_TRIED = 16  # Sizes that are looked up in the cache, in one round trip.
_ALIKE = 0.02  # Shapes that differ by less are one: so much come sides that are rounded.


class Overload:
    """Finds such a size."""

    def __init__(self, common: Common, stored: StoredSizes, policy: Policy) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._stored, self._policy = stored, policy

    def nearest(self, found: Found, asked: Derivative, named: Sequence[str], signed: bool) -> Derivative | None:
        """The size to show in place of the one that was ``asked`` for, and ``found`` to be that; None where there is
        none, or is not known to be.

        ``named``: the formats that will do as well where any is asked for. ``signed``: who asks has a signature,
        without which only what policy lists is shown. Blocks for a look at the cache, and where the store is not slow
        for some calls to it. Raises nothing.
        """
        size, record = found.derivative.size, found.record
        if size is None or found.is_there:  # What is stored is not worse off than another that is.
            return None
        formats = list(dict.fromkeys([found.derivative.format, *(named if asked.format == AUTO else ())]))
        stored = self._stored.find(record)
        listed = (
            Derivative(record.image_id, one, format, record.version)
            for one in self._policy.listed
            for format in formats
        )
        fitting = (
            one
            for one in {*stored, *listed}
            if one.format in formats and self._may(one, signed) and is_at_least(one.size, size, record)
        )
        nearest = heapq.nsmallest(_TRIED, fitting, key=lambda one: _distance(one, size, record, formats))
        there = self._first_there(nearest, stored, record)
        return replace(there, version=asked.version) if there else None

    def _may(self, one: Derivative, signed: bool) -> bool:
        try:
            self._policy.check(one)
        except NotAllowed:
            return False
        return signed or self._policy.lists(one)

    def _first_there(
        self, nearest: Sequence[Derivative], stored: Iterable[Derivative], record: Record
    ) -> Derivative | None:
        """The first that is marked, or is in the store when that is asked; it is not, once it has not answered."""
        marked, answers = self._state.marked(nearest, record.tag), True
        for one in nearest:
            if one in marked:
                return one
            if answers and one in stored:
                try:
                    if self._store.exists(record.key_of(one)):
                        self._state.mark_stored(one, record.tag, self._records.recipe_of_stored(one, record))
                        return one
                except Unavailable:
                    answers = False
        return None


def is_at_least(other: Size | None, size: Size, record: Record) -> bool:
    """Shows ``other`` the same as ``size``, by the same fit, with as many pixels at least?"""
    if other is None or other == size or other.options != size.options:
        return False
    if record.part_of(other) != record.part_of(size):
        return False
    return all(one >= wanted for one, wanted in zip(_pixels(other, record), _pixels(size, record), strict=True))


def _pixels(size: Size, record: Record) -> tuple[int, int]:
    return size.dimensions(*record.pixels_for(size))


def _distance(one: Derivative, size: Size, record: Record, formats: Sequence[str]) -> tuple[bool, int, int, str]:
    """Another shape is farther than any number of pixels: it is drawn out of shape, or cut elsewhere."""
    assert one.size is not None
    (width, height), (wanted_width, wanted_height) = _pixels(one.size, record), _pixels(size, record)
    # Of an inside one it is the picture's own, which a few pixels cannot show.
    is_other_shape = size.fit != "inside" and abs(log(width * wanted_height / (height * wanted_width))) > _ALIKE
    return is_other_shape, width * height, formats.index(one.format), one.key
