"""Purging: what deletes the objects of images; see :mod:`lazycrop.library.versions` for who may see what meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from lazycrop.errors import BadRequest, StoreUnavailable
from lazycrop.events import Gone, Purged
from lazycrop.library.claims import Claim, Claims, Left
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.library.current import Current
from lazycrop.model import keys
from lazycrop.model.records import Record, Tombstone, now
from lazycrop.settings import Config

logger = logging.getLogger(__name__)

_POLL = 0.05  # Seconds between two tries to be the only one who changes an image.


class Purging:
    """Deletes images, versions of them, and what failed stores have left."""

    def __init__(self, common: Common, contents: Contents, claims: Claims, current: Current, config: Config) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._origins, self._events = common.origins, common.events
        self._contents = contents
        self._claims = claims
        self._current = current
        self._lease_seconds = config.cache.lease_seconds
        self._keep_versions = config.store.keep_versions

    @contextmanager
    def changing(self, image_id: str) -> Iterator[None]:
        """One store or purge of an image at a time, as far as a lease can say so. Blocks for as long as one lasts."""
        until = time.monotonic() + self._lease_seconds
        while True:
            with self._state.lease(image_id, f"changing {image_id}") as lease:
                if lease.ours or time.monotonic() >= until:
                    self._records.forget_recent()
                    try:
                        yield
                    finally:
                        self._records.forget_recent()
                    return
            time.sleep(_POLL)

    def purge(self, image_id: str, version: int | None, forget: bool) -> int:
        """Delete all of an image, or of one of its former versions; returns how many objects went. Blocks.

        ``forget``: leave not even the number of its last version behind.
        """
        with self.changing(image_id):
            objects = self._purge_all(image_id, forget) if version is None else self._purge_version(image_id, version)
        self._events.tell(Purged(image_id, version, objects=objects))
        return objects

    def _purge_all(self, image_id: str, forget: bool) -> int:
        guess = self._records.next_version(image_id)
        if guess is None:  # Where there is nothing, nothing is to be left.
            look = self._contents.look(image_id)
            if look.what_is is None and not look.found:
                return 0
            guess = look.next
        with self._claims.next(image_id, guess) as claim:
            left = self._claims.wait(claim)
            what_is, found = self._now(image_id, claim)
            # What a later claim has stored by then, because it waited for this no more, is not purged.
            latest = what_is.version if what_is and what_is.version < claim.number else 0
            late = left.late - {latest}  # What is current by now is not.
            numbers = {number for number in found if number < claim.number} - late
            last = max(latest, *numbers, 0)
            if not last:
                return 0
            private = what_is is not None and what_is.private
            stone = Tombstone(image_id=image_id, version=last, purged_at=now(), private=private)
            if isinstance(self._current.settle(stone, claim), Tombstone):
                self._forget(image_id)
            objects = self.delete_versions(image_id, numbers, claim.objects if 1 in numbers else ())
            self.delete(left.dead)
            if left.late:  # They may put something lower over it, and have to find that the number was used.
                self._current.put(keys.record(image_id, last), stone)
                self._current.settle(stone, claim)
            if forget and self._is_alone(image_id, claim):
                self._store.delete(keys.record(image_id))
        return objects

    def _now(self, image_id: str, claim: Claim) -> tuple[Record | Tombstone | None, Iterable[int]]:
        """What the image is, and the versions of which anything is there, now that others were waited for."""
        if claim.holds():
            return claim.what_is, claim.found
        return self._contents.what_is(image_id), self._contents.numbers(image_id)

    def _is_alone(self, image_id: str, claim: Claim) -> bool:
        """Is nothing left of an image but this claim? (SeaweedFS lists the folder of a version that is empty.)"""
        return all(
            number == claim.number or (name.endswith("/") and not self._contents.objects(image_id, number))
            for name, number in self._contents.found(image_id).items()
        )

    def _forget(self, image_id: str) -> None:
        """It is not there from now on; but what a source may have is looked for at the next request."""
        if self._origins.place(image_id) is None:
            self._state.remember_missing(image_id, None)
        else:
            self._state.forget(image_id)

    def _purge_version(self, image_id: str, version: int) -> int:
        with self._claims.next(image_id) as claim:
            self._claims.wait(claim)
            current = self._contents.what_is(image_id)
            if isinstance(current, Record) and version == current.version:
                raise BadRequest(
                    f"Version {version} of {image_id!r} is its current one; store another first, or purge the image."
                )
            if current is None or version > current.version:  # Whoever is late may be writing it.
                return 0
            return self.delete_versions(image_id, [version])

    def sweep(self, image_id: str, claim: Claim, left: Left) -> None:
        """Delete what killed stores and purges have left, once it is certain that they are dead."""
        last = claim.what_is.version if isinstance(claim.what_is, Tombstone) else 0
        self.delete_versions(image_id, {number for number in claim.found - left.late if number <= last})
        for dead in left.dead:
            number = keys.claimed(dead) or 0
            if (number > 1 or claim.what_is is None) and self._records.read_now(image_id, number) is None:
                self.delete_versions(image_id, [number])
        self.delete(left.dead)

    def sweep_former(self, image_id: str, claim: Claim) -> None:
        """Delete the versions that are older than those to be kept, of which the claim's is the last.

        What cannot be deleted is left for the next store: this one has taken place.
        """
        former = {number for number in claim.found if number <= claim.number - self._keep_versions}
        with suppress(StoreUnavailable):
            self.delete_versions(image_id, former - self._claims.left(claim).late if former else ())

    def delete_versions(self, image_id: str, versions: Iterable[int], known: Iterable[str] = ()) -> int:
        """Delete all objects of versions, their records first; returns how many others there were.

        What is found after the records are gone is all that there is: a job that puts a size later finds no record.
        ``known``: objects of them that were found before; they are not waited for to be found once more.
        """
        numbers = sorted(versions)
        records = [keys.record(image_id, number) for number in numbers if number > 1]
        self._store.delete_many(records + [keys.record(image_id, number, private=True) for number in numbers])
        for number in numbers:
            self._state.remember_missing(image_id, number)
        known = {*known}
        delete = self._store.begin_delete_many(known)
        found = {*self._contents.objects(image_id, *numbers)} - known
        delete()
        self._store.delete_many(found)
        for number in numbers:
            self._events.tell(Gone(image_id, number))
        return len(known) + len(found)

    def delete_if_public(self, image_id: str, version: int) -> None:
        """Delete a version any of whose objects is not below what is private."""
        if not all(key.startswith(keys.PRIVATE) for key in self._contents.objects(image_id, version)):
            self.delete_versions(image_id, [version])

    def delete(self, keys: Iterable[str]) -> None:
        keys = [*keys]
        try:
            self._store.delete_many(keys)
        except StoreUnavailable:
            said = {"event": "left", "keys": keys}
            logger.warning("some of the objects %r are left; nothing refers to them", keys, extra=said)

    def tidy(self, image_id: str) -> None:
        """Delete what killed stores, purges and jobs have left of an image, once it is certain that they are dead."""
        with self.changing(image_id), self._claims.next(image_id) as claim:
            left = self._claims.wait(claim)
            self.sweep(image_id, claim, left)
            what_is = self._contents.what_is(image_id)
            if isinstance(what_is, Record):
                for number in claim.found - left.late - {what_is.version}:
                    if self._is_lost(image_id, number):
                        self.delete_versions(image_id, [number])

    def _is_lost(self, image_id: str, version: int) -> bool:
        """Is there something of a version, and not what makes it one: its record, or the origin of the first?"""
        if version > 1:
            return self._records.read_now(image_id, version) is None
        return not any(self._origins.exists(image_id, 1, private) for private in (False, True))
