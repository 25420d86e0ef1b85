"""LazyCrop: the life of a derivative, from a URL to the picture and on into the store.

absent → (lease) being rendered → hot, being answered → (actor) stored, marked → redirect
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from lazycrop import settings as config
from lazycrop.access.policy import Policy
from lazycrop.access.signing import Signer
from lazycrop.concurrency.deadlines import deadline
from lazycrop.errors import (
    BadRequest,
    Forbidden,
    LazyCropError,
    MethodNotAllowed,
    MissingObject,
    NotAllowed,
    NotFound,
    Quarantined,
    StoreUnavailable,
    Unavailable,
    UnknownImage,
)
from lazycrop.http import answers
from lazycrop.http.answers import Answer, Freshness, Trace
from lazycrop.http.negotiation import is_unchanged, named_formats
from lazycrop.http.shortcuts import Shortcut, Shortcuts
from lazycrop.library.making import Maker
from lazycrop.library.versions import Focal, Library, Source
from lazycrop.model import urls
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES, Derivative
from lazycrop.model.records import BadRecord, Record
from lazycrop.model.sizes import Size

logger = logging.getLogger(__name__)

Asks = str | Size | tuple[int | None, int | None]
"""A size as users give it: its spelling or a preset's name, a Size, or (width, height)."""


_SHORT = 65_536  # Bytes, as many as are sent at a time.


@dataclass(frozen=True, slots=True)
class _Request:
    """What a request says."""

    method: str
    path: str
    query: str
    accept: str | None
    if_none_match: str | None
    if_modified_since: str | None
    mount: str | None
    redirect: bool

    def has(self, freshness: Freshness) -> bool:
        """Does the client have this very picture already?"""
        return is_unchanged(freshness.etag, freshness.modified, self.if_none_match, self.if_modified_since)


class LazyCrop:
    """Images that are stored once and asked for in any size.

    Settings are keywords: each is in the documentation's table of options. Making a LazyCrop starts no thread and
    connects nowhere. It is safe for threads, and one made before a fork works in the children.

    Raises :class:`~lazycrop.errors.ConfigurationError`.
    """

    def __init__(self, **settings: Any) -> None:
        self.config = config.make_config(settings)
        self.policy = Policy(self.config)
        self.store = config.open_store(self.config)
        self.cache = config.open_cache(self.config, self.store)
        self.library = Library(self.store, self.cache, self.config)
        self.maker = Maker(self.store, self.cache, self.library, self.policy, self.config)
        self._signer = Signer(self.config.secret) if self.config.secret else None
        self._auto_formats = [format for format in self.config.auto_formats if format in self.config.formats]
        self.shortcuts = Shortcuts(self.config)
        self._fingerprints = {format: self.config.fingerprint(format) for format in CONTENT_TYPES}

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any], prefix: str = config.PREFIX) -> LazyCrop:
        """From those of ``settings`` that begin with ``prefix``; values may be strings."""
        return cls(**config.from_mapping(settings, prefix))

    @classmethod
    def from_ini(cls, path: str | os.PathLike[str]) -> LazyCrop:
        """From the section ``[lazycrop]`` of an ini file."""
        return cls(**config.from_ini(path))

    @classmethod
    def from_env(cls) -> LazyCrop:
        """From the environment: ``LAZYCROP_STORE`` and so on, over the ini file that ``LAZYCROP_CONFIG`` names."""
        return cls(**config.from_env())

    def store_origin(
        self,
        image_id: str,
        source: Source,
        bound: str | Size = "4000x4000",
        *,
        focal: Focal = None,
        trusted: bool = True,
    ) -> Record:
        """Store an image; return its record when everything of it is stored.

        ``source``: an http(s) URL, a path, bytes, or a binary file object. ``bound``: the box in pixels that the
        origin is shrunk to. ``focal``: where the subject is, (x, y) in per cent, or ``"auto"``.
        An id that exists gets a new version. ``trusted``: say False when ``source`` is a visitor's text, so that it is
        taken for a URL only, and never for a file of this machine.

        Raises :class:`~lazycrop.errors.BadImageId`, :class:`~lazycrop.errors.FetchError`,
        :class:`~lazycrop.errors.ImageError` and :class:`~lazycrop.errors.StoreUnavailable`; then nothing is stored.
        """
        try:
            return self.library.store_origin(image_id, source, bound, focal, trusted)
        finally:
            self.shortcuts.forget()

    def record(self, image_id: str, version: int | None = None) -> Record:
        """What is known of an image. Raises :class:`~lazycrop.errors.UnknownImage`."""
        return self.library.record(image_id, version)

    def purge(self, image_id: str, version: int | None = None) -> int:
        """Delete all of an image, or all of one of its former versions; return how many objects went.

        Images below it (``a/b`` of ``a``) stay. A job that is under way leaves nothing behind.
        """
        try:
            return self.library.purge(image_id, version)
        finally:
            self.shortcuts.forget()

    def warm(self, image_id: str, sizes: Iterable[Asks], formats: Iterable[str] | None = None) -> list[Derivative]:
        """Have sizes of an image made and stored before anybody asks; return them.

        ``formats``: the ``format`` of the settings when not given. Raises :class:`~lazycrop.errors.UnknownImage`, and
        :class:`~lazycrop.errors.Unavailable` when the broker does not take the jobs.
        """
        record = self.record(image_id)
        if isinstance(sizes, str) or isinstance(formats, str):
            raise BadRequest("One text is given for several sizes or formats; give a list.")
        kinds: list[str] = []
        for format in formats or (self.config.format,):
            kinds += [*self._auto_formats, record.format] if format == AUTO else [format]
        wanted = [Derivative(image_id, self.size(size), kind, record.version) for size in sizes for kind in kinds]
        for derivative in wanted:
            self.policy.check(derivative)
            if derivative.size is not None and not self.maker.enqueue(derivative):
                raise Unavailable(f"The job for {derivative.key!r} was not taken, or failed; the log says why.")
        return wanted

    def url(
        self,
        image_id: str,
        size: Asks,
        *,
        format: str | None = None,
        version: int | None = None,
        expires: int | None = None,
        mount: str | None = None,
    ) -> str:
        """The path to ask for ``size``, with the image's version from the second on, and signed where it must be.

        ``format``: that of the settings when not given. ``expires``: seconds from now until the URL is refused.
        ``mount``: where the images are mounted, ``prefix`` when not given; begins with SCRIPT_NAME where there is one.
        Raises :class:`~lazycrop.errors.BadSize`, :class:`~lazycrop.errors.NotAllowed`; never for the lack of an image.
        """
        if version is None:
            version = self._current_version(image_id)
        derivative = Derivative(image_id, self.size(size), format or self.config.format, version)
        self.policy.check(derivative)
        if not self._signer and not self.policy.lists(derivative) and not self._snapped(derivative):
            raise self._not_allowed(derivative)
        return self._location(derivative, mount, expires)

    def size(self, size: Asks) -> Size | None:
        """A size as users give it, as a Size; None is the origin. Raises :class:`~lazycrop.errors.BadSize`."""
        if isinstance(size, str):
            return urls.read_size(size, self.policy.presets)
        return size if isinstance(size, Size) else Size(*size)

    def answer(
        self,
        path: str,
        *,
        query: str = "",
        method: str = "GET",
        accept: str | None = None,
        if_none_match: str | None = None,
        if_modified_since: str | None = None,
        mount: str | None = None,
        redirect: bool = True,
    ) -> Answer:
        """The response to a request for ``path``, the part of the URL's path below the prefix (``/cat/200x100.jpg``).

        ``query``: the raw query string. ``accept``, ``if_none_match``, ``if_modified_since``: headers as they came.
        ``mount``: as for :meth:`url`. ``redirect``: False gets what is stored itself, whatever the settings say.
        Raises nothing: an error is an answer too.
        """
        # Then another client's answer is as good for this one.
        is_plain = method == "GET" and redirect and if_none_match is None and if_modified_since is None
        shortcuts = self.shortcuts.table
        shortcut = self.shortcuts.get(path, query) if is_plain else None
        if shortcut is not None and shortcut.key is None:
            return Answer(shortcut.status, list(shortcut.headers))
        redirect = redirect and self.config.answer == "redirect"
        request = _Request(method, path, query, accept, if_none_match, if_modified_since, mount, redirect)
        trace = Trace()
        with deadline(self.config.request_seconds):
            if shortcut is not None and (ready := self._by_shortcut(shortcut)) is not None:
                return ready
            answer = self._answer_or_error(request, trace)
        if is_plain and trace.stored is not None and not trace.varies:
            self.shortcuts.keep(shortcuts, (path, query), answer, trace)
        answer.headers += trace.headers()
        if method == "HEAD":
            answer.close()
            answer.body = b""
        return answer

    def close(self) -> None:
        """Let embedded jobs finish, end threads and connections to memcached; at exit this happens by itself."""
        self.maker.close()
        self.cache.close()

    def _answer_or_error(self, request: _Request, trace: Trace) -> Answer:
        try:
            return self._permitted(request, trace)
        except LazyCropError as error:
            failure = error
            if error.status >= 500:
                logger.warning(
                    "%s %r answers %d: %s",
                    *(request.method, request.path, error.status, error),
                    exc_info=error.status == 500,  # Of what is not available, its owner has said why.
                )
        except Exception:
            failure = LazyCropError()
            logger.exception("%s %r failed", request.method, request.path)
        if failure.status == 500:  # Its text may tell of the infrastructure.
            failure = LazyCropError("Something went wrong here; the log says what.")
        trace.status, trace.stored = f"fwd=bypass; detail={failure.code}", None
        return answers.error(failure, varies=trace.varies)

    def _by_shortcut(self, shortcut: Shortcut) -> Answer | None:
        """The stored object that was answered a moment ago, if it is as it was."""
        assert shortcut.key is not None
        try:
            body, length = self._read_or_open(shortcut, shortcut.key)
        except Exception:  # The long way says what it is.
            return None
        answer = Answer(shortcut.status, list(shortcut.headers), body)
        if length != shortcut.length:
            answer.close()
            return None
        return answer

    def _read_or_open(self, shortcut: Shortcut, key: str) -> tuple[bytes | BinaryIO, int]:
        """Its object, and the length: the bytes of a short one, because to stream it costs a server more."""
        if shortcut.length > _SHORT:
            opened = self.store.open(key)
            return opened.file, opened.length
        data = self.shortcuts.body(shortcut, lambda: self.store.get(key, _SHORT))
        return data, len(data)

    def _permitted(self, request: _Request, trace: Trace) -> Answer:
        """The answer where policy allows what is asked, or something near it."""
        if request.method not in answers.METHODS:
            raise MethodNotAllowed(
                f"The method {request.method[:20]!r} is not allowed; images are read with GET and HEAD."
            )
        asked = urls.parse(request.path, request.query, self.policy.presets)
        derivative = asked.derivative
        trace.varies = derivative.format == AUTO and derivative.size is not None  # An origin has its own format only.
        trace.until = asked.until
        self.policy.check(derivative)
        if not (self._signer and self._signer.verify(asked)) and not self.policy.lists(derivative):
            snapped = self._snapped(derivative)
            if snapped is None:
                raise self._not_allowed(derivative)
            return answers.elsewhere(self._location(snapped, request.mount))
        if trace.varies:
            return self._negotiated(derivative, request, trace)
        return self._found_or_made(derivative, request, trace)

    def _negotiated(self, asked: Derivative, request: _Request, trace: Trace) -> Answer:
        """The best format that the client names; a slow one only when it is stored, and a fast one until then."""
        named = named_formats(request.accept, self._auto_formats)
        fast = next((format for format in named if format not in self.config.slow_formats), AUTO)
        if not named or named[0] == fast:
            return self._found_or_made(replace(asked, format=fast), request, trace)
        best = replace(asked, format=named[0])
        with trace.measure("lookup"):
            derivative, record, known = self.library.look(best)
        if known.stored:
            return self._found_or_made(best, request, trace)
        if request.method == "GET":
            self.maker.order(derivative, record)
        return self._found_or_made(replace(asked, format=fast), request, trace, brief=True)

    def _found_or_made(self, asked: Derivative, request: _Request, trace: Trace, *, brief: bool = False) -> Answer:
        """304, the stored object, the hot bytes, or bytes made now: the first of them that there is."""
        with trace.measure("lookup"):
            derivative, record, known = self.library.look(asked)
        trace.fresh_until = known.until
        if derivative.size is None and derivative.format != record.format:
            raise NotFound(f"The origin of {asked.image_id!r} is a {record.format}: ask for origin.{record.format}.")
        if derivative.size is not None and derivative.format not in self.config.formats:
            return self._found_or_made(replace(asked, format=self.config.formats[0]), request, trace, brief=brief)
        freshness = Freshness(
            etag=derivative.etag(record.tag, self._fingerprints[derivative.format]),
            modified=record.modified,
            versioned=asked.version is not None,
            max_age=self.config.max_age,
            varies=trace.varies,
            brief=brief,
            until=trace.until,
        )
        if request.has(freshness):
            trace.status = "hit; detail=not-modified"
            return answers.not_modified(freshness)
        if known.stored or derivative.size is None:
            stored = self._stored(derivative, request, freshness, trace)
            if stored is not None:
                return stored
            if derivative.size is None:
                raise self.library.lost(record)
        hot = known.hot
        if hot and hot.data is not None:
            if not hot.queued:
                self.maker.store_hot(derivative, record, hot.data)
            trace.status = "hit; detail=hot"
            return answers.picture(hot.data, len(hot.data), derivative.format, freshness)
        if known.quarantined:
            minutes = -(-self.config.quarantine_seconds // 60)
            raise Quarantined(
                f"The image {asked.image_id!r} could not be decoded; it is tried again in {minutes} minutes."
            )
        if request.method == "HEAD":
            return self._promised(derivative, request, freshness, trace)
        return self._made(derivative, record, request, freshness, trace)

    def _stored(self, derivative: Derivative, request: _Request, freshness: Freshness, trace: Trace) -> Answer | None:
        """A redirect to the stored object, or the object itself; None when it is not there although it was."""
        location = self.store.url(derivative.key) if request.redirect else None
        if location is not None:
            answer = answers.redirect(location, self.config.redirect_status, freshness)
        else:
            try:
                opened = self.store.open(derivative.key)
            except MissingObject:
                return None
            answer = answers.picture(opened.file, opened.length, derivative.format, freshness)
        trace.status, trace.stored = "hit; detail=stored", derivative.key
        return answer

    def _promised(self, derivative: Derivative, request: _Request, freshness: Freshness, trace: Trace) -> Answer:
        """HEAD renders nothing: what is not stored has no length yet (RFC 9110, 8.6 permits to leave it out)."""
        if self.store.exists(derivative.key) and (stored := self._stored(derivative, request, freshness, trace)):
            return stored
        trace.status = "fwd=miss"
        return answers.picture(b"", None, derivative.format, freshness)

    def _made(
        self, derivative: Derivative, record: Record, request: _Request, freshness: Freshness, trace: Trace
    ) -> Answer:
        made = self.maker.make(derivative, record)
        for name, seconds in made.timings.items():
            trace.add(name, seconds)
        if made.data is None:
            stored = self._stored(derivative, request, freshness, trace)
            if stored is None:
                raise StoreUnavailable("The stored picture vanished while it was read; ask again.")
            return stored
        trace.status = "fwd=miss; collapsed" if made.collapsed else "fwd=miss; detail=rendered"
        return answers.picture(made.data, len(made.data), derivative.format, freshness)

    def _snapped(self, derivative: Derivative) -> Derivative | None:
        size = self.policy.snapped(derivative.size) if derivative.size else None
        return replace(derivative, size=size) if size else None

    def _not_allowed(self, derivative: Derivative) -> LazyCropError:
        if self._signer:
            return Forbidden("This URL needs a signature; take the URL as the application gives it.")
        size = str(derivative.size or "origin")
        return NotAllowed(
            f"The size {size!r} may not be asked for; the application names what may in 'sizes' and 'presets'."
        )

    def _location(self, derivative: Derivative, mount: str | None, expires: int | None = None) -> str:
        """The URL's path and query; signed where policy does not list it, or where it is to expire."""
        path = f"{self.config.prefix if mount is None else mount}/{derivative.key}"
        if self._signer and (expires is not None or not self.policy.lists(derivative)):
            until = None if expires is None else int(time.time()) + expires
            return f"{path}?{self._signer.sign(derivative, until)}"
        return path

    def _current_version(self, image_id: str) -> int | None:
        try:
            return self.record(image_id).version
        except (UnknownImage, Unavailable, BadRecord):
            return None
