"""Adopting: a file that a source has becomes an image, and follows its file from then on. All of it blocks.

The origin stays where it is, unless ``copy_origins`` is set; mezzanines, placeholder and record are stored as of any
other image, so that from the second size on it costs what a stored image costs. The record says by a validator which
state of the file it was made from.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from hashlib import sha256
from typing import Any

from lazycrop.errors import BEING_WRITTEN, ImageError, OriginChanged, SourceUnavailable
from lazycrop.library.common import Common
from lazycrop.library.provenance import Provenance
from lazycrop.library.versions import RENDER_WAIT, Versions
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.model.sizes import DEFAULT_BOUND, read_bound
from lazycrop.pictures.ingest import Prepared, prepare, prepare_without_origin
from lazycrop.settings import Config
from lazycrop.sources.contract import Seen

_LOOKS = 3  # at a file, where others change its image at the same time


class Adopting:
    """Adopts what the sources of one LazyCrop have."""

    def __init__(self, common: Common, versions: Versions, config: Config) -> None:
        self._records, self._origins, self._renders = common.records, common.origins, common.renders
        self._versions = versions
        self._config = config

    def adopt(self, image_id: str) -> Record | None:
        """The record of the image as its source has it now, stored if it was not; None where no source has it.

        An image that was stored stays what it is. Safe to repeat, also at the same time. Raises
        :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.SourceUnavailable`,
        :class:`~lazycrop.errors.StoreUnavailable`.
        """
        with self._versions.changing(image_id):
            for _ in range(_LOOKS):
                with suppress(OriginChanged):
                    return self._adopted(image_id)
        raise SourceUnavailable(BEING_WRITTEN)

    def _adopted(self, image_id: str) -> Record | None:
        """Raises OriginChanged where the image has become another one meanwhile: then all is asked again."""
        current = self._records.read_now(image_id)
        if current is not None and not current.is_adopted:
            return current
        place = self._origins.place(image_id)
        looked = place.look() if place else None
        if place is None or looked is None:
            return None
        if current is not None and looked.validator == current.validator:
            return current
        seen = place.read(self._config.download.download_bytes)
        if seen is None:
            return None
        digest = sha256(seen.data).hexdigest()
        if current is not None and digest == current.made_from:
            return self._versions.touch(current, seen.validator)
        provenance = Provenance(place.described, digest, len(seen.data), seen.validator, self._origins.private)
        return self._versions.adopt(image_id, self._prepared(seen), provenance, current)

    def look_again(self, message: Any) -> None:
        """Have the image that a message names be what its file is now: what is gone, or no image any more, goes."""
        image_id = Derivative.from_message(message).image_id
        try:
            record = self.adopt(image_id)
        except ImageError:
            self._versions.purge(image_id, None, forget=False)
            raise
        if record is None:
            self._versions.purge(image_id, None, forget=False)

    def _prepared(self, seen: Seen) -> Prepared:
        settings, reserve = self._config, self._renders.memory.use
        if settings.sources.copy_origins:
            bound = read_bound(DEFAULT_BOUND)
            work = partial(prepare, seen.data, bound, settings.limits, settings.ingest, reserve=reserve)
        else:
            work = partial(prepare_without_origin, seen.data, settings.limits, settings.ingest, reserve=reserve)
        return self._renders.run(work, RENDER_WAIT)
