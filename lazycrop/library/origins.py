"""Origins: the bytes of an origin, what a size is made from, and its URL, wherever it lies."""

from __future__ import annotations

from collections.abc import Callable

from lazycrop.errors import MissingObject, UnknownImage
from lazycrop.model import keys, urls
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size
from lazycrop.pictures.render import best_source
from lazycrop.stores.contract import Store
from lazycrop.stores.guarded import Guarded


class Origins:
    """The origins of the images of a store.

    ``prefix``: below which the application serves them where the store has no URL of its own.
    """

    def __init__(self, store: Guarded, prefix: str) -> None:
        self._store = store
        self._prefix = prefix

    def read(self, record: Record) -> bytes:
        """The bytes of the origin. Blocks for the store.

        Raises :class:`~lazycrop.errors.UnknownImage` when they are gone, and StoreUnavailable.
        """
        try:
            return self._store.get(record.origin_key, limit=2 * record.length)
        except MissingObject:
            raise UnknownImage(f"The origin of {record.image_id!r} is gone; store the image again.") from None

    def begin_reading(self, record: Record, size: Size) -> Callable[[], bytes]:
        """What ``size`` is made from: the smallest copy that is large enough, else the origin.

        Where a read takes a round trip it is under way when this returns; the result waits for its end, and raises as
        :meth:`read` does.
        """
        mezzanine = best_source(record, size)
        if mezzanine is None:
            read = self._store.begin_get(record.origin_key, limit=2 * record.length)
        else:
            read = self._store.begin_get(record.mezzanine_key(mezzanine), limit=2 * mezzanine.length)

        def result() -> bytes:
            try:
                return read()
            except MissingObject:  # Somebody deleted a copy; the origin has all that it had.
                return self.read(record)

        return result

    def url(self, record: Record) -> str:
        """Where the origin can be fetched: absolute where the store has a URL, else the path of the application's."""
        url = None if record.private else self._store.url(record.origin_key)
        key = keys.origin(record.image_id, record.version, record.format)
        return url or f"{self._prefix}/{urls.quoted(key)}"

    def exists(self, image_id: str, version: int, private: bool) -> bool:
        """Is there an origin of this version, whatever the records say? Blocks for the store."""
        place = keys.folder(image_id, version, private)
        return any(key.startswith(f"{place}origin.") for key in self._store.list(place))


def put(store: Store, record: Record, key: str, data: bytes, content_type: str, *, new: bool = False) -> bool:
    """Put an object of an image: that of a private one so that nobody else can read it."""
    if record.private:
        return store.put(key, data, content_type, cache_control="private, no-store", new=new, private=True)
    return store.put(key, data, content_type, new=new)
