"""The deadline of a request, which bounds every wait on its way: for the store, for other threads, for a slot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float] = ContextVar("lazycrop_deadline", default=float("inf"))


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """What the block waits for, in this thread, ends after ``seconds``. Outside of a block there is no deadline."""
    token = _deadline.set(min(time.monotonic() + seconds, _deadline.get()))
    try:
        yield
    finally:
        _deadline.reset(token)


def left(seconds: float) -> float:
    """How long to wait, ``seconds`` at most; 0 when the deadline is over."""
    return max(0.0, min(seconds, _deadline.get() - time.monotonic()))
