"""Charts as SVG files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.report import Chart, Points

# The same chart is the same file: no date, no random ids; text stays text.
mpl.rcParams.update({"svg.hashsalt": "lazycrop", "svg.fonttype": "none"})

COLOURS = ("#0b6e4f", "#54b089", "#a8d5c2", "#d5e8df", "#c1666b", "#d4b483", "#48639c", "#888888")


def draw(chart: Chart | Points, folder: Path) -> None:
    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    if isinstance(chart, Points):
        _draw_points(axes, chart)
    else:
        (_draw_curve if chart.curve else _draw_bars)(axes, chart)
        axes.legend(frameon=False, fontsize="small")
    axes.set_title(chart.title)
    axes.set_ylabel(chart.unit)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(folder / chart.file, format="svg", metadata={"Date": None})


def _draw_bars(axes: Axes, chart: Chart) -> None:
    width = 0.85 / len(chart.series)
    for number, (name, values) in enumerate(chart.series.items()):
        places = [place + number * width for place in range(len(values))]
        axes.bar(places, _numbers(values), width, label=name, color=COLOURS[number % len(COLOURS)])
    middle = 0.85 / 2 - width / 2
    axes.set_xticks([place + middle for place in range(len(chart.labels))], chart.labels)


def _draw_curve(axes: Axes, chart: Chart) -> None:
    places = [float(label.replace(",", "")) for label in chart.labels]
    for number, (name, values) in enumerate(chart.series.items()):
        axes.plot(places, _numbers(values), marker="o", label=name, color=COLOURS[number % len(COLOURS)])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)


def _draw_points(axes: Axes, chart: Points) -> None:
    known = {name: (x, y) for name, (x, y) in chart.series.items() if x is not None and y is not None}
    for name, (x, y) in known.items():
        axes.plot([x], [y], marker="o", color=COLOURS[0])
        axes.annotate(name, (x, y), textcoords="offset points", xytext=(6, 3), fontsize="small")
    axes.set_xscale("log")
    axes.set_xlabel(chart.across)


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
