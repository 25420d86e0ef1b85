"""A store whose every call is bounded, and which is left alone for a while after it did not answer."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from functools import cached_property, partial
from itertools import islice
from typing import Any, BinaryIO, NoReturn, TypeVar

from lazycrop.concurrency import waits
from lazycrop.concurrency.guard import Guard
from lazycrop.errors import LazyCropError, MissingObject, StoreUnavailable
from lazycrop.model.derivatives import IMMUTABLE, PRIVATE
from lazycrop.stores.contract import (
    Copying,
    Deleting,
    Listed,
    Opened,
    Preparing,
    Presigning,
    Store,
    StoreSettings,
    Walking,
    unavailable,
)
from lazycrop.stores.walking import walk

logger = logging.getLogger(__name__)
T = TypeVar("T")

_WRITE_SECONDS = 60.0  # For one put in all: a large origin on a slow line takes its time.
_WALKED = 1000  # Objects that are told of at once: a page of S3.
_PIECE = 65536  # Bytes of an opened object that are read at once.
_BATCH = 1000  # Objects that are deleted at the same time: in one call of S3, or one by one.
_BATCHES = 8  # Such calls that are under way at once.


class Guarded:
    """A store around another one, whatever that one is; it raises nothing but errors of ours.

    ``threads``: on which calls are made; 0 makes them on the caller's, of a store that answers or fails at once. Reads
    and writes are guarded apart: a put that fails is no reason to let reads rest. To list is as patient as to write:
    only who stores or purges does it, and of a whole folder. An opened object is read on whatever the store does
    otherwise; it may be silent for as long as one that is read at once.
    """

    def __init__(self, store: Store, settings: StoreSettings, *, threads: int) -> None:
        self._store = store
        rest = settings.store_rest_seconds if threads else 0.0
        self._reads = Guard(
            f"the store {store!r}",
            logger,
            seconds=settings.store_seconds,
            threads=threads,
            rest_seconds=rest,
            patience=settings.store_read_seconds,
            is_ill=_timed_out,
            is_fault=_unavailable,
        )
        self._writes = Guard(
            f"the store {store!r}, written to,",
            logger,
            seconds=_WRITE_SECONDS,
            threads=threads,
            rest_seconds=0.0,
            is_ill=_unavailable,
        )
        self._streams = Guard(
            f"the store {store!r}, being read on,",
            logger,
            seconds=settings.store_read_seconds,
            threads=threads,
            rest_seconds=0.0,
            is_ill=_unavailable,
        )
        self._threads = threads
        self._prepare = store.prepare if isinstance(store, Preparing) else _nothing

    def __repr__(self) -> str:
        return repr(self._store)

    @property
    def is_named(self) -> bool:
        """Does its repr name its place, as the contract asks, or just an object of this process?"""
        return type(self._store).__repr__ is not object.__repr__

    @property
    def is_remote(self) -> bool:
        """Does a call take a round trip, so that it pays to have several under way?"""
        return self._threads > 0

    @property
    def unguarded(self) -> Store:
        return self._store

    @cached_property
    def public_url(self) -> str | None:
        return self._call(self._reads, lambda: self._store.public_url)

    def url(self, key: str) -> str | None:
        if self.public_url is None:
            return None
        try:
            return self._store.url(key)
        except Exception as error:
            _fail(error)

    def put(
        self,
        key: str,
        data: bytes,
        content_type: str,
        *,
        cache_control: str = IMMUTABLE,
        new: bool = False,
        private: bool = False,
    ) -> bool:
        return self.begin_put(key, data, content_type, cache_control=cache_control, new=new, private=private)()

    def begin_put(
        self,
        key: str,
        data: bytes,
        content_type: str,
        *,
        cache_control: str = IMMUTABLE,
        new: bool = False,
        private: bool = False,
    ) -> Callable[[], bool]:
        """:meth:`put` in two steps, as all that begins so: it is under way when this returns, where that takes a thread
        anyway. What is returned waits for its end, and raises.
        """
        options = {"private": True} if private else {}  # Stores that know no private images need not know the word.
        put = partial(self._store.put, key, data, content_type, cache_control=cache_control, new=new, **options)
        return self._begin(self._writes, put)

    def get(self, key: str, limit: int) -> bytes:
        return self._call(self._reads, partial(self._store.get, key, limit))

    def begin_get(self, key: str, limit: int) -> Callable[[], bytes]:
        return self._begin(self._reads, partial(self._store.get, key, limit))

    def open(self, key: str) -> Opened:
        """As the store's; its first piece is read by then, for a server cannot take back a status that was sent."""
        opened = self._call(self._reads, partial(self._store.open, key))
        if not self._threads:
            return opened
        file = io.BufferedReader(_Stream(opened.file, self._streams), _PIECE)
        try:
            file.peek()
        except LazyCropError:
            file.close()
            raise
        return Opened(file, opened.length)

    def exists(self, key: str) -> bool:
        return self._call(self._reads, partial(self._store.exists, key))

    def begin_exists(self, key: str) -> Callable[[], bool]:
        return self._begin(self._reads, partial(self._store.exists, key))

    def delete(self, key: str) -> None:
        self._call(self._writes, partial(self._store.delete, key))

    def begin_delete(self, key: str) -> Callable[[], None]:
        return self._begin(self._writes, partial(self._store.delete, key))

    def delete_many(self, keys: Iterable[str]) -> bool:
        """Remove objects, in as few calls as the store can, else several at once. One that is missing is fine."""
        self.begin_delete_many(keys)()
        return True

    def begin_delete_many(self, keys: Iterable[str]) -> Callable[[], None]:
        """The same in two steps; of many objects, the first ones are being removed when this returns."""
        left = [*keys]
        batches = [left[start : start + _BATCH] for start in range(0, len(left), _BATCH)]
        begun = [*map(self._begin_batch, batches[:_BATCHES])]

        def ended() -> None:
            for batch, are_gone in zip(batches, self.together(*begun), strict=False):
                if not are_gone:
                    self.together(*map(self.begin_delete, batch))
            if later := left[_BATCHES * _BATCH :]:
                self.delete_many(later)

        return ended

    def _begin_batch(self, keys: Sequence[str]) -> Callable[[], bool]:
        store = self._store
        if len(keys) > 1 and isinstance(store, Deleting):
            return self._begin(self._writes, partial(store.delete_many, keys))
        return lambda: False

    def discard(self, keys: Iterable[str]) -> None:
        """Have objects removed; nobody waits for it, or is told whether it went well."""
        batch = [*keys][:_BATCH]
        end = self._begin(self._writes, lambda: self._discard(batch))
        if not self._threads:
            end()

    def _discard(self, keys: Sequence[str]) -> None:
        with suppress(Exception):
            if not (isinstance(self._store, Deleting) and self._store.delete_many(keys)):
                for key in keys:
                    self._store.delete(key)

    def list(self, folder: str) -> Iterator[str]:
        return iter(self.begin_list(folder)())

    def begin_list(self, folder: str) -> Callable[[], Sequence[str]]:
        return self._begin(self._writes, lambda: [*self._store.list(folder)])

    def list_now(self, folder: str, most: int | None = None) -> Sequence[str]:
        """The same for somebody who waits for no longer than for an object; the first ``most`` of it."""
        return self._call(self._reads, lambda: [*islice(self._store.list(folder), most)])

    def together(self, *begun: Callable[[], T]) -> Sequence[T]:
        """What calls that are under way return, once all of them have ended; then the first error is raised."""
        results = []
        errors = []
        for end in begun:
            try:
                results.append(end())
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return results

    def walk(self, prefix: str, after: str = "", *, deep: bool = True) -> Iterator[Listed]:
        """All objects whose keys begin with ``prefix``, some at a time; as :class:`Walking` has it, of any store."""
        store = self._store
        if isinstance(store, Walking):
            objects = store.walk(prefix, after, deep=deep)
        else:
            objects = walk(store.list, self._measured, prefix, after, deep)
        while found := self._call(self._writes, lambda: [*islice(objects, _WALKED)]):
            yield from found

    def _measured(self, key: str) -> Listed | None:
        with suppress(MissingObject):
            opened = self._store.open(key)
            with closing(opened.file):
                return Listed(key, opened.length, None)
        return None

    def copy(self, source: str, key: str, content_type: str, *, private: bool = False) -> None:
        """Keep an object, of which all is to be read if need be, under another key, too."""
        store, options = self._store, {"private": True} if private else {}
        if isinstance(store, Copying):
            self._call(self._writes, partial(store.copy, source, key, content_type, **options))
        else:
            cache_control = PRIVATE if private else IMMUTABLE
            self.put(key, self.get(source, sys.maxsize), content_type, cache_control=cache_control, private=private)

    def presigned_url(self, key: str, seconds: int) -> str | None:
        """Where this object can be read for so many seconds; None where the store has no such URLs."""
        store = self._store
        if not isinstance(store, Presigning):
            return None
        return self._call(self._reads, partial(store.presigned_url, key, seconds))

    def close(self) -> None:
        for guard in (self._reads, self._writes, self._streams):
            guard.close()

    def _call(self, guard: Guard, do: Callable[[], T]) -> T:
        try:
            self._prepare()
            return guard.call(do)
        except Exception as error:
            _fail(error)

    def _begin(self, guard: Guard, do: Callable[[], T]) -> Callable[[], T]:
        """Raises nothing before its end: others may be under way, and are waited for."""
        try:
            self._prepare()
            result = guard.begin(do)
        except Exception as error:
            return partial(_fail, error)

        def ours() -> T:
            try:
                return result()
            except Exception as error:
                _fail(error)

        return ours


class _Stream(io.RawIOBase):
    """An object that is being read, each piece of it in bounded time."""

    def __init__(self, file: BinaryIO, guard: Guard) -> None:
        self._file = file
        self._guard = guard
        self._visit = waits.current()
        if self._visit is not None:
            self._visit.stay()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = len(buffer)
        try:
            with waits.resumed(self._visit):
                data = self._guard.call(lambda: self._file.read(size))
        except Exception as error:
            _fail(error)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            with suppress(Exception):  # Nobody waits for it: a read that hangs holds up the end of the file as well.
                self._guard.begin(self._file.close)
            if self._visit is not None:
                self._visit.leave()
        super().close()


def _nothing() -> None:
    pass


def _fail(error: Exception) -> NoReturn:
    """The reason, which may name hosts and paths, is for the log; the client is told the kind of failure only."""
    try:
        if isinstance(error, LazyCropError):
            raise error
        raise unavailable("call", "the store", error) from error
    finally:
        del error  # Its traceback has this frame: a cycle would be left to the collector for each missing object.


def _timed_out(error: BaseException) -> bool:
    """One closed connection is no reason to leave a server alone; only that it did not answer in time is."""
    return isinstance(error, TimeoutError) or isinstance(error.__cause__, TimeoutError)


def _unavailable(error: BaseException) -> bool:
    return isinstance(error, StoreUnavailable) or not isinstance(error, LazyCropError)
