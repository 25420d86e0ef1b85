"""LazyCrop: the story of one request, from a URL to the picture, and the verbs of whoever has the images.

absent → (lease) being rendered → hot, being answered → (actor) stored, marked → redirect
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from lazycrop import settings
from lazycrop.access.decision import Snapped
from lazycrop.build import build
from lazycrop.concurrency.deadlines import deadline
from lazycrop.concurrency.timing import measure, recorded
from lazycrop.errors import (
    BadRecord,
    BadRequest,
    LazyCropError,
    MethodNotAllowed,
    MissingObject,
    NotFound,
    Quarantined,
    StoreUnavailable,
    Unavailable,
    UnknownImage,
)
from lazycrop.http import answers
from lazycrop.http.answers import Answer, Freshness, Outcome
from lazycrop.http.negotiation import is_unchanged, named_formats
from lazycrop.http.requests import Request
from lazycrop.http.shortcuts import Shortcut, Shortcuts
from lazycrop.library.jobs import STORE, Jobs
from lazycrop.library.records import Found
from lazycrop.model import urls
from lazycrop.model.derivatives import AUTO, Derivative
from lazycrop.model.keys import ImageId, read_image_id
from lazycrop.model.records import Focal, Record, check_focal
from lazycrop.model.sizes import Asks, Size, read_bound
from lazycrop.sources import given

if TYPE_CHECKING:
    from lazycrop.keywords import Settings

logger = logging.getLogger(__name__)

_SHORT = 65_536  # Bytes, as many as are sent at a time.


@dataclass(frozen=True, slots=True)
class _Case:
    """A request, what is known of the picture that it asks for, and what its answer will say of itself."""

    request: Request
    found: Found
    freshness: Freshness
    outcome: Outcome

    def status(self, status: str, key: str | None = None) -> Outcome:
        return replace(self.outcome, status=status, key=key)


class LazyCrop:
    """Images that are stored once and asked for in any size.

    Making one starts no thread and connects nowhere. It is safe for threads, and one made before a fork works in the
    children. Raises :class:`~lazycrop.errors.ConfigurationError`.
    """

    def __init__(self, **given_settings: Unpack[Settings]) -> None:
        self.config = settings.make_config(given_settings)
        parts = build(self.config)
        self.policy = parts.policy
        self.store = parts.store.unguarded
        self._store = parts.store
        self.jobs: Jobs = parts.jobs
        self._access = parts.access
        self._state = parts.state
        self._records = parts.records
        self._renders = parts.renders
        self._maker = parts.maker
        self._versions = parts.versions
        self._events = parts.events
        self._auto_formats = [one for one in self.config.answers.auto_formats if one in self.config.policy.formats]
        self._shortcuts = Shortcuts(self.config.shortcuts)
        self.remembered = self._shortcuts.redirect

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

    # The story of one request.

    def answer(self, request: Request | str, **parts: Any) -> Answer:
        """The response to a request. Blocks for the store, for a render, for others who make the same picture.

        ``request``: a :class:`~lazycrop.http.requests.Request`; or its path, with its other ``parts`` by name. Ends at the latest when ``request_seconds`` are over. Raises nothing: an error is an answer too.
        """
        if isinstance(request, str):
            request = Request(request, **parts)
        url = (request.path, request.query)
        shortcuts = self._shortcuts.table  # What is forgotten meanwhile, another one has no more.
        shortcut = self._shortcuts.get(*url) if request.is_plain else None
        if shortcut is not None and shortcut.key is None:
            return Answer(shortcut.status, list(shortcut.headers))
        with deadline(self.config.request_seconds), recorded() as seconds:
            if shortcut is not None and (ready := self._by_shortcut(shortcut)) is not None:
                return ready
            answer = self._answer_or_error(request)
        if request.is_plain:
            self._shortcuts.keep(shortcuts, url, answer)
        answer.explain(seconds)
        return answer.without_body() if request.method == "HEAD" else answer

    def _answer(self, request: Request) -> Answer:
        """What is there first of: a redirect to what may be asked for, 304, the stored object, the hot bytes, new bytes."""
        if request.method not in answers.METHODS:
            raise MethodNotAllowed(
                f"The method {request.method[:20]!r} is not allowed; images are read with GET and HEAD."
            )
        asked = urls.parse(request.path, request.query, self.policy.presets)
        decision = self._access.decide(asked)
        if isinstance(decision, Snapped):
            return answers.elsewhere(self._location(decision.derivative, request.mount))
        with measure("lookup"):
            found, is_last = self._find(asked.derivative, request)
        case = self._case(request, asked, found, is_last)
        return (
            self._unchanged(case) or self._stored(case) or self._hot(case) or self._promised(case) or self._made(case)
        )

    def _find(self, asked: Derivative, request: Request) -> tuple[Found, bool]:
        """What is known of what is asked for, in the best format that the client names; and whether it is that.

        A format that is slow to encode is answered where it is stored; until then it is ordered, and another one is.
        """
        if asked.format != AUTO or asked.size is None:
            return self._records.find(asked), True
        named = named_formats(request.accept, self._auto_formats)
        fast = next((one for one in named if one not in self.config.answers.slow_formats), AUTO)
        if not named or named[0] == fast:
            return self._find_in(fast, asked), True
        best = self._records.find(replace(asked, format=named[0]))
        if best.stored:
            return best, True
        if request.method == "GET":
            self._maker.order(best)
        return self._find_in(fast, asked), False

    def _find_in(self, format: str, asked: Derivative) -> Found:
        """In this format, or where that is the origin's own and may not be asked for, in the first one that may."""
        found = self._records.find(replace(asked, format=format))
        formats = self.config.policy.formats
        return found if found.derivative.format in formats else self._records.find(replace(asked, format=formats[0]))

    def _case(self, request: Request, asked: urls.Asked, found: Found, is_last: bool) -> _Case:
        derivative, record = asked.derivative, found.record
        if derivative.size is None and found.derivative.format != record.format:
            raise NotFound(f"The origin of {record.image_id!r} is a {record.format}: ask for origin.{record.format}.")
        varies = derivative.format == AUTO and derivative.size is not None  # An origin has its own format only.
        freshness = Freshness(
            etag=found.etag,
            modified=record.modified,
            versioned=derivative.version is not None,
            max_age=self.config.answers.max_age,
            varies=varies,
            brief=not is_last,
            expires=asked.expires_at,
        )
        outcome = Outcome(shared=not varies, fresh_until=found.fresh_until, expires=asked.expires_at)
        return _Case(request, found, freshness, outcome)

    def _unchanged(self, case: _Case) -> Answer | None:
        request, freshness = case.request, case.freshness
        if is_unchanged(freshness.etag, freshness.modified, request.if_none_match, request.if_modified_since):
            return answers.not_modified(freshness, case.status("hit; detail=not-modified"))
        return None

    def _stored(self, case: _Case) -> Answer | None:
        """A redirect to the stored object, or the object itself; None where it is not there."""
        derivative, record = case.found.derivative, case.found.record
        if not case.found.stored and derivative.size is not None:
            return None
        outcome = case.status("hit; detail=stored", derivative.key)
        if (location := self._public_location(derivative, case.request)) is not None:
            return answers.redirect(location, self.config.answers.redirect_status, case.freshness, outcome)
        try:
            opened = self._store.open(derivative.key)
        except MissingObject:
            if derivative.size is None:
                raise self._records.lost(record) from None
            return None
        return answers.picture(opened.file, opened.length, derivative.format, case.freshness, outcome)

    def _public_location(self, derivative: Derivative, request: Request) -> str | None:
        if not request.redirect or self.config.answers.answer != "redirect":
            return None
        return self._store.url(derivative.key)

    def _hot(self, case: _Case) -> Answer | None:
        """The bytes that were made a moment ago; an error for those that could not be made."""
        found, hot = case.found, case.found.hot
        if hot is not None and hot.data is not None:
            if not hot.queued:
                self._maker.store_hot(found, hot.data)
            outcome = case.status("hit; detail=hot")
            return answers.picture(hot.data, len(hot.data), found.derivative.format, case.freshness, outcome)
        if found.quarantined:
            minutes = -(-self.config.cache.quarantine_seconds // 60)
            raise Quarantined(
                f"The image {found.record.image_id!r} could not be decoded; it is tried again in {minutes} minutes."
            )
        return None

    def _promised(self, case: _Case) -> Answer | None:
        """HEAD renders nothing: what is not stored has no length yet (RFC 9110, 8.6 permits to leave it out)."""
        if case.request.method != "HEAD":
            return None
        derivative = case.found.derivative
        if self._store.exists(derivative.key) and (stored := self._stored(self._known_stored(case))) is not None:
            return stored
        return answers.picture(b"", None, derivative.format, case.freshness, case.status("fwd=miss"))

    def _made(self, case: _Case) -> Answer:
        made = self._maker.make(case.found)
        if made.data is None:
            stored = self._stored(self._known_stored(case))
            if stored is None:
                raise StoreUnavailable("The stored picture vanished while it was read; ask again.")
            return stored
        outcome = case.status("fwd=miss; collapsed" if made.collapsed else "fwd=miss; detail=rendered")
        return answers.picture(made.data, len(made.data), case.found.derivative.format, case.freshness, outcome)

    def _known_stored(self, case: _Case) -> _Case:
        """The case once it turned out that the picture is in the store, made by whatever settings there were."""
        found = self._records.as_stored(case.found)
        return replace(case, found=found, freshness=replace(case.freshness, etag=found.etag))

    def _answer_or_error(self, request: Request) -> Answer:
        try:
            return self._answer(request)
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
        return answers.error(failure, varies=request.path.endswith(f".{AUTO}"))

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
            opened = self._store.open(key)
            return opened.file, opened.length
        data = self._shortcuts.body(shortcut, lambda: self._store.get(key, _SHORT))
        return data, len(data)

    # The verbs of whoever has the images.

    def store_origin(
        self, image_id: ImageId, source: given.Given, bound: str | Size = "4000x4000", *, focal: Focal = None
    ) -> Record:
        """Store an image; return its record when everything of it is stored. Blocks for as long as that takes.

        ``image_id``: a text, or the number or UUID of a row. ``source``: an http(s) URL as a text; a file as a Path, bytes, or a binary file object. ``bound``: the box in
        pixels that the origin is shrunk to. ``focal``: where the subject is, (x, y) in per cent, or ``"auto"``.
        An id that exists gets a new version.

        Raises :class:`~lazycrop.errors.BadImageId`, :class:`~lazycrop.errors.FetchError`,
        :class:`~lazycrop.errors.ImageError` and :class:`~lazycrop.errors.StoreUnavailable`; then nothing is stored.
        """
        image_id = read_image_id(image_id)
        check_focal(focal)
        box = read_bound(bound)
        data, described = given.read(source, self.config.download)
        try:
            return self._versions.store(image_id, data, described, box, focal)
        finally:
            self._shortcuts.forget()

    def record(self, image_id: ImageId, version: int | None = None) -> Record:
        """What is known of an image, or was some seconds ago. Blocks for the store where nobody has asked lately.

        Raises :class:`~lazycrop.errors.UnknownImage`, :class:`~lazycrop.errors.StoreUnavailable`.
        """
        return self._records.recent(read_image_id(image_id), version)

    def purge(self, image_id: ImageId, version: int | None = None, *, forget: bool = False) -> int:
        """Delete all of an image, or all of one of its former versions; return how many objects went. Blocks.

        Images below it (``a/b`` of ``a``) stay. A job that is under way leaves nothing behind. What stays is one tiny
        object with the number of the last version, so that an image that is stored under this id again has other URLs
        than those that caches still have; ``forget`` deletes that too.
        """
        image_id = read_image_id(image_id)
        try:
            return self._versions.purge(image_id, version, forget)
        finally:
            self._shortcuts.forget()

    def warm(self, image_id: ImageId, sizes: Iterable[Asks], formats: Iterable[str] | None = None) -> list[Derivative]:
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
        wanted = [
            Derivative(record.image_id, self.size(size), kind, record.version) for size in sizes for kind in kinds
        ]
        for derivative in wanted:
            self.policy.check(derivative)
            if derivative.size is not None and not self.jobs.send(STORE, derivative):
                raise Unavailable(f"The job for {derivative.key!r} was not taken, or failed; the log says why.")
        return wanted

    def url(
        self,
        image_id: ImageId,
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
        image_id = read_image_id(image_id)
        if version is None:
            version = self._current_version(image_id)
        derivative = Derivative(image_id, self.size(size), format or self.config.format, version)
        return self._location(derivative, mount, None if expires is None else int(time.time()) + expires)

    def size(self, size: Asks) -> Size | None:
        """A size as users give it, as a Size; None is the origin. Raises :class:`~lazycrop.errors.BadSize`."""
        if isinstance(size, str):
            return urls.read_size(size, self.policy.presets)
        return size if isinstance(size, Size) else Size(*size)

    def stored_url(self, derivative: Derivative) -> str | None:
        """The store's own URL of what is known to be stored; None where that is not known, or has none."""
        if derivative.format == AUTO or self.config.answers.answer != "redirect":
            return None
        if derivative.size is not None and not self._records.find(derivative).stored:
            return None
        return self._store.url(derivative.key)

    @property
    def closed(self) -> bool:
        """Nothing may be asked for: neither sizes nor a secret are set."""
        return self._access.closed

    def on(self, event: str, call: Callable[[Any], object]) -> None:
        """Have ``call`` called with each event of this name: stored, replaced, rendered, purged, failed.

        It is called after the fact, in the process and on the thread where it happened; see :mod:`lazycrop.events`.
        What it raises is logged and changes nothing. Raises :class:`~lazycrop.errors.ConfigurationError`.
        """
        self._events.on(event, call)

    def close(self) -> None:
        """Let embedded jobs finish, end threads and connections to memcached; at exit this happens by itself."""
        self.jobs.close()
        self._renders.close()
        self._state.close()

    def _location(self, derivative: Derivative, mount: str | None, expires: int | None = None) -> str:
        """The URL's path and query; signed where policy does not list it, or where it is to expire."""
        query = self._access.ticket(derivative, expires)
        path = f"{self.config.prefix if mount is None else mount}/{derivative.key}"
        return f"{path}?{query}" if query else path

    def _current_version(self, image_id: str) -> int | None:
        try:
            return self.record(image_id).version
        except (UnknownImage, Unavailable, BadRecord):
            return None
