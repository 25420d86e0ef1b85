"""Editing: what a person says of an image that is stored: where its subject is, and how it is cropped. All of it blocks.

Each makes a new version of the image, so that its sizes have keys of their own.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

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
        self._origins, self._renders = common.origins, common.renders
        self._versions = versions
        self._limits = config.limits

    def set_focal(self, image_id: str, focal: Focal) -> Record:
        """Say where the subject is; ``auto`` looks for it. The image stays as it is where that was said already."""
        return self._versions.change(image_id, lambda record: replace(record, focal=self._found(record, focal)))

    def set_crop(self, image_id: str, shape: tuple[int, int], part: Rectangle | None) -> Record:
        """Say what sizes of a shape show of the image; None is what all others do."""
        return self._versions.change(
            image_id, lambda record: replace(record, crops=with_crop(record.crops, shape, part))
        )

    def _found(self, record: Record, focal: Focal) -> tuple[int, int] | None:
        if focal != "auto":
            return focal
        data = self._origins.begin_reading(record, _SMALL)()
        return self._renders.run(partial(find_focal, data, self._limits, self._renders.memory.use), RENDER_WAIT)
