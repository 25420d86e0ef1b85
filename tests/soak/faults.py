"""Faults: what fails when, by a plan that a seed makes, and when it really did."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

# Of each the amounts between which a fault has one: seconds, bytes, or bytes a second.
_NETWORK = {
    "refuse": (0, 0),
    "reset": (0, 0),
    "black hole": (0, 0),
    "latency": (0.05, 1.5),
    "cut": (0, 4000),
    "drip": (0.001, 0.2),
    "throttle": (2_000, 200_000),
}
# Nothing in between: what happens to the client of a web process is no fault of lazycrop's.
KINDS: dict[str, dict[str, tuple[float, float]]] = {
    "store": _NETWORK | {"kill": (0, 0), "full disk": (0, 0)},
    "memcached": _NETWORK | {"kill": (0, 0), "flush": (0, 0)},
    "broker": _NETWORK | {"kill": (0, 0)},
    "worker": {"kill": (0, 0)},
    "web 1": {"reset": (0, 0), "latency": (0.05, 1.5), "cut": (0, 4000), "throttle": (2_000, 200_000)},
    "web 2": {"reset": (0, 0), "drip": (0.001, 0.2), "kill": (0, 0)},
}
_LASTS = (0.5, 6.0)
# SeaweedFS may take longer to get over these than a short soak lasts, which is to tell of lazycrop.
_HARD, _LONG = ("kill", "full disk"), 120.0
_PAUSE = {"worker": 25.0, "web 1": 25.0, "web 2": 20.0}  # seconds between two of a part, in the mean; else 10
# Of these the memory is looked at: in the last two thirds they live, and fill their caches and pools of threads first.
_MORTAL = ("worker", "web 2")


@dataclass(frozen=True)
class Fault:
    """``at``: seconds after the beginning."""

    at: float
    part: str
    kind: str
    amount: float
    seconds: float


@dataclass
class Window:
    """A fault as it was, in seconds of time.monotonic(); ``ended`` is infinite until it is over."""

    part: str
    kind: str
    began: float
    ended: float = float("inf")


def plan(seed: int, seconds: float) -> list[Fault]:
    """All faults of so many seconds, the same for the same seed. Each part has its own; some are at the same time."""
    found = []
    for part, kinds in KINDS.items():
        if part == "store" and seconds < _LONG:
            kinds = {kind: amounts for kind, amounts in kinds.items() if kind not in _HARD}
        random_ = random.Random(f"{seed} {part}")
        deck: list[str] = []
        at = random_.uniform(1, 6)
        while at < seconds - 1:
            deck = deck or random_.sample(sorted(kinds), len(kinds))
            kind = deck.pop()
            amount, lasts = random_.uniform(*kinds[kind]), random_.uniform(*_LASTS)
            pause = 1 + random_.expovariate(1 / _PAUSE.get(part, 10.0))
            if kind != "kill" or part not in _MORTAL or at < seconds / 3:
                found.append(Fault(at, part, kind, amount, min(lasts, seconds - at)))
            at += lasts + pause
    return sorted(found, key=lambda fault: fault.at)


Break = Callable[[Fault], AbstractContextManager[None]]
"""Makes a fault; leaving the context ends it, and returns when the part answers again."""


class Breaking:
    """Carries out a plan, on a thread for each part. What was and is broken is in ``windows``."""

    def __init__(self, faults: list[Fault], breaks: Mapping[str, Break]) -> None:
        self.windows: list[Window] = []
        self.failures: list[BaseException] = []
        self._interrupted = threading.Event()
        self._threads = [
            threading.Thread(
                target=self._run, args=([fault for fault in faults if fault.part == part], make), daemon=True
            )
            for part, make in breaks.items()
        ]

    def __enter__(self) -> Breaking:
        self._start = time.monotonic()
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *exc_info: object) -> None:
        """Wait for the last one to be over; of a soak that is interrupted, for those that there are just now."""
        if error:
            self._interrupted.set()
        for thread in self._threads:
            thread.join()
        if self.failures:
            raise self.failures[0]

    def _run(self, faults: list[Fault], make: Break) -> None:
        try:
            for fault in faults:
                if self._interrupted.wait(max(0.0, self._start + fault.at - time.monotonic())):
                    return
                window = Window(fault.part, fault.kind, time.monotonic())
                self.windows.append(window)
                with make(fault):
                    time.sleep(fault.seconds)
                window.ended = time.monotonic()
        except BaseException as error:
            self.failures.append(error)

    def during(self, parts: tuple[str, ...], began: float, ended: float, after: float = 0.0) -> bool:
        """Was one of the parts at fault then, or so many seconds before?"""
        return any(
            window.part in parts and window.began <= ended and began <= window.ended + after
            for window in [*self.windows]
        )

    def calm_since(self, moment: float, parts: tuple[str, ...], seconds: float) -> float:
        """When, after ``moment``, the parts were without a fault for so long; infinite while that is not so."""
        end = moment + seconds
        for window in sorted([*self.windows], key=lambda window: window.began):
            if window.part in parts and window.began <= end and window.ended >= end - seconds:
                end = window.ended + seconds
        return end
