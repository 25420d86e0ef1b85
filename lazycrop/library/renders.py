"""Renders: where pictures are worked on, a bounded number at once, in bounded memory, on threads kept for that."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from lazycrop.concurrency.forks import renew
from lazycrop.concurrency.memory import Memory
from lazycrop.concurrency.pool import Pool
from lazycrop.errors import ImageError, ImageTooLarge, LazyCropError, Overloaded
from lazycrop.events import Events, Failed, Rendered
from lazycrop.library.state import State
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.ingest import upright
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import Limits, Recipe

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Renders:
    """The renders of one LazyCrop in this process. ``count``: at once; 0 is the number of CPUs."""

    def __init__(self, state: State, events: Events, recipe: Recipe, limits: Limits, count: int) -> None:
        self._state = state
        self._events = events
        self._recipe = recipe
        self._limits = limits
        self._count = count or os.cpu_count() or 1
        self._pool = Pool("lazycrop-render", self._count)
        self.memory = Memory(limits.pixel_memory)
        renew(self)

    def after_fork(self) -> None:
        self._slots = threading.BoundedSemaphore(self._count)

    def size(self, derivative: Derivative, record: Record, source: bytes, wait: float) -> bytes:
        """The bytes of ``derivative``, made from ``source``. Blocks ``wait`` seconds at most for a slot.

        A picture that cannot be made is counted, and is quarantined at the second time.
        Raises :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.Overloaded`.
        """
        started = time.perf_counter()
        try:
            data = self.run(self._work(derivative, record, source), wait)
        except Exception as error:
            if _is_of_the_picture(error):
                self._state.count_failure(derivative, record.tag)
            code = error.code if isinstance(error, LazyCropError) else type(error).__name__
            self._events.tell(Failed(record.image_id, record.version, derivative.key, code=code))
            raise
        logger.info("rendered %r, %d bytes", derivative.key, len(data))
        seconds = time.perf_counter() - started
        told = Rendered(record.image_id, record.version, derivative.key, length=len(data), seconds=seconds)
        self._events.tell(told)
        return data

    def _work(self, derivative: Derivative, record: Record, source: bytes) -> Callable[[], bytes]:
        """What makes the derivative; without a size it is the origin of a file that is at its source."""
        if derivative.size is None:
            return partial(upright, source, self._limits, self.memory.use)
        rendered = partial(
            render,
            source,
            derivative.size,
            derivative.format,
            self._recipe,
            self._limits,
            focal=record.focal,
            dimensions=(record.width, record.height),
            reserve=self.memory.use,
        )
        return lambda: rendered().data

    def run(self, do: Callable[[], T], wait: float) -> T:
        """What ``do()`` returns, made in one of the slots. Blocks ``wait`` seconds at most until one is free."""
        with self._slot(wait):
            return self._pool.submit(do).result()

    @contextmanager
    def _slot(self, wait: float) -> Iterator[None]:
        slots = self._slots
        if not slots.acquire(timeout=wait):
            raise Overloaded("All renders that this process does at once are taken; ask again in a moment.")
        try:
            yield
        finally:
            slots.release()

    def close(self) -> None:
        self._pool.close()


def _is_of_the_picture(error: Exception) -> bool:
    """Will it come again with the same bytes? Time and memory, which a busy machine may lack, do not say so."""
    if isinstance(error, ImageError):
        return not isinstance(error, ImageTooLarge)
    return not isinstance(error, LazyCropError)
