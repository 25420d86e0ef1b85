"""Watched: what is told, counted and traced of requests, where anybody wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from lazycrop.concurrency.timing import Spans, Tracing, recorded
from lazycrop.events import Answered, Asked, Events, Refused
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request
from lazycrop.http.shortcuts import Counting, Shortcuts, ShortcutSettings
from lazycrop.model.derivatives import AUTO, Derivative


def open_shortcuts(settings: ShortcutSettings, events: Events) -> Shortcuts:
    """A table of shortcuts; one that counts where somebody listens for answers, or for what is asked for."""
    if not (events.heard(Answered) or events.heard(Asked)):
        return Shortcuts(settings)
    counting = Counting(settings, partial(tell_asked, events))
    events.tally = counting.read
    return counting


def counted(events: Events, derivative: Derivative) -> tuple[str, str, str] | None:
    """What is counted of a request: the id, the size and the format that are meant; None where nobody listens."""
    if not events.heard(Asked):
        return None
    return derivative.image_id, str(derivative.size or "origin"), derivative.format


def tell_asked(events: Events, asked: tuple[str, str, str], count: int = 1) -> None:
    image_id, size, format = asked
    events.tell(Asked(image_id, size=size, format=format, count=count))


def tell_refused(events: Events, derivative: Derivative) -> None:
    if events.heard(Refused) and derivative.format != AUTO:
        size = str(derivative.size or "origin")
        events.tell(Refused(derivative.image_id, size=size, format=derivative.format))


def timed(request: Request, answer: Callable[[Request], Answer], tracing: Tracing | None) -> tuple[Answer, Spans]:
    """The answer, and the seconds of its stages; with a span around it."""
    if tracing is None:
        with recorded() as seconds:
            return answer(request), seconds
    with recorded(tracing.span) as seconds, tracing.span("request") as note:
        found = answer(request)
        said = {"http.response.status_code": found.status, "lazycrop.outcome": found.outcome.status}
        note({"http.request.method": request.method, **said})
        return found, seconds


def tell(events: Events, answer: Answer, started: float, stages: Spans) -> None:
    """``started``: by time.perf_counter()."""
    if events.heard(Answered):
        outcome, took = answer.outcome, time.perf_counter() - started
        events.tell(Answered("", None, outcome.key, answer.status, outcome.status, seconds=took, stages=stages))
