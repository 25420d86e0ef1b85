"""What a stranger costs who asks for names that do not exist: ``python -m benchmarks.missing [--requests 1000000]``.

One process with a source, a folder of a few photographs, as a server has it: memory, how often the source was asked,
CPU of a miss, and how long a hit takes beside one of another LazyCrop in the same process that has seen no such names.
Half of the names are all different, the others come again, as a crawler's do.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from lazycrop import FolderSource, LazyCrop

ROOT = Path(__file__).parent.parent
AGAIN = 10_000  # Names that come again.
BETWEEN = 100  # Misses between two hits.
PRINTED = 20
HIT = "/Wine_by_Jakkub_Mede.jpg/200x100.jpg"


class Counted:
    """A source that counts what it is asked."""

    def __init__(self, folder: Path) -> None:
        self._source = FolderSource(folder)
        self.calls = 0
        self.look, self.read, self.walk = self._counting(self._source.look), self._source.read, self._source.walk

    def _counting(self, look: Callable[..., object]) -> Callable[..., object]:
        def counting(*arguments: object) -> object:
            self.calls += 1
            return look(*arguments)

        return counting


def names(requests: int) -> Iterator[str]:
    for number in range(requests):
        yield f"gone/{number}" if number % 2 else f"again/{number % AGAIN}"


def memory() -> float:
    """Of this process, in MB."""
    gc.collect()
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1000


def hit(images: LazyCrop) -> float:
    """Seconds of the second of two: the first one is slow for what happened between."""
    for _ in range(2):
        began = time.perf_counter()
        assert images.answer(HIT).status in (200, 301)
    return time.perf_counter() - began


def opened(source: Counted, folder: str) -> LazyCrop:
    images = LazyCrop(source=source, store=folder, sizes=["200x100"], broker="inline", shortcut_seconds=0)
    hit(images)
    return images


def measure(requests: int, folder: str) -> None:
    asked, quiet = Counted(ROOT / "tests/photos"), Counted(ROOT / "tests/photos")
    images, others = opened(asked, folder), opened(quiet, folder)
    asked.calls, ours, theirs, spent = 0, [], [], 0.0
    print(
        f"{'requests':>10} {'memory, MB':>11} {'calls':>10} {'µs a miss':>10} {'a hit':>8}\n{0:>10,} {memory():>11.1f}"
    )
    for number, name in enumerate(names(requests), 1):
        began = time.process_time()
        assert images.answer(f"/{name}.jpg/200x100.jpg").status == 404
        spent += time.process_time() - began
        if not number % BETWEEN:
            ours.append(hit(images))
            theirs.append(hit(others))
        if not number % (requests // PRINTED):
            ratio = median(ours) / median(theirs)
            row = f"{number:>10,} {memory():>11.1f} {asked.calls:>10,} {spent / number * 1e6:>10.1f} {ratio:>6.2f} ×"
            print(row, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    with tempfile.TemporaryDirectory() as folder:
        measure(parser.parse_args().requests, folder)


if __name__ == "__main__":
    main()
