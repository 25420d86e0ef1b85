"""Timing: how long each stage of a request took. Server-Timing, metrics and traces stand on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

Note = Callable[[Mapping[str, Any]], None]
"""Says what a span has come to: attributes by name."""

Around = Callable[[str], AbstractContextManager[Note]]


class Tracing(Protocol):
    """Spans of a tracing system that a package above knows."""

    def span(self, name: str) -> AbstractContextManager[Note]:
        """What is around a piece of work."""
        ...

    def carry(self) -> dict[str, str]:
        """The span at hand, as it travels with a message."""
        ...

    def resume(self, carried: Mapping[str, str]) -> AbstractContextManager[None]:
        """What is around the work on a message that came with this."""
        ...


class Spans(dict[str, float]):
    """Seconds by the name of a stage: lookup, fetch, decode, resize, encode, enqueue, store.

    ``around``: what is to be around each stage, if anything is.
    """

    around: Around | None = None


_spans: ContextVar[Spans | None] = ContextVar("lazycrop_spans", default=None)


@contextmanager
def recorded(around: Around | None = None) -> Iterator[Spans]:
    """Collect what :func:`measure` measures within the block, on whichever thread its calls are made."""
    spans = Spans()
    if around is not None:
        spans.around = around
    token = _spans.set(spans)
    try:
        yield spans
    finally:
        _spans.reset(token)


@contextmanager
def measure(stage: str) -> Iterator[None]:
    """Add the time inside the block to ``stage``; nothing where nobody collects."""
    started, spans = time.perf_counter(), _spans.get()
    try:
        if spans is None or spans.around is None:
            yield
        else:
            with spans.around(stage):
                yield
    finally:
        if spans is not None:
            spans[stage] = spans.get(stage, 0.0) + time.perf_counter() - started
