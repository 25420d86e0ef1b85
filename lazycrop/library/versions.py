"""Versions: how an image is stored, replaced and purged, by any number of processes at once.

An image is what ``<id>/image.json`` says: a record, or a tombstone once it was purged. Both have a number, the image's
latest version then, and **of two the higher number is right; of equal numbers the tombstone is**. A number is never
used twice (but after ``purge(forget=True)``), so that what is below a version's folder comes from one picture.

Whoever is going to change an image *claims* a number: puts ``<id>/-claim-<number>-<token>``, and lists the image then.
Who finds anything of this number or a higher one, or that the image has come to it since, takes the claim back and
tries a higher one. So of two that put theirs at once at most one stays, whatever the server does with conditional puts;
no lower claim comes after a higher one; and whoever has one knows all who came before. For those he waits until they
are done: **what others can see is changed by one after the other, in the order of the numbers** (Lamport's bakery).

To store is six steps. After which of them who may see what:

1. *Claim*, and from the second version on a word that the image is going to change (:mod:`lazycrop.library.changes`).
   Its number is the version's. Nobody sees the version yet.
2. *Origin and mezzanines* are put, at once. Nobody sees the version yet. If one fails, all of them and the claim are
   deleted.
3. *Wait* for who came before, and sweep what the dead among them have left.
4. *Own record* of the second and later versions: ``<id>/v2/image.json``. URLs with the version in them can see it.
5. *Current*: put ``<id>/image.json``. Now everybody sees the version (processes with a cache of their own: within
   ``record_seconds``).
6. *Unclaim*.

Who finds no earlier claim, and is done with step 5 before anybody can have stopped waiting for him, looks for nothing
else: the image is what it was when he claimed it, for whoever came after has found the claim and waits. So a new image
takes five round trips, one after the other: the claim, the list after it, the objects, what is current, and the claim
again; a later version takes one more for its own record. All others look before and after they put what is current.

If the answer to step 4 or 5 is lost, the image is read once more: if it is this version, the store took place. If that
cannot be found out, everything stays.

To say of an image where its subject is, or how it is cropped, is to store it again, as a copy within the store, of
what it is once those who came before are done.

To purge is to claim, to wait, to put a tombstone of the highest number below the claim's, and to delete the records and
all objects of versions up to it. What has a later claim comes after the purge and is left alone. To make an image
private or to give it mezzanines is to claim and to wait as well, before its record is read.

A process that is *killed* changes nothing any more; others wait for its claim for some seconds (and for each of those
who wait for it themselves as long again, once), and leave alone what
may be its own until the claim is old. What it leaves has a number that is used up: it is never mixed with anything, and
the next store or purge after that sweeps it.

A process that is *late*, so slow between two of its calls that others have not waited for it, may put ``image.json``
over something of theirs. So whoever puts it looks again, finds the higher number by its own record, and puts that; a
purge leaves its tombstone there as well when somebody is late. He knows it by two clocks: not if both stand still with
his machine. Who finds a tombstone deletes what he has put. The rest
of the risk: one who is late, does that, and is killed before he looks again; or two who are late at once, of whom a
purge leaves something. The next store or purge puts it right.

Where processes share a cache, a lease keeps stores and purges of one image one after the other before that; all of the
above holds without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256

from lazycrop.errors import BadRequest, OriginChanged, StoreUnavailable, UnknownImage
from lazycrop.events import Replaced, Stored
from lazycrop.library.claims import Claim, Claims, Left
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.library.current import Current
from lazycrop.library.origins import begin_put, copy, put
from lazycrop.library.provenance import Provenance, record_of
from lazycrop.library.purging import Purging
from lazycrop.model import keys
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.records import Focal, Record, Tombstone, now
from lazycrop.pictures.ingest import Prepared, lacks_mezzanines, mezzanines, prepare
from lazycrop.settings import Config

logger = logging.getLogger(__name__)

RENDER_WAIT = 60.0  # Seconds for a slot; whoever stores an image waits for longer things.


class Versions:
    """Stores the images of one store, and has them purged."""

    def __init__(self, common: Common, config: Config) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._origins, self._renders, self._events = common.origins, common.renders, common.events
        self._contents = Contents(common.store, common.records)
        self._current = Current(common.store, common.records, self._contents, common.changes)
        self._limits, self._ingest = config.limits, config.ingest
        self._claims = Claims(common.store, self._contents, common.changes)
        self._purging = Purging(common, self._contents, self._claims, self._current, config)
        self.purge = self._purging.purge
        self.tidy = self._purging.tidy
        self.changing = self._purging.changing

    def store(
        self,
        image_id: str,
        data: bytes,
        source: str,
        bound: tuple[int, int],
        focal: Focal,
        private: bool,
        *,
        again: bool = True,
    ) -> Record:
        """Store the image in ``data``; returns its record when everything of it is stored. Blocks for all of that.

        ``source``: in a word where it is from. ``bound``: width and height in pixels that it is shrunk to. ``again``:
        also where it was stored from the same bytes.
        """
        provenance = Provenance(source, sha256(data).hexdigest(), private=private)
        if not again and (there := self._made_from_same(image_id, provenance)) is not None:
            return self._records.with_url(there)
        work = partial(prepare, data, bound, self._limits, self._ingest, focal=focal, reserve=self._renders.memory.use)
        prepared = self._renders.run(work, RENDER_WAIT)
        with self.changing(image_id), self._claims.next(image_id, self._records.next_version(image_id) or 1) as claim:
            record = record_of(image_id, claim.number, prepared, provenance, self._records.recipe)
            self._put_objects(record, prepared)
            self._land(record, claim)
        return self._told(record)

    def _made_from_same(self, image_id: str, provenance: Provenance) -> Record | None:
        """What was stored of the image from the same bytes. What was adopted follows its source, and is another."""
        what_is = self._contents.what_is(image_id)
        if not isinstance(what_is, Record) or what_is.is_adopted:
            return None
        same = (what_is.made_from, what_is.private) == (provenance.sha256, provenance.private)
        return what_is if same else None

    def set_private(self, image_id: str, private: bool) -> Record:
        """Make an image private, or public: a new version of the same picture, after which the former ones go."""
        with self.changing(image_id), self._claims.next(image_id) as claim:
            left = self._claims.wait(claim)  # What is made private has to be what the image is until the copy is there.
            former = self._records.read_now(image_id)
            if former is None:
                raise UnknownImage(f"There is no image {image_id!r}.")
            if former.private == private:
                if private:  # A try that was killed may have left former versions where anybody can read them.
                    for number in claim.found - left.late - {former.version}:
                        self._purging.delete_if_public(image_id, number)
                return self._records.with_url(former)
            prepared = self._read(former)
            provenance = Provenance(former.source, former.made_from, former.length, former.validator, private)
            record = replace(
                record_of(image_id, claim.number, prepared, provenance, self._records.recipe), crops=former.crops
            )
            self._put_objects(record, prepared)
            current = self._land(record, claim, left)
            self._purging.delete_versions(image_id, claim.found - left.late)
        if isinstance(current, Record) and current.private != private:  # Somebody did not wait, and copied what was.
            return self.set_private(image_id, private)
        return self._told(record)

    def change(self, image_id: str, change: Callable[[Record], Record], to: str) -> Record:
        """Store the same picture again under keys of its own, as ``change`` makes its record of the former one.

        Its objects are copied within the store, where that can do so. ``to``: the id that it has then, its own or that
        of no image yet. Raises UnknownImage, and BadRequest.
        """
        with self.changing(to), self._claims.next(to) as claim:
            left = self._claims.wait(claim)  # What is edited has to be what the image is until the copy is there.
            former = self._records.read_now(image_id)
            if former is None:
                raise UnknownImage(f"There is no image {image_id!r}.")
            if to != image_id and self._records.read_now(to) is not None:
                raise BadRequest(f"There is an image {to!r} already; purge it, or choose another id.")
            changed = change(former)
            if changed == former:
                return self._records.with_url(former)
            record = replace(changed, version=claim.number, stored_at=now(), recipe=self._records.recipe)
            try:
                copy(self._store, former, record)
            except BaseException:
                self._purging.delete(self._contents.objects(to, claim.number))
                raise
            current = self._land(record, claim, left)
        # Overtaken by somebody who did not wait any more, and copied what was.
        if isinstance(current, Record) and current.version > record.version and current.made_from == record.made_from:
            return self.change(image_id, change, to)
        return self._told(record)

    def adopt(self, image_id: str, prepared: Prepared, provenance: Provenance, before: Record | None) -> Record:
        """Store what was prepared of a source's file, as the next version; within ``changing``.

        Whether it is private is as it was. ``before``: what the image was before the file was read. Raises
        :class:`~lazycrop.errors.OriginChanged` where it is another one by now: it may have been stored, or be of this
        file already, or of a newer one.
        """
        with self._claims.next(image_id) as claim:
            left = self._claims.wait(claim)
            what_is = self._records.what_is(image_id)
            if isinstance(what_is, Record):
                if before is None or what_is.tag != before.tag:
                    raise OriginChanged(what_is)
                provenance = replace(provenance, private=what_is.private)
            elif what_is is not None and what_is.private:
                provenance = replace(provenance, private=True)
            record = record_of(image_id, claim.number, prepared, provenance, self._records.recipe)
            self._put_objects(record, prepared)
            self._land(record, claim, left)
        return self._told(record)

    def touch(self, record: Record, validator: str) -> Record | None:
        """Say of the current version that its file has another validator, and is the same; within ``changing``."""
        with self._claims.next(record.image_id) as claim:
            self._claims.wait(claim)
            current = self._records.read_now(record.image_id)
            if current is None or current.tag != record.tag:
                return current
            current = replace(current, validator=validator)
            self._current.put_own(current)
            self._remember(current, self._current.settle(current, claim), claim)
        return self._records.with_url(current)

    def _read(self, record: Record) -> Prepared:
        """A stored version as it was when it was prepared."""
        copies = [(one, self._store.get(record.mezzanine_key(one), 2 * one.length)) for one in record.mezzanines]
        return Prepared(
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

    def _told(self, record: Record) -> Record:
        kind = Replaced if record.version > 1 else Stored
        self._events.tell(kind(record.image_id, record.version, record.origin_key, length=record.length))
        return self._records.with_url(record)

    def add_mezzanines(self, image_id: str, version: int) -> None:
        """Make the mezzanines of an image that was stored without, and say so in its record. Safe to repeat."""
        record = self._records.read_now(image_id)  # It is written last: an earlier try may have come half the way.
        if record is None or record.version != version:
            record = self._records.read_now(image_id, version)
        if record is None:
            self._purging.delete(self._contents.lost_mezzanines(image_id, version))
        if record is None or not lacks_mezzanines(record, self._ingest):
            return
        work = partial(mezzanines, self._origins.read(record), self._limits, self._ingest, self._renders.memory.use)
        made = self._renders.run(work, RENDER_WAIT)
        for mezzanine, data in made:
            put(self._store, record, record.mezzanine_key(mezzanine), data, CONTENT_TYPES[mezzanine.format])
        with self.changing(image_id), self._claims.next(image_id) as claim:
            self._claims.wait(claim)
            latest = self._records.read_now(image_id, version)
            if latest is None or latest.tag != record.tag:  # Purged or replaced meanwhile: leave nothing behind.
                self._purging.delete(record.mezzanine_key(mezzanine) for mezzanine, _ in made)
                return
            record = replace(latest, mezzanines=tuple(mezzanine for mezzanine, _ in made))
            self._current.put_own(record)
            current = self._records.read_now(image_id)
            if current is not None and current.tag == record.tag:
                self._remember(record, self._current.settle(record, claim), claim)
                if not self._store.exists(record.origin_key):  # as below; of the first version nothing else says so
                    stone = Tombstone(image_id=image_id, version=version, purged_at=now(), private=record.private)
                    self._current.settle(stone, claim)
                    self._state.forget(image_id)
            elif not self._store.exists(record.origin_key):  # purged since, by somebody who did not wait any more
                self._purging.delete_versions(image_id, [version])
            elif version > 1:
                self._state.remember(record, False, claim.began[0])

    def _remember(self, record: Record, current: Record | Tombstone, claim: Claim) -> None:
        if current.version > 1:
            # Somebody may have asked for this very version before it was there; and the first one has no record now.
            self._state.remember(record, False, claim.began[0])
            self._state.remember_missing(record.image_id, 1)
        if isinstance(current, Record):
            self._state.remember(current, True, claim.began[0])

    def _land(self, record: Record, claim: Claim, left: Left | None = None) -> Record | Tombstone:
        """Make the version whose objects are there the current one, unless a later one is; returns which one is.

        ``left``: of those that were waited for already; who waits twice is given up by who comes after.
        """
        current = self._landed(record, claim, left)
        if isinstance(current, Tombstone):  # purged since, by somebody who did not wait any more
            self._purging.delete_versions(record.image_id, [record.version])
            self._current.put(keys.record(record.image_id, current.version), current)  # Others may be as late.
        elif current.private and not record.private:  # made so since, in the same way
            self._purging.delete_versions(record.image_id, [record.version])
        self._purging.sweep_former(record.image_id, claim)
        self._remember(record, current, claim)
        return current

    def _put_objects(self, record: Record, prepared: Prepared) -> None:
        """Put origin and mezzanines; of a failure nothing stays."""
        objects = {record.mezzanine_key(one): (data, CONTENT_TYPES[one.format]) for one, data in prepared.mezzanines}
        objects[record.origin_key] = (prepared.data, CONTENT_TYPES[record.format])
        if record.at_source:
            objects[record.origin_key] = (record.source.encode(), "text/plain; charset=utf-8")
        try:
            begun = [begin_put(self._store, record, key, *rest) for key, rest in objects.items()]
            self._store.together(*begun)
        except BaseException:  # What failed is among them: a put may succeed although its answer is lost.
            self._purging.delete(objects)
            raise

    def _landed(self, record: Record, claim: Claim, left: Left | None) -> Record | Tombstone:
        """Wait, put its own record, and what the image is now; returns that. Of a failure nothing stays, unless it
        landed.
        """
        try:
            self._purging.sweep(record.image_id, claim, left or self._claims.wait(claim))
            self._current.put_own(record)
            return self._current.settle(record, claim)
        except BaseException as error:
            try:
                what_is = self._contents.what_is(record.image_id)
            except StoreUnavailable as unknown:
                extra = {"event": "store-unknown", "key": record.origin_key}
                logger.warning("whether %r was stored is not known: %s", record.origin_key, unknown, extra=extra)
                raise error from None
            if what_is == record and isinstance(error, StoreUnavailable):
                return record
            if what_is != record:
                with suppress(StoreUnavailable):
                    self._purging.delete_versions(record.image_id, [record.version])
            raise
