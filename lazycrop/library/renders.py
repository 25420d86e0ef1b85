"""Renders: where pictures are worked on, a bounded number at once, in bounded memory, on threads kept for that."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from lazycrop.concurrency import waits
from lazycrop.concurrency.forks import renew
from lazycrop.concurrency.memory import Memory
from lazycrop.concurrency.pool import Pool
from lazycrop.errors import ImageError, LazyCropError, Overloaded
from lazycrop.events import Events, Failed, Rendered, Rendering
from lazycrop.library.state import State
from lazycrop.model.derivatives import Derivative
from lazycrop.model.records import Record
from lazycrop.pictures.ingest import upright
from lazycrop.pictures.render import Asked, render, render_all
from lazycrop.pictures.settings import Limits, Recipes, Stage

logger = logging.getLogger(__name__)
T = TypeVar("T")


class Bench:
    """So many threads that work on pictures, for whom one waits so long and no longer."""

    def __init__(self, name: str, count: int, events: Events) -> None:
        self._count = count
        self._events = events
        self._pool = Pool(name, count)
        self.close = self._pool.close
        renew(self)

    def after_fork(self) -> None:
        self._slots = threading.BoundedSemaphore(self._count)
        self._usual = 0.0  # Seconds that a thread is waited for at this time.

    def run(self, do: Callable[[], T], wait: float) -> T:
        """What ``do()`` returns. Blocks ``wait`` seconds at most until a thread is free; else raises Overloaded.

        So it does at once where as many requests wait for long as may (:mod:`lazycrop.concurrency.waits`).
        """
        with self.slot(wait):
            return self._pool.submit(do).result()

    @contextmanager
    def slot(self, wait: float) -> Iterator[None]:
        slots = self._slots
        began = time.monotonic()
        if not slots.acquire(blocking=False):
            self._wait(slots, wait, began)
        self._usual += (time.monotonic() - began - self._usual) / 4
        self._moved(under_way=1)
        try:
            yield
        finally:
            slots.release()
            self._moved(under_way=-1)

    def _wait(self, slots: threading.BoundedSemaphore, wait: float, began: float) -> None:
        self._moved(waiting=1)
        try:
            if not waits.ended(
                lambda seconds: slots.acquire(timeout=seconds), wait, lambda: self._is_late(began), waits.wait_long
            ):
                raise Overloaded("All renders that this process does at once are taken; ask again in a moment.")
        finally:
            self._moved(waiting=-1)

    def _is_late(self, began: float) -> bool:
        """Is it long that somebody waits who began then? Who comes next knows it before that one's turn has come."""
        waited = time.monotonic() - began
        if waited >= waits.LONG:
            self._usual = max(self._usual, waited)
        return self._usual >= waits.LONG

    def _moved(self, waiting: int = 0, under_way: int = 0) -> None:
        if self._events.heard(Rendering):
            self._events.tell(Rendering("", waiting=waiting, under_way=under_way))


class Renders:
    """The renders of one LazyCrop in this process. ``count``: at once, of each stage; 0 is the number of CPUs.

    What the worker encodes takes longer, and none of the threads of those who wait for an answer.
    """

    def __init__(self, state: State, events: Events, recipes: Recipes, limits: Limits, count: int) -> None:
        self._state = state
        self._events = events
        self._recipes = recipes
        self._limits = limits
        count = count or os.cpu_count() or 1
        self._benches = {stage: Bench(f"lazycrop-render-{stage.name.lower()}", count, events) for stage in Stage}
        self.memory = Memory(limits.pixel_memory)

    def size(self, derivative: Derivative, record: Record, source: bytes, stage: Stage, wait: float) -> bytes:
        """The bytes of a stage of ``derivative``, made from ``source``. Blocks ``wait`` seconds at most for a slot.

        A picture that cannot be made is counted, and its image is quarantined at the second time.
        Raises :class:`~lazycrop.errors.ImageError`, :class:`~lazycrop.errors.Overloaded`.
        """
        started = time.perf_counter()
        try:
            data = self._benches[stage].run(self._work(derivative, record, source, stage), wait)
        except Exception as error:
            self._failed(derivative, record, error)
            raise
        self._rendered(derivative, record, data, stage, time.perf_counter() - started)
        return data

    def sizes(
        self, derivatives: Sequence[Derivative], record: Record, source: bytes, stage: Stage, wait: float
    ) -> list[bytes | Exception]:
        """As :meth:`size`, of several that are made from one ``source``, each of them with a size.

        Instead of one that cannot be made there is the error; a source that cannot be read is one, and raises.
        """
        started = time.perf_counter()
        work = partial(
            render_all,
            source,
            [
                Asked(one.size, one.format, self._recipes.of(one.size), record.part_of(one.size))
                for one in derivatives
                if one.size
            ],
            self._limits,
            stage,
            focal=record.focal,
            dimensions=(record.width, record.height),
            reserve=self.memory.use,
        )
        try:
            made = self._benches[stage].run(work, wait)
        except Exception as error:
            self._failed(derivatives[0], record, error)
            raise
        seconds = (time.perf_counter() - started) / len(derivatives)
        results = [one if isinstance(one, Exception) else one.data for one in made]
        for derivative, result in zip(derivatives, results, strict=True):
            if isinstance(result, Exception):
                self._failed(derivative, record, result)
            else:
                self._rendered(derivative, record, result, stage, seconds)
        return results

    def _failed(self, derivative: Derivative, record: Record, error: Exception) -> None:
        code = error.code if isinstance(error, LazyCropError) else type(error).__name__
        if _is_of_the_picture(error):
            self._state.count_failure(derivative, record.tag, code)
        self._events.tell(Failed(record.image_id, record.version, derivative.key, code=code))

    def _rendered(self, derivative: Derivative, record: Record, data: bytes, stage: Stage, seconds: float) -> None:
        if stage == Stage.FIRST:  # Of the last one it is said that it is stored.
            said = {"event": "rendered", "key": derivative.key, "bytes": len(data)}
            logger.info("rendered %r, %d bytes", derivative.key, len(data), extra=said)
        names = (record.image_id, record.version, derivative.key)
        self._events.tell(Rendered(*names, length=len(data), seconds=seconds, stage=stage))

    def _work(self, derivative: Derivative, record: Record, source: bytes, stage: Stage) -> Callable[[], bytes]:
        """What makes the derivative; without a size it is the origin of a file that is at its source."""
        if derivative.size is None:
            return partial(upright, source, self._limits, self.memory.use)
        rendered = partial(
            render,
            source,
            derivative.size,
            derivative.format,
            self._recipes.of(derivative.size),
            self._limits,
            stage,
            focal=record.focal,
            part=record.part_of(derivative.size),
            dimensions=(record.width, record.height),
            reserve=self.memory.use,
        )
        return lambda: rendered().data

    def run(self, do: Callable[[], T], wait: float) -> T:
        """What ``do()`` returns, which somebody waits for. Blocks ``wait`` seconds at most until a thread is free."""
        return self._benches[Stage.FIRST].run(do, wait)

    def close(self) -> None:
        for bench in self._benches.values():
            bench.close()


def _is_of_the_picture(error: Exception) -> bool:
    """May it come again with the same bytes? Memory, which a busy machine may lack, does not say so.

    What takes too long does: it is what costs most each time, and a machine is not that busy twice in some minutes.
    """
    if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
        return False
    return isinstance(error, ImageError) or not isinstance(error, LazyCropError)
