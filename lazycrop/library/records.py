"""Records: what is known of an image, and how fresh that is.

There are three ways to ask, and each says how old its answer may be: :meth:`Records.recent` some seconds more than
:meth:`Records.find`, whose record is at most ``record_seconds`` old (older only while the store is down), and
:meth:`Records.read_now`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.singleflight import SingleFlight
from lazycrop.errors import MissingObject, Overloaded, SourceUnavailable, StoreUnavailable, UnknownImage
from lazycrop.library.changes import Changes
from lazycrop.library.origins import Origins
from lazycrop.library.state import Hot, Known, State
from lazycrop.model import keys, records
from lazycrop.model.derivatives import AUTO, Derivative
from lazycrop.model.records import Pointer, Record, Tombstone
from lazycrop.pictures.settings import Recipes, Stage
from lazycrop.stores.guarded import Guarded

RECORD_LIMIT = 100_000  # Bytes; a record with its placeholder takes under 2,000.
_RECORD_WAIT = 10.0  # Seconds for another thread's look at the store.
_SEEN_LIMIT = 100_000  # Image ids.
_RECENT_LIMIT = 10_000  # Records.
_RECENT_SECONDS = 5.0
_OUTDATED_LIMIT = 1_000  # Tags.
_FOLLOWING_SECONDS = 2  # for the request that found it and its job: the store has still the record before

_UNKNOWN_RECIPE = "?"


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of a derivative.

    ``derivative``: with its version and format. ``fresh_until``: until when the record need not be asked for again, in
    Unix time. ``recipe``: the fingerprint of what its bytes are made by, or the stored ones were. ``stored``: it is
    known to be in the store. ``is_first``: it is not, and what is stored will have other bytes than those that answer.
    ``quarantined_until``: until when its image is not tried again, in Unix time; else 0.0.
    """

    derivative: Derivative
    record: Record
    fresh_until: float
    recipe: str
    stored: bool
    is_first: bool
    hot: Hot | None
    quarantined_until: float

    @property
    def key(self) -> str:
        """Of the object in the store."""
        return self.record.key_of(self.derivative)

    @property
    def is_there(self) -> bool:
        """Is it known to be in the store? An origin is, but for one that is at its source."""
        return self.stored or (self.derivative.size is None and not self.record.at_source)

    @property
    def etag(self) -> str:
        return self.derivative.etag(self.record.tag, self.recipe)


_Recent = dict[tuple[str, int | None], tuple[Record, float]]


class Records:
    """The records of the images of one store."""

    def __init__(
        self,
        store: Guarded,
        state: State,
        changes: Changes,
        origins: Origins,
        recipes: Recipes,
        record_seconds: int,
    ) -> None:
        self._store = store
        self._state = state
        self._changes = changes
        self._origins = origins
        self._recipes = recipes
        self.recipe = recipes.all
        self._record_seconds = record_seconds
        self._flights: SingleFlight[tuple[Record, float]] = SingleFlight()  # looks at the store, and at sources
        # Where the current version and kind of an image were last seen: a guess that saves a look at the cache.
        self._seen: dict[str, tuple[int, str]] = {}
        # A page asks for one record several times, and the next page for the same ones.
        self._recent: _Recent = {}
        # Tags of files that are others now: a cache that failed a moment ago may still have their records.
        self._outdated: set[str] = set()

    def find(self, asked: Derivative) -> Found:
        """All that is known of what is asked for. Blocks for the store where the cache has no fresh record.

        One look at the cache, a second one where version or format were not those last seen.
        Raises :class:`~lazycrop.errors.UnknownImage`, :class:`~lazycrop.errors.StoreUnavailable`.
        """
        current = asked.version is None
        guess = _resolved(asked, *self._seen.get(asked.image_id, (1, "jpg")))
        known = self._state.look(guess, current)
        record, fresh_until = known.record, self._fresh_until(asked.image_id, known)
        if self._is_outdated(record):
            record, fresh_until = None, 0.0
        if time.time() >= fresh_until:
            record, as_of = self._asked_again(asked, record)
            fresh_until = as_of + self._record_seconds
        if record is None:
            raise _unknown(asked)
        derivative = _resolved(asked, record.version, record.format)
        if derivative != guess:
            self._see(record)
            known = self._state.look(derivative, current)
        return self._found(derivative, record, fresh_until, known)

    def recent(self, image_id: str, version: int | None = None) -> Record:
        """What is known of an image, or was some seconds ago; its ``url`` is filled in. Raises and blocks as find."""
        recent = self._recent  # What forget() finds meanwhile is lost with the old one.
        record, until = recent.get((image_id, version), (None, 0.0))
        if record is None or time.monotonic() >= until:
            record = self.with_url(self.find(Derivative(image_id, None, AUTO, version)).record)
            if len(recent) >= _RECENT_LIMIT:
                recent.clear()
            recent[image_id, version] = (record, time.monotonic() + _RECENT_SECONDS)
        return record

    def at_hand(self, image_id: str, version: int | None = None) -> bool:
        """Can :meth:`recent` say it at once? Asks the cache and nobody else."""
        _, until = self._recent.get((image_id, version), (None, 0.0))
        return (
            time.monotonic() < until
            or self._state.look(Derivative(image_id, None, "jpg", version or 1), not version).fresh
        )

    def forget_recent(self) -> None:
        """Some image is not any more what it was."""
        self._recent = {}

    def read_now(self, image_id: str, version: int | None = None) -> Record | None:
        """The record as the store has it at this moment; None where there is none (of this version). Blocks.

        Raises :class:`~lazycrop.errors.BadRecord`, :class:`~lazycrop.errors.StoreUnavailable`.
        """
        found = self.what_is(image_id, version)
        # The first version's record is overwritten by that of the second: both are the image's current one.
        return found if isinstance(found, Record) and version in (None, found.version) else None

    def what_is(self, image_id: str, version: int | None = None) -> Record | Tombstone | None:
        """The same, or what is left of an image that was purged. What is another image's is nothing of this one's.

        (A folder may have been copied under another id, or its file system may not tell upper from lower case.)
        """
        found = self.whoever_is(image_id, version)
        return found if found is not None and found.image_id == image_id else None

    def whoever_is(self, image_id: str, version: int | None = None) -> Record | Tombstone | None:
        """What lies where this image is said to be, whosever it is."""
        return self.begin_whoever_is(image_id, version)()

    def begin_whoever_is(self, image_id: str, version: int | None = None) -> Callable[[], Record | Tombstone | None]:
        """The same in two steps: it is being read when this returns."""
        read = self._store.begin_get(keys.record(image_id, version), RECORD_LIMIT)

        def ended() -> Record | Tombstone | None:
            try:
                found = _parsed(read())
                if isinstance(found, Pointer):
                    found = _parsed(self._store.get(keys.record(image_id, found.version, private=True), RECORD_LIMIT))
            except MissingObject:
                return None
            return None if isinstance(found, Pointer) else found

        return ended

    def next_version(self, image_id: str) -> int | None:
        """A guess that asks nobody but the cache; None where that does not know the image."""
        known = self._state.look(Derivative(image_id, None, "jpg", 1), current=True).record
        return known.version + (not known.is_provisional) if known else None

    def with_url(self, record: Record) -> Record:
        return replace(record, url=self._origins.url(record))

    def supersede(self, record: Record) -> None:
        """Its source's file is another one now: until that is adopted, its header says what the image is. Blocks.

        What the store says counts more than ``record``: another process may have adopted it meanwhile.
        """
        if len(self._outdated) >= _OUTDATED_LIMIT:
            self._outdated = set()
        self._outdated.add(record.tag)
        as_of = time.time()
        following = what_is = self.what_is(record.image_id)
        if isinstance(what_is, Record) and what_is.tag == record.tag and not record.at_source:
            raise self.lost(record)
        if not isinstance(what_is, Record) or what_is.tag == record.tag:
            version = what_is.version + 1 if what_is else 1
            following = self._origins.discover(record.image_id, version, record.private)
        if isinstance(following, Record):
            self._state.remember(following, True, as_of, least=_FOLLOWING_SECONDS)
        else:
            self._state.remember_missing(record.image_id, None)
        self._state.forget(record.image_id, record.version)  # of a version that nobody has stored yet
        self.forget_recent()

    def lost(self, record: Record) -> UnknownImage:
        """What to raise for a record whose origin is gone; it is forgotten."""
        self._state.forget(record.image_id)
        self._state.forget(record.image_id, record.version)
        return UnknownImage(f"The origin of {record.image_id!r} is gone; store the image again.")

    def _fresh_until(self, image_id: str, known: Known) -> float:
        """Until when what is known need not be asked for: it is young, or its image has not changed since."""
        now = time.time()
        if now < known.fresh_until or now >= known.trusted_until:
            return known.fresh_until
        return min(known.trusted_until, self._changes.quiet_until(image_id))

    def _asked_again(self, asked: Derivative, known: Record | None) -> tuple[Record, float]:
        """The record, and since when it may be another one."""
        name = f"{asked.image_id} {asked.version}"
        try:
            found, _ = self._flights.run(name, lambda: self._refreshed(asked, known), left(_RECORD_WAIT))
            if self._is_outdated(found[0]):
                raise StoreUnavailable("What is known of this image is not so any more; ask again in a moment.")
        except Overloaded:  # as below, without a wait
            if known is None:
                raise
            return known, time.time()
        return found

    def _refreshed(self, asked: Derivative, known: Record | None) -> tuple[Record, float]:
        as_of, is_certain = time.time(), True
        try:
            record = self._read_or_discovered(asked)
        except (StoreUnavailable, SourceUnavailable):
            if known is None:
                raise
            # An old record is better than none: what is stored can still be redirected to.
            record, as_of, is_certain = known, time.time(), False
        if record is None:
            self._state.remember_missing(asked.image_id, asked.version)
            raise _unknown(asked)
        if is_certain:
            self._outdated.discard(record.tag)
        self._state.remember(record, asked.version is None, as_of, is_certain=is_certain)
        return record, as_of

    def _read_or_discovered(self, asked: Derivative) -> Record | None:
        """The record in the store; else, of a file that a source has and nobody has adopted yet, what it says.

        That is the next version, which pages already name.
        """
        found = self.what_is(asked.image_id, asked.version)
        if isinstance(found, Record):
            return found if asked.version in (None, found.version) else None
        if asked.version is not None:
            found = self.what_is(asked.image_id)
        current = found if isinstance(found, Record) else None
        version = found.version + 1 if found else 1
        if asked.version not in (None, version) or (current and not current.is_adopted):
            return None
        following = self._origins.discover(asked.image_id, version, private=True if found and found.private else None)
        is_current = current is not None and following is not None and following.validator == current.validator
        return None if is_current else following

    def _is_outdated(self, record: Record | None) -> bool:
        return bool(self._outdated) and record is not None and record.tag in self._outdated

    def _see(self, record: Record) -> None:
        if len(self._seen) > _SEEN_LIMIT:
            self._seen.clear()
        self._seen[record.image_id] = (record.version, record.format)

    def _found(self, derivative: Derivative, record: Record, fresh_until: float, known: Known) -> Found:
        stored_by = known.stored_by(record)
        return Found(
            derivative=derivative,
            record=record,
            fresh_until=fresh_until,
            recipe=self._recipes.fingerprint(derivative, Stage.FIRST) if stored_by is None else stored_by,
            stored=stored_by is not None,
            is_first=stored_by is None and self._recipes.stored_stage(derivative) is Stage.LAST,
            hot=known.hot_of(record),
            quarantined_until=known.quarantined_until(record),
        )

    def as_stored(self, found: Found) -> Found:
        """The same once it turned out to be in the store."""
        recipe = self.recipe_of_stored(found.derivative, found.record)
        return replace(found, stored=True, is_first=False, recipe=recipe)

    def recipe_of_stored(self, derivative: Derivative, record: Record) -> str:
        """By what an object was made that turned out to be in the store, for nobody wrote that down.

        It was by today's settings where they are those of the day when the image was stored. (Where the worker was late
        and stored the first stage, that is not so; but then no other bytes have this tag.)
        """
        if record.recipe != self.recipe:
            return _UNKNOWN_RECIPE
        return self._recipes.fingerprint(derivative, self._recipes.stored_stage(derivative))


# A request and its job read one record three times.
_parsed = lru_cache(maxsize=16)(records.read)


def _resolved(asked: Derivative, version: int, kind: str) -> Derivative:
    return replace(asked, version=asked.version or version, format=kind if asked.format == AUTO else asked.format)


def _unknown(asked: Derivative) -> UnknownImage:
    version = f" in version {asked.version}" if asked.version else ""
    return UnknownImage(f"There is no image {asked.image_id!r}{version}.")
