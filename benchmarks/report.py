"""What a row found, and how it is written: checks, tables and charts, as markdown and JSON."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = ("Pillow", "cykooz-resizer", "boto3", "urllib3", "pymemcache", "dramatiq", "WebOb", "gunicorn", "granian")


@dataclass(frozen=True)
class Check:
    """``what`` was ``measured``, which shall be at most (or, ``least``, at least) ``limit``; None: not measured."""

    what: str
    measured: float | None
    limit: float
    least: bool = False

    @property
    def kept(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured >= self.limit if self.least else self.measured <= self.limit

    @property
    def mark(self) -> str:
        return {True: "✓", False: "✗", None: "?"}[self.kept]


@dataclass(frozen=True)
class Table:
    """``rows``: a name and a cell for each of ``columns``, or why it is missing."""

    title: str
    columns: Sequence[str]
    rows: Mapping[str, Sequence[float | str | None] | str]


@dataclass(frozen=True)
class Chart:
    """``series``: a name and a value for each of ``labels``. ``curve``: labels are numbers; else groups of bars."""

    title: str
    unit: str
    labels: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    curve: bool = False

    @property
    def file(self) -> str:
        return _file(self.title)


@dataclass(frozen=True)
class Points:
    """``series``: a name and where it lies, as (x, y)."""

    title: str
    across: str
    unit: str
    series: Mapping[str, tuple[float | None, float | None]]

    @property
    def file(self) -> str:
        return _file(self.title)


def _file(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") + ".svg"


@dataclass(frozen=True)
class Row:
    """One of the points that are to be shown."""

    title: str
    checks: Sequence[Check]
    tables: Sequence[Table] = ()
    charts: Sequence[Chart | Points] = ()
    notes: Sequence[str] = field(default=())


def ratio(ours: float | None, others: Sequence[float | None]) -> float | None:
    """Ours ÷ the least of the others; None where nothing was measured."""
    known = [other for other in others if other is not None]
    return ours / min(known) if ours is not None and known else None


def machine() -> dict[str, str]:
    """What it was measured on and with."""
    cpu = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "CPU": cpu[1] if cpu else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        **{library: _version(library) for library in LIBRARIES},
    }


def _version(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:
        return "not installed"


def markdown(rows: Sequence[Row], described: Mapping[str, str]) -> str:
    parts = ["# What was measured\n", *(f"{name}: {value} · " for name, value in described.items())]
    text = parts[0] + "\n" + "".join(parts[1:]).removesuffix(" · ") + "\n"
    for row in rows:
        text += f"\n## {row.title}\n\n"
        if row.checks:
            text += "| | measured | threshold | |\n|---|---|---|---|\n"
            text += "".join(
                f"| {c.what} | {_cell(c.measured)} | {'≥' if c.least else '≤'} {_cell(c.limit)} | {c.mark} |\n"
                for c in row.checks
            )
        for table in row.tables:
            text += f"\n**{table.title}**\n\n| | {' | '.join(table.columns)} |\n|{'---|' * (len(table.columns) + 1)}\n"
            for name, cells in table.rows.items():
                shown = [f"missing: {cells}"] if isinstance(cells, str) else map(_cell, cells)
                text += f"| {name} | {' | '.join(shown)} |\n"
        text += "".join(f"\n![{chart.title}]({chart.file})\n" for chart in row.charts)
        text += "".join(f"\n{note}\n" for note in row.notes)
    return text


def _cell(value: float | str | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def to_json(rows: Sequence[Row], described: Mapping[str, str]) -> str:
    content = {"machine": described, "rows": [asdict(row) for row in rows]}
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"
