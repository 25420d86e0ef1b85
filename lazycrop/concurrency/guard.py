"""Guard: calls to something outside of this process, each bounded, and none for a while after it was ill."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

from lazycrop.concurrency import faults, waits
from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.forks import renew
from lazycrop.concurrency.pool import Call, Pool
from lazycrop.errors import Overloaded

T = TypeVar("T")

Illness = Callable[[BaseException], bool]
"""Does this error say that the other side is ill, rather than that one call of it was in vain?"""


class Resting(Exception):
    """The call was not made: the other side failed a moment ago and is left alone."""


class Guard:
    """All calls of this process to one thing outside: a store, a source, a memcached server, a broker, a database.

    ``name``: what the log calls it. ``seconds``: the longest wait for one call. ``threads``: how many calls may be
    under way at once, each on a thread of the guard's own, which is left to itself when the call is late; 0 makes calls
    on the caller's thread, of what keeps ``seconds`` by itself. ``rest_seconds``: how long the other side is left alone
    after it was ill; 0 never. ``is_ill``: whether an error says so. A call that was waited for in vain for ``patience``
    seconds (``seconds`` when not given) says so too; one that was given less of the request's time does not.
    ``is_fault``: whether an error is one to tell of, though no reason to rest. Any other error is an answer.

    While its calls take long, of requests only some may wait for them (:mod:`lazycrop.concurrency.waits`).

    The log has one warning when a fault begins and one line when it is over, however many calls fail in between. So it
    has of the time when requests are refused.
    """

    def __init__(
        self,
        name: str,
        log: logging.Logger,
        *,
        seconds: float,
        threads: int,
        rest_seconds: float,
        patience: float | None = None,
        is_ill: Illness = lambda error: True,
        is_fault: Illness = lambda error: False,
    ) -> None:
        self.name = name
        self._seconds = seconds
        self._long = min(waits.LONG, 0.75 * seconds)
        self._rest_seconds = rest_seconds
        self._patience = 0.9 * min(seconds, seconds if patience is None else patience)
        self._is_ill = is_ill
        self._is_fault = is_fault
        self._part = name.removeprefix("the ").split()[0]
        # Around a fault, and while it is busy itself, it is slow and quick in turn.
        self._fault, self._slowness = Fault(log, self._part), Fault(log, self._part, "slow", most=1)
        self._pool = Pool(f"lazycrop-{self._part}", threads) if threads else None
        renew(self)

    def after_fork(self) -> None:
        self._rests_until = self._failed_at = self._answered_at = 0.0
        self._usual = 0.0  # Seconds that a call takes at this time.

    @property
    def ready(self) -> bool:
        """False while the other side is left alone."""
        return time.monotonic() >= self._rests_until

    def call(self, do: Callable[[], T], seconds: float | None = None) -> T:
        """What ``do()`` returns or raises. Blocks ``seconds`` at most, and not beyond the request's deadline.

        Raises :class:`Resting` at once while the other side is left alone, TimeoutError with a reason, and
        :class:`~lazycrop.errors.Overloaded` to a request that would wait for long where too many do already.
        """
        if self._pool is None:
            self._enter()
            return self._watched(lambda: self._timed(do), time.monotonic())
        return self.begin(do, seconds)()

    def begin(self, do: Callable[[], T], seconds: float | None = None) -> Callable[[], T]:
        """As :meth:`call`, in two steps: ``do`` is under way when this returns, and what it returns waits for it.

        Without threads of its own the guard makes the call in the second step.
        """
        if self._pool is None:
            return lambda: self.call(do)
        self._enter()
        began = time.monotonic()
        wait = left(self._seconds if seconds is None else seconds)
        if not wait:
            raise TimeoutError("the request's time was over before it was asked")
        call = self._pool.submit(lambda: self._timed(do))
        return lambda: self._watched(lambda: self._result(call, began, wait), began)

    def close(self) -> None:
        """End its threads once they have done what they were given."""
        if self._pool is not None:
            self._pool.close()

    def _enter(self) -> None:
        if not self.ready:
            raise Resting(f"{self.name} did not answer a moment ago")
        if self._usual >= self._long:
            self._wait_long()

    def _wait_long(self) -> None:
        try:
            waits.wait_long()
        except Overloaded:
            said = "%s is slow, %.1f s a call, and as many requests wait for it as may; others do not"
            self._slowness.tell(said, self.name, self._usual)
            raise

    def _timed(self, do: Callable[[], T]) -> T:
        began = time.monotonic()
        try:
            return do()
        finally:
            self._took(time.monotonic() - began)

    def _took(self, seconds: float) -> None:
        self._usual += (seconds - self._usual) / 4  # One call that takes its time says little.
        if self._usual < self._long / 2:
            self._slowness.over("%s is quick again", self.name)

    def _is_late(self, began: float) -> bool:
        """Does the call take long that began then? Who comes next knows it before that one has ended."""
        waited = time.monotonic() - began
        if waited >= self._long:
            self._usual = max(self._usual, waited)
        return waited >= self._long

    def _result(self, call: Call[T], began: float, wait: float) -> T:
        left = max(0.0, began + wait - time.monotonic())
        if waits.ended(call.wait, left, lambda: self._is_late(began), self._wait_long):
            return call.result()
        is_queued = call.cancel()
        if not is_queued and call.wait(0):  # It ended in the last moment.
            return call.result()
        reason = "all its threads stayed taken" if is_queued else "no answer"
        is_busy = wait < self._patience or (is_queued and self._answered_at > began)
        raise (_Busy if is_busy else TimeoutError)(f"{reason} within {wait:.1f} s")

    def _watched(self, do: Callable[[], T], began: float) -> T:
        try:
            result = do()
        except (_Busy, Overloaded):
            raise
        except Exception as error:
            if isinstance(error, TimeoutError) or self._is_ill(error):
                self._failed(error, self._rest_seconds)
            elif self._is_fault(error):
                self._failed(error, 0.0)
            else:
                self._answered(began)
            raise
        self._answered(began)
        return result

    def _failed(self, error: Exception, rest: float) -> None:
        self._failed_at = time.monotonic()
        self._rests_until = max(self._rests_until, self._failed_at + rest)
        reason = error.__cause__ or error  # What clients are told has no reasons.
        alone = f" and is left alone for {rest:g} s at a time" if rest else ""
        if rest:
            faults.tell(self._part, faults.REST)
        self._fault.tell("%s failed%s: %r", self.name, alone, reason)

    def _answered(self, began: float) -> None:
        self._answered_at = time.monotonic()
        if began >= self._failed_at:  # A call of before the fault does not say that it is over.
            self._fault.over("%s answers again", self.name)


class _Busy(TimeoutError):
    """The caller's time is over, which says nothing of the other side."""
