"""Syncing: the catalogue is made what the store is, from whatever it was, beside traffic. [SQLAlchemy]

What is right already is only read. What is not is changed, and then the store is looked at again: somebody may have
changed it meanwhile, and have written that to the catalogue before this did. So it ends with what the store says.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, Protocol

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from lazycrop.catalogue import rows
from lazycrop.catalogue.database import Database
from lazycrop.catalogue.tables import Derivative, Image
from lazycrop.errors import Unavailable
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone

_BATCH = 100  # Images whose rows are read at once.
_TURN = timedelta(minutes=2)  # after which one who was killed holds up nobody any more
_LOOKS = 10  # More than there are changes of one image while it is looked at.

SizeRows = dict[tuple[str, str, int], int]
"""The bytes of the sizes of one image, by size, format and version."""

Wanted = tuple[dict[str, Any] | None, SizeRows]
"""What there is, or should be, of one image: the row, and its sizes."""


class Store(Protocol):
    """What a sync needs of the store."""

    def ids(self) -> Iterator[str]:
        """Of all images that there are or were."""

    def look(self, image_id: str) -> tuple[Record | Tombstone | None, dict[Key, int]]:
        """What it is, and its sizes with their bytes; None where nothing that can be read is said."""


@dataclass(slots=True)
class Synced:
    """What a sync has done so far. ``images``: looked at; ``changed``: those whose rows were not what they should be;
    ``removed``: those that the store has not; ``unreadable``: those whose record cannot be read, and which were left.
    """

    images: int = 0
    sizes: int = 0
    changed: int = 0
    removed: int = 0
    unreadable: list[str] = field(default_factory=list)


class SyncUnderWay(Unavailable):
    """Somebody else syncs this catalogue."""

    code = "sync-under-way"


class Sync:
    """One sync of a catalogue with a store. ``tell``: called now and then with what it has done."""

    def __init__(self, database: Database, store: Store, tell: Callable[[Synced], object]) -> None:
        self._database = database
        self._store = store
        self._tell = tell
        self._token = secrets.token_hex(8)
        self._seen: set[str] = set()
        self.done = Synced()

    def run(self) -> Synced:
        """Raises :class:`SyncUnderWay`, StoreUnavailable, and whatever the database raises."""
        self._take_turn()
        try:
            ids = self._store.ids()
            while batch := list(islice(ids, _BATCH)):
                self._seen.update(batch)
                self._settle(batch)
            for batch in self._unseen():
                self._settle(batch)
        finally:
            with suppress(SQLAlchemyError):  # What is not given back ends by itself.
                self._database.end_turn(self._token)
        return self.done

    def _take_turn(self) -> None:
        now = datetime.now(UTC)
        taken = self._database.take_turn(self._token, now, now + _TURN)
        if taken is not None:
            raise SyncUnderWay(
                "Another sync of this catalogue is under way; run it again when that has ended. (One that was killed "
                f"is not waited for after {taken:%H:%M:%S} UTC.)"
            )

    def _settle(self, batch: list[str]) -> None:
        """Make the rows of some images what the store says of them; of what was changed, look again."""
        self._take_turn()
        wrong = self._wrong(batch, self._count)
        self.done.changed += sum(row is not None for row, _ in wrong.values())
        self.done.removed += sum(row is None for row, _ in wrong.values())
        for _ in range(_LOOKS):
            if not wrong:
                break
            self._database.transact(partial(_change, wanted=wrong))
            wrong = self._wrong(list(wrong))
        self._tell(self.done)

    def _wrong(self, ids: list[str], found: Callable[[Wanted], None] = lambda wanted: None) -> dict[str, Wanted]:
        """What those images should have in the catalogue that have something else. ``found``: told of each."""
        there = self._database.transact(partial(_rows, ids=ids))
        wrong = {}
        for image_id in ids:
            what_is, sizes = self._store.look(image_id)
            if what_is is None and image_id in self._seen:
                self.done.unreadable.append(image_id)
                continue
            wanted = (rows.of_image(what_is) if what_is else None, {_name(key): sizes[key] for key in sizes})
            found(wanted)
            if there.get(image_id, (None, {})) != wanted:
                wrong[image_id] = wanted
        return wrong

    def _count(self, wanted: Wanted) -> None:
        row, sizes = wanted
        self.done.images += row is not None and row["purged_at"] is None
        self.done.sizes += len(sizes)

    def _unseen(self) -> Iterator[list[str]]:
        """The ids of rows of images that the store has not, as far as was seen."""
        for of_what in (Image.id, Derivative.image):
            last = ""
            while page := self._database.transact(partial(_page, column=of_what, after=last)):
                last = page[-1]
                if unseen := [image_id for image_id in page if image_id not in self._seen]:
                    yield unseen


def _name(key: Key) -> tuple[str, str, int]:
    row = rows.size_of(key)
    return row["size"], row["format"], key.version


def _rows(connection: Connection, ids: list[str]) -> dict[str, Wanted]:
    """What the catalogue has of each of these images."""
    images = connection.execute(select(Image.__table__).where(Image.id.in_(ids))).mappings()
    found: dict[str, Wanted] = {row["id"]: (dict(row), {}) for row in images}
    for size in connection.execute(select(Derivative.__table__).where(Derivative.image.in_(ids))).mappings():
        _, sizes = found.setdefault(size["image"], (None, {}))
        sizes[size["size"], size["format"], size["version"]] = size["bytes"]
    return found


def _page(connection: Connection, column: Any, after: str) -> list[str]:
    query = select(column).distinct().where(column > after).order_by(column).limit(1000)
    return list(connection.execute(query).scalars())


def _change(connection: Connection, wanted: dict[str, Wanted]) -> None:
    """Make it so, whatever it was. In one order, as all others, so that nobody waits for each other for ever.

    What is new is put at once: to make a statement for each takes 20 ms an image.
    """
    there = _rows(connection, list(wanted))
    images: list[dict[str, Any]] = []
    sizes: list[dict[str, Any]] = []
    for image_id, (row, its_sizes) in sorted(wanted.items()):
        former, former_sizes = there.get(image_id, (None, {}))
        if former is None and row is not None:
            images.append(row)
        elif former != row:
            _change_image(connection, image_id, row)
        sizes += _change_sizes(connection, image_id, its_sizes, former_sizes)
    if images:
        connection.execute(insert(Image), images)
    if sizes:
        connection.execute(insert(Derivative), sizes)


def _change_image(connection: Connection, image_id: str, row: dict[str, Any] | None) -> None:
    of_it = Image.id == image_id
    connection.execute(delete(Image).where(of_it) if row is None else update(Image).where(of_it).values(row))


def _change_sizes(connection: Connection, image_id: str, sizes: SizeRows, there: SizeRows) -> Iterator[dict[str, Any]]:
    """The rows that are to be put. Sizes that are right keep the time when they were stored."""
    for name in sorted(there.keys() - sizes.keys()):
        rows.drop_size(connection, _key(image_id, name))
    for name in sorted(there.keys() & sizes.keys()):
        if there[name] != sizes[name]:
            rows.set_bytes(connection, _key(image_id, name), sizes[name])
    for name in sorted(sizes.keys() - there.keys()):
        yield {**rows.size_of(_key(image_id, name)), "bytes": sizes[name], "stored_at": None}


def _key(image_id: str, name: tuple[str, str, int]) -> Key:
    size, format, version = name
    return Key(image_id, version, "size", f"{size}.{format}")
