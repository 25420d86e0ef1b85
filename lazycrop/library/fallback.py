"""Fallback: the image that is shown in place of one that is missing."""

from __future__ import annotations

import logging
from hashlib import sha256
from pathlib import Path

from lazycrop.errors import LazyCropError
from lazycrop.library.versions import Versions
from lazycrop.model.sizes import DEFAULT_BOUND, read_bound
from lazycrop.settings import Config
from lazycrop.sources import given

logger = logging.getLogger(__name__)


class Fallback:
    """What the setting ``fallback_image`` names: an image of the store or a source, or a file, which is stored when it
    is first needed, under an id that its bytes give; so all processes have the same.
    """

    def __init__(self, versions: Versions, config: Config) -> None:
        self._versions = versions
        self._named = config.answers.fallback_image
        self._download = config.download
        self._stored: str | None = None

    def image_id(self) -> str | None:
        """Its id; None where there is none, or the file cannot be stored now, which the log says. May block."""
        if self._named is None or not self._named.startswith(("/", "./", "../")):
            return self._named
        if self._stored is None:
            try:
                self._stored = self._store(Path(self._named))
            except LazyCropError as error:
                extra = {"event": "fallback-failed", "code": error.code}
                logger.error("the fallback image %r cannot be stored: %s", self._named, error, extra=extra)
        return self._stored

    def forget(self) -> None:
        """Store the file anew when it is needed: what was stored of it is gone."""
        self._stored = None

    def _store(self, path: Path) -> str:
        data, described = given.read(path, self._download)
        image_id = f"lazycrop-fallback/{sha256(data).hexdigest()[:16]}"
        self._versions.store(image_id, data, described, read_bound(DEFAULT_BOUND), None, False, again=False)
        return image_id
