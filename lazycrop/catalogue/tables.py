"""Tables: what the catalogue has of images, sizes and demand, as mapped classes with a MetaData of their own.

They may lie in an application's own database, beside its tables, and in its Alembic migrations.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from sqlalchemy import BigInteger, DateTime, Dialect, MetaData, String, Text, TypeDecorator
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

VERSION = 1
"""Of the tables; a release that changes them has the next one."""

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """A time in UTC; SQLite would forget that it is."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None or value.tzinfo is not None:
            return value and value.astimezone(UTC)
        return value.replace(tzinfo=UTC)


ImageId = String(200)
SizeText = String(60)
FormatText = String(8)


class Base(DeclarativeBase):
    metadata = metadata

    def __repr__(self) -> str:
        values = (f"{key.name}={getattr(self, key.key)!r}" for key in self.__table__.primary_key)
        return f"{type(self).__name__}({', '.join(values)})"


class Image(Base):
    """An image as it is now: its current version; or, with ``purged_at``, that there was one, and nothing else of it.

    ``bytes``: of the origin. ``source``: from where, in a word. ``colour``: the dominant one, ``rrggbb``.
    ``placeholder``: a data URI. ``focal_x``, ``focal_y``: where the subject is, in per cent.
    """

    __tablename__ = "lazycrop_image"

    id: Mapped[str] = mapped_column(ImageId, primary_key=True)
    version: Mapped[int]
    format: Mapped[str | None] = mapped_column(FormatText)
    width: Mapped[int | None]
    height: Mapped[int | None]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str | None] = mapped_column(String(64))
    source: Mapped[str | None] = mapped_column(Text)
    colour: Mapped[str | None] = mapped_column(String(6))
    placeholder: Mapped[str | None] = mapped_column(Text)
    focal_x: Mapped[int | None]
    focal_y: Mapped[int | None]
    private: Mapped[bool]
    stored_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    purged_at: Mapped[datetime | None] = mapped_column(Moment)


class Derivative(Base):
    """A size of a version of an image that is in the store.

    ``stored_at``: when; None where it was found there, which does not say since when.
    """

    __tablename__ = "lazycrop_derivative"

    image: Mapped[str] = mapped_column(ImageId, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    size: Mapped[str] = mapped_column(SizeText, primary_key=True)
    format: Mapped[str] = mapped_column(FormatText, primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    stored_at: Mapped[datetime | None] = mapped_column(Moment)


class Demand(Base):
    """How often a size was asked for on one day (of UTC), as far as lazycrop was asked rather than a cache before it.

    ``refused``: policy does not list it. Anybody may ask for such sizes, of images that there are not: ``image`` is
    empty then.
    """

    __tablename__ = "lazycrop_demand"

    image: Mapped[str] = mapped_column(ImageId, primary_key=True)
    size: Mapped[str] = mapped_column(SizeText, primary_key=True)
    format: Mapped[str] = mapped_column(FormatText, primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True, index=True)
    refused: Mapped[bool] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class Loose(Base):
    """An image that no row of a model may name: not yet, or not any more; see :mod:`lazycrop.catalogue.model`.

    ``columns``: where it could be named, as JSON: a list of [schema, table, column].
    """

    __tablename__ = "lazycrop_loose"

    image: Mapped[str] = mapped_column(ImageId, primary_key=True)
    columns: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime] = mapped_column(Moment)


class Schema(Base):
    """One row: the ``version`` of the tables, and whose the sync is that is under way, until when."""

    __tablename__ = "lazycrop_schema"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    version: Mapped[int]
    syncing: Mapped[str | None] = mapped_column(String(32))
    syncing_until: Mapped[datetime | None] = mapped_column(Moment)
