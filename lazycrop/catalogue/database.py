"""Database: every call to the database of the catalogue, each bounded, and none for a while after it was down.
[SQLAlchemy]
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, insert, make_url, select, update
from sqlalchemy.exc import ArgumentError, IntegrityError, InterfaceError, NoSuchModuleError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from lazycrop.catalogue.tables import VERSION, Schema, metadata
from lazycrop.concurrency.forks import Lock, renew
from lazycrop.concurrency.guard import Guard
from lazycrop.errors import ConfigurationError

logger = logging.getLogger(__name__)
T = TypeVar("T")

Work = Callable[[Connection], T]
"""What is done within one transaction. It may be done again, from its beginning."""

_THREADS = 4  # and connections, of one process
_REST_SECONDS = 5.0
_TRIES = 5  # for one who puts the same row at the same time as others
_ONE = 1  # the only row of the schema

_ILL = (OperationalError, InterfaceError, PoolTimeout)


class Database:
    """The database at a URL. Connects to it when it is first needed; a forked child has connections of its own.

    Raises :class:`~lazycrop.errors.ConfigurationError` for a URL that cannot be one, or whose driver is missing.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self.url = _read_url(url)
        self._seconds = seconds
        self._lock = Lock()
        self._engine: Engine | None = None
        self._is_checked = False
        self._guard = Guard(
            f"the catalogue {self!r}",
            logger,
            seconds=seconds,
            threads=_THREADS,
            rest_seconds=_REST_SECONDS,
            is_ill=lambda error: isinstance(error, _ILL),
            is_fault=lambda error: not isinstance(error, ConfigurationError),
        )
        renew(self)

    def __repr__(self) -> str:
        return self.url.render_as_string(hide_password=True)

    def after_fork(self) -> None:
        engine = getattr(self, "_engine", None)
        if engine is not None:
            engine.dispose(close=False)  # Its connections are the parent's, which goes on with them.

    @property
    def engine(self) -> Engine:
        """For queries of one's own: ``Session(engine)``."""
        with self._lock:
            if self._engine is None:
                self._engine = create_engine(
                    self.url,
                    pool_pre_ping=True,  # A server that was started anew is no reason to fail.
                    pool_size=_THREADS,
                    connect_args=_arguments(self.url, self._seconds),
                    hide_parameters=True,  # What fails is logged, and sources and ids are nobody's business there.
                )
            return self._engine

    def create(self) -> None:
        """Make the tables that are not there. Raises ConfigurationError where a newer release has made them."""
        with self.engine.begin() as connection:
            metadata.create_all(connection)
            _check(connection)
            if connection.execute(select(Schema.id)).first() is None:
                connection.execute(insert(Schema).values(id=_ONE, version=VERSION))

    def write(self, do: Work[object]) -> None:
        """Do it in a transaction, whatever becomes of it: where the database fails, the log says so once. Blocks for
        ``seconds`` at most.
        """
        with suppress(Exception):  # Each driver has its own; the guard has told of it.
            self._guard.call(lambda: self.transact(do))

    def transact(self, do: Work[T]) -> T:
        """Do it in a transaction, on this thread. Raises whatever the database raises."""
        for tries_left in reversed(range(_TRIES)):
            try:
                with self.engine.begin() as connection:
                    self._check_once(connection)
                    return do(connection)
            except IntegrityError:
                if not tries_left:
                    raise
        raise AssertionError

    def ping(self) -> None:
        """Raise what the database raises when it does not answer, or has not the tables that are needed."""
        self._guard.call(lambda: self.transact(lambda connection: _check(connection)))

    def close(self) -> None:
        self._guard.close()
        with self._lock:
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.dispose()

    def take_turn(self, token: str, now: datetime, until: datetime) -> datetime | None:
        """Be the only one who syncs ``until`` then; else until when somebody else is."""

        def take(connection: Connection) -> datetime | None:
            of_it = (Schema.syncing.is_(None)) | (Schema.syncing == token) | (Schema.syncing_until < now)
            values: dict[str, Any] = {"syncing": token, "syncing_until": until}
            if connection.execute(update(Schema).where(of_it).values(values)).rowcount:
                return None
            taken = connection.execute(select(Schema.syncing_until)).first()
            if taken is None:  # Made by migrations of the application's.
                connection.execute(insert(Schema).values(id=_ONE, version=VERSION, **values))
                return None
            return taken[0] or now

        return self.transact(take)

    def end_turn(self, token: str) -> None:
        values: dict[str, Any] = {"syncing": None, "syncing_until": None}
        self.transact(
            lambda connection: connection.execute(update(Schema).where(Schema.syncing == token).values(values))
        )

    def _check_once(self, connection: Connection) -> None:
        if not self._is_checked:
            _check(connection)
            self._is_checked = True


def _check(connection: Connection) -> None:
    version = connection.execute(select(Schema.version)).scalar()
    if version is not None and version > VERSION:
        raise ConfigurationError(
            f"The catalogue has tables of a newer release: schema {version}, where this one knows {VERSION}. Install "
            "the release of lazycrop that the other processes have, or name another database in 'catalogue'."
        )


def _read_url(text: str) -> URL:
    try:
        url = make_url(text)
        dialect = url.get_dialect()
        dialect.import_dbapi()
    except (NoSuchModuleError, ImportError) as error:
        missing = f": {error}" if isinstance(error, ImportError) else ""
        raise ConfigurationError(
            f"'catalogue' is a URL of {url.drivername!r}, whose driver is not installed{missing}. For PostgreSQL: "
            "pip install lazycrop[catalogue] psycopg[binary], and postgresql+psycopg://…."
        ) from None
    except (ArgumentError, ValueError):
        raise ConfigurationError(
            "'catalogue' is no URL of a database; it is like sqlite:///lazycrop.db or postgresql+psycopg://user@host/name."
        ) from None
    if dialect.is_async:
        raise ConfigurationError(
            f"'catalogue' is a URL of {url.drivername!r}, which is for asyncio alone; name a driver that is not, such "
            "as postgresql+psycopg or sqlite. (The application itself may use another one.)"
        )
    if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
        raise ConfigurationError(
            "'catalogue' is a database in memory, which each thread would have one of; name a file: sqlite:///lazycrop.db."
        )
    return url


def _arguments(url: URL, seconds: float) -> dict[str, Any]:
    """What bounds a call, in the words of the two drivers that are known; the guard bounds it all the same."""
    if url.get_backend_name() == "sqlite":
        return {"timeout": 0.8 * seconds}
    if url.drivername == "postgresql+psycopg" and "connect_timeout" not in url.query:
        # Of libpq: how long what was sent may stay without an answer of the other machine.
        return {"connect_timeout": max(2, int(seconds)), "tcp_user_timeout": int(1000 * seconds)}
    return {}
