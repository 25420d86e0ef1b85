"""Mutants: change the code in one place, run the tests that run that line, and see whether any of them notices.

    make mutants MUTANTS="--seed 7"                     # of 150 random lines
    make mutants MUTANTS="lazycrop/stores --lines 40"
    make mutants MUTANTS="--since origin/main" MUTANTS_MINUTES=10

Which tests run a line is recorded once, file by file, in ``.mutants``, and anew for a file of tests that has changed.
What a test's processes run counts as run by it. Then each mutant is tried in a copy of the tree: the quickest tests of
its package first, ``--seconds`` of them at most, until one fails. What ``--minutes`` do not suffice for is said at the
end. A mutant that is not found is either a promise that no test asks for, or changes nothing that anybody can see.

Why no tool: mutmut forks a process that has run the tests before, which here has threads and servers; cosmic-ray runs
one command for every mutant, which is all the tests; mutatest, which chooses by coverage, was last released in 2022. None of
them can be given a time.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from queue import Queue
from typing import Any

import coverage
import pytest

from mutating import ROOT, Mutant, Source

KEPT = ROOT / ".mutants"
LEFT_OUT = {"lazycrop/keywords.py"}  # For type checkers alone.
_NOT_COPIED = (".git", ".venv*", ".mutants", ".hypothesis", ".bench", "__pycache__", ".*_cache", "_build", "*.egg-info")
_COVERAGE = """[run]
branch = false
parallel = true
sigterm = true
source = lazycrop, adapters
data_file = {folder}/data
context = ${{PYTEST_CURRENT_TEST-}}
"""


# Which tests run a line.


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of what is collected, the tests that are picked, in that order."""
    if (picked := os.environ.get("MUTANTS_PICKED")) is not None:
        order = {name: number for number, name in enumerate(json.loads(Path(picked).read_text()))}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Have coverage know whose the lines are, and how long it takes."""
    measured, began = coverage.Coverage.current(), time.perf_counter()
    if measured is not None:
        measured.switch_context(item.nodeid)
    try:
        return (yield)
    finally:
        _seconds[item.nodeid] = time.perf_counter() - began


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.failed or report.skipped:
        _useless.add(report.nodeid)


def pytest_sessionfinish() -> None:
    if (folder := os.environ.get("MUTANTS_RECORD")) is not None:
        useful = {name: seconds for name, seconds in _seconds.items() if name not in _useless}
        Path(folder, "seconds.json").write_text(json.dumps(useful))


_seconds: dict[str, float] = {}
_useless: set[str] = set()


@cache
def names_of_lines(path: str) -> list[str]:
    """A name for each line that stays when lines above it come or go: its text, and the how manieth of that it is."""
    seen: dict[str, int] = defaultdict(int)
    names = [""]
    for line in (ROOT / path).read_text().splitlines():
        seen[line.strip()] += 1
        names.append(f"{line.strip()} #{seen[line.strip()]}")
    return names


def run(tree: Path, arguments: Iterable[str], seconds: float, **more: str) -> int | None:
    """The exit status of pytest in a copy of the tree; None where it takes too long."""
    paths = [str(tree), str(tree / "adapters"), str(tree / "tests")]
    shutil.rmtree(tree.with_suffix(".tmp"), ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-p",
        "mutants",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    process = subprocess.Popen(
        [*command, f"--basetemp={tree.with_suffix('.tmp')}", *arguments],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **more},
        stdout=tree.with_suffix(".log").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.terminate()  # It ends its servers.
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return None


def record(tree: Path, path: str, stamp: str) -> None:
    """Run the tests of a file, and write down which lines each of them runs."""
    folder = tree.with_suffix(".coverage")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "rc").write_text(_COVERAGE.format(folder=folder))
    run(tree, [path, "--maxfail=1000"], 900, COVERAGE_PROCESS_START=str(folder / "rc"), MUTANTS_RECORD=str(folder))
    seconds = json.loads((folder / "seconds.json").read_text()) if (folder / "seconds.json").exists() else {}
    numbers = {name: number for number, name in enumerate(seconds)}
    lines: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for part in folder.glob("data.*"):
        data = coverage.CoverageData(str(part))
        data.read()
        for file in data.measured_files():
            source = str(Path(file).relative_to(tree))
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = {numbers.get(re.sub(r" \\((setup|call|teardown)\\)$", "", context)) for context in contexts}
                lines[source][names_of_lines(source)[line]] |= {test for test in tests if test is not None}
    kept = {"stamp": stamp, "seconds": seconds, "lines": lines}
    (KEPT / f"{path.replace('/', '-')}.json").write_text(json.dumps(kept, default=sorted))


class Known:
    """What was recorded: the tests that run a line, and how long they take."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._tests: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for file in KEPT.glob("*.json"):
            kept = json.loads(file.read_text())
            self.seconds |= kept["seconds"]
            tests = list(kept["seconds"])
            for path, lines in kept["lines"].items():
                for name, numbers in lines.items():
                    self._tests[path][name].update(tests[number] for number in numbers)

    def tests(self, mutant: Mutant) -> list[str]:
        """Those of its package first, the quickest first; for a line that is new, or runs at import, its function's."""
        names = names_of_lines(mutant.path)
        found = self._of_lines(mutant.path, names[mutant.first : mutant.last + 1])
        if not found:
            found = self._of_lines(mutant.path, names[slice(*_function(mutant))])
        own = f"tests/{mutant.path.split('/')[1]}/"
        return sorted(found, key=lambda test: (not test.startswith(own), self.seconds[test]))

    def _of_lines(self, path: str, names: list[str]) -> set[str]:
        return {test for name in names for test in self._tests[path].get(name, ())}


def _function(mutant: Mutant) -> tuple[int, int]:
    """The lines of the innermost function that a mutant is in; of none, those of the file."""
    inner = (1, 10**6)
    for node in ast.walk(ast.parse((ROOT / mutant.path).read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.lineno <= mutant.line <= node.end_lineno:
            inner = (node.lineno, node.end_lineno + 1)
    return inner


# Trying them.


def attempt(tree: Path, mutant: Mutant, known: Known, seconds: float) -> tuple[str, str]:
    """``found``, ``not found`` or ``run by no test``, and by how much."""
    tests, total = known.tests(mutant), 0.0
    picked = []
    for test in tests:
        total += known.seconds[test]
        if picked and total > seconds:
            break
        picked.append(test)
    if not picked:
        return "run by no test", ""
    (tree / mutant.path).write_text(mutant.text)
    chosen = tree.with_suffix(".picked")
    chosen.write_text(json.dumps(picked))
    files = dict.fromkeys(test.split("::")[0] for test in picked)
    try:
        status = run(tree, files, 3 * total + 60, MUTANTS_PICKED=str(chosen))
    finally:
        shutil.copyfile(ROOT / mutant.path, tree / mutant.path)
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
    """What ``do(tree, task)`` returns, ``jobs`` of them at once, each in a copy of the tree; none begun after that."""
    trees: Queue[Path] = Queue()
    for number in range(jobs):
        tree = KEPT / f"tree{number}"
        shutil.rmtree(tree, ignore_errors=True)
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        trees.put(tree)

    def one(task: Any) -> Any:
        if time.monotonic() > until:
            return None
        tree = trees.get()
        try:
            return do(tree, task)
        finally:
            trees.put(tree)

    with ThreadPoolExecutor(jobs) as pool:
        yield from pool.map(one, tasks)


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
    stale = []
    for file in sorted((ROOT / "tests").glob("*/test_*.py")):
        path, stamp = str(file.relative_to(ROOT)), hashlib.sha256(file.read_bytes()).hexdigest()
        kept = KEPT / f"{path.replace('/', '-')}.json"
        if not kept.exists() or json.loads(kept.read_text())["stamp"] != stamp:
            stale.append((path, stamp))
    print(f"{len(stale)} files of tests are run to see which lines they run", flush=True)
    for number, _ in enumerate(in_copies(given.jobs, stale, lambda tree, file: record(tree, *file), until)):
        print(f"  {stale[number][0]}", flush=True)
    known, counts = Known(), defaultdict(int)
    mutants = choose(given)
    print(f"{len(mutants)} mutants, seed {given.seed}", flush=True)
    results = in_copies(given.jobs, mutants, lambda tree, one: attempt(tree, one, known, given.seconds), until)
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
