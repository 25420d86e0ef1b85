"""Which tests run a line, and how long each takes. As a plugin of pytest it tells coverage whose the lines are.

What the processes run that a test starts counts as run by it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import coverage
import pytest

from mutating import ROOT, Mutant

KEPT = ROOT / ".mutants"
_COVERAGE = """[run]
branch = false
parallel = true
sigterm = true
source = lazycrop, adapters
data_file = {folder}/data
context = ${{PYTEST_CURRENT_TEST-}}
"""


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
        "recording",
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


def record(tree: Path, path: str, stamp: str, left: float) -> None:
    """Run the tests of a file, and write down which lines each of them runs; nothing where ``left`` seconds are few."""
    folder = tree.with_suffix(".coverage")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    (folder / "rc").write_text(_COVERAGE.format(folder=folder))
    environment = {"COVERAGE_PROCESS_START": str(folder / "rc"), "MUTANTS_RECORD": str(folder)}
    if run(tree, [path, "--maxfail=1000"], left, **environment) is None:
        return
    seconds = json.loads((folder / "seconds.json").read_text()) if (folder / "seconds.json").exists() else {}
    numbers = {name: number for number, name in enumerate(seconds)}
    lines: dict[str, dict[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for part in folder.glob("data.*"):
        data = coverage.CoverageData(str(part))
        try:
            data.read()
        except coverage.CoverageException:  # Its process was killed while it wrote that.
            continue
        for file in data.measured_files():
            source = str(Path(file).relative_to(tree))
            for line, contexts in data.contexts_by_lineno(file).items():
                tests = {numbers.get(re.sub(r" \\((setup|call|teardown)\\)$", "", context)) for context in contexts}
                lines[source][names_of_lines(source)[line]] |= {test for test in tests if test is not None}
    kept = {"stamp": stamp, "seconds": seconds, "lines": lines}
    _kept(path).write_text(json.dumps(kept, default=sorted))


def _kept(path: str) -> Path:
    return KEPT / f"{path.replace('/', '-')}.json"


def stamp_of(path: str) -> str | None:
    """The digest that a file of tests had when it was recorded."""
    return json.loads(_kept(path).read_text())["stamp"] if _kept(path).exists() else None


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
