"""Draw the architecture as the imports have it: ``python docs/make_drawing.py`` writes pictures/architecture.svg."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from law import LAYER, LAYERS, SIBLINGS, arrows, package_of  # noqa: E402

DRAWING = Path(__file__).with_name("pictures") / "architecture.svg"
WIDTH, MARGIN, GAP, ROW_GAP = 1180, 96, 34, 46
NAME, LINE, PADDING = 20, 15, 12
CHARACTER = 6.3  # Pixels of a character of a module's name, about.
# One for each layer, from the lowest: its boxes' line, and the arrows that leave them.
INKS = ["#5b6472", "#2f6f8f", "#2b7a5b", "#64803a", "#8a7a2c", "#a8642a", "#b3473d", "#a53a6b", "#7b4699", "#4a55a8"]


@dataclass
class Box:
    name: str
    lines: list[str]
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    ins: list[str] = field(default_factory=list)
    outs: list[str] = field(default_factory=list)

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def drawing(root: Path = ROOT) -> str:
    graph = arrows(root)
    packages: dict[str, list[str]] = {}
    for module in graph:
        if package_of(module) in LAYER:
            packages.setdefault(package_of(module), []).append(module.partition(".")[2])
    edges = {(package_of(a), package_of(b)) for a, others in graph.items() for b in others if a and b}
    edges = {(a, b) for a, b in edges if a != b and a in packages and b in packages}
    boxes, height = _placed({name: _box(name, modules) for name, modules in packages.items()})
    ways = [way for way in _reduced(edges) if way not in SIBLINGS]
    return "\n".join(
        [*_head(height), *_bands(boxes), *_arrows(ways, boxes), *map(_drawn, boxes.values()), "</svg>", ""]
    )


def _box(name: str, modules: Iterable[str]) -> Box:
    names = " · ".join(module for module in modules if module)
    alone = len([other for other in LAYERS[LAYER[name]]]) == 1
    lines = [line.strip(" ·") for line in wrap(names, 56 if alone else 22)]
    width = max([len(name) * 9.5, *(len(line) * CHARACTER for line in lines)]) + 2 * PADDING
    return Box(name, lines, width=max(96, width), height=NAME + LINE * len(lines) + PADDING + 4)


def _placed(boxes: dict[str, Box]) -> tuple[dict[str, Box], float]:
    """The highest layer first, each in the middle of its row; and how high all of it is."""
    y = 70.0
    for layer in reversed(LAYERS):
        row = [boxes[name] for name in layer if name in boxes]
        free = WIDTH - 2 * MARGIN - sum(box.width for box in row)
        gap = min(free / max(1, len(row) - 1), 3 * GAP)
        x = (WIDTH - sum(box.width for box in row) - gap * (len(row) - 1)) / 2
        for box in row:
            box.x, box.y = x, y
            x += box.width + gap
        y += max((box.height for box in row), default=0) + ROW_GAP
    return boxes, y - ROW_GAP + 24


def _reduced(edges: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Without the arrows that a longer way says too."""
    below = {a: {b for first, b in edges if first == a} for a, _ in edges}

    def reach(start: str) -> set[str]:
        return {end for other in below.get(start, ()) for end in {other, *reach(other)}}

    return sorted((a, b) for a, b in edges if not any(b in reach(other) for other in below[a] - {b}))


def _arrows(ways: list[tuple[str, str]], boxes: dict[str, Box]) -> list[str]:
    for a, b in ways:
        boxes[a].outs.append(b)
        boxes[b].ins.append(a)
    drawn = []
    for a, b in ways:
        start, end = boxes[a], boxes[b]
        x1 = _port(start, sorted(start.outs, key=lambda name: boxes[name].middle), b)
        x2 = _port(end, sorted(end.ins, key=lambda name: boxes[name].middle), a)
        drawn.append(_curve(x1, start.y + start.height, x2, end.y - 4, INKS[LAYER[a]]))
    return drawn


def _port(box: Box, others: list[str], name: str) -> float:
    return box.x + box.width * (others.index(name) + 1) / (len(others) + 1)


def _curve(x1: float, y1: float, x2: float, y2: float, ink: str) -> str:
    bend = max(24.0, (y2 - y1) * 0.45)
    path = f"M{x1:.0f} {y1:.0f} C{x1:.0f} {y1 + bend:.0f} {x2:.0f} {y2 - bend:.0f} {x2:.0f} {y2:.0f}"
    return (
        f'<path d="{path}" fill="none" stroke="{ink}" stroke-width="1.3" stroke-opacity=".65" marker-end="url(#tip)"/>'
    )


def _drawn(box: Box) -> str:
    ink = INKS[LAYER[box.name]]
    rows = [f'<text x="{box.middle:.0f}" y="{box.y + NAME:.0f}" class="name" fill="{ink}">{escape(box.name)}</text>']
    for number, line in enumerate(box.lines):
        y = box.y + NAME + 4 + LINE * (number + 1)
        rows.append(f'<text x="{box.middle:.0f}" y="{y:.0f}" class="modules">{escape(line)}</text>')
    frame = f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="9"'
    return "\n".join([f'{frame} fill="#fff" stroke="{ink}" stroke-width="1.5"/>', *rows])


def _bands(boxes: dict[str, Box]) -> list[str]:
    rows = []
    for number, layer in enumerate(LAYERS):
        row = [boxes[name] for name in layer if name in boxes]
        if row:
            top, bottom = row[0].y - 11, max(box.y + box.height for box in row) + 11
            ink, place = INKS[number], f'x="24" y="{top:.0f}" width="{WIDTH - 48}" height="{bottom - top:.0f}"'
            rows.append(f'<rect {place} rx="12" fill="{ink}" fill-opacity=".06"/>')
            rows.append(f'<text x="46" y="{(top + bottom) / 2 + 6:.0f}" class="layer" fill="{ink}">{number}</text>')
    return rows


def _head(height: float) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}">',
        "<style>text{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;text-anchor:middle}"
        ".name{font-size:15px;font-weight:600}.modules{font-size:11.5px;fill:#4a4f57}"
        ".layer{font-size:17px;font-weight:600}.note{font-size:12.5px;fill:#6a707a}</style>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 1 L7 4 L0 7z" fill="#6a707a"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:.0f}" fill="#fdfdfc"/>',
        f'<text x="{WIDTH / 2:.0f}" y="34" class="note">Packages on their layers, with their modules. An arrow: imports; '
        "left out where a longer way says it too.</text>",
    ]


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
