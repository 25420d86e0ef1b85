"""Wanted: what demand says of sizes: which are wanted most, which are refused, which nobody wants. [SQLAlchemy]"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Connection, func, select

from lazycrop.catalogue.tables import Demand

_SHARE = 0.01  # of all that is asked for: a size that is refused is worth to be listed from there on
_LEAST = 10  # and so often
_MOST = 100  # Sizes; who reads a list reads no more.


@dataclass(frozen=True, slots=True)
class Wanted:
    """How often a size was asked for, of how many images; ``refused``: it was not on the list."""

    size: str
    count: int
    images: int
    refused: bool


def by_size(connection: Connection, days: int) -> list[Wanted]:
    """The sizes that were asked for in so many days, the most wanted first; origins are none."""
    count = func.sum(Demand.count)
    query = (
        select(Demand.size, count, func.count(Demand.image.distinct()), Demand.refused)
        .where(Demand.day > _today() - timedelta(days=days), Demand.size != "origin")
        .group_by(Demand.size, Demand.refused)
        .order_by(count.desc(), Demand.size)
    )
    return [Wanted(size, int(count), images, refused) for size, count, images, refused in connection.execute(query)]


def proposed(wanted: Collection[Wanted], listed: Collection[str]) -> list[str]:
    """What to list: of the listed sizes those that are asked for, and of the others those that are worth it."""
    total = sum(one.count for one in wanted)
    least = max(_LEAST, _SHARE * total)
    found = {one.size: one for one in reversed(list(wanted)) if one.size in listed or one.count >= least}
    return sorted(found, key=lambda size: -found[size].count)[:_MOST]


def most_wanted(connection: Connection, days: int) -> list[tuple[str, str]]:
    """The sizes and formats that were most asked for in so many days."""
    query = (
        select(Demand.size, Demand.format)
        .where(Demand.refused.is_(False), Demand.day > _today() - timedelta(days=days), Demand.size != "origin")
        .group_by(Demand.size, Demand.format)
        .order_by(func.sum(Demand.count).desc(), Demand.size, Demand.format)
        .limit(_MOST)
    )
    return [(size, format) for size, format in connection.execute(query)]


def since(connection: Connection) -> date | None:
    """The first day on which was counted what is asked for; None where none was."""
    first: date | None = connection.execute(select(func.min(Demand.day))).scalar()
    return first


def asked(connection: Connection, image_id: str, days: int) -> set[tuple[str, str]]:
    """The sizes of an image, each with its format, that were asked for on one of the last ``days`` days."""
    is_of_it = (Demand.image == image_id, Demand.refused.is_(False), Demand.day >= _today() - timedelta(days=days))
    return {(size, format) for size, format in connection.execute(select(Demand.size, Demand.format).where(*is_of_it))}


def _today() -> date:
    return datetime.now(UTC).date()
