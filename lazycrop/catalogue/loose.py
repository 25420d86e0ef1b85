"""Loose: images that no row of a model may name, and which are purged once it is certain that none does. [SQLAlchemy]

An image is loose from before it is stored until the transaction that names it is committed, and from the commit on that
does not name it any more; so a row of the table is put, and taken away, by the very transaction that makes it so.
Whoever looks at one takes its row away, which waits for every other transaction that does, and asks the columns that
could name the image before he purges it. Killed in between, nothing of that has happened, and it is done again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, String, column, delete, insert, select, table

from lazycrop.catalogue.catalogue import held
from lazycrop.catalogue.database import Database
from lazycrop.catalogue.tables import Loose
from lazycrop.errors import BadRequest

logger = logging.getLogger(__name__)

Columns = list[tuple[str | None, str, str]]
"""Where images may be named: schema, table, column."""

_FORGOTTEN = timedelta(hours=1)  # after which nobody is at work any more who has stored an image


def loosen(connection: Connection, image_id: str, columns: Columns) -> None:
    """Say that no row may name it from now on."""
    row = {"columns": json.dumps(columns), "since": datetime.now(UTC)}
    if connection.execute(select(Loose.image).where(Loose.image == image_id)).first() is None:
        connection.execute(insert(Loose).values(image=image_id, **row))


def take(connection: Connection, image_id: str) -> bool:
    """Say that a row names it; False where it was not loose. Blocks for whoever takes it, too, until he is done."""
    return bool(connection.execute(delete(Loose).where(Loose.image == image_id)).rowcount)


class Loosening:
    """Purges what is loose. ``purge``: all of an image."""

    def __init__(self, database: Database, purge: Callable[[str], object]) -> None:
        self._database = database
        self._purge = purge

    def purge_loose(self, message: Any) -> None:
        """Purge those images that a message names, and those that were forgotten, unless a row names them; what an
        actor does.
        """
        match message:
            case {"ids": [*ids]} if all(isinstance(image_id, str) for image_id in ids):
                for image_id in [*ids, *self._database.transact(_forgotten)]:
                    self._settle(image_id)
            case _:
                raise BadRequest(f"The message {str(message)[:200]!r} names no images.")

    def _settle(self, image_id: str) -> None:
        def settle(connection: Connection) -> None:
            columns = connection.execute(select(Loose.columns).where(Loose.image == image_id)).scalar()
            if columns is not None and take(connection, image_id) and not _is_named(connection, image_id, columns):
                self._purge(image_id)
                logger.info("purged %r, which no row names", image_id, extra={"event": "loose", "image_id": image_id})

        with held() as later:
            self._database.transact(settle)
        for write in later:
            write()


def _is_named(connection: Connection, image_id: str, columns: str) -> bool:
    def names(schema: str | None, of: str, name: str) -> bool:
        named = table(of, column(name, String), schema=schema)
        return connection.execute(select(named).where(named.c[name] == image_id).limit(1)).first() is not None

    return any(names(*place) for place in json.loads(columns))


def _forgotten(connection: Connection) -> Iterable[str]:
    before = datetime.now(UTC) - _FORGOTTEN
    return list(connection.execute(select(Loose.image).where(Loose.since < before).limit(100)).scalars())
