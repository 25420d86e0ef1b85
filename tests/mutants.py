"""Mutants: change the code in one place, run the tests that run that line, and see whether any of them notices.

    make mutants MUTANTS="--seed 7"                     # of 150 random lines
    make mutants MUTANTS="lazycrop/stores --lines 40"
    make mutants MUTANTS="--since origin/main" MUTANTS_MINUTES=10

Which tests run a line is recorded once, file by file, in ``.mutants``, and anew for a file of tests that has changed;
half of the ``--minutes`` at most, and the next time goes on with it. Then each mutant is tried in a copy of the tree:
the quickest tests of its package first, ``--seconds`` of them at most, until one fails. For what there are no minutes
left, that is said. A mutant that is not found is a promise that no test asks for, or changes nothing that anybody sees.

Why no tool: mutmut forks a process that has run the tests before, which here has threads and servers; cosmic-ray runs
one command for every mutant, which is all the tests; mutatest, which knows the lines that are run, not by which test,
was last released in 2022. None of them can be given a time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any

from mutating import ROOT, Mutant, Source
from recording import KEPT, Known, record, run, stamp_of

LEFT_OUT = {"lazycrop/keywords.py"}  # For type checkers alone.
_NOT_COPIED = (".git", ".venv*", ".mutants", ".hypothesis", ".bench", "__pycache__", ".*_cache", "_build", "*.egg-info")


def attempt(tree: Path, mutant: Mutant, known: Known, seconds: float, left: float) -> tuple[str, str]:
    """``found``, ``not found`` and so on, and by what. ``left``: seconds until all of it ends."""
    tests, total = known.tests(mutant), 0.0
    picked = []
    for test in tests:
        total += known.seconds[test]
        if picked and total > seconds:
            break
        picked.append(test)
    if not picked:
        return "run by no test that was recorded", ""
    (tree / mutant.path).write_text(mutant.text)
    chosen = tree.with_suffix(".picked")
    chosen.write_text(json.dumps(picked))
    files = dict.fromkeys(test.split("::")[0] for test in picked)
    try:
        status = run(tree, files, min(3 * total + 60, left), MUTANTS_PICKED=str(chosen))
    finally:
        shutil.copyfile(ROOT / mutant.path, tree / mutant.path)
    if status is None and left < 3 * total + 60:
        return "not tried", "the time was over"
    if status == 5:
        return "not tried", "its tests are gone: remove .mutants"
    if status == 0:
        return "not found", f"{len(picked)} of the {len(tests)} tests that run it"
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", tree.with_suffix(".log").read_text(errors="replace"), re.M)
    return "found", "it does not end" if status is None else " ".join(failed[:1]) or f"pytest ends with {status}"


def changed_since(revision: str) -> set[tuple[str, int]]:
    """The lines of the package that were added or changed since then."""
    command = ["git", "diff", "-U0", "--relative", revision, "--", "lazycrop", "adapters"]
    lines, path = set(), ""
    for line in subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines():
        if line.startswith("+++ "):
            path = line.removeprefix("+++ b/")
        elif (hunk := re.match(r"@@ \S+ \+(\d+),?(\d*)", line)) is not None:
            lines |= {(path, int(hunk[1]) + number) for number in range(int(hunk[2] or 1))}
    return lines


def choose(given: argparse.Namespace) -> list[Mutant]:
    """One mutant each of so many lines, by the seed."""
    of_line: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    wanted = changed_since(given.since) if given.since else None
    for path in given.paths or (["lazycrop", "adapters"] if given.since else ["lazycrop"]):
        for file in sorted((ROOT / path).rglob("*.py")) if (ROOT / path).is_dir() else [ROOT / path]:
            name = str(file.relative_to(ROOT))
            for mutant in Source(name).mutants() if name not in LEFT_OUT else ():
                if wanted is None or (name, mutant.line) in wanted:
                    of_line[name, mutant.line].append(mutant)
    dice = random.Random(given.seed)
    lines = sorted(of_line)
    dice.shuffle(lines)
    chosen = (dice.choice(of_line[line]) for line in lines)
    return list(islice((one for one in chosen if one.means_something), given.lines))


def in_copies(jobs: int, tasks: Iterable[Any], do: Any, until: float) -> Iterator[Any]:
    """What ``do(tree, task, seconds until then)`` returns, ``jobs`` at once, each in a copy of the tree."""
    trees: Queue[Path] = Queue()
    for number in range(jobs):
        tree = KEPT / f"tree{number}"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        trees.put(tree)

    def one(task: Any) -> Any:
        tree = trees.get()
        try:
            left = until - time.monotonic()
            return do(tree, task, left) if left > 0 else None
        finally:
            trees.put(tree)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, tasks)


def changed_tests(packages: set[str]) -> Iterator[tuple[str, str]]:
    """Files of tests that were not recorded as they are, those of these packages first; each with its digest."""
    for file in sorted((ROOT / "tests").glob("*/test_*.py"), key=lambda file: file.parent.name not in packages):
        path, stamp = str(file.relative_to(ROOT)), hashlib.sha256(file.read_bytes()).hexdigest()
        if stamp_of(path) != stamp:
            yield path, stamp


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", help="packages or modules; lazycrop")
    parser.add_argument("--since", help="only the lines that were changed since this revision")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--lines", type=int, default=150)
    parser.add_argument("--minutes", type=float, default=float(os.environ.get("MUTANTS_MINUTES") or 60))
    parser.add_argument("--seconds", type=float, default=60, help="of tests for one mutant, by what they took before")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1))
    given = parser.parse_args()
    until = time.monotonic() + 60 * given.minutes
    KEPT.mkdir(exist_ok=True)
    mutants = choose(given)
    stale = list(changed_tests({mutant.path.split("/")[1] for mutant in mutants}))
    print(f"{len(stale)} files of tests are run to see which lines they run", flush=True)
    half = time.monotonic() + 30 * given.minutes
    for _ in in_copies(given.jobs, stale, lambda tree, file, left: record(tree, *file, left), half):
        print(".", end="", flush=True)
    print(f"\n{len(mutants)} mutants, seed {given.seed}", flush=True)
    known, counts = Known(), defaultdict(int)
    results = in_copies(
        given.jobs, mutants, lambda tree, one, left: attempt(tree, one, known, given.seconds, left), until
    )
    for mutant, result in zip(mutants, results, strict=True):
        what, why = result or ("not tried", "")
        counts[what] += 1
        print(
            f"{what}: {mutant}\n  {why}\n" if what != "found" else f"found: {mutant.path}:{mutant.line} {why}",
            flush=True,
        )
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))


if __name__ == "__main__":
    main()
