"""Library: what images there are. Their records, and how they come and go."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Literal

from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.memory import Memory
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import BadRequest, FetchError, ImageTooLarge, MissingObject, StoreUnavailable, UnknownImage
from lazycrop.library.state import Known, State
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES, RECORD, Derivative, check_image_id, folder
from lazycrop.model.records import BadRecord, Record, record_key
from lazycrop.model.sizes import Size
from lazycrop.pictures.ingest import Prepared, lacks_mezzanines, mezzanines, prepare
from lazycrop.settings import Config
from lazycrop.sources.download import describe, fetch
from lazycrop.stores.contract import Store

logger = logging.getLogger(__name__)

Source = str | os.PathLike[str] | bytes | BinaryIO
Focal = tuple[int, int] | Literal["auto"] | None

_CLAIM = "-claim"  # No name of an image, a size or a version; it is there while a version is written.
_RECORD_LIMIT = 100_000  # Bytes; a record with its placeholder takes under 2,000.
_RECORD_WAIT = 10.0  # Seconds for another thread's look at the store.
_SEEN_LIMIT = 100_000  # Image ids.
_MEMO_LIMIT = 10_000  # Records.
_MEMO_SECONDS = 5.0


class Library:
    """The images of one store."""

    def __init__(self, store: Store, cache: State, config: Config) -> None:
        self._store = store
        self._cache = cache
        self._config = config
        self._flights: SingleFlight[Record] = SingleFlight()
        self.memory = Memory(config.pixel_memory)
        # Where the current version and kind of an image were last seen: a guess that saves a look at the cache.
        self._seen: dict[str, tuple[int, str]] = {}
        # A page asks for one record several times, and the next page for the same ones.
        self._memo: dict[tuple[str, int | None], tuple[Record, float]] = {}

    def look(self, asked: Derivative) -> tuple[Derivative, Record, Known]:
        """The derivative with its version and format, its record, and what the cache knows of it.

        One look at the cache, a second one where version or format were not those last seen; the store is asked for the
        record where the cache has none that is fresh. Raises :class:`~lazycrop.errors.UnknownImage`,
        :class:`~lazycrop.errors.StoreUnavailable`.
        """
        current = asked.version is None
        guess = _resolve(asked, *self._seen.get(asked.image_id, (1, "jpg")))
        known = self._cache.look(guess, current)
        if known.fresh:
            record = known.record
        else:
            record, _ = self._flights.run(
                f"{asked.image_id} {asked.version}", lambda: self._refresh(asked, known.record), left(_RECORD_WAIT)
            )
            known = replace(known, until=time.time() + self._config.record_seconds)
        if record is None:
            raise _unknown(asked)
        derivative = _resolve(asked, record.version, record.format)
        if derivative != guess:
            if len(self._seen) > _SEEN_LIMIT:
                self._seen.clear()
            self._seen[asked.image_id] = (record.version, record.format)
            known = self._cache.look(derivative, current)
        return derivative, record, replace(known, record=record)

    def record(self, image_id: str, version: int | None = None) -> Record:
        """What is known of an image, or was a moment ago. Raises :class:`~lazycrop.errors.UnknownImage`."""
        memo, until = self._memo.get((image_id, version), (None, 0.0))
        if memo is not None and time.monotonic() < until:
            return memo
        _, record, _ = self.look(Derivative(image_id, None, AUTO, version))
        if len(self._memo) >= _MEMO_LIMIT:
            self._memo.clear()
        record = self._with_url(record)
        self._memo[image_id, version] = (record, time.monotonic() + _MEMO_SECONDS)
        return record

    def read(self, image_id: str, version: int | None = None) -> Record | None:
        """The record as the store has it at this moment; None where there is none (of this version)."""
        try:
            record = _parsed(self._store.get(record_key(image_id, version), _RECORD_LIMIT))
        except MissingObject:
            return None
        # The first version's record is overwritten by that of the second: both are the image's current one.
        return record if version in (None, record.version) else None

    def _refresh(self, asked: Derivative, known: Record | None) -> Record:
        current = asked.version is None
        try:
            record = self.read(asked.image_id, asked.version)
        except StoreUnavailable:
            if known is None:
                raise
            record = known  # An old record is better than none: what is stored can still be redirected to.
        if record is None:
            self._cache.remember_missing(asked.image_id, asked.version)
            raise _unknown(asked)
        self._cache.remember(record, current)
        return record

    def has_origin(self, image_id: str, version: int | None) -> bool:
        """Is there an origin of this version, whatever the records say?"""
        place = folder(image_id, version)
        return any(key.startswith(f"{place}origin.") for key in self._store.list(place))

    def store_origin(
        self, image_id: str, source: Source, bound: str | Size, focal: Focal, trusted: bool = True
    ) -> Record:
        """See :meth:`lazycrop.service.LazyCrop.store_origin`."""
        check_image_id(image_id)
        _check_focal(focal)
        box = _bound(bound)
        data, described = self._read_source(source, trusted)
        prepared = prepare(data, box, self._config, self._config, focal=focal, reserve=self.memory.use)
        with self._changing(image_id):
            record, current = self._put(image_id, prepared, described)
        if current.version > 1:
            # Somebody may have asked for this very version before it was there; and the first one has no record now.
            self._cache.remember(record, current=False)
            self._cache.remember_missing(image_id, 1)
        self._cache.remember(current, current=True)
        self._memo.clear()
        return self._with_url(record)

    def add_mezzanines(self, image_id: str, version: int) -> None:
        """Make the mezzanines of an image that was stored without, and say so in its record."""
        record = self.read(image_id, version)
        if record is None or not lacks_mezzanines(record, self._config):
            return
        made = mezzanines(
            self._store.get(record.origin_key, limit=2 * record.length), self._config, self._config, self.memory.use
        )
        for mezzanine, data in made:
            self._store.put(record.mezzanine_key(mezzanine), data, CONTENT_TYPES[mezzanine.format])
        with self._changing(image_id):
            now = self.read(image_id, version)
            if now is None or now.tag != record.tag:  # Purged or replaced meanwhile: leave nothing behind.
                self._undo([record.mezzanine_key(mezzanine) for mezzanine, _ in made])
                return
            current = self.read(image_id)
            is_current = current is not None and current.tag == record.tag
            record = replace(now, mezzanines=tuple(mezzanine for mezzanine, _ in made))
            if version > 1:
                self._put_json(record_key(image_id, version), record)
            if is_current:
                self._put_json(record_key(image_id), record)
        if is_current or version > 1:  # else a second one has taken the place of its record
            self._cache.remember(record, current=is_current)

    def lost(self, record: Record) -> UnknownImage:
        """What to raise for a record whose origin is gone; it is forgotten."""
        self._cache.forget(record.image_id)
        self._cache.forget(record.image_id, record.version)
        return UnknownImage(f"The origin of {record.image_id!r} is gone; store the image again.")

    def purge(self, image_id: str, version: int | None = None) -> int:
        """See :meth:`lazycrop.service.LazyCrop.purge`."""
        check_image_id(image_id)
        self._memo.clear()
        with self._changing(image_id):
            # Records go first: without one there is no image, and a job that is under way deletes what it writes.
            if version is None:
                self._store.delete(record_key(image_id))
                self._cache.remember_missing(image_id, None)
                return sum(self._delete_version(image_id, found) for found in self._versions(image_id))
            current = self.read(image_id)
            if current is not None and version == current.version:
                raise BadRequest(
                    f"Version {version} of {image_id!r} is its current one; store another first, or purge the image."
                )
            return self._delete_version(image_id, version)

    def _delete_version(self, image_id: str, version: int) -> int:
        place = folder(image_id, version)
        if version > 1:
            self._store.delete(record_key(image_id, version))
        self._cache.remember_missing(image_id, version)
        keys = [key for key in self._store.list(place) if not key.endswith("/") and key != f"{image_id}/{RECORD}"]
        for key in keys:
            self._store.delete(key)
        return len(keys)

    def _versions(self, image_id: str) -> list[int]:
        place = folder(image_id, 1)
        folders = [key[len(place) :].rstrip("/") for key in self._store.list(place) if key.endswith("/")]
        return [1, *(int(name[1:]) for name in folders if name[:1] == "v" and name[1:].isdecimal())]

    def _read_source(self, source: Source, trusted: bool) -> tuple[bytes, str]:
        """The bytes, and in a word where they are from: never a query string, credentials or a folder."""
        if isinstance(source, str | os.PathLike) and not trusted and "://" not in str(source):
            raise FetchError("The source is no URL; one begins with https:// or http://.")
        limit = self._config.download_bytes
        if isinstance(source, bytes):
            data, described = source, "bytes"
        elif isinstance(source, str) and "://" in source:
            return fetch(source, self._config), describe(source)
        elif isinstance(source, str | os.PathLike):
            path = Path(source)
            try:
                with path.open("rb") as file:
                    data, described = file.read(limit + 1), path.name
            except OSError as error:
                raise FetchError(f"The file {path.name!r} cannot be read: {error.strerror}.") from error
        else:
            data, described = source.read(limit + 1), "a file"
        if len(data) > limit:
            raise ImageTooLarge(f"The image has more than {limit:,} bytes, which is the limit ('download_bytes').")
        return data, described

    @contextmanager
    def _changing(self, image_id: str) -> Iterator[None]:
        """One store or purge of an image at a time, as far as a lease can say so."""
        name = f"changing {image_id}"
        deadline = time.monotonic() + self._config.lease_seconds
        while (token := self._cache.lease(image_id, name)) is None and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            yield
        finally:
            if token is not None:
                self._cache.release(image_id, name, token)

    def _put(self, image_id: str, prepared: Prepared, source: str) -> tuple[Record, Record]:
        """Put origin and mezzanines, then the record; of a failure nothing stays. Returns it, and the current one."""
        with self._claimed(image_id) as version:
            record = _record(image_id, version, prepared, source)
            objects = {
                record.mezzanine_key(one): (data, CONTENT_TYPES[one.format]) for one, data in prepared.mezzanines
            }
            objects[record.origin_key] = (prepared.data, CONTENT_TYPES[record.format])
            put: list[str] = []  # What failed is of them: a put may succeed although its answer is lost.
            try:
                for key, (data, content_type) in objects.items():
                    put.append(key)
                    self._store.put(key, data, content_type)
            except BaseException:
                self._undo(put)
                raise
            if version > 1:
                put.append(record_key(image_id, version))
            try:
                return record, self._put_record(record)
            except BaseException as error:
                landed = self._landed(record)
                if landed and isinstance(error, StoreUnavailable):
                    return record, record
                if landed is False:
                    self._undo(put)
                raise

    @contextmanager
    def _claimed(self, image_id: str) -> Iterator[int]:
        """A version that nobody else is writing, and of which nothing is left that could be taken for its own.

        The lease may be lost, and a purge may have failed halfway; two pictures must not mix in one version.
        """
        version = self._next_version(image_id)
        while True:
            place = folder(image_id, version)
            claim = f"{place}{_CLAIM}"
            if self._store.put(claim, b"", "text/plain", new=True):
                try:
                    free = all(key == claim or key.endswith("/") for key in self._store.list(place))
                except BaseException:
                    self._undo([claim])
                    raise
                if free:
                    break
                self._undo([claim])
            version += 1
        try:
            yield version
        finally:
            self._undo([claim])

    def _next_version(self, image_id: str) -> int:
        with suppress(BadRecord):
            if (current := self.read(image_id)) is not None:
                return current.version + 1
        # Whatever a purge or a record that cannot be read has left, its keys are not used again.
        versions = self._versions(image_id)
        return 1 if versions == [1] else max(versions) + 1

    def _put_record(self, record: Record) -> Record:
        """Put it in its own place and, unless there is a later one, in the current one's; returns the current one.

        Whoever stores at the same time without a common cache looks after its last put, too, so that one of them sees
        the other's record.
        """
        if record.version > 1:
            self._put_json(record_key(record.image_id, record.version), record)
        current = self._latest(record)
        while True:
            self._put_json(record_key(record.image_id), current)
            latest = self._latest(current)
            if latest is current:
                return current
            current = latest

    def _put_json(self, key: str, record: Record) -> None:
        self._store.put(key, record.to_json(), "application/json", cache_control="no-cache")

    def _latest(self, record: Record) -> Record:
        """The record of the image's latest version, this one or one that is stored already."""
        for version in sorted(self._versions(record.image_id), reverse=True):
            if version <= record.version:
                break
            with suppress(BadRecord):
                later = self.read(record.image_id, version)
                if later is not None and self.has_origin(record.image_id, version):  # and nobody is undoing it
                    return later
        return record

    def _landed(self, record: Record) -> bool | None:
        """Is this the current record after all? None where nobody can say, for then it stays."""
        try:
            current = self.read(record.image_id)
        except BadRecord:  # which is none of ours
            return False
        except StoreUnavailable as error:
            logger.warning("whether %s was stored is not known: %s", record.origin_key, error)
            return None
        return current is not None and current.tag == record.tag

    def _undo(self, keys: list[str]) -> None:
        for key in reversed(keys):
            try:
                self._store.delete(key)
            except StoreUnavailable:
                logger.warning("after a failed store the object %s is left; nothing refers to it", key)

    def _with_url(self, record: Record) -> Record:
        origin = Derivative(record.image_id, None, record.format, record.version)
        return replace(record, url=self._store.url(origin.key) or f"{self._config.prefix}/{origin.key}")


def _record(image_id: str, version: int, prepared: Prepared, source: str) -> Record:
    return Record(
        image_id=image_id,
        version=version,
        format=prepared.format,
        width=prepared.width,
        height=prepared.height,
        length=len(prepared.data),
        sha256=hashlib.sha256(prepared.data).hexdigest(),
        stored_at=datetime.now(UTC).isoformat(),
        source=source,
        frames=prepared.frames,
        transparent=prepared.transparent,
        mezzanines=tuple(mezzanine for mezzanine, _ in prepared.mezzanines),
        placeholder=prepared.placeholder,
        colour=prepared.colour,
        focal=prepared.focal,
    )


# A request and its job read one record three times.
_parsed = lru_cache(maxsize=16)(Record.from_json)


def _resolve(asked: Derivative, version: int, kind: str) -> Derivative:
    return replace(asked, version=asked.version or version, format=kind if asked.format == AUTO else asked.format)


def _unknown(asked: Derivative) -> UnknownImage:
    version = f" in version {asked.version}" if asked.version else ""
    return UnknownImage(f"There is no image {asked.image_id!r}{version}.")


def _check_focal(focal: object) -> None:
    match focal:
        case None | "auto":
            return
        case (int(x), int(y)) if 0 <= x <= 100 and 0 <= y <= 100:
            return
    raise BadRequest(f"The focal point {focal!r} is malformed; it is (x, y) in whole per cent, or 'auto'.")


def _bound(bound: str | Size) -> tuple[int, int]:
    """The box that an origin must fit in, in pixels; a side that is not given does not bind."""
    size = Size.parse(bound) if isinstance(bound, str) else bound
    if size != Size(size.width, size.height):
        raise BadRequest(
            f"The bound {str(bound)!r} has a fit or options; it is a width and a height alone, like '4000x4000'."
        )
    return size.width or 99_999, size.height or 99_999
