"""What is said to machines: each line of the log has an event, and the documentation has each event and example."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_documentation import blocks

from law import modules
from lazycrop.concurrency.faults import Fault
from servers import ROOT

TEXT = (ROOT / "docs/metrics.rst").read_text("utf-8")
LEVELS = {"info", "warning", "error", "exception", "critical", "log"}


def calls(path: Path) -> Iterator[tuple[ast.Call, ast.FunctionDef | None]]:
    """Each line that a module writes to its log, and the function that does so."""
    tree = ast.parse(path.read_text("utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    for node in ast.walk(tree):
        called = node.func if isinstance(node, ast.Call) else None
        if isinstance(called, ast.Attribute) and called.attr in LEVELS and ast.unparse(called.value) == "logger":
            around = [one for one in functions if one.lineno <= node.lineno <= (one.end_lineno or 0)]
            yield node, max(around, key=lambda one: one.lineno, default=None)  # type: ignore[misc]


def event(call: ast.Call, function: ast.FunctionDef | None) -> str | None:
    """Its name, which stands in the call, or in the variable that the call is given."""
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "extra"), None)
    if isinstance(given, ast.Name) and function is not None:
        assigned = [node for node in ast.walk(function) if isinstance(node, ast.Assign) and node.lineno < call.lineno]
        given = next(one.value for one in reversed(assigned) if ast.unparse(one.targets[0]) == given.id)
    if not isinstance(given, ast.Dict):
        return None
    return next(
        (
            ast.literal_eval(value)
            for key, value in zip(given.keys, given.values, strict=True)
            if isinstance(key, ast.Constant) and key.value == "event"
        ),
        None,
    )


def test_every_line_of_the_log_has_an_event_and_the_documentation_has_each_of_them() -> None:
    found = {
        (name, call.lineno): event(call, function)
        for name, path in modules(ROOT).items()
        for call, function in calls(path)
    }
    assert len(found) > 10
    assert [place for place, name in found.items() if name is None] == []
    table = TEXT[TEXT.index("event                    level") :]
    told = re.findall(r"^``([a-z-]+)`` ", table, re.MULTILINE)
    faults = {"fault", "fault-over", "slow", "slow-over", "junk", "junk-over"}  # see Fault
    assert set(told) == {*found.values(), *faults} and len(told) == len(set(told))
    assert Fault.__init__.__defaults__ == ("", "fault")


@pytest.mark.parametrize("block", blocks(TEXT))
def test_the_examples_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import logging

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(logging.getLogger("lazycrop"), "handlers", [])
    names: dict[str, Any] = {}
    exec(block, names)
    if "application" in names:
        seen: list[str] = []
        for path in ("/healthz", "/metrics", "/img/cat/200x100.jpg"):
            environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
            assert b"".join(names["application"](environ, lambda status, headers: seen.append(status[:3])))
        assert seen == ["200", "200", "404"]
        names["images"].close()
