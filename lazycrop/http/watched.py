"""Watched: what is told, counted and traced of requests, where anybody wants to know."""

from __future__ import annotations

import time
from collections.abc import Callable

from lazycrop.concurrency.timing import Spans, Tracing, recorded
from lazycrop.events import Answered, Events
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request
from lazycrop.http.shortcuts import Counting, Shortcuts, ShortcutSettings


def open_shortcuts(settings: ShortcutSettings, events: Events, redirect_status: int) -> Shortcuts:
    """A table of shortcuts; one that counts where somebody listens for answers."""
    if not events.heard(Answered):
        return Shortcuts(settings)
    counting = Counting(settings)
    events.tally = lambda: counting.read(redirect_status)
    return counting


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
