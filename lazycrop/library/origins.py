"""Origins: the bytes of an origin, what a size is made from, and its URL, wherever it lies."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import BrokenImage, MissingObject, OriginChanged
from lazycrop.model import keys, urls
from lazycrop.model.derivatives import CONTENT_TYPES, PRIVATE
from lazycrop.model.records import Record, now
from lazycrop.model.sizes import Size
from lazycrop.pictures.ingest import outline
from lazycrop.pictures.render import best_source
from lazycrop.pictures.settings import Stage
from lazycrop.settings import Config
from lazycrop.sources.contract import Seen
from lazycrop.sources.places import Place, Sources
from lazycrop.stores.guarded import Guarded

_COPIES, _LARGEST_COPY, _COPY_SECONDS = 4, 8_000_000, 10.0  # of what jobs have read: how many, bytes of each
_COPY_WAIT = 60.0  # Seconds for another job's read.
_HEAD = 65_536  # Bytes, in which the header of nearly every file is.


class Origins:
    """The origins of the images of a store, in it or at their sources.

    ``private``: whether an image is that is adopted.
    """

    def __init__(self, store: Guarded, sources: Sources, config: Config) -> None:
        self._store = store
        self._sources = sources
        self._limits = config.limits
        self._prefix = config.prefix
        self._limit = config.download.download_bytes
        self._copies: dict[str, tuple[bytes, float]] = {}
        self._flights: SingleFlight[bytes] = SingleFlight()
        self.private = config.policy.private

    def place(self, image_id: str) -> Place | None:
        """Where the file of this image would be, if a source has it."""
        return self._sources.place(image_id)

    def discover(self, image_id: str, version: int, private: bool | None = None) -> Record | None:
        """What the header of a source's file says of it; None where no source has one. Blocks for the source.

        Raises :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.SourceUnavailable`.
        """
        place = self.place(image_id)
        seen = place.look(_HEAD) if place else None
        if place is None or seen is None:
            return None
        try:
            format, size = outline(seen.data, self._limits)
        except BrokenImage:  # cut in its header, or of a kind whose reader wants all of it
            seen = place.read(self._limit)
            if seen is None:
                return None
            format, size = outline(seen.data, self._limits)
        return Record(
            image_id=image_id,
            version=version,
            format=format,
            width=size[0],
            height=size[1],
            length=seen.length or len(seen.data),
            sha256="",
            stored_at=now(),
            source=place.described,
            private=self.private if private is None else private,
            validator=seen.validator,
            at_source=True,
        )

    def read(self, record: Record) -> bytes:
        """The bytes of the origin, or of the source's file that it would be made from. Blocks.

        Raises :class:`~lazycrop.errors.OriginChanged` when they are gone or others, StoreUnavailable and
        SourceUnavailable.
        """
        if record.at_source:
            return self._read_source(record).data
        try:
            return self._store.get(record.origin_key, limit=2 * record.length)
        except MissingObject:
            raise OriginChanged(record) from None

    def _read_source(self, record: Record) -> Seen:
        place = self.place(record.image_id)
        seen = place.read(self._limit) if place else None
        if seen is None or seen.validator != record.validator:
            raise OriginChanged(record)
        return seen

    def begin_reading(self, record: Record, size: Size | None, stage: Stage = Stage.FIRST) -> Callable[[], bytes]:
        """What ``size`` is made from: the smallest copy that is large enough, else the origin.

        Where a read takes a round trip it is under way when this returns; the result waits for its end, and raises as
        :meth:`read` does.
        """
        mezzanine = best_source(record, size, stage) if size else None
        if mezzanine is not None:
            read = self._store.begin_get(record.mezzanine_key(mezzanine), limit=2 * mezzanine.length)
        elif record.at_source:
            return lambda: self.read(record)
        else:
            read = self._store.begin_get(record.origin_key, limit=2 * record.length)

        def result() -> bytes:
            try:
                return read()
            except MissingObject:  # Somebody deleted a copy; the origin has all that it had.
                return self.read(record)

        return result

    def read_for_job(self, record: Record, size: Size | None, stage: Stage) -> bytes:
        """What ``size`` is made from; of the jobs that have several sizes of one image made, one reads it. Blocks."""
        name = f"{record.tag} {source_name(record, size, stage)}"
        now = time.monotonic()
        for old in [old for old, (_, until) in [*self._copies.items()] if now >= until]:
            self._copies.pop(old, None)
        if (copy := self._copies.get(name)) is not None:
            return copy[0]
        data, _ = self._flights.run(name, lambda: self.begin_reading(record, size, stage)(), _COPY_WAIT)
        if len(data) <= _LARGEST_COPY and len(self._copies) < _COPIES:
            self._copies[name] = (data, now + _COPY_SECONDS)
        return data

    def url(self, record: Record) -> str:
        """Where the origin can be fetched: absolute where the store has a URL, else the path of the application's."""
        url = None if record.private or record.at_source else self._store.url(record.origin_key)
        key = keys.origin(record.image_id, record.version, record.format)
        return url or f"{self._prefix}/{urls.quoted(key)}"

    def exists(self, image_id: str, version: int, private: bool) -> bool:
        """Is there an origin of this version, whatever the records say? Blocks for the store."""
        place = keys.folder(image_id, version, private)
        return any(key.startswith(f"{place}origin.") for key in self._store.list(place))


def source_name(record: Record, size: Size | None, stage: Stage) -> str:
    """Which copy ``size`` is made from: alike for all that are made from the same one."""
    mezzanine = best_source(record, size, stage) if size else None
    return str(mezzanine.edge) if mezzanine else "origin"


def put(store: Guarded, record: Record, key: str, data: bytes, content_type: str, *, new: bool = False) -> bool:
    """Put an object of an image: that of a private one so that nobody else can read it."""
    return begin_put(store, record, key, data, content_type, new=new)()


def begin_put(
    store: Guarded, record: Record, key: str, data: bytes, content_type: str, *, new: bool = False
) -> Callable[[], bool]:
    """The same in two steps: it is being put when this returns."""
    if record.private:
        return store.begin_put(key, data, content_type, cache_control=PRIVATE, new=new, private=True)
    return store.begin_put(key, data, content_type, new=new)


def copy(store: Guarded, former: Record, record: Record) -> None:
    """Put the origin and the mezzanines of ``former`` where those of ``record`` are, without reading them if need be.

    Raises :class:`~lazycrop.errors.OriginChanged` where the origin is gone. Without a mezzanine sizes are made of it.
    """
    for mezzanine in record.mezzanines:
        with suppress(MissingObject):
            _copy(store, record, former.mezzanine_key(mezzanine), record.mezzanine_key(mezzanine), mezzanine.format)
    try:
        _copy(store, record, former.origin_key, record.origin_key, record.format)
    except MissingObject:
        raise OriginChanged(former) from None


def _copy(store: Guarded, record: Record, source: str, key: str, format: str) -> None:
    content_type = "text/plain; charset=utf-8" if key.endswith(f".{keys.AT_SOURCE}") else CONTENT_TYPES[format]
    store.copy(source, key, content_type, private=record.private)
