"""Verifying: is all there that records speak of, whole, and of the image that it is said to be of? All of it blocks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256

from lazycrop.errors import BadRecord, ImageError, MissingObject, StoreUnavailable
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.library.listing import Listing, Lying, WhatIs
from lazycrop.model import keys
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import Key
from lazycrop.model.records import Mezzanine, Record, Tombstone
from lazycrop.pictures.likeness import UNLIKE, Sight, difference, look, look_at_placeholder, shown_in
from lazycrop.settings import Config
from lazycrop.stores.contract import Listed

MISSING, BROKEN, OTHER, RECORD, FOREIGN, LEFT = "missing", "broken", "other", "record", "foreign", "left"
"""An object that is not there; one that is cut, or no picture; one that is another one than it is said to be; a record
that is missing or cannot be read; one that is another image's; what a store or purge that failed has left.
"""

_AHEAD = 8  # Images for each job that are begun before they are wanted.
_LARGEST = 1 << 30  # bytes of a derivative


@dataclass(frozen=True, slots=True)
class Damage:
    """Something that is not as it should be. ``kind``: one of the words above; ``what``: in a sentence."""

    image_id: str
    version: int
    key: str
    kind: str
    what: str


@dataclass(frozen=True, slots=True)
class Verified:
    """An image that was gone through. ``folder``: where it lies, by which to go on after it; ``objects``: how many."""

    image_id: str
    folder: str
    objects: int
    damages: tuple[Damage, ...]


class Verifying:
    """Verifies the store of one LazyCrop."""

    def __init__(self, common: Common, listing: Listing, config: Config) -> None:
        self._store, self._records, self._memory = common.store, common.records, common.renders.memory
        self._contents = Contents(common.store, common.records)
        self._listing = listing
        self._limits = config.limits

    def verify(self, prefix: str = "", *, after: str = "", jobs: int = 1) -> Iterator[Verified]:
        """Go through all images whose ids begin with ``prefix``, ``jobs`` at once; each is told of in its turn.

        ``after``: the ``folder`` of the last one that was gone through. Raises StoreUnavailable: whether something is
        missing is not known then.
        """
        window: deque[Future[Verified]] = deque()
        with ThreadPoolExecutor(jobs, "lazycrop-verify") as pool:
            try:
                for lying, said in self._listing.lying_and_said(prefix, after):
                    window.append(pool.submit(self.image, lying, said))
                    if len(window) == jobs * _AHEAD:
                        yield window.popleft().result()
                while window:
                    yield window.popleft().result()
            finally:
                pool.shutdown(cancel_futures=True)

    def image(self, lying: Lying, said: WhatIs) -> Verified:
        """Go through one image; what somebody is changing just now is left for another time."""
        damages = self._damages(lying, said)
        if any(damage.kind != LEFT for damage in damages):  # It may have been changed since it was listed.
            lying = self._listing.lying(lying.image_id, lying.private)
            damages = self._damages(lying, self._said(lying.image_id))
        return Verified(lying.image_id, lying.folder, len(lying.objects), tuple(damages))

    def _damages(self, lying: Lying, said: WhatIs) -> list[Damage]:
        claims = {listed.key: key for key, listed in lying.objects if key.kind == "claim"}
        fresh = self._contents.fresh(claims)
        if any(fresh.values()):
            return []
        left = [_damage(claims[name], name, LEFT, "the claim of a store or purge that was killed") for name in fresh]
        return [*left, *self._of_image(lying, said)]

    def _said(self, image_id: str) -> WhatIs:
        try:
            return self._records.whoever_is(image_id)
        except BadRecord as error:
            return error

    def _of_image(self, lying: Lying, said: WhatIs) -> Iterator[Damage]:
        image_id, name = lying.image_id, keys.record(lying.image_id)
        found = lying.versions
        if isinstance(said, BadRecord):
            yield Damage(image_id, max(found, default=1), name, RECORD, "the record cannot be read")
        elif said is None and found:
            yield Damage(image_id, max(found), name, RECORD, "there is no record")
        elif said is not None and said.image_id != image_id:
            yield Damage(image_id, said.version, name, FOREIGN, f"the record is that of {said.image_id!r}")
        elif isinstance(said, Record):
            if said.private == lying.private and said.version not in found:
                yield Damage(image_id, said.version, said.origin_key, MISSING, "nothing is there of what is current")
            for number in sorted(found):
                yield from self._of_version(lying, said, number)
        elif isinstance(said, Tombstone):
            for number in sorted(found):
                yield from _left(lying, number) if number <= said.version else ()

    def _of_version(self, lying: Lying, current: Record, number: int) -> Iterator[Damage]:
        """What is wrong with one version; the first one's record is gone when it has a second."""
        name = keys.record(lying.image_id, number, lying.private)
        is_current = number == current.version
        try:
            record = self._records.read_now(lying.image_id, number)
        except BadRecord:
            yield Damage(lying.image_id, number, name, RECORD, "the record of this version cannot be read")
            record = current if is_current else None
        else:
            if record is None and number > 1:
                yield from self._without_record(lying, current, number, name)
            record = record or (current if is_current else None)
        if record is not None and record.private == lying.private:
            yield from self._of_record(record)
        for key, listed in lying.versions[number]:
            derivative = Derivative.of_key(key)
            if derivative is not None:
                yield from self._of_size(key, listed, derivative, record)

    def _without_record(self, lying: Lying, current: Record, number: int, name: str) -> Iterator[Damage]:
        if number == current.version:
            yield Damage(lying.image_id, number, name, RECORD, "the record of this version is not there")
        elif number < current.version:
            yield from _left(lying, number)

    def _of_record(self, record: Record) -> Iterator[Damage]:
        """What is wrong with the origin and the mezzanines."""
        key = Key.parse(record.origin_key)
        assert key is not None
        data = self._read(record.origin_key, 4 * record.length + 1000)
        if data is None:
            yield _damage(key, record.origin_key, MISSING, "the origin is not there")
        elif not record.at_source and sha256(data).hexdigest() != record.sha256:
            yield self._of_changed_origin(record, key, data)
        for mezzanine in record.mezzanines:
            yield from self._of_mezzanine(record, mezzanine)

    def _of_changed_origin(self, record: Record, key: Key, data: bytes) -> Damage:
        try:
            self._look(data, record.format)
        except ImageError as error:
            return _damage(key, record.origin_key, BROKEN, f"the origin is broken: {error}")
        return _damage(
            key, record.origin_key, OTHER, "the origin is not the one that was stored: its SHA-256 is another"
        )

    def _of_mezzanine(self, record: Record, mezzanine: Mezzanine) -> Iterator[Damage]:
        name = record.mezzanine_key(mezzanine)
        key, data = Key.parse(name), self._read(name, _LARGEST)
        assert key is not None
        if data is None:
            yield _damage(key, name, MISSING, "the mezzanine is not there")
            return
        try:
            sight = self._look(data, mezzanine.format)
        except ImageError as error:
            yield _damage(key, name, BROKEN, f"the mezzanine is broken: {error}")
            return
        of_record = look_at_placeholder(record, None, self._limits)
        if not _is_like(sight, (mezzanine.width, mezzanine.height), of_record):
            yield _damage(key, name, OTHER, "the mezzanine is another picture")

    def _of_size(self, key: Key, listed: Listed, derivative: Derivative, record: Record | None) -> Iterator[Damage]:
        """What is wrong with a size; of a version without a record, only whether it is whole."""
        data, size = self._read(listed.key, _LARGEST), derivative.size
        if data is None or size is None:
            return  # Sizes come and go.
        try:
            sight = self._look(data, derivative.format, None if record is None else shown_in(size, record))
        except ImageError as error:
            yield _damage(key, listed.key, BROKEN, f"the size is broken: {error}")
            return
        if record is not None:
            pixels = size.dimensions(*record.pixels_for(size))
            if not _is_like(sight, pixels, look_at_placeholder(record, size, self._limits)):
                yield _damage(key, listed.key, OTHER, "the size is another picture")

    def _look(self, data: bytes, format: str, box: tuple[float, float, float, float] | None = None) -> Sight:
        return look(data, format, self._limits, box, self._memory.use)

    def _read(self, key: str, limit: int) -> bytes | None:
        """The object; None where it is not there. Of one that is too long, what is known is that it is another."""
        try:
            return self._store.get(key, limit)
        except MissingObject:
            return None
        except StoreUnavailable:
            if self._is_longer(key, limit):
                return b""
            raise

    def _is_longer(self, key: str, limit: int) -> bool:
        return any(one.key == key and one.length > limit for one in self._store.walk(key))


def _is_like(sight: Sight, pixels: tuple[int, int], expected: Sight | None) -> bool:
    return (sight.width, sight.height) == pixels and (expected is None or difference(sight, expected) < UNLIKE)


def _left(lying: Lying, number: int) -> Iterator[Damage]:
    for key, listed in lying.versions[number]:
        if key.kind != "record" or key.private or number > 1:
            yield _damage(key, listed.key, LEFT, "left by a store, a purge or a job that failed")


def _damage(key: Key, name: str, kind: str, what: str) -> Damage:
    return Damage(key.image_id, key.version, name, kind, what)
