"""Upkeep: what is asked of images that are stored, and done with them, once they are there. All of it blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lazycrop.access.policy import Access
from lazycrop.errors import UnknownImage
from lazycrop.library.adopting import Adopting
from lazycrop.library.editing import Editing
from lazycrop.library.listing import Info, Listing, Usage
from lazycrop.library.versions import Versions
from lazycrop.model.crops import Rectangle, read_part, shape_of
from lazycrop.model.keys import ImageId
from lazycrop.model.records import Focal, Record, read_focal
from lazycrop.model.sizes import Asks, Size, as_size


class Upkeep:
    """The half of a LazyCrop that serves who looks after its images."""

    _access: Access
    _adopting: Adopting
    _editing: Editing
    listing: Listing
    _forget: Callable[[], None]
    _versions: Versions

    def read_id(self, image_id: object) -> str:
        raise NotImplementedError

    def size(self, size: Asks) -> Size | None:
        raise NotImplementedError

    def set_private(self, image_id: ImageId, private: bool) -> Record:
        """Make an image private, or public, as a new version of the same picture; its former versions go. Blocks.

        A file of a source that nobody has asked for is adopted before. Raises
        :class:`~lazycrop.errors.UnknownImage`, :class:`~lazycrop.errors.ConfigurationError`; and as :meth:`adopt`.
        """
        self._access.is_private(private)
        return self._edit(image_id, lambda image_id: self._versions.set_private(image_id, private))

    def set_focal(self, image_id: ImageId, focal: Focal) -> Record:
        """Say where the subject of an image is, (x, y) in per cent; ``"auto"`` looks for it, None forgets it. Blocks.

        Its sizes get new URLs, as those of a new version of the same picture; nothing of it is read or sent for that
        where the store copies by itself. Raises as :meth:`set_private`, and :class:`~lazycrop.errors.BadRequest`.
        """
        focal = read_focal(focal)
        return self._edit(image_id, lambda image_id: self._editing.set_focal(image_id, focal))

    def set_crop(self, image_id: ImageId, shape: Asks, part: Rectangle | None) -> Record:
        """Say which part of an image is shown, (left, top, width, height) in per cent, by all sizes of one shape.

        ``shape``: a preset, or a size such as ``4x3``; of those that are ``cover`` and have no gravity, each in these
        proportions shows the part, or the middle of it. None: what it would show without. As :meth:`set_focal`.
        """
        proportions = shape_of(as_size(self.size(shape) or (None, None)))
        part = None if part is None else read_part(part)
        return self._edit(image_id, lambda image_id: self._editing.set_crop(image_id, proportions, part))

    def rename(self, image_id: ImageId, to: ImageId) -> Record:
        """Give an image another id, of no image yet. Blocks. At each moment one of the two names works, or both do.

        Its sizes are made again when they are asked for. Raises :class:`~lazycrop.errors.UnknownImage`,
        :class:`~lazycrop.errors.BadRequest`, :class:`~lazycrop.errors.StoreUnavailable`.
        """
        try:
            return self._editing.rename(self.read_id(image_id), self.read_id(to))
        finally:
            self._forget()

    def _edit(self, image_id: ImageId, edit: Callable[[str], Record]) -> Record:
        """Do it to an image; a file of a source that nobody has asked for is adopted before."""
        image_id = self.read_id(image_id)
        try:
            return edit(image_id)
        except UnknownImage:
            if self._adopting.adopt(image_id) is None:
                raise
            return edit(image_id)
        finally:
            self._forget()

    def list(self, prefix: str = "", after: ImageId = "") -> Iterator[Record]:
        """The records of all stored images whose ids begin with ``prefix``, lazily, in the order of the store's keys.

        ``after``: the id of the last one that is known. Blocks at each; raises :class:`~lazycrop.errors.BadRequest`,
        :class:`~lazycrop.errors.StoreUnavailable`.
        """
        return self.listing.records(prefix, "" if after == "" else self.read_id(after))

    def exists(self, image_id: ImageId) -> bool:
        """Is there such an image in the store, at this moment? Blocks. Raises StoreUnavailable."""
        return self.listing.exists(self.read_id(image_id))

    def info(self, image_id: ImageId) -> Info:
        """The record of an image, each size that is stored of it, and the bytes of all. Blocks.

        Raises :class:`~lazycrop.errors.UnknownImage`, :class:`~lazycrop.errors.StoreUnavailable`.
        """
        return self.listing.info(self.read_id(image_id))

    def usage(self, prefix: str = "") -> Usage:
        """How many images, sizes, objects and bytes there are of those whose ids begin with ``prefix``. Blocks."""
        return self.listing.usage(prefix)
