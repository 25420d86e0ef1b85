"""Versions: how an image is stored, replaced and purged, by any number of processes at once.

An image is what ``<id>/image.json`` says: a record, or a tombstone once it was purged. Both have a number, the image's
latest version then, and **of two the higher number is right; of equal numbers the tombstone is**. A number is never
used twice (but after ``purge(forget=True)``), so that what is below a version's folder comes from one picture.

To store is six steps. After which of them who may see what:

1. *Number*: one more than the highest of what the image is, and of the folders that are there.
2. *Claim*: put ``-claim-<token>`` into the version's folder, then list it. Whoever finds anything but its own claim
   there takes the claim back and tries the next number; so of two that put theirs at once at most one stays, whatever
   the server does with conditional puts. Nobody sees the version yet.
3. *Origin and mezzanines* are put. Nobody sees the version yet. If one fails, all of them and the claim are deleted.
4. *Own record* of the second and later versions: ``<id>/v2/image.json``. URLs with the version in them can see it, and
   others that store or purge take it for stored.
5. *Current*: put ``<id>/image.json``, unless something of a higher number is there, or the origin is gone again. Then
   look again, and put what is right now, as all do who put something there: the last one to look leaves the right one.
   Now everybody sees the version (processes with a cache of their own: within ``record_seconds``).
6. *Unclaim*. Whoever finds an earlier claim of somebody else still there waits until it is gone or old, and looks once
   more: its owner may be about to put something lower, and may be killed before it looks again.

If the answer to step 4 or 5 is lost, the image is read once more: if it is this version, the store took place. If that
cannot be found out, everything stays.

To purge is to put a tombstone by the same rule, to delete the records and all objects of versions up to its number, and
to look once more. A version that is claimed and not current is left alone: its store was under way when the purge
began, and comes after it, or finds the tombstone at its end and deletes what it has put. What a killed process leaves
has a number that is used up: it is never mixed with anything, and the next store or purge of the image sweeps it.

Where processes share a cache, a lease keeps stores and purges of one image one after the other; all of the above holds
without it.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256

from lazycrop.errors import StoreUnavailable, UnknownImage
from lazycrop.events import Replaced, Stored
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.library.current import Current
from lazycrop.library.origins import put
from lazycrop.library.purging import Purging
from lazycrop.model import keys
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.records import Focal, Record, Tombstone, now
from lazycrop.pictures.ingest import Prepared, lacks_mezzanines, mezzanines, prepare
from lazycrop.settings import Config

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0  # For others who are writing an earlier version at the same time.
_POLL = 0.05
RENDER_WAIT = 60.0  # Seconds for a slot; whoever stores an image waits for longer things.


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a version is made of. ``source``: in a word where it is from. ``sha256``, ``length``: of that file.

    ``validator``: what the source says of it, of an image that is adopted. ``private``: as of a record.
    """

    source: str
    sha256: str
    length: int = 0
    validator: str = ""
    private: bool = False


class Versions:
    """Stores the images of one store, and has them purged."""

    def __init__(self, common: Common, config: Config) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._origins, self._renders, self._events = common.origins, common.renders, common.events
        self._contents = Contents(common.store, common.records)
        self._current = Current(common.store, common.records, self._contents)
        self._limits, self._ingest = config.limits, config.ingest
        self._purging = Purging(common, self._contents, self._current, config)
        self.purge = self._purging.purge
        self.changing = self._purging.changing

    def store(
        self, image_id: str, data: bytes, source: str, bound: tuple[int, int], focal: Focal, private: bool
    ) -> Record:
        """Store the image in ``data``; returns its record when everything of it is stored. Blocks for all of that.

        ``source``: in a word where it is from. ``bound``: width and height in pixels that it is shrunk to.
        """
        work = partial(prepare, data, bound, self._limits, self._ingest, focal=focal, reserve=self._renders.memory.use)
        prepared = self._renders.run(work, RENDER_WAIT)
        with self.changing(image_id):
            return self.write(image_id, prepared, Provenance(source, sha256(data).hexdigest(), private=private))

    def set_private(self, image_id: str, private: bool) -> Record:
        """Make an image private, or public: a new version of the same picture, after which the former ones go."""
        record = self._records.read_now(image_id)
        if record is None:
            raise UnknownImage(f"There is no image {image_id!r}.")
        if record.private == private:
            return self._records.with_url(record)
        copies = [(one, self._store.get(record.mezzanine_key(one), 2 * one.length)) for one in record.mezzanines]
        prepared = Prepared(
            data=b"" if record.at_source else self._origins.read(record),
            format=record.format,
            width=record.width,
            height=record.height,
            frames=record.frames,
            transparent=record.transparent,
            placeholder=record.placeholder,
            colour=record.colour,
            focal=record.focal,
            mezzanines=tuple(copies),
        )
        provenance = Provenance(record.source, record.made_from, record.length, record.validator, private)
        with self.changing(image_id):
            stored = self.write(image_id, prepared, provenance)
        for number in filter(lambda number: number < stored.version, self._contents.numbers(image_id)):
            self._purging.delete_version(image_id, number)
        return stored

    def write(self, image_id: str, prepared: Prepared, provenance: Provenance) -> Record:
        """Store what was prepared as the next version, within :meth:`changing`."""
        record, current = self._stored(image_id, prepared, provenance)
        self._remember(record, current)
        kind = Replaced if record.version > 1 else Stored
        self._events.tell(kind(image_id, record.version, record.origin_key, length=record.length))
        return self._records.with_url(record)

    def rewrite(self, record: Record) -> Record:
        """Say something else of the current version, within :meth:`changing`."""
        self._current.put_own(record)
        self._remember(record, self._current.settle(record))
        return self._records.with_url(record)

    def add_mezzanines(self, image_id: str, version: int) -> None:
        """Make the mezzanines of an image that was stored without, and say so in its record. Safe to repeat."""
        record = self._records.read_now(image_id, version)
        if record is None or not lacks_mezzanines(record, self._ingest):
            return
        work = partial(mezzanines, self._origins.read(record), self._limits, self._ingest, self._renders.memory.use)
        made = self._renders.run(work, RENDER_WAIT)
        for mezzanine, data in made:
            put(self._store, record, record.mezzanine_key(mezzanine), data, CONTENT_TYPES[mezzanine.format])
        with self.changing(image_id):
            latest = self._records.read_now(image_id, version)
            if latest is None or latest.tag != record.tag:  # Purged or replaced meanwhile: leave nothing behind.
                self._purging.delete(record.mezzanine_key(mezzanine) for mezzanine, _ in made)
                return
            record = replace(latest, mezzanines=tuple(mezzanine for mezzanine, _ in made))
            self._current.put_own(record)
            current = self._records.read_now(image_id)
            if current is not None and current.tag == record.tag:
                self._remember(record, self._current.settle(record))
            elif version > 1:
                self._state.remember(record, current=False)

    def _remember(self, record: Record, current: Record | Tombstone) -> None:
        if current.version > 1:
            # Somebody may have asked for this very version before it was there; and the first one has no record now.
            self._state.remember(record, current=False)
            self._state.remember_missing(record.image_id, 1)
        if isinstance(current, Record):
            self._state.remember(current, current=True)

    def _stored(self, image_id: str, prepared: Prepared, provenance: Provenance) -> tuple[Record, Record | Tombstone]:
        """All six steps; returns the record, and what the image is then."""
        what_is, numbers = self._contents.what_is(image_id), self._contents.numbers(image_id)
        if (other := _same(what_is, provenance)) is not None:
            return other, other
        latest = what_is.version if what_is else 0
        self._purging.sweep(image_id, what_is, numbers)
        with self._claimed(image_id, max(latest, *numbers, 0) + 1) as version:
            if version > latest + 1 and (other := self._adopted_meanwhile(image_id, latest, version, provenance)):
                return other, other
            record = self._record(image_id, version, prepared, provenance)
            self._put_objects(record, prepared)
            current = self._landed(record)
        for number in range(latest + 1, version):
            self._await(image_id, number)
        if version > latest + 1:
            current = self._current.settle(record)
        if isinstance(current, Tombstone):  # purged since, by somebody who could not see all of it
            self._purging.delete_version(image_id, version)
        self._purging.sweep_former(image_id, version, numbers)
        return record, current

    @contextmanager
    def _claimed(self, image_id: str, version: int) -> Iterator[int]:
        """This version or a later one, which nobody else is writing, and of which nothing is left from before."""
        while True:
            claim = keys.claim(image_id, version, secrets.token_hex(8))
            try:
                self._store.put(claim, str(int(time.time())).encode(), "text/plain")
                is_alone = self._contents.objects(image_id, version) == [claim]
                if is_alone:
                    yield version
                    return
            finally:
                self._purging.delete([claim])
            version += 1

    def _put_objects(self, record: Record, prepared: Prepared) -> None:
        """Put origin and mezzanines; of a failure nothing stays."""
        objects = {record.mezzanine_key(one): (data, CONTENT_TYPES[one.format]) for one, data in prepared.mezzanines}
        objects[record.origin_key] = (prepared.data, CONTENT_TYPES[record.format])
        if record.at_source:
            objects[record.origin_key] = (record.source.encode(), "text/plain; charset=utf-8")
        tried: list[str] = []  # What failed is among them: a put may succeed although its answer is lost.
        try:
            for key, (data, content_type) in objects.items():
                tried.append(key)
                put(self._store, record, key, data, content_type)
        except BaseException:
            self._purging.delete(reversed(tried))
            raise

    def _landed(self, record: Record) -> Record | Tombstone:
        """Put its own record, and what the image is now; returns that. Of a failure nothing stays, unless it landed."""
        try:
            self._current.put_own(record)
            return self._current.settle(record)
        except BaseException as error:
            try:
                what_is = self._contents.what_is(record.image_id)
            except StoreUnavailable as unknown:
                logger.warning("whether %r was stored is not known: %s", record.origin_key, unknown)
                raise error from None
            if what_is == record and isinstance(error, StoreUnavailable):
                return record
            if what_is != record:
                self._undo(record)
            raise

    def _undo(self, record: Record) -> None:
        """Delete a version that failed. Somebody may have taken its record for that of a stored one: then not any
        more.
        """
        with suppress(StoreUnavailable):
            self._purging.delete_version(record.image_id, record.version)
            if self._contents.what_is(record.image_id) == record:
                nothing = Tombstone(image_id=record.image_id, version=0, purged_at="")
                right, _ = self._current.right_now(nothing)
                if right is nothing:
                    self._store.delete(keys.record(record.image_id))
                else:
                    self._current.put(keys.record(record.image_id), right)

    def _adopted_meanwhile(self, image_id: str, latest: int, version: int, mine: Provenance) -> Record | None:
        """The record of somebody who was adopting the same file at the same time, and came first."""
        if not mine.validator:
            return None
        for number in range(latest + 1, version):
            self._await(image_id, number)
        return _same(self._records.read_now(image_id), mine)

    def _await(self, image_id: str, version: int) -> None:
        """Wait until nobody writes this version any more, or for as long as anybody should take for that."""
        until = time.monotonic() + _SETTLE_SECONDS
        while self._contents.is_claimed(image_id, version) and time.monotonic() < until:
            time.sleep(_POLL)

    def _record(self, image_id: str, version: int, prepared: Prepared, provenance: Provenance) -> Record:
        return Record(
            image_id=image_id,
            version=version,
            format=prepared.format,
            width=prepared.width,
            height=prepared.height,
            length=len(prepared.data) or provenance.length,
            sha256=sha256(prepared.data).hexdigest() if prepared.data else provenance.sha256,
            stored_at=now(),
            source=provenance.source,
            frames=prepared.frames,
            transparent=prepared.transparent,
            mezzanines=tuple(mezzanine for mezzanine, _ in prepared.mezzanines),
            placeholder=prepared.placeholder,
            colour=prepared.colour,
            focal=prepared.focal,
            recipe=self._records.recipe,
            private=provenance.private,
            made_from=provenance.sha256,
            validator=provenance.validator,
            at_source=not prepared.data,
        )


def _same(what_is: Record | Tombstone | None, provenance: Provenance) -> Record | None:
    """What the image is, where it is the very file of a source that is about to be adopted."""
    if isinstance(what_is, Record) and what_is.is_adopted:
        same = (what_is.validator, what_is.private) == (provenance.validator, provenance.private)
        return what_is if same else None
    return None
