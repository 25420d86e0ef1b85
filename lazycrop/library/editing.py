"""Editing: what a person says of an image that is stored: where its subject is, how it is cropped, and its id.

Each makes a new version of the image, so that its sizes have keys of their own. All of it blocks.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from lazycrop.errors import BadRequest
from lazycrop.library.common import Common
from lazycrop.library.versions import RENDER_WAIT, Versions
from lazycrop.model.crops import Rectangle, with_crop
from lazycrop.model.records import Focal, Record
from lazycrop.model.sizes import Size
from lazycrop.pictures.ingest import find_focal
from lazycrop.settings import Config

_SMALL = Size(256, 256)


class Editing:
    """Edits the images of one LazyCrop."""

    def __init__(self, common: Common, versions: Versions, config: Config) -> None:
        self._origins, self._renders, self._records = common.origins, common.renders, common.records
        self._versions = versions
        self._limits = config.limits

    def set_focal(self, image_id: str, focal: Focal) -> Record:
        """Say where the subject is; ``auto`` looks for it. The image stays as it is where that was said already."""

        def change(record: Record) -> Record:
            return replace(record, focal=self._found(record, focal))

        return self._versions.change(image_id, change, image_id)

    def set_crop(self, image_id: str, shape: tuple[int, int], part: Rectangle | None) -> Record:
        """Say what sizes of a shape show of the image; None is what all others do."""

        def change(record: Record) -> Record:
            return replace(record, crops=with_crop(record.crops, shape, part))

        return self._versions.change(image_id, change, image_id)

    def rename(self, image_id: str, to: str) -> Record:
        """Give an image another id: it is stored under that, and then purged under its own. Its sizes are made anew.

        What is stored under its own id meanwhile stays there.
        """
        tags = []

        def change(record: Record) -> Record:
            if record.is_adopted:
                raise BadRequest(f"The image {image_id!r} is a file of a source, and has the name of that.")
            tags.append(record.tag)
            return replace(record, image_id=to)

        renamed = self._versions.change(image_id, change, to)
        now = self._records.read_now(image_id)
        if now is not None and now.tag not in tags:
            raise BadRequest(
                f"The image {image_id!r} was replaced meanwhile; {to!r} is what it was, and both are there."
            )
        self._versions.purge(image_id, None, forget=False)
        return renamed

    def _found(self, record: Record, focal: Focal) -> tuple[int, int] | None:
        if focal != "auto":
            return focal
        data = self._origins.begin_reading(record, _SMALL)()
        return self._renders.run(partial(find_focal, data, self._limits, self._renders.memory.use), RENDER_WAIT)
