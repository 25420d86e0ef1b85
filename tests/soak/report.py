"""Report: what happened, in figures, and whether that is as it has to be."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from typing import Any

from soak.clients import Seen
from soak.faults import Fault, Window
from soak.site import BUSY, BY_ITSELF, Site, Watching

LINES = 2.0
"""So many lines a process may write for each fault of memcached, the broker and the store, in the mean of all of them.

What is counted is each line of WARNING or above, and whatever is no line of a log at all, such as a traceback. Not
counted is what tells of one image: that a store or purge of it has failed and left something (``left``,
``store-unknown``), and that its job is in vain.
"""
_OF_AN_IMAGE = ("left", "store-unknown", "job-in-vain")

_GROWTH, _MEGABYTES = 1.10, 8.0  # of the last quarter's median over that of the third
_SHORT = 300  # Seconds; what runs for less still fills its caches.
ZERO = (
    *(
        "lost by the store",
        "bytes lost",
        "wrong pictures",
        "stale pictures",
        "missing pictures",
        "broken objects",
        "zombies",
    ),
    *("5xx outside of store faults", "retries stuck", "sizes not stored", "broken answers", "unexpected answers"),
    *("versions given twice", "counts that differ", "log lines", "memory"),
)


class Report:
    def __init__(self, seed: int, seconds: float, broker: str) -> None:
        self.seed, self.seconds, self.broker = seed, seconds, broker
        self.lines: list[str] = []

    def fill(
        self,
        site: Site,
        plan: list[Fault],
        windows: list[Window],
        seen: Seen,
        found: dict[str, Any],
        watching: Watching,
    ) -> bool:
        """True where all is well."""
        seen.judge()
        self._add(f"The soak of {self.seconds:g} s, SOAK_SEED={self.seed} SOAK_BROKER={self.broker}")
        self._add("faults", len(plan), Counter(f"{fault.part}: {fault.kind}" for fault in plan))
        if not site.has_small_disk:
            self._add("a full disk was NOT tried: only root can mount a small one")
        self._add("actions of clients", sum(seen.actions.values()), seen.actions)
        answers = Counter({" ".join(one): count for one, count in seen.answers.items()})
        self._add("answers", sum(seen.answers.values()), answers)
        self._add("pictures looked at", seen.pictures)
        excuses = {True: "store at fault", False: "store well"}
        failed = Counter(f"{said}, {excuses[is_excused()]}" for said, is_excused in seen.failed)
        self._add("5xx", len(seen.failed), failed)
        self._add("answers that broke", sum(seen.torn.values()), seen.torn)
        self._add("slowest answer", f"{seen.slowest[0]:.2f} s, {seen.slowest[1]}")
        for name, figure in found.items():
            self._add(name, figure)
        self._logs(site, windows, seen)
        self._figures(watching, windows, seen)
        for what in ZERO:
            self._add(what, len(seen.wrong.get(what, ())))
            self.lines += [f"    {said}" for said in seen.wrong.get(what, ())[:5]]
        unknown = set(seen.wrong) - set(ZERO)
        assert not unknown, unknown
        self._add("WELL" if not seen.wrong else "NOT WELL: " + ", ".join(seen.wrong))
        return not seen.wrong

    def _add(self, what: str, figure: object = None, parts: Counter[str] | None = None) -> None:
        self.lines.append(what if figure is None else f"{what}: {figure}")
        for name, count in sorted(parts.items(), key=lambda one: -one[1]) if parts else ():
            self.lines.append(f"    {count:6d} {name}")

    def _logs(self, site: Site, windows: list[Window], seen: Seen) -> None:
        for kind in (BUSY, BY_ITSELF):
            found = [window for window in windows if window.kind == kind and not _planned(window, windows)]
            seconds = sum(window.ended - window.began for window in found)
            self._add(f"the store was at fault beside the plan, {kind}", f"{len(found)} times, {seconds:.1f} s")
        parts, beside = ("store", "memcached", "broker"), (BUSY, BY_ITSELF)
        faults = sum(1 for window in windows if window.part in parts and window.kind not in beside)
        for part in ("web 1", "web 2", "worker"):
            told = [line for line in map(_told, site.log(part)) if line]
            of_faults = sum(1 for line in told if line.split(":")[0].split()[-1] not in _OF_AN_IMAGE)
            ratio = of_faults / max(1, faults)
            self._add(f"log lines of {part} for each of {faults} faults", f"{ratio:.2f}", Counter(told))
            if self.seconds >= _SHORT and ratio > LINES:
                seen.add_wrong("log lines", f"{part} has written {of_faults} for {faults} faults")

    def _figures(self, watching: Watching, windows: list[Window], seen: Seen) -> None:
        """Eighths of the whole time; then whether the last quarter is as the one before."""
        for part, looks in watching.seen.items():
            first, last = looks[0][0], looks[-1][0]
            eighths: list[list[tuple[float, float, int, int]]] = [[] for _ in range(8)]
            for look in looks:
                eighths[min(7, int(8 * (look[0] - first) / (last - first + 1)))].append(look)
            rows = [_medians(eighth) for eighth in eighths if eighth]
            self._add(f"{part}: MB, descriptors, threads", "  ".join(f"{m:.0f} {f:.0f} {t:.0f}" for m, f, t in rows))
            self._judge(part, eighths, seen)

    def _judge(self, part: str, eighths: list[list[tuple[float, float, int, int]]], seen: Seen) -> None:
        if self.seconds < _SHORT or not all(eighths[4:]):
            return
        before, after = _medians(eighths[4] + eighths[5]), _medians(eighths[6] + eighths[7])
        for name, one, other, slack in zip(
            ("MB", "descriptors", "threads"), before, after, (_MEGABYTES, 10, 10), strict=True
        ):
            if other > _GROWTH * one + slack:
                seen.add_wrong("memory", f"{part} has gone from {one:.0f} to {other:.0f} {name}")


def _planned(found: Window, windows: list[Window]) -> bool:
    """Did the canary find what was done to the store itself, or its end?"""
    return any(
        window.kind in ("kill", "full disk") and window.part == "store" and window.began <= found.began <= window.ended
        for window in windows
    )


def _medians(looks: list[tuple[float, float, int, int]]) -> tuple[float, float, float]:
    memory, files, threads = (statistics.median(column) for column in list(zip(*looks, strict=True))[1:])
    return memory, files, threads


def _told(line: str) -> str:
    """What a line says, without what differs from one to the next; empty for what is no warning."""
    try:
        said = json.loads(line)
        level, logger, message = said["level"], said["logger"], said["message"]
    except (ValueError, TypeError, KeyError):
        return f"(no line of a log) {line[:100]}" if line.strip() else ""
    return f"{level} {logger} {said.get('event', '')}: {message[:60]}" if level not in ("DEBUG", "INFO") else ""
