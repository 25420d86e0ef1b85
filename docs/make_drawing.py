"""Draw the architecture as the imports have it: ``python docs/make_drawing.py`` writes pictures/architecture.svg."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import wrap

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from law import LAYER, LAYERS, arrows, package_of  # noqa: E402

DRAWING = Path(__file__).with_name("pictures") / "architecture.svg"
WIDTH, MARGIN, GAP, ROW_GAP = 1180, 96, 34, 46
NAME, LINE, PADDING = 20, 15, 12
CHARACTER = 6.3  # Pixels of a character of a module's name, about.
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" width="{width}" height="{height:.0f}">
<style>text{{font-family:system-ui,'Segoe UI',Helvetica,Arial,sans-serif;text-anchor:middle}}
.name{{font-size:15px;font-weight:600}}.modules{{font-size:11.5px;fill:#4a4f57}}.note{{font-size:12.5px;fill:#6a707a}}
.arrow{{fill:none;stroke-width:1.4;stroke-opacity:.7}}.layer{{font-size:17px;font-weight:600}}</style>
<defs><marker id="tip" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 1 L7 4 L0 7z" fill="#6a707a"/></marker></defs>
<rect width="{width}" height="{height:.0f}" fill="#fdfdfc"/>
<text x="{middle}" y="34" class="note">Packages on their layers, with their modules. An arrow says "imports"; \
it is left out where a longer way says so too.</text>"""


@dataclass
class Box:
    name: str
    lines: list[str]
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0
    ins: list[float] = field(default_factory=list)  # The middles of those at the other ends.
    outs: list[float] = field(default_factory=list)

    @property
    def layer(self) -> int:
        return LAYER[self.name]

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


def drawing(root: Path = ROOT) -> str:
    graph = arrows(root)
    boxes, height = _placed({name: _box(name, graph) for name in LAYER if name in graph})
    edges = {(package_of(a), package_of(b)) for a, others in graph.items() for b in others}
    edges = {(a, b) for a, b in edges if a != b and a in boxes and b in boxes}
    head = HEAD.format(width=WIDTH, middle=WIDTH // 2, height=height)
    parts = [head, *_bands(boxes), *_arrows(_reduced(edges), boxes), *map(_drawn, boxes.values())]
    return "\n".join([*parts, "</svg>", ""])


def _box(name: str, graph: Iterable[str]) -> Box:
    names = " · ".join(module.partition(".")[2] for module in graph if module.startswith(f"{name}."))
    lines = [line.strip(" ·") for line in wrap(names, 22 if len(LAYERS[LAYER[name]]) > 1 else 56)]
    width = max([len(name) * 9.5, *(len(line) * CHARACTER for line in lines)]) + 2 * PADDING
    return Box(name, lines, width=max(96, width), height=NAME + LINE * len(lines) + PADDING + 4)


def _ink(layer: int) -> str:
    """Of its boxes' line, and of the arrows that leave them."""
    return f"hsl({(215 - 37 * layer) % 360},40%,38%)"


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
        boxes[a].outs.append(boxes[b].middle)
        boxes[b].ins.append(boxes[a].middle)
    taken: dict[int, list[float]] = {number: [] for number in range(len(LAYERS))}
    return [_arrow(boxes[a], boxes[b], taken, boxes) for a, b in ways]


def _arrow(start: Box, end: Box, taken: dict[int, list[float]], boxes: dict[str, Box]) -> str:
    """Down from row to row; between the boxes of those that it passes, apart from others that do."""
    ink, x = _ink(start.layer), _port(start, start.outs, end)
    if start.layer == end.layer:
        x1, x2 = (start.x, end.x + end.width + 5) if start.x > end.x else (start.x + start.width, end.x - 5)
        return _path(f"M{x1:.0f} {start.y + 17:.0f} H{x2:.0f}", ink)
    y, goal = start.y + start.height, _port(end, end.ins, start)
    path = f"M{x:.0f} {y:.0f}"
    for layer in range(start.layer - 1, end.layer, -1):
        row = [box for box in boxes.values() if box.layer == layer]
        if row:
            top, bottom = row[0].y, max(box.y + box.height for box in row)
            wish = x + (goal - x) * (top - y) / (end.y - y)
            free = _free(wish, row, taken[layer])
            path += _bend(x, y, free, top) + f" V{bottom:.0f}"
            x, y = free, bottom
    return _path(path + _bend(x, y, goal, end.y - 5), ink)


def _free(wish: float, row: list[Box], taken: list[float]) -> float:
    """The place nearest to ``wish`` where an arrow can pass a row."""
    places = [wish + step for step in range(-WIDTH, WIDTH, 5)]
    free = [x for x in places if not any(box.x - 14 < x < box.x + box.width + 14 for box in row)]
    found = min((x for x in free if all(abs(x - other) > 8 for other in taken)), key=lambda x: abs(x - wish))
    taken.append(found)
    return found


def _port(box: Box, others: list[float], other: Box) -> float:
    return box.x + box.width * (sorted(others).index(other.middle) + 1) / (len(others) + 1)


def _bend(x1: float, y1: float, x2: float, y2: float) -> str:
    half = (y2 - y1) * 0.55
    return f" C{x1:.0f} {y1 + half:.0f} {x2:.0f} {y2 - half:.0f} {x2:.0f} {y2:.0f}"


def _path(path: str, ink: str) -> str:
    return f'<path d="{path}" stroke="{ink}" class="arrow" marker-end="url(#tip)"/>'


def _drawn(box: Box) -> str:
    ink, x, y = _ink(box.layer), f'x="{box.middle:.0f}"', box.y + NAME
    frame = f'<rect x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}" rx="9"'
    drawn = [f'{frame} fill="#fff" stroke="{ink}" stroke-width="1.5"/>']
    drawn += [f'<text {x} y="{y:.0f}" class="name" fill="{ink}">{box.name}</text>']
    lines = enumerate(box.lines, 1)
    drawn += [f'<text {x} y="{y + 4 + LINE * number:.0f}" class="modules">{line}</text>' for number, line in lines]
    return "\n".join(drawn)


def _bands(boxes: dict[str, Box]) -> list[str]:
    rows = []
    for number, layer in enumerate(LAYERS):
        row = [boxes[name] for name in layer if name in boxes]
        if row:
            top, bottom = row[0].y - 11, max(box.y + box.height for box in row) + 11
            ink, place = _ink(number), f'x="24" y="{top:.0f}" width="{WIDTH - 48}" height="{bottom - top:.0f}"'
            rows.append(f'<rect {place} rx="12" fill="{ink}" fill-opacity=".06"/>')
            rows.append(f'<text x="46" y="{(top + bottom) / 2 + 6:.0f}" class="layer" fill="{ink}">{number}</text>')
    return rows


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
