"""Storing: what an actor does with a derivative that was asked for. It may be done again at any time, by anybody."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from lazycrop.access.policy import Policy
from lazycrop.concurrency.timing import measure
from lazycrop.errors import BadRequest
from lazycrop.events import Gone, Stored
from lazycrop.library.adopting import Adopting
from lazycrop.library.budget import Budget
from lazycrop.library.common import Common
from lazycrop.library.jobs import SINCE, named
from lazycrop.library.origins import begin_put
from lazycrop.library.together import WAIT, Together
from lazycrop.library.versions import Versions
from lazycrop.model import keys
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES, Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.settings import Recipes, Stage

logger = logging.getLogger(__name__)


class Storing:
    """Stores derivatives."""

    def __init__(
        self,
        common: Common,
        versions: Versions,
        adopting: Adopting,
        policy: Policy,
        recipes: Recipes,
        budget: Budget,
        backlog_seconds: int,
    ) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._origins, self._renders, self._events = common.origins, common.renders, common.events
        self._versions = versions
        self._adopting = adopting
        self._policy = policy
        self._recipes = recipes
        self._budget = budget
        self._backlog_seconds = backlog_seconds
        self._together = Together(common, recipes, self._begin_put)

    def store(self, message: Any) -> None:
        """Store the derivatives that a message names; an object that is there stays as it is. What visitors ask for is
        not stored where its image has as many sizes as it may have.

        The record is read before and after: what was purged or replaced meanwhile leaves nothing behind.
        """
        wanted = named(message)
        for derivative in wanted:
            self._policy.check(derivative)
        one = wanted[0]
        record = self._records.read_now(one.image_id, one.version) or self._adopted(one)
        _check(wanted, record)
        if record is None:  # Purged or replaced since it was asked for, perhaps after an earlier try had put it.
            for derivative in wanted:
                self._clear(derivative)
        elif len(wanted) > 1:
            recipes, errors = self._together.put(wanted, record)
            self._settle(recipes, record)
            if errors:  # The next try finds what was put.
                raise errors[0]
        elif recipe := self._put(one, record, self._stage(one, message), SINCE in message):
            self._settle({one: recipe}, record)

    def _settle(self, recipes: Mapping[Derivative, str], record: Record) -> None:
        """Mark what was put as stored, or delete it where it was for nothing."""
        now = self._records.read_now(record.image_id, record.version) if recipes else None
        for derivative, recipe in recipes.items():
            if now is None or now.tag != record.tag:
                self._store.delete(record.key_of(derivative))
                self._state.unmark(derivative)
                self._events.tell(Gone(record.image_id, record.version, derivative.key))
            else:
                self._state.mark_stored(derivative, record.tag, recipe)

    def _adopted(self, derivative: Derivative) -> Record | None:
        """The record of a file of a source that was asked for as an image for the first time."""
        if self._origins.place(derivative.image_id) is None:
            return None
        record = self._adopting.adopt(derivative.image_id)
        return record if record is not None and record.version == derivative.version else None

    def add_mezzanines(self, message: Any) -> None:
        """Make the mezzanines of the image that a message names, which was stored without."""
        derivative = Derivative.from_message(message)
        self._versions.add_mezzanines(derivative.image_id, derivative.version or 1)

    def _stage(self, derivative: Derivative, message: Any) -> Stage:
        """How far to encode it: as it was answered where that is all there is, or where the worker is late."""
        since = message.get(SINCE)
        is_late = isinstance(since, int | float) and time.time() > since + self._backlog_seconds
        return Stage.FIRST if is_late else self._recipes.stored_stage(derivative)

    def _put(self, derivative: Derivative, record: Record, stage: Stage, asked: bool) -> str | None:
        """Put it unless it is there; returns the recipe of the object. ``asked``: by visitors, of whom some may ask for
        too much; then there is None.
        """
        if asked and self._budget.is_full(derivative, record):
            return None
        hot = self._state.hot(derivative, record.tag) if stage == Stage.FIRST else None
        data = hot.data if hot else None
        key = record.key_of(derivative)
        if data is None and not self._store.exists(key):
            data = self._rendered(derivative, record, stage)
        if data is None:
            return self._records.recipe_of_stored(derivative, record)
        with self._budget.room(derivative, record) if asked else nullcontext(True) as has_room, measure("store"):
            if not has_room:
                return None
            end = self._begin_put(derivative, record, stage, data)
            return end()

    def _begin_put(self, derivative: Derivative, record: Record, stage: Stage, data: bytes) -> Callable[[], str]:
        """Begin to put it unless it is there. What is returned waits for the end, and returns the object's recipe."""
        key = record.key_of(derivative)
        put = begin_put(self._store, record, key, data, CONTENT_TYPES[derivative.format], new=True)

        def ended() -> str:
            if not put():
                return self._records.recipe_of_stored(derivative, record)
            said = {"event": "stored", "key": derivative.key, "bytes": len(data)}
            logger.info("stored %r, %d bytes", derivative.key, len(data), extra=said)
            late = stage is not self._recipes.stored_stage(derivative)
            self._events.tell(Stored(record.image_id, record.version, derivative.key, length=len(data), late=late))
            return self._recipes.fingerprint(derivative, stage)

        return ended

    def _clear(self, derivative: Derivative) -> None:
        """Delete what an earlier try may have put, unless its image is only not the current one any more."""
        version = derivative.version or 1
        for private in (False, True):
            if not self._origins.exists(derivative.image_id, version, private):
                size, format = derivative.size, derivative.format
                self._store.delete(keys.derivative(derivative.image_id, version, size, format, private))
                self._events.tell(Gone(derivative.image_id, version, derivative.key))

    def _rendered(self, derivative: Derivative, record: Record, stage: Stage) -> bytes:
        with measure("fetch"):
            source = self._origins.read_for_job(record, derivative.size, stage)
        return self._renders.size(derivative, record, source, stage, WAIT)


def _check(wanted: Sequence[Derivative], record: Record | None) -> None:
    """What has no size is stored by itself only, and of a file that stays at its source."""
    for one in wanted:
        if one.format == AUTO or (one.size is None and (len(wanted) > 1 or record is None or not record.at_source)):
            raise BadRequest(f"The message {one.key!r} is no size in a format; only those are stored by a job.")
