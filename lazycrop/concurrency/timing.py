"""Timing: how long each stage of a request took. Server-Timing, metrics and traces stand on it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Spans = dict[str, float]
"""Seconds by the name of a stage: lookup, fetch, decode, resize, encode, enqueue."""

_spans: ContextVar[Spans | None] = ContextVar("lazycrop_spans", default=None)


@contextmanager
def recorded() -> Iterator[Spans]:
    """Collect what :func:`measure` measures within the block, on whichever thread its calls are made."""
    spans: Spans = {}
    token = _spans.set(spans)
    try:
        yield spans
    finally:
        _spans.reset(token)


@contextmanager
def measure(stage: str) -> Iterator[None]:
    """Add the time inside the block to ``stage``; nothing where nobody collects."""
    started = time.perf_counter()
    try:
        yield
    finally:
        spans = _spans.get()
        if spans is not None:
            spans[stage] = spans.get(stage, 0.0) + time.perf_counter() - started
