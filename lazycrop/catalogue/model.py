"""Model: pictures that belong to rows of an application's models, and to its transactions. [SQLAlchemy]

::

    class User(Base):
        avatar: Mapped[ImageRef | None]                # the image's id, a text

    pictures = Pictures(images, Base)                  # once
    user.avatar = pictures.store(session, upload)      # in a transaction

A picture that was stored in a transaction that does not end well is purged; one that was replaced, or whose row was
deleted, is purged once that is committed: by an actor, at least once, and only where no other row names it. So the
setting ``catalogue`` is the database that the models are in, and its tables are there:
:mod:`lazycrop.catalogue.loose` says why.

What goes through the session's unit of work is seen: rows that it inserts, updates and deletes, by cascades too. What
the database does by itself (``ON DELETE CASCADE`` with ``passive_deletes``) and statements in bulk are not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Protocol
from uuid import uuid4

from sqlalchemy import Connection, String, and_, event, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Mapper, Session, attributes, mapped_column, object_session, scoped_session
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE
from sqlalchemy.util import concurrency

from lazycrop.catalogue.catalogue import Catalogue, held
from lazycrop.catalogue.loose import Columns, loosen, take
from lazycrop.concurrency.faults import Fault
from lazycrop.errors import UnknownImage

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession, async_scoped_session

logger = logging.getLogger(__name__)

_MARK = "lazycrop"

ImageRef = Annotated[str, mapped_column(String(200), info={_MARK: True})]
"""The type of a column that names an image: ``avatar: Mapped[ImageRef]``, or ``Mapped[ImageRef | None]``."""

_LOOSE = "loose"  # the actor's name
_LOCKED_MS = 200


class _Jobs(Protocol):
    def hand_over(self, actor: str, message: dict[str, Any]) -> bool: ...


class Images(Protocol):
    """What is needed of a LazyCrop."""

    @property
    def jobs(self) -> Any: ...

    @property
    def catalogue(self) -> Catalogue: ...

    def store_origin(self, image_id: str, source: Any, **options: Any) -> Any: ...


@dataclass(slots=True)
class _Unfinished:
    """What a session has to do when its transaction has ended. ``ids``: images that may be loose. ``fresh``: those that
    it has stored, and whether their note was written; ``taken``: those that a row of it names. ``writes``: to the
    catalogue.
    """

    ids: set[str] = field(default_factory=set)
    fresh: dict[str, bool] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    writes: list[Callable[[], None]] = field(default_factory=list)


class Pictures:
    """The pictures of the models of ``base``, a declarative base, in the images of a LazyCrop.

    Raises :class:`~lazycrop.errors.ConfigurationError` where the setting ``catalogue`` names no database.
    """

    def __init__(self, images: Images, base: type[Any]) -> None:
        self._images = images
        self._database = images.catalogue.database
        self._base = base
        self._fault = Fault(logger)
        for name, call in (("insert", self._inserted), ("update", self._updated), ("delete", self._deleted)):
            event.listen(base, f"before_{name}", call, propagate=True)

    def store(self, session: Session | scoped_session[Any], source: Any, *, below: str = "", **options: Any) -> str:
        """Store a picture as a part of the session's transaction; return its new id, which a row is to name.

        ``source``, ``options``: as for :meth:`lazycrop.LazyCrop.store_origin`, which blocks and raises the same.
        ``below``: what the id begins with, such as ``users/42``.
        """
        return self._note(
            session() if isinstance(session, scoped_session) else session, *self._stored(source, below, options)
        )

    async def store_async(
        self, session: AsyncSession | async_scoped_session[Any], source: Any, *, below: str = "", **options: Any
    ) -> str:
        """:meth:`store` in a thread, for a session of asyncio."""
        from sqlalchemy.ext.asyncio import async_scoped_session

        stored = await asyncio.to_thread(self._stored, source, below, options)
        own = session() if isinstance(session, async_scoped_session) else session
        return self._note(own.sync_session, *stored)

    def _stored(self, source: Any, below: str, options: dict[str, Any]) -> tuple[str, bool, list[Callable[[], None]]]:
        """Its id, whether there is a note that it is loose, and what is to be written to the catalogue."""
        image_id = f"{below}/{uuid4().hex}" if below else uuid4().hex
        is_noted = self._write_note(image_id)
        try:
            with held() as writes:
                self._images.store_origin(image_id, source, **options)
        except BaseException:
            if is_noted:
                self._database.write(lambda connection: take(connection, image_id))
            raise
        return image_id, is_noted, writes

    def _write_note(self, image_id: str) -> bool:
        """Say in a transaction of its own that it is loose, so that this is so whatever becomes of this process.

        SQLite has one writer: a session that has written already has it locked. Then it is said when that has ended.
        """
        columns = self._columns()

        def note(connection: Connection) -> None:
            if self._database.url.get_backend_name() == "sqlite":
                connection.exec_driver_sql(f"PRAGMA busy_timeout = {_LOCKED_MS}")
            loosen(connection, image_id, columns)

        try:
            self._database.transact(note)
        except OperationalError as error:
            if self._database.url.get_backend_name() != "sqlite":
                raise
            logger.debug("%r is not noted before its transaction ends: %s", image_id, error)
            return False
        return True

    def _note(self, session: Session, image_id: str, is_noted: bool, writes: list[Callable[[], None]]) -> str:
        unfinished = self._unfinished(session)
        unfinished.ids.add(image_id)
        unfinished.fresh[image_id] = is_noted
        unfinished.writes += writes
        if not session.in_transaction():
            session.begin()  # of which the end is told
        return image_id

    def _unfinished(self, session: Session) -> _Unfinished:
        if self not in session.info.setdefault(_MARK, {}):
            session.info[_MARK][self] = _Unfinished()
            event.listen(session, "after_transaction_end", self._transaction_ended)
        unfinished: _Unfinished = session.info[_MARK][self]
        return unfinished

    def _transaction_ended(self, session: Session, transaction: Any) -> None:
        unfinished: _Unfinished = session.info[_MARK][self]
        if transaction.parent is not None or not (unfinished.ids or unfinished.writes):
            return
        session.info[_MARK][self] = _Unfinished()
        _aside(partial(self._finish, unfinished))

    def _finish(self, unfinished: _Unfinished) -> None:
        columns = self._columns()
        for image_id, is_noted in unfinished.fresh.items():
            if not is_noted:
                self._database.write(partial(loosen, image_id=image_id, columns=columns))
        for write in unfinished.writes:
            write()
        # Where no broker takes it, what is loose stays so, and is found by a later job.
        if not self._images.jobs.hand_over(_LOOSE, {"ids": sorted(unfinished.ids)}):
            self._fault.tell("no job looks after %s; a later one will", sorted(unfinished.ids))
        else:
            self._fault.over("jobs look after images of transactions again")

    def _inserted(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        for name, _ in _references(mapper):
            self._name(connection, target, attributes.instance_dict(target).get(name))

    def _updated(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        for name, column in _references(mapper):
            history = attributes.get_history(target, name, PASSIVE_NO_INITIALIZE)
            if not history.added:
                continue
            former = history.deleted[0] if history.deleted else _in_database(mapper, connection, target, column)
            if former != history.added[0]:
                self._unname(connection, target, former)
                self._name(connection, target, history.added[0])

    def _deleted(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        for _, column in _references(mapper):
            self._unname(connection, target, _in_database(mapper, connection, target, column))

    def _name(self, connection: Connection, target: object, image_id: str | None) -> None:
        """A row is going to name it."""
        session = object_session(target)
        if not image_id or session is None:
            return
        was_loose = take(connection, image_id)
        unfinished = self._unfinished(session)
        if unfinished.fresh.get(image_id) and image_id not in unfinished.taken and not was_loose:
            raise UnknownImage(
                f"The picture {image_id!r} was purged, because its transaction took hours; store it again."
            )
        unfinished.taken.add(image_id)

    def _unname(self, connection: Connection, target: object, image_id: str | None) -> None:
        session = object_session(target)
        if image_id and session is not None:
            loosen(connection, image_id, self._columns())
            self._unfinished(session).ids.add(image_id)

    def _columns(self) -> Columns:
        """Every column that may name an image."""
        found = {
            (table.schema, table.name, column.name)
            for mapper in self._base.registry.mappers
            for table in mapper.tables
            for column in table.columns
            if column.info.get(_MARK)
        }
        return sorted(found, key=str)


def _references(mapper: Mapper[Any]) -> Iterator[tuple[str, Any]]:
    """The attributes of a model that name an image, and their columns."""
    for attribute in mapper.column_attrs:
        if attribute.columns[0].info.get(_MARK):
            yield attribute.key, attribute.columns[0]


def _in_database(mapper: Mapper[Any], connection: Connection, target: object, column: Any) -> str | None:
    """What a row names that was not loaded, or was changed since."""
    key = mapper.primary_key_from_instance(target)
    identity = attributes.instance_state(target).key
    values = identity[1] if identity else key
    where = and_(*(one == value for one, value in zip(mapper.primary_key, values, strict=True)))
    found: str | None = connection.execute(select(column).select_from(mapper.selectable).where(where)).scalar()
    return found


def _aside(work: Callable[[], None]) -> None:
    """Do it; of a session of asyncio, in a thread that its task waits for."""
    if concurrency.in_greenlet():
        concurrency.await_only(asyncio.to_thread(work))
    else:
        work()
