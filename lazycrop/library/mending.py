"""Mending: what can be made again of what :mod:`lazycrop.library.verifying` has found damaged. All of it blocks."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from functools import partial
from hashlib import sha256
from itertools import groupby

from lazycrop.errors import BadRecord, LazyCropError, MissingObject, NotAllowed
from lazycrop.library.claims import Claims
from lazycrop.library.common import Common
from lazycrop.library.contents import Contents
from lazycrop.library.current import Current
from lazycrop.library.origins import put
from lazycrop.library.storing import Storing
from lazycrop.library.verifying import BROKEN, FOREIGN, LEFT, MISSING, OTHER, RECORD, Damage, Verified
from lazycrop.library.versions import RENDER_WAIT, Versions
from lazycrop.model import keys
from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
from lazycrop.model.keys import Key
from lazycrop.model.records import Record
from lazycrop.model.sizes import read_bound
from lazycrop.pictures.ingest import mezzanines
from lazycrop.settings import Config

logger = logging.getLogger(__name__)

_ANY_BOUND = read_bound("99999x99999")
_LARGEST = 1 << 30  # bytes of an origin whose record is gone


class Mending:
    """Mends the images of one LazyCrop."""

    def __init__(self, common: Common, versions: Versions, storing: Storing, config: Config) -> None:
        self._store, self._state, self._records = common.store, common.state, common.records
        self._origins, self._renders = common.origins, common.renders
        self._contents = Contents(common.store, common.records)
        self._claims = Claims(common.store, self._contents, common.changes)
        self._current = Current(common.store, common.records, self._contents, common.changes)
        self._versions, self._storing = versions, storing
        self._config = config

    def mend(self, verified: Verified) -> Iterator[Damage]:
        """Make again what can be; tell of what could not.

        That is a size, a mezzanine of an origin that is whole, a record of which there is another copy or whose origin
        is whole (then the image is stored again, as its next version), and what was left goes.
        """
        ways = {LEFT: self._tidy, RECORD: self._restore, "size": self._sizes, "mezzanine": self._mezzanines}
        for way, damages in groupby(sorted(verified.damages, key=_way), _way):
            found = [*damages]
            try:
                yield from ways[way](verified, found) if way in ways else found
            except LazyCropError as error:
                said = {"event": "not-mended", "image_id": verified.image_id}
                logger.warning("%r could not be mended: %s", verified.image_id, error, extra=said)
                yield from found

    def _tidy(self, verified: Verified, damages: list[Damage]) -> Iterable[Damage]:
        self._versions.tidy(verified.image_id)
        return [damage for damage in damages if self._store.exists(damage.key)]

    def _sizes(self, verified: Verified, damages: list[Damage]) -> Iterable[Damage]:
        """Delete them, and make them again, unless they may not be asked for any more."""
        for damage in damages:
            key = Key.parse(damage.key)
            derivative = Derivative.of_key(key) if key else None
            assert derivative is not None
            self._store.delete(damage.key)
            self._state.unmark(derivative)
            with suppress(NotAllowed):
                self._storing.store(derivative.to_message())
        return ()

    def _mezzanines(self, verified: Verified, damages: list[Damage]) -> Iterable[Damage]:
        """Put what is made anew of the origin in their places, if that is the one that was stored."""
        for version in {damage.version for damage in damages}:
            record = self._record(verified.image_id, version)
            data = self._origins.read(record) if record else b""
            if record is None or (not record.at_source and sha256(data).hexdigest() != record.sha256):
                continue
            work = partial(mezzanines, data, self._config.limits, self._config.ingest, self._renders.memory.use)
            for mezzanine, made in self._renders.run(work, RENDER_WAIT):
                name = record.mezzanine_key(mezzanine)
                if name in {damage.key for damage in damages}:
                    put(self._store, record, name, made, CONTENT_TYPES[mezzanine.format])
                    damages = [damage for damage in damages if damage.key != name]
            if self._record(verified.image_id, version) != record:  # It was purged meanwhile.
                for mezzanine in record.mezzanines:
                    self._store.delete(record.mezzanine_key(mezzanine))
        return damages

    def _restore(self, verified: Verified, damages: list[Damage]) -> Iterable[Damage]:
        if self._restored(verified.image_id) is None and not self._stored_again(verified):
            return damages
        return ()

    def _restored(self, image_id: str) -> Record | None:
        """Put the record of the latest version where it is missing, of the copy that there is."""
        with self._versions.changing(image_id), self._claims.next(image_id) as claim:
            self._claims.wait(claim)
            record = self._record(image_id, None) or self._latest(image_id)
            if record is not None:
                self._current.put_own(record)
                self._current.settle(record, claim)
                self._state.forget(image_id)
                self._state.forget(image_id, record.version)
        return record

    def _latest(self, image_id: str) -> Record | None:
        """The highest version that has a record of its own, public or private."""
        for number in sorted({1, *self._contents.numbers(image_id)}, reverse=True):
            for private in (False, True):
                with suppress(BadRecord, MissingObject):
                    name = keys.record(image_id, number, private)
                    record = Record.from_json(self._store.get(name, _LARGEST))
                    if (record.image_id, record.version) == (image_id, number):
                        return record
        return None

    def _stored_again(self, verified: Verified) -> bool:
        """Store the image again from the origin of its latest version, of which no record is left at all."""
        image_id = verified.image_id
        private = verified.folder.startswith(keys.PRIVATE)
        for number in sorted({1, *self._contents.numbers(image_id)}, reverse=True):
            for name in self._contents.objects(image_id, number):
                key = Key.parse(name)
                if key and key.kind == "origin" and key.private == private and not name.endswith(f".{keys.AT_SOURCE}"):
                    data = self._store.get(name, _LARGEST)
                    self._versions.store(image_id, data, "its own origin", _ANY_BOUND, None, private)
                    return True
        return False

    def _record(self, image_id: str, version: int | None) -> Record | None:
        with suppress(BadRecord):
            return self._records.read_now(image_id, version)
        return None


def _way(damage: Damage) -> str:
    """How it can be mended: what was left, a record, a size, a mezzanine; an origin cannot, nor what is another's."""
    if damage.kind in (LEFT, RECORD, FOREIGN):
        return damage.kind
    key = Key.parse(damage.key)
    assert damage.kind in (MISSING, BROKEN, OTHER) and key is not None
    return key.kind
