"""Cleaning: what a store could do without. All of it blocks, and is lazy: what is told of has been deleted.

It is safe beside traffic, and can be stopped and done again: versions, and what failed stores have left, go by the
protocol of :mod:`lazycrop.library.versions`, and a size is made again should anybody ask for it after all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

from lazycrop.access.policy import Access, Policy
from lazycrop.errors import BadRecord, BadRequest, ConfigurationError, NotAllowed
from lazycrop.events import Gone, Purged
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.library.listing import Listing, Lying, WhatIs
from lazycrop.library.versions import Versions
from lazycrop.model import keys
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone
from lazycrop.settings import Config
from lazycrop.stores.contract import Listed

logger = logging.getLogger(__name__)

VERSIONS, SIZES, UNASKED, LEFTOVERS = "version", "size", "unasked", "leftover"
"""Why something goes: a version that is older than those that are kept; a size that may not be asked for any more; one
that nobody has asked for; what a store, a purge or a job that failed has left.
"""

USUAL = (VERSIONS, SIZES, LEFTOVERS)

_DAY = 86_400
_Found = tuple[Key, Listed]


@dataclass(frozen=True, slots=True)
class Removed:
    """An object that went, or would go. ``reason``: VERSIONS, SIZES, UNASKED or LEFTOVERS."""

    image_id: str
    version: int
    key: str
    length: int
    reason: str


class Demand(Protocol):
    """What is asked for, as a catalogue counts it."""

    def since(self) -> date | None:
        """The first day that was counted; None where none was."""

    def asked(self, image_id: str, days: int) -> Collection[tuple[str, str]]:
        """The sizes of an image, each with its format, that were asked for on one of the last ``days`` days."""


class Cleaning:
    """Cleans the store of one LazyCrop. ``demand``: what is asked for, where a catalogue counts that."""

    def __init__(
        self,
        common: Common,
        listing: Listing,
        versions: Versions,
        policy: Policy,
        access: Access,
        config: Config,
        demand: Demand | None = None,
    ) -> None:
        self._store, self._state, self._events = common.store, common.state, common.events
        self._contents = Contents(common.store, common.records)
        self._listing, self._versions = listing, versions
        self._policy, self._access, self._config = policy, access, config
        self.demand = demand

    def clean(
        self, prefix: str = "", reasons: Iterable[str] = USUAL, *, days: int | None = None, dry_run: bool = False
    ) -> Iterator[Removed]:
        """Delete what has one of the ``reasons``, of all images whose ids begin with ``prefix``; tell of each object.

        ``days``: for how many nobody has asked for a size that is UNASKED. ``dry_run``: only tell what would go.
        Raises :class:`~lazycrop.errors.ConfigurationError` and BadRequest for what cannot be known, before anything
        goes; and StoreUnavailable, after which nothing goes any more.
        """
        reasons = set(reasons)
        self._check(reasons, days)
        return self._cleaned(prefix, reasons, days or 0, dry_run)

    def _check(self, reasons: set[str], days: int | None) -> None:
        if SIZES in reasons and self._access.closed:
            raise ConfigurationError(
                "No setting says which sizes may be asked for, so that all of them would go: set 'sizes', 'presets' or "
                "'secret' as the application does, or leave sizes out."
            )
        if UNASKED not in reasons:
            return
        if self.demand is None:
            raise ConfigurationError(
                "What was asked for is not known: that is counted in a catalogue; set 'catalogue'."
            )
        least = -(-self._config.cache.marker_seconds // _DAY)
        if days is None or days < least:  # For so long a size is answered without a look at the store.
            raise BadRequest(
                f"{days} days are given; a size is known to be stored for {least}, so give more than that."
            )
        since = self.demand.since()
        if since is None or since > date.today() - timedelta(days=days):
            raise BadRequest(f"What was asked for has been counted since {since or 'never'}, which is not {days} days.")

    def _cleaned(self, prefix: str, reasons: set[str], days: int, dry_run: bool) -> Iterator[Removed]:
        for lying, said in self._listing.lying_and_said(prefix):
            if isinstance(said, BadRecord) or (said is not None and said.image_id != lying.image_id):
                continue  # Nobody can tell what is right of it; verify says so.
            former = [*self._former(lying, said)] if VERSIONS in reasons else []
            lost = [*self._lost(lying, said)] if LEFTOVERS in reasons else []
            gone = {found[1].key for found in (*former, *lost)}
            sizes = [one for one in self._sizes(lying, said, reasons, days) if one.key not in gone]
            removed = [*_told(former, VERSIONS), *_told(lost, LEFTOVERS), *sizes]
            yield from removed if dry_run else self._remove(lying.image_id, removed)

    def _former(self, lying: Lying, said: WhatIs) -> Iterator[_Found]:
        """What is of versions that are older than those that are kept."""
        if isinstance(said, Record):
            for number, found in lying.versions.items():
                if number <= said.version - self._config.store.keep_versions:
                    yield from _without_said(found)

    def _lost(self, lying: Lying, said: WhatIs) -> Iterator[_Found]:
        """What is of no version, unless somebody is changing the image just now.

        Where nothing says what the image is, that may have been lost: then only what has a dead claim is of a store
        that never came to say it.
        """
        claims = {listed.key: (key, listed) for key, listed in lying.objects if key.kind == "claim"}
        lost = {number: found for number, found in lying.versions.items() if _is_lost(lying, said, number)}
        if not claims and not lost:
            return
        if lying.private:  # Claims are where everybody may read.
            fresh = self._contents.fresh(name for name in self._contents.found(lying.image_id) if keys.claimed(name))
        else:
            fresh = self._contents.fresh(claims)
        if any(fresh.values()):
            return
        yield from (claims[key] for key in fresh if key in claims)
        dead = {keys.claimed(key) for key in fresh}
        for number, found in lost.items():
            if said is not None or number in dead:
                yield from _without_said(found)

    def _sizes(self, lying: Lying, said: WhatIs, reasons: set[str], days: int) -> Iterator[Removed]:
        if not isinstance(said, Record) or not reasons & {SIZES, UNASKED}:
            return
        asked = self.demand.asked(lying.image_id, days) if self.demand and UNASKED in reasons else ()
        before = time.time() - days * _DAY
        for key, listed in lying.objects:
            derivative = Derivative.of_key(key)
            if derivative is None:
                continue
            is_old = listed.modified is not None and listed.modified < before
            name = (str(derivative.size), derivative.format)
            if SIZES in reasons and not self._may_be_asked_for(derivative):
                yield Removed(lying.image_id, key.version, listed.key, listed.length, SIZES)
            elif UNASKED in reasons and is_old and name not in asked:
                yield Removed(lying.image_id, key.version, listed.key, listed.length, UNASKED)

    def _may_be_asked_for(self, derivative: Derivative) -> bool:
        """By anybody, or where there is a secret, by whoever has a signed URL."""
        try:
            self._policy.check(derivative)
        except NotAllowed:
            return False
        return self._policy.lists(derivative) or bool(self._config.policy.secret)

    def _remove(self, image_id: str, planned: list[Removed]) -> Iterator[Removed]:
        for number in sorted({one.version for one in planned if one.reason == VERSIONS}):
            try:
                self._versions.purge(image_id, number, forget=False)
            except BadRequest:  # It has become the current one.
                planned = [one for one in planned if (one.version, one.reason) != (number, VERSIONS)]
        if any(one.reason == LEFTOVERS for one in planned):
            self._versions.tidy(image_id)
        for one in planned:
            if one.reason in (SIZES, UNASKED):
                self._remove_size(one)
            if one.reason != LEFTOVERS or not self._store.exists(one.key):
                yield one

    def _remove_size(self, one: Removed) -> None:
        self._store.delete(one.key)
        key = Key.parse(one.key)
        derivative = Derivative.of_key(key) if key else None
        if derivative is not None:
            self._state.unmark(derivative)
        self._events.tell(Purged(one.image_id, one.version, one.key, objects=1))
        self._events.tell(Gone(one.image_id, one.version, one.key))


def _is_lost(lying: Lying, said: WhatIs, number: int) -> bool:
    """Is there something of a version that is none?"""
    if isinstance(said, Tombstone):
        return number <= said.version
    if said is None:
        return not lying.has("record", number)
    if isinstance(said, Record) and number == said.version:
        return False
    return not lying.has("record", number) if number > 1 else not lying.has("origin", 1)


def _without_said(found: list[_Found]) -> Iterator[_Found]:
    """But for the object that says what the image is."""
    return ((key, listed) for key, listed in found if key.kind != "record" or key.version > 1 or key.private)


def _told(found: Iterable[_Found], reason: str) -> Iterator[Removed]:
    return (Removed(key.image_id, key.version, listed.key, listed.length, reason) for key, listed in found)
