"""LazyCrop: what an application has of its images.

>>> images = LazyCrop(store="./images", sizes=["200x100", "800x"])
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from lazycrop import settings
from lazycrop.build import build
from lazycrop.errors import (
    BadRecord,
    BadRequest,
    ConfigurationError,
    ImageError,
    LazyCropError,
    Unavailable,
    UnknownImage,
)
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request, as_wsgi
from lazycrop.library.jobs import STORE, Jobs
from lazycrop.library.together import in_jobs
from lazycrop.library.versions import RENDER_WAIT
from lazycrop.model import urls
from lazycrop.model.derivatives import AUTO, Derivative
from lazycrop.model.keys import ImageId, read_image_id
from lazycrop.model.records import Focal, Record, read_focal
from lazycrop.model.sizes import DEFAULT_BOUND, Asks, Size, as_size, read_bound
from lazycrop.pictures.ingest import verify
from lazycrop.service import Service
from lazycrop.sources import given
from lazycrop.upkeep import Upkeep

if TYPE_CHECKING:
    from lazycrop.catalogue.catalogue import Catalogue
    from lazycrop.keywords import Settings

_Derivatives = list[Derivative]  # Within the class that word is a verb.


class LazyCrop(Upkeep):
    """Images that are stored once and asked for in any size.

    Making one starts no thread and connects nowhere. It is safe for threads, and one made before a fork works in the
    children. Raises :class:`~lazycrop.errors.ConfigurationError`.
    """

    def __init__(self, **given_settings: Unpack[Settings]) -> None:
        self.config = settings.make_config(given_settings)
        parts = build(self.config)
        self.policy = parts.policy
        self.store = parts.common.store.unguarded
        self._store = parts.common.store
        self.jobs: Jobs = parts.jobs
        self._access = parts.access
        self._state = parts.common.state
        self._records = parts.common.records
        self._renders = parts.common.renders
        self._versions = parts.versions
        self._adopting = parts.adopting
        self.listing = parts.listing
        self._editing = parts.editing
        self.cleaning = parts.cleaning
        self.verifying = parts.verifying
        self.mending = parts.mending
        self.sources = parts.sources
        self.pages = parts.pages
        self._fallback = parts.fallback
        self.watch = parts.watch
        self._events = parts.common.events
        self._catalogue = parts.catalogue
        self._demand = parts.demand
        self._service = Service(parts, self.config)
        self._forget = self._service.forget
        self.remembered, self.at_hand = self._service.remembered, self._service.at_hand

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], prefix: str = settings.PREFIX) -> LazyCrop:
        """From those of ``mapping`` that begin with ``prefix``; values may be strings."""
        return cls(**settings.from_mapping(mapping, prefix))

    @classmethod
    def from_ini(cls, path: str | os.PathLike[str]) -> LazyCrop:
        """From the section ``[lazycrop]`` of an ini file."""
        return cls(**settings.from_ini(path))

    @classmethod
    def from_env(cls) -> LazyCrop:
        """From the environment: ``LAZYCROP_STORE`` and so on, over the ini file that ``LAZYCROP_CONFIG`` names."""
        return cls(**settings.from_env())

    def answer(self, request: Request | str, **parts: Any) -> Answer:
        """The response to a request. Blocks for the store, for a render, for others who make the same picture.

        ``request``: a :class:`~lazycrop.http.requests.Request`; or its path as text, percent-decoded, with its other
        ``parts`` by name. Ends at the latest when ``request_seconds`` are over. Raises nothing: an error is an answer
        too.
        """
        return self._service.answer(Request(as_wsgi(request), **parts) if isinstance(request, str) else request)

    def store_origin(
        self,
        image_id: ImageId,
        source: given.Given,
        bound: Asks = DEFAULT_BOUND,
        *,
        focal: Focal = None,
        private: bool | None = None,
        again: bool = True,
    ) -> Record:
        """Store an image; return its record when everything of it is stored. Blocks for as long as that takes.

        ``image_id``: a text in any language, or the number or UUID of a row. ``source``: an http(s) URL as a text; a
        file as a Path, bytes, or a binary file object. ``bound``: the box in pixels that the origin is shrunk to.
        ``focal``: where the subject is, (x, y) in per cent, or ``"auto"``. ``private``: only who has a signed URL gets
        anything of it; as the setting says when None. An id that exists gets a new version; without ``again`` only
        where it was stored from other bytes, or is not as ``private``.

        Raises :class:`~lazycrop.errors.BadImageId`, :class:`~lazycrop.errors.FetchError`,
        :class:`~lazycrop.errors.ImageError` and :class:`~lazycrop.errors.StoreUnavailable`; then nothing is stored.
        """
        try:
            image_id = self.read_id(image_id)
            focal = read_focal(focal)
            box = read_bound(bound)
            private = self._access.is_private(private)
            data, described = given.read(source, self.config.download)
            return self._versions.store(image_id, data, described, box, focal, private, again=again)
        except LazyCropError:
            raise
        except Exception as error:  # Whoever stores counts on our errors alone; the cause says where to look.
            raise LazyCropError(f"The image {image_id!r} could not be stored: {error!r}.") from error
        finally:
            self._forget()

    def adopt(self, image_id: ImageId) -> Record:
        """Make an image of the file that a source has under this name, ahead of the first request. Blocks.

        An image that is there already is looked at again: it gets a new version where its file has changed. One that
        was stored stays what it is. Raises :class:`~lazycrop.errors.UnknownImage`,
        :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.SourceUnavailable`,
        :class:`~lazycrop.errors.StoreUnavailable`.
        """
        image_id = self.read_id(image_id)
        try:
            record = self._adopting.adopt(image_id)
        finally:
            self._forget()
        if record is None:
            raise UnknownImage(f"No source has a file {image_id!r}.")
        return record

    def record(self, image_id: ImageId, version: int | None = None) -> Record:
        """What is known of an image, or was some seconds ago. Blocks for the store where nobody has asked lately.

        Raises :class:`~lazycrop.errors.UnknownImage`, :class:`~lazycrop.errors.StoreUnavailable`.
        """
        return self._records.recent(self.read_id(image_id), version)

    def check(self, source: given.Given) -> None:
        """Raise what :meth:`store_origin` would raise for this source, and store nothing; for the validators of forms.

        Blocks for as long as it takes to decode it. An open file that can be sought is left where it was.
        """
        with given.unmoved(source):
            data, _ = given.read(source, self.config.download)
        self._renders.run(partial(verify, data, self.config.limits, self._renders.memory.use), RENDER_WAIT)

    def fallback(self) -> Record | None:
        """The record of what the setting ``fallback_image`` names; None where there is none. May block."""
        image_id = self._fallback.image_id()
        return None if image_id is None else self._recent(image_id, None)

    def purge(self, image_id: ImageId, version: int | None = None, *, forget: bool = False) -> int:
        """Delete all of an image, or all of one of its former versions; return how many objects went. Blocks.

        Images below it (``a/b`` of ``a``) stay. A job that is under way leaves nothing behind. What stays is one tiny
        object with the number of the last version, so that an image that is stored under this id again has other URLs
        than those that caches still have; ``forget`` deletes that too.
        """
        image_id = self.read_id(image_id)
        try:
            return self._versions.purge(image_id, version, forget)
        finally:
            self._forget()

    def warm(self, image_id: ImageId, sizes: Iterable[Asks], formats: Iterable[str] | None = None) -> _Derivatives:
        """Have sizes of an image made and stored before anybody asks; return them.

        ``formats``: the ``format`` of the settings when not given. Raises :class:`~lazycrop.errors.UnknownImage`, and
        :class:`~lazycrop.errors.Unavailable` when the broker does not take the jobs.
        """
        record = self.record(image_id)
        if isinstance(sizes, str) or isinstance(formats, str):
            raise BadRequest("One text is given for several sizes or formats; give a list.")
        kinds: list[str] = []
        for format in formats or (self.config.format,):
            kinds += [*self.config.offered_formats, record.format] if format == AUTO else [format]
        wanted = [
            Derivative(record.image_id, self.size(size), kind, record.version) for size in sizes for kind in kinds
        ]
        for derivative in wanted:
            self.policy.check(derivative)
        for job in in_jobs(record, (one for one in wanted if one.size is not None)):
            if not self.jobs.send_together(STORE, job):
                others = f" and {len(job) - 1} more" if len(job) > 1 else ""
                raise Unavailable(f"The job for {job[0].key!r}{others} was not taken, or failed; the log says why.")
        return wanted

    def url(
        self,
        image_id: ImageId,
        size: Asks,
        *,
        format: str | None = None,
        version: int | None = None,
        expires: int | timedelta | None = None,
        mount: str | None = None,
    ) -> str:
        """The path to ask for ``size``, with the image's version from the second on, and signed where it must be.

        ``format``: that of the settings when not given. ``expires``: how long from now until the URL is refused, in
        seconds or as a timedelta.
        ``mount``: where the images are mounted, ``prefix`` when not given; begins with SCRIPT_NAME where there is one.
        Raises :class:`~lazycrop.errors.BadSize`, :class:`~lazycrop.errors.NotAllowed`; never for the lack of an image.
        """
        image_id = self.read_id(image_id)
        record = self._recent(image_id, version)
        if record is not None:
            return self.url_of(record, size, format=format, expires=expires, mount=mount)
        derivative = Derivative(image_id, self.size(size), format or self.config.format, version)
        return self._service.location(derivative, mount, _until(expires))

    def url_of(
        self,
        record: Record,
        size: Asks,
        *,
        format: str | None = None,
        expires: int | timedelta | None = None,
        mount: str | None = None,
    ) -> str:
        """:meth:`url` of an image whose record is at hand: its very version. Asks nobody."""
        derivative = Derivative(record.image_id, self.size(size), format or self.config.format, record.version)
        return self._service.location(derivative, mount, _until(expires), record.private)

    def read_id(self, image_id: object) -> str:
        """An image id as users have it, as the text that it is. Raises :class:`~lazycrop.errors.BadImageId`."""
        return read_image_id(image_id, self.sources.covers)

    def size(self, size: Asks) -> Size | None:
        """A size as users give it, as a Size; None is the origin. Raises :class:`~lazycrop.errors.BadSize`."""
        if isinstance(size, str):
            return urls.read_size(size, self.policy.presets)
        return as_size(size)

    def stored_url(self, derivative: Derivative) -> str | None:
        """The store's own URL of what is known to be stored; None where that is not known, or has none."""
        if derivative.format == AUTO or self.config.answers.answer != "redirect":
            return None
        found = self._records.find(derivative)
        if found.record.private or not found.is_there:
            return None
        return self._store.url(found.key)

    @property
    def catalogue(self) -> Catalogue:
        """What the store knows, in a database. Raises ConfigurationError where the setting ``catalogue`` names none."""
        if self._catalogue is None:
            raise ConfigurationError("There is no catalogue: set 'catalogue', such as sqlite:///lazycrop.db.")
        return self._catalogue

    @property
    def closed(self) -> bool:
        """Nothing may be asked for: neither sizes nor a secret are set."""
        return self._access.closed

    def on(self, event: str, call: Callable[[Any], object]) -> None:
        """Have ``call`` called with each event of this name: stored, replaced, rendered, purged, failed; and for who
        watches answered, rendering, queued, worked, dead.

        It is called after the fact, in the process and on the thread where it happened; see :mod:`lazycrop.events`.
        What it raises is logged and changes nothing. Raises :class:`~lazycrop.errors.ConfigurationError`.
        """
        self._events.on(event, call)

    def close(self) -> None:
        """Let embedded jobs finish, end threads and connections to memcached; at exit this happens by itself."""
        if self._demand is not None:
            self._demand.close()
        self.jobs.close()
        if self._catalogue is not None:
            self._catalogue.close()
        self.pages.close()
        self.sources.close()
        self._renders.close()
        self._state.close()

    def _recent(self, image_id: ImageId, version: int | None) -> Record | None:
        """The record where it is to be had: a URL can be made without it."""
        try:
            return self.record(image_id, version)
        except (UnknownImage, Unavailable, BadRecord, ImageError):
            return None


def _until(expires: int | timedelta | None) -> int | None:
    if expires is None:
        return None
    return int(time.time() + (expires.total_seconds() if isinstance(expires, timedelta) else expires))
