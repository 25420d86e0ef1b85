"""Service: the story of one request, from a URL to the picture.

absent → (lease) being rendered → hot, being answered → (actor) stored, marked → redirect
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

from lazycrop.access.policy import Allowed, Snapped
from lazycrop.build import Parts
from lazycrop.concurrency.deadlines import deadline
from lazycrop.concurrency.timing import measure
from lazycrop.concurrency.waits import Room
from lazycrop.errors import (
    BEING_WRITTEN,
    Forbidden,
    LazyCropError,
    MethodNotAllowed,
    MissingObject,
    NotAllowed,
    NotFound,
    OriginChanged,
    Overloaded,
    SourceUnavailable,
    StoreUnavailable,
    UnknownImage,
)
from lazycrop.http import answers, redirects, watched
from lazycrop.http.answers import Answer, Freshness, Outcome
from lazycrop.http.negotiation import is_unchanged, named_formats
from lazycrop.http.requests import Request
from lazycrop.http.shortcuts import Shortcut
from lazycrop.library.quarantine import refusal
from lazycrop.library.records import Found
from lazycrop.model import urls
from lazycrop.model.derivatives import AUTO, Derivative
from lazycrop.settings import Config

logger = logging.getLogger(__name__)

_SHORT = 65_536  # Bytes, as many as are sent at a time.
_CHANGES = 3  # of a source's file that one request follows


@dataclass(frozen=True, slots=True)
class _Case:
    """A request, what is known of the picture that it asks for, and what its answer will say of itself.

    ``soon_other``: the answer will soon be another picture, or in another format.
    """

    request: Request
    found: Found
    soon_other: bool
    freshness: Freshness
    outcome: Outcome

    def status(self, status: str, key: str | None = None) -> Outcome:
        return replace(self.outcome, status=status, key=key)


class Service:
    """Answers requests for the images of one LazyCrop."""

    def __init__(self, parts: Parts, config: Config) -> None:
        self._config, self._room = config, Room(config.waiting_requests)
        self._policy, self._access, self._sources = parts.policy, parts.access, parts.sources
        self._store, self._records = parts.common.store, parts.common.records
        self._maker, self._overload, self._fallback = parts.maker, parts.overload, parts.fallback
        self._events, self._tracing = parts.common.events, parts.tracing
        self._shortcuts = watched.open_shortcuts(config.shortcuts, parts.common.events)
        if parts.demand is not None:
            parts.demand.gather = self._shortcuts.gather
        self.remembered, self.at_hand = self._shortcuts.redirect, self._shortcuts.at_hand
        self.forget = self._shortcuts.forget

    def answer(self, request: Request) -> Answer:
        """The response to a request. Blocks for the store, for a render, for others who make the same picture.

        Ends at the latest when ``request_seconds`` are over. Raises nothing: an error is an answer too.
        """
        url = (request.path, request.query)
        shortcuts = self._shortcuts.table  # What is forgotten meanwhile, another one has no more.
        shortcut = self._shortcuts.get(*url) if request.is_plain else None
        if shortcut is not None and (ready := self._shortcuts.ready(shortcut)) is not None:
            self._shortcuts.taken(shortcut)
            return ready
        started = time.perf_counter()
        with deadline(self._config.request_seconds), self._room.visit():
            if shortcut is not None and (ready := self._by_shortcut(shortcut)) is not None:
                self._shortcuts.taken(shortcut)
                return ready
            answer, seconds = watched.timed(request, self._answer_or_error, self._tracing)
        if request.is_plain:
            self._shortcuts.keep(shortcuts, url, answer)
        answer.explain(seconds)
        watched.tell(self._events, answer, started, seconds)
        return answer.without_body() if request.method == "HEAD" else answer

    def _answer(self, request: Request) -> Answer:
        """What is there first of: a redirect to what may be asked for, 304, the stored object, the hot bytes, new
        bytes.
        """
        if request.method not in answers.METHODS:
            raise MethodNotAllowed(
                f"The method {request.method[:20]!r} is not allowed; images are read with GET and HEAD."
            )
        asked = urls.parse(request.text, request.query, self._policy.presets, self._sources.covers)
        decision = self._decided(asked)
        if asked.moved is not None:
            return answers.moved(self._mount(request.mount) + asked.moved, request.query)
        if isinstance(decision, Snapped):
            return answers.elsewhere(self.location(decision.derivative, request.mount))
        with measure("lookup"):
            found, is_last = self._find(asked.derivative, request)
        self._access.admit(found.record, decision)
        if found.record.is_adopted:
            self._maker.look_again(found.record)
        case = self._case(request, asked, found, is_last)
        if case.outcome.asked is not None and request.method == "GET":
            watched.tell_asked(self._events, case.outcome.asked)
        meanwhile = partial(self._meanwhile, case, asked.derivative, decision.signed)
        try:
            at_hand = self._unchanged(case) or self._stored(case) or self._hot(case)
            return at_hand or (meanwhile() if self._room.is_crowded else None) or self._made(case)
        except Overloaded:
            if (nearest := meanwhile()) is None:
                raise
            return nearest

    def _decided(self, asked: urls.Asked) -> Allowed | Snapped:
        """What policy says of it; what it does not list is told of, because it may be worth to be."""
        try:
            decision = self._access.decide(asked)
        except (Forbidden, NotAllowed):
            watched.tell_refused(self._events, asked.derivative)
            raise
        if isinstance(decision, Snapped):
            watched.tell_refused(self._events, asked.derivative)
        return decision

    def _find(self, asked: Derivative, request: Request) -> tuple[Found, bool]:
        """What is known of what is asked for, in the best format that the client names; and whether it is that.

        A format that is slow to encode is answered where it is stored; until then it is ordered, and another one is.
        """
        if asked.format != AUTO or asked.size is None:
            return self._records.find(asked), True
        named = named_formats(request.accept, self._config.offered_formats)
        fast = next((one for one in named if one not in self._config.answers.slow_formats), AUTO)
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
        formats = self._config.policy.formats
        return found if found.derivative.format in formats else self._records.find(replace(asked, format=formats[0]))

    def _case(self, request: Request, asked: urls.Asked, found: Found, is_last: bool) -> _Case:
        derivative, record = asked.derivative, found.record
        if derivative.size is None and found.derivative.format != record.format:
            raise NotFound(f"The origin of {record.image_id!r} is a {record.format}: ask for origin.{record.format}.")
        expires = asked.expires_at if asked.signature is not None else None
        varies = derivative.format == AUTO and derivative.size is not None  # An origin has its own format only.
        versioned = derivative.version is not None
        # The file may be another one when the version is stored; from then on it has one content for ever.
        soon_other = not is_last or (versioned and record.is_provisional)
        freshness = Freshness(
            etag=found.etag,
            modified=record.modified,
            versioned=versioned,
            max_age=self._config.answers.max_age,
            varies=varies,
            brief=soon_other or found.is_first,
            private=record.private,
            expires=expires,
        )
        counted = watched.counted(self._events, found.derivative)
        outcome = Outcome(shared=not varies, fresh_until=found.fresh_until, expires=expires, asked=counted)
        return _Case(request, found, soon_other, freshness, outcome)

    def _unchanged(self, case: _Case) -> Answer | None:
        request, freshness, found = case.request, case.freshness, case.found
        if not is_unchanged(freshness.etag, freshness.dated, request.if_none_match, request.if_modified_since):
            return None
        if found.is_first and found.hot is None:  # The last stage may be stored, or nobody may have been asked for it.
            if self._store.exists(found.key):
                return self._stored_after_all(case)
            self._maker.order(found)
        return answers.not_modified(freshness, case.status("hit; detail=not-modified"))

    def _stored(self, case: _Case) -> Answer | None:
        """A redirect to the stored object, or the object itself; None where it is not there."""
        derivative, key = case.found.derivative, case.found.key
        if not case.found.is_there:
            return None
        outcome = case.status("hit; detail=stored", key)
        redirected = redirects.redirected(self._store, self._config.answers, case.request, case.freshness, outcome)
        if redirected is not None:
            return redirected
        try:
            opened = self._store.open(key)
        except MissingObject:
            if derivative.size is None and not case.found.record.at_source:
                raise OriginChanged(case.found.record) from None
            return None
        return answers.picture(opened.file, opened.length, derivative.format, case.freshness, outcome)

    def _hot(self, case: _Case) -> Answer | None:
        """The bytes that were made a moment ago; an error for those that could not be made."""
        found, hot = case.found, case.found.hot
        if hot is not None and hot.data is not None:
            if not hot.queued:
                self._maker.store_hot(found, hot.data)
            outcome = case.status("hit; detail=hot")
            return answers.picture(hot.data, len(hot.data), found.derivative.format, case.freshness, outcome)
        if found.quarantined_until:
            raise refusal(found.record.image_id, found.quarantined_until)
        return None

    def _promised(self, case: _Case) -> Answer:
        """HEAD renders nothing: what is not stored has no length yet (RFC 9110, 8.6 permits to leave it out)."""
        if self._store.exists(case.found.key) and (stored := self._stored_after_all(case)) is not None:
            return stored
        return answers.picture(b"", None, case.found.derivative.format, case.freshness, case.status("fwd=miss"))

    def _made(self, case: _Case) -> Answer:
        if case.request.method == "HEAD":
            return self._promised(case)
        with self._room.work():
            made = self._maker.make(case.found)
        if made.data is None:
            if (stored := self._stored_after_all(case)) is None:
                raise StoreUnavailable("The stored picture vanished while it was read; ask again.")
            return stored
        outcome = case.status("fwd=miss; collapsed" if made.collapsed else "fwd=miss; detail=rendered")
        return answers.picture(made.data, len(made.data), case.found.derivative.format, case.freshness, outcome)

    def _meanwhile(self, case: _Case, asked: Derivative, signed: bool) -> Answer | None:
        """A redirect to the nearest size that is stored, where there is one that the client may see."""
        named = named_formats(case.request.accept, self._config.offered_formats)
        if (nearest := self._overload.nearest(case.found, asked, named, signed)) is None:
            return None
        location = self.location(nearest, case.request.mount, case.freshness.expires, case.found.record.private)
        return answers.meanwhile(location, case.freshness)

    def _stored_after_all(self, case: _Case) -> Answer | None:
        """The answer once it turned out that the picture is in the store, made by whatever settings there were."""
        found = self._records.as_stored(case.found)
        case = replace(case, found=found, freshness=replace(case.freshness, etag=found.etag, brief=case.soon_other))
        return self._unchanged(case) or self._stored(case)

    def _answer_or_follow(self, request: Request) -> Answer:
        """The answer; where a source's file turned out to be another one than that of the record, by that one."""
        tag = ""
        for _ in range(_CHANGES):
            try:
                return self._answer(request)
            except OriginChanged as changed:
                asked = urls.parse(request.text, request.query, self._policy.presets, self._sources.covers)
                if changed.record.tag == tag and asked.derivative.version:  # Its file is gone for good.
                    raise
                tag = changed.record.tag
                self._records.supersede(changed.record)
        raise SourceUnavailable(BEING_WRITTEN)

    def _instead(self, request: Request) -> Answer | None:
        """The fallback image in the size that is asked for, of which policy has said that it may be."""
        if (image_id := self._fallback.image_id()) is None:
            return None
        asked = urls.parse(request.text, request.query, self._policy.presets, self._sources.covers)
        format = asked.derivative.format if asked.derivative.size else AUTO  # Its origin has a format of its own.
        asked = replace(asked, derivative=replace(asked.derivative, image_id=image_id, version=None, format=format))
        request = request._replace(redirect=False, if_none_match=None, if_modified_since=None)
        try:
            found, is_last = self._find(asked.derivative, request)
            if found.record.private:
                raise Forbidden("It is private.")
            case = self._case(request, asked, found, is_last)
            answer = self._stored(case) or self._hot(case) or self._made(case)
        except LazyCropError as error:
            extra = {"event": "fallback-failed", "code": error.code}
            logger.warning("the fallback image %r cannot be shown: %s", image_id, error, extra=extra)
            self._fallback.forget()
            return None
        return answers.instead(answer, self._config.answers)

    def _answer_or_error(self, request: Request) -> Answer:
        varies = request.path.endswith(f".{AUTO}")
        try:
            return self._answer_or_follow(request)
        except LazyCropError as error:
            if isinstance(error, UnknownImage) and (instead := self._instead(request)) is not None:
                return instead
            # Of what is not available, its guard says once why; a line for each request would fill the log.
            level = logging.ERROR if error.status == 500 else logging.DEBUG
            names, has_fault = (request.method, request.path, error.status), error.status == 500
            extra = {"event": "request-failed", "status": error.status, "code": error.code}
            logger.log(level, "%s %r answers %d: %s", *names, error, exc_info=has_fault, extra=extra)
            return answers.error(error, varies=varies)  # To keep it here would leave both to the collector.
        except Exception:
            extra = {"event": "request-failed", "status": 500, "code": LazyCropError.code}
            logger.exception("%s %r failed", request.method, request.path, extra=extra)
            return answers.error(LazyCropError(), varies=varies)

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
        data = self._store.get(key, _SHORT)
        if len(data) == shortcut.length:
            self._shortcuts.keep_body(shortcut, data)
        return data, len(data)

    def location(
        self, derivative: Derivative, mount: str | None, expires: int | None = None, private: bool = False
    ) -> str:
        """The URL's path and query; signed where policy does not list it, where it is to expire, or is private."""
        query = self._access.ticket(derivative, expires, private)
        path = f"{self._mount(mount)}/{urls.quoted(derivative.key)}"
        return f"{path}?{query}" if query else path

    def _mount(self, mount: str | None) -> str:
        return self._config.prefix if mount is None else mount
