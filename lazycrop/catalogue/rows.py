"""Rows: what a record, a stored size and what was asked for are in the tables, and how they get there. [SQLAlchemy]

All in the SQL that every database has: what is there is changed, and only what is not is put. Two who put the same row
at once are told so by the database, and the second one does it again.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, true, update

from lazycrop.catalogue.tables import Demand, Derivative, Image
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone

_UNKNOWN = dict.fromkeys(column.key for column in Image.__table__.columns)


def of_image(what_is: Record | Tombstone) -> dict[str, Any]:
    """The row of an image, by the names of its columns."""
    row: dict[str, Any] = {**_UNKNOWN, "id": what_is.image_id, "version": what_is.version, "private": what_is.private}
    if isinstance(what_is, Tombstone):
        return {**row, "purged_at": _moment(what_is.purged_at)}
    focal_x, focal_y = what_is.focal or (None, None)
    return {
        **row,
        "format": what_is.format,
        "width": what_is.width,
        "height": what_is.height,
        "bytes": what_is.length,
        "sha256": what_is.sha256,
        "source": what_is.source,
        "colour": what_is.colour,
        "placeholder": what_is.placeholder,
        "focal_x": focal_x,
        "focal_y": focal_y,
        "stored_at": _moment(what_is.stored_at),
    }


def _moment(text: str) -> datetime | None:
    """A time in ISO 8601; of a tombstone somebody else may have written it."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def size_of(key: Key) -> dict[str, Any]:
    """The row of a stored size, without its bytes."""
    size, _, format = key.name.rpartition(".")
    return {"image": key.image_id, "version": key.version, "size": size, "format": format}


def put_image(connection: Connection, what_is: Record | Tombstone) -> None:
    """Say what an image is, unless the row says something later: of two the higher version is, of equal ones the
    tombstone, as in the store; so whoever comes too late changes nothing.
    """
    row = of_image(what_is)
    version, is_purged = row["version"], row["purged_at"] is not None
    same = and_(Image.version == version, true() if is_purged else Image.purged_at.is_(None))
    of_it = Image.id == row["id"]
    if connection.execute(update(Image).where(of_it, or_(Image.version < version, same)).values(row)).rowcount:
        return
    if connection.execute(select(Image.id).where(of_it)).first() is None:
        connection.execute(insert(Image).values(row))


def put_size(connection: Connection, key: Key, length: int, stored_at: datetime | None) -> None:
    row = size_of(key)
    of_it = _is(row)
    if not connection.execute(update(Derivative).where(of_it).values(bytes=length, stored_at=stored_at)).rowcount:
        connection.execute(insert(Derivative).values(**row, bytes=length, stored_at=stored_at))


def set_bytes(connection: Connection, key: Key, length: int) -> None:
    connection.execute(update(Derivative).where(_is(size_of(key))).values(bytes=length))


def drop_size(connection: Connection, key: Key) -> None:
    connection.execute(delete(Derivative).where(_is(size_of(key))))


def drop_version(connection: Connection, image_id: str, version: int) -> None:
    connection.execute(delete(Derivative).where(Derivative.image == image_id, Derivative.version == version))


def drop_image(connection: Connection, image_id: str) -> None:
    connection.execute(delete(Derivative).where(Derivative.image == image_id))
    connection.execute(delete(Image).where(Image.id == image_id))


def add_demand(connection: Connection, row: dict[str, Any], count: int) -> bool:
    """Add to what is counted of a size on a day; False where nothing is."""
    of_it = and_(*(getattr(Demand, name) == value for name, value in row.items()))
    return bool(connection.execute(update(Demand).where(of_it).values(count=Demand.count + count)).rowcount)


def put_demand(connection: Connection, rows: list[dict[str, Any]]) -> None:
    if rows:
        connection.execute(insert(Demand), rows)


def count_refused(connection: Connection, day: date) -> int:
    """How many sizes of a day policy does not list."""
    query = select(func.count()).select_from(Demand).where(Demand.day == day, Demand.refused.is_(True))
    return connection.execute(query).scalar_one()


def trim_demand(connection: Connection, before: date) -> None:
    connection.execute(delete(Demand).where(Demand.day < before))


def _is(row: dict[str, Any]) -> Any:
    return and_(*(getattr(Derivative, name) == value for name, value in row.items()))
