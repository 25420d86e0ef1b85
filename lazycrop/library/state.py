"""State: what the cache knows of the life of a derivative: records, markers, hot bytes, leases, failures.

Nothing here is needed for a right answer: whatever is lost is found again in the store. Values are read as if a
stranger had written them, for one may have.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lazycrop.caches.contract import CacheSettings
from lazycrop.caches.sealed import Sealed
from lazycrop.errors import BadRecord
from lazycrop.library.quarantine import PLACES, Failures, Quarantine
from lazycrop.model import keys
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.settings import Recipes, Stage

# memcached refuses values over 1 MiB, its own header and ours included, and with noreply it does so silently.
# (A process's own memory takes what is a quarter of it.)
LARGEST = 999_000

_CHANGES = "changes"
_QUARANTINE = "quarantine"
_SIZES_SECONDS = 600  # A list of sizes that is older says little.


@dataclass(frozen=True, slots=True)
class Hot:
    """The bytes of a derivative that was made a moment ago.

    ``queued``: an actor has been asked to store it. ``data``: None when they were too many to be handed over.
    """

    data: bytes | None
    queued: bool


@dataclass(frozen=True, slots=True)
class Known:
    """What the cache holds under the names of a derivative. ``record``: None when not known.

    ``fresh_until``: until when the record (or the lack of it) need not be asked for again, in Unix time;
    ``trusted_until``: the same while the image does not change. The rest says for which record it holds: see
    :meth:`State.stored_recipe` and so on.
    """

    record: Record | None
    fresh_until: float
    trusted_until: float
    marker: bytes | None
    hot: bytes | None
    failures: bytes | None

    @property
    def fresh(self) -> bool:
        return time.time() < self.fresh_until

    def stored_by(self, record: Record) -> str | None:
        """The recipe by which the stored object was made; None where it is not known to be stored."""
        tag, _, recipe = (self.marker or b"").partition(b" ")
        return recipe.decode("ascii", "replace") if tag == record.tag.encode() else None

    def hot_of(self, record: Record) -> Hot | None:
        return _read_hot(self.hot, record.tag)

    def quarantined_until(self, record: Record) -> float:
        """Until when it is not tried again, in Unix time; 0.0 where it may be."""
        failures = Failures.read(self.failures, record.tag)
        return failures.until if failures.quarantined else 0.0


class Lease:
    """The sole right to something for a while. ``ours``: this caller has it, and gives it back unless it keeps it."""

    def __init__(self, ours: bool) -> None:
        self.ours = ours
        self.kept = False

    def keep(self) -> None:
        """Leave it taken until it expires: it keeps others from doing again what has been done."""
        self.kept = True


class State:
    """What lazycrop keeps in the cache.

    ``recipes``: hot bytes are of the first one; those by another recipe, which another process may have during a
    deployment, are another thing.
    """

    def __init__(self, cache: Sealed, settings: CacheSettings, largest: int, recipes: Recipes) -> None:
        self._cache = cache
        self._settings = settings
        self._largest = largest
        self._recipes = recipes

    def look(self, derivative: Derivative, current: bool) -> Known:
        """All that is known, in one round trip.

        ``derivative``: with its version. ``current``: is the image's current record meant, or its version's own?
        """
        names = [
            _record_name(derivative.image_id, None if current else derivative.version),
            _marker_name(derivative),
            self._hot_name(derivative),
            _failures_name(derivative),
        ]
        record, *rest = self._cache.get_many(derivative.image_id, names)
        return Known(*_read_record(record), *rest)

    def remember(self, record: Record, current: bool, as_of: float, *, least: int = 0, is_certain: bool = True) -> None:
        """Keep a record; long, because an old one is better than none while the store is down.

        ``as_of``: since when it may be another one, in Unix time. ``least``: seconds for which it is trusted even where
        the settings say less. ``is_certain``: the store has said it; else it is not trusted for longer.
        """
        fresh_until = max(as_of + self._settings.record_seconds, time.time() + least)
        trusted_until = as_of + self._settings.trust_seconds if is_certain and not record.is_provisional else 0.0
        value = json.dumps([fresh_until, record.to_json().decode(), trusted_until]).encode()
        name = _record_name(record.image_id, None if current else record.version)
        self._cache.set(record.image_id, name, value, self._settings.marker_seconds)

    def remember_missing(self, image_id: str, version: int | None) -> None:
        """Memo that an image (or this version of it) is not there."""
        seconds = self._settings.record_seconds
        value = json.dumps([time.time() + seconds, None]).encode()
        self._cache.set(image_id, _record_name(image_id, version), value, seconds)

    def changes(self) -> tuple[frozenset[str] | None, float]:
        """What :meth:`remember_changes` kept; not of use any more where nothing is."""
        (value,) = self._cache.get_many(_CHANGES, [_CHANGES])
        match _read_json(value):
            case [float() as until, str(names)]:
                return frozenset(names.split()), until
            case [float() as until, None]:
                return None, until
        return None, 0.0

    def remember_changes(self, names: frozenset[str] | None, until: float) -> None:
        """Keep which images have changed of late; None: it may be any. ``until``: of use until then, in Unix time."""
        value = json.dumps([until, None if names is None else " ".join(names)]).encode()
        if len(value) <= self._largest:
            self._cache.set(_CHANGES, _CHANGES, value, self._settings.record_seconds)

    def forget(self, image_id: str, version: int | None = None) -> None:
        """Forget the record of an image, so that the next request asks the store."""
        self._cache.delete(image_id, _record_name(image_id, version))

    def mark_stored(self, derivative: Derivative, tag: str, recipe: str) -> None:
        """Set the marker; call it after a successful put only. ``recipe``: of the stored bytes."""
        value = f"{tag} {recipe}".encode()
        self._cache.set(derivative.image_id, _marker_name(derivative), value, self._settings.marker_seconds)

    def unmark(self, derivative: Derivative) -> None:
        """Delete the marker: the object has been deleted."""
        self._cache.delete(derivative.image_id, _marker_name(derivative))

    def keep_hot(self, derivative: Derivative, tag: str, data: bytes, queued: bool) -> None:
        """Keep the bytes of a new derivative for followers, other hosts and the actor."""
        fits = len(data) <= self._largest
        header = json.dumps([tag, queued, fits]).encode()
        value = header + b"\n" + (data if fits else b"")
        self._cache.set(derivative.image_id, self._hot_name(derivative), value, self._settings.hot_seconds)

    def hot(self, derivative: Derivative, tag: str) -> Hot | None:
        """What :meth:`keep_hot` kept."""
        (value,) = self._cache.get_many(derivative.image_id, [self._hot_name(derivative)])
        return _read_hot(value, tag)

    @contextmanager
    def lease(self, group: str, name: str, seconds: int | None = None) -> Iterator[Lease]:
        """Try to take the sole right to ``name``; it is given back at the end of the block unless it was kept.

        ``seconds``: until it expires; ``lease_seconds`` when not given.
        """
        token = secrets.token_hex(8).encode()
        name = f"lease {name}"
        lease = Lease(self._cache.add(group, name, token, seconds or self._settings.lease_seconds))
        try:
            yield lease
        finally:
            if lease.ours and not lease.kept and self._cache.get_many(group, [name]) == [token]:
                self._cache.delete(group, name)

    def making_name(self, derivative: Derivative, tag: str) -> str:
        """What the lease to make a derivative is called: who makes other bytes is no reason to wait."""
        return f"{derivative.key} {tag} {self._recipes.fingerprint(derivative, Stage.FIRST)}"

    def count_failure(self, derivative: Derivative, tag: str, code: str = "") -> None:
        """A picture could not be made; the second time in ``quarantine_seconds`` puts its image into quarantine.

        ``code``: of the error.
        """
        name, seconds = _failures_name(derivative), self._settings.quarantine_seconds
        (value,) = self._cache.get_many(derivative.image_id, [name])
        before = Failures.read(value, tag)
        now = before.again(seconds)
        if now != before:
            self._cache.set(derivative.image_id, name, now.printed(), now.kept(seconds))
            if now.quarantined:
                self._list(Quarantine(derivative.image_id, derivative.version or 1, tag, now.until, code), now)

    def _list(self, one: Quarantine, failures: Failures) -> None:
        """Among those in quarantine, where a place is free."""
        seconds = int(failures.until - time.time()) + 1
        for place, value in zip(PLACES, self._cache.get_many(_QUARANTINE, PLACES), strict=True):
            if value is None and self._cache.add(_QUARANTINE, place, one.printed(), seconds):
                return

    def quarantined(self) -> list[Quarantine]:
        """Those in quarantine, as far as the cache knows them; a hundred at most."""
        values = self._cache.get_many(_QUARANTINE, PLACES)
        return [found for value in values if (found := Quarantine.read(_read_json(value))) is not None]

    def is_asked_more(self, derivative: Derivative, tag: str, most: int) -> bool:
        """Count one more request for a derivative: have there been more than ``most``?

        A cache cannot count; but of those who add one thing at once, one does. So each request takes a place of its
        own among the first, and who finds none comes after them.
        """
        group, names = derivative.image_id, [f"asked {number} {tag} {derivative.key}" for number in range(most)]
        for name, value in zip(names, self._cache.get_many(group, names), strict=True):
            if value is None and self._cache.add(group, name, b"1", self._settings.marker_seconds):
                return False
        return True

    def marked(self, derivatives: Sequence[Derivative], tag: str) -> set[Derivative]:
        """Those of some derivatives of one image that are known to be stored."""
        if not derivatives:
            return set()
        values = self._cache.get_many(derivatives[0].image_id, [_marker_name(one) for one in derivatives])
        pairs = zip(derivatives, values, strict=True)
        return {one for one, value in pairs if (value or b"").startswith(f"{tag} ".encode())}

    def sizes(self, record: Record) -> tuple[str | None, bool]:
        """What :meth:`remember_sizes` kept, None where nothing is; and whether that is fresh."""
        (value,) = self._cache.get_many(record.image_id, [_sizes_name(record)])
        match _read_json(value):
            case [float() as fresh_until, str(tag), str(names)] if tag == record.tag:
                return names, time.time() < fresh_until
        return None, False

    def remember_sizes(self, record: Record, names: str, fresh: float) -> None:
        """Keep the names of what is stored of an image: ``fresh`` for so many seconds, and better than none then."""
        value = json.dumps([time.time() + fresh, record.tag, names]).encode()
        if len(value) <= self._largest:
            self._cache.set(record.image_id, _sizes_name(record), value, _SIZES_SECONDS)

    def close(self) -> None:
        self._cache.close()

    def _hot_name(self, derivative: Derivative) -> str:
        return f"hot {derivative.key} {self._recipes.fingerprint(derivative, Stage.FIRST)}"


def _marker_name(derivative: Derivative) -> str:
    return f"marker {derivative.key}"


def _failures_name(derivative: Derivative) -> str:
    return f"failures {keys.record(derivative.image_id, derivative.version)}"


def _sizes_name(record: Record) -> str:
    return f"sizes {keys.record(record.image_id, record.version)}"


def _record_name(image_id: str, version: int | None) -> str:
    """``version``: None is the image's current record, wherever the store has it."""
    return f"record {image_id} {version or 'current'}"


def _read_record(value: bytes | None) -> tuple[Record | None, float, float]:
    """The record, until when it (or the lack of it) is fresh, and until when it is trusted."""
    match _read_json(value):
        case [float() as fresh_until, None]:
            return None, fresh_until, 0.0
        case [float() as fresh_until, str(content), float() as trusted_until]:
            try:
                return Record.from_json(content.encode()), fresh_until, trusted_until
            except (BadRecord, UnicodeEncodeError):  # Another release wrote it, or nobody of ours.
                pass
    return None, 0.0, 0.0


def _read_hot(value: bytes | None, tag: str) -> Hot | None:
    header, _, data = (value or b"").partition(b"\n")
    match _read_json(header):
        case [str(of_tag), bool(queued), bool(fits)] if of_tag == tag:
            return Hot(data if fits else None, queued)
    return None


def _read_json(value: bytes | None) -> Any:
    try:
        return json.loads(value or b"null")
    except (ValueError, RecursionError):
        return None
