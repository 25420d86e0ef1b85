"""The catalogue: what the store knows, written to a database after it was written to the store. [SQLAlchemy]

A listener of events. It writes what the store says *then*, not what the event said; so two who change one image at
once, and write in another order, leave what is right: of an image the higher version, and a size only where its version
is still there when the row is. A database that is down costs a line in the log; :meth:`Catalogue.sync` makes up for it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from lazycrop.catalogue import rows
from lazycrop.catalogue import wanted as wanted_of
from lazycrop.catalogue.database import Database
from lazycrop.catalogue.settings import CatalogueSettings
from lazycrop.catalogue.syncing import Store, Sync, Synced
from lazycrop.catalogue.wanted import Wanted
from lazycrop.concurrency import waits
from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.pool import Pool
from lazycrop.errors import BadRequest, LazyCropError, Unavailable
from lazycrop.events import Event, Events, Gone, Purged, Replaced, Stored
from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone
from lazycrop.model.sizes import Size

logger = logging.getLogger(__name__)

WhatIs = Callable[[str, int | None], Record | Tombstone | None]
"""What the store says that an image (or a version of it) is at this moment."""

_WANTED_DAYS = 30
_WANTED_SECONDS = 60.0  # for which one answer of the database does
_REFUSED_A_DAY = 10_000  # Sizes; anybody can ask for any number of them.

_held: ContextVar[list[Callable[[], None]] | None] = ContextVar("lazycrop_held", default=None)


@contextmanager
def held() -> Iterator[list[Callable[[], None]]]:
    """What the block would write is in this list instead, to be called when another transaction has ended: where that
    locks the tables (SQLite does, all of them), to wait for it within it would be to wait for ever.
    """
    later: list[Callable[[], None]] = []
    token = _held.set(later)
    try:
        yield later
    finally:
        _held.reset(token)


class Catalogue:
    """The catalogue of one store. ``what_is``: what that says; ``store``: what a sync needs of it."""

    def __init__(self, settings: CatalogueSettings, what_is: WhatIs, store: Store) -> None:
        assert settings.catalogue is not None
        self.database = Database(settings.catalogue, settings.catalogue_seconds)
        self._days = settings.demand_days
        self._what_is = what_is
        self._store = store
        self._fault = Fault(logger)
        self._pool = Pool("lazycrop-catalogue", 1)
        self._wanted: tuple[float, list[tuple[str, str]]] = (0.0, [])

    def listen(self, events: Events) -> None:
        """Write what happens from now on."""
        calls: dict[type[Event], Callable[[Any], None]] = {
            Stored: self._stored,
            Replaced: self._stored,
            Purged: self._changed,
            Gone: self._gone,
        }
        for kind, call in calls.items():
            events.listen(kind, partial(self._heard, call))

    @property
    def engine(self) -> Engine:
        """For queries of one's own: ``Session(images.catalogue.engine)``."""
        return self.database.engine

    def create(self) -> None:
        """Make the tables that are not there. Raises :class:`~lazycrop.errors.ConfigurationError`."""
        with _as_unavailable():
            self.database.create()

    def sync(self, tell: Callable[[Synced], object] = lambda done: None) -> Synced:
        """Make the catalogue what the store is; beside traffic, and from any state. Blocks for as long as that takes.

        ``tell``: called with what it has done so far. Raises :class:`~lazycrop.errors.Unavailable` where the store or
        the database does not answer, or another sync is under way; what was done until then stays.
        """
        with _as_unavailable():
            return Sync(self.database, self._store, tell).run()

    def add_demand(self, message: Any) -> None:
        """Add what a message says was asked for; what an actor does. One that is done again counts again."""
        day, asked, refused = _read_demand(message)
        self.database.transact(lambda connection: self._add(connection, day, asked, refused))

    def most_wanted(self, count: int) -> list[tuple[str, str]]:
        """The sizes and formats that were most asked for in the last 30 days."""
        read_at, wanted = self._wanted
        if time.monotonic() >= read_at + _WANTED_SECONDS or not read_at:
            wanted = self.database.transact(partial(wanted_of.most_wanted, days=_WANTED_DAYS))
            self._wanted = (time.monotonic(), wanted)
        return wanted[:count]

    def wanted(self, days: int) -> list[Wanted]:
        """How often each size was asked for in so many days, the most wanted first. Raises Unavailable."""
        with _as_unavailable():
            return self.database.transact(partial(wanted_of.by_size, days=days))

    def proposed(self, found: Collection[Wanted], listed: Collection[str]) -> list[str]:
        """Of what was found, what is worth to be listed. ``listed``: what is today."""
        return wanted_of.proposed(found, listed)

    def since(self) -> date | None:
        """The first day on which was counted what is asked for; None where none was. Raises Unavailable."""
        with _as_unavailable():
            return self.database.transact(wanted_of.since)

    def asked(self, image_id: str, days: int) -> set[tuple[str, str]]:
        """The sizes of an image, each with its format, that were asked for in so many days. Raises Unavailable."""
        with _as_unavailable():
            return self.database.transact(partial(wanted_of.asked, image_id=image_id, days=days))

    def close(self) -> None:
        self._pool.close()
        self.database.close()

    def _heard(self, call: Callable[[Any], None], event: Event) -> None:
        """Call it now; or, of a request that is to be answered (a queue may work in it), aside, one after the other."""
        later = _held.get()
        if later is not None:
            later.append(partial(call, event))
        elif waits.current() is None:
            call(event)
        else:
            self._pool.submit(partial(Context().run, call, event))

    def _stored(self, event: Stored) -> None:
        key = Key.parse(event.key or "")
        if key is None or key.kind != "size":
            self._changed(event)
            return
        stored_at = datetime.now(UTC)
        self.database.write(lambda connection: rows.put_size(connection, key, event.length, stored_at))
        with self._told():
            # A purge deletes the record first, and the row last: whoever sees the record now has his row deleted.
            if not isinstance(self._what_is(key.image_id, key.version), Record):
                self.database.write(lambda connection: rows.drop_size(connection, key))

    def _changed(self, event: Event) -> None:
        image_id = event.image_id
        with self._told():
            what_is = self._what_is(image_id, None)
            if what_is is not None:
                self.database.write(lambda connection: rows.put_image(connection, what_is))
                return
            self.database.write(lambda connection: rows.drop_image(connection, image_id))
            stored_since = self._what_is(image_id, None)
            if stored_since is not None:
                self.database.write(lambda connection: rows.put_image(connection, stored_since))

    def _gone(self, event: Gone) -> None:
        key, version = Key.parse(event.key or ""), event.version
        if key is not None:
            self.database.write(lambda connection: rows.drop_size(connection, key))
        elif version is not None:
            self.database.write(lambda connection: rows.drop_version(connection, event.image_id, version))

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except LazyCropError as error:
            self._fault.tell("the catalogue is not what the store is, which could not be read: %r", error)
        else:
            self._fault.over("the store can be read again; a sync makes the catalogue what it is")

    def _add(self, connection: Any, day: date, asked: list[Any], refused: list[Any]) -> None:
        new = []
        # In one order, so that two who add the same ones do not wait for each other for ever.
        for image_id, size, format, count in sorted(asked):
            row = {"image": image_id, "size": size, "format": format, "day": day, "refused": False}
            if not rows.add_demand(connection, row, count):
                new.append({**row, "count": count})
        room = _REFUSED_A_DAY - rows.count_refused(connection, day)
        for size, format, count in sorted(refused):
            row = {"image": "", "size": size, "format": format, "day": day, "refused": True}
            if not rows.add_demand(connection, row, count) and room > 0:
                new.append({**row, "count": count})
                room -= 1
        rows.put_demand(connection, new)
        rows.trim_demand(connection, day - timedelta(days=self._days))


def _read_demand(message: Any) -> tuple[date, list[Any], list[Any]]:
    """Junk raises BadRequest: others may write to the queue."""
    try:
        asked = [
            (Derivative(image_id, _size(size), format).image_id, size, format, _count(count))
            for image_id, size, format, count in message["asked"]
        ]
        refused = [
            (str(_size(size) or "origin"), _format(format), _count(count)) for size, format, count in message["refused"]
        ]
        return date.fromisoformat(message["day"]), asked, refused
    except (TypeError, ValueError, KeyError) as error:
        raise BadRequest(f"The message {str(message)[:200]!r} says nothing of what was asked for.") from error


def _size(text: str) -> Size | None:
    return None if text == "origin" else Size.parse(text)


def _format(text: str) -> str:
    if text not in CONTENT_TYPES:
        raise ValueError(text)
    return text


def _count(number: int) -> int:
    if type(number) is not int or not 0 < number < 1 << 53:
        raise ValueError(number)
    return number


@contextmanager
def _as_unavailable() -> Iterator[None]:
    """What a person is told of a database that fails; the reason, which names hosts, is its cause."""
    try:
        yield
    except SQLAlchemyError as error:
        raise Unavailable(
            "The catalogue's database does not answer, or has not its tables: see that it runs, that 'catalogue' is "
            "right, and run 'lazycrop catalogue create'."
        ) from (error.__cause__ or error)
