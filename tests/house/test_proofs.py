"""Each threat and each fault that the documentation knows has its proofs, and they are there."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest

from servers import ROOT

TEXT = (ROOT / "docs/proofs.rst").read_text("utf-8")
KINDS = dict(zip(("Threats", "Faults"), re.split(r"\n(?:Threats|Faults)\n-+\n", TEXT)[1:], strict=True))
ROWS = [
    pytest.param(*row, id=f"{kind}-{row[0]}")
    for kind, text in KINDS.items()
    for row in re.findall(r"^(\d+): .+\n~+\n((?:(?!\d+: ).*\n?)+)", text, re.MULTILINE)
]


@cache
def named_in(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_there_are_fourteen_of_each() -> None:
    assert len(ROWS) == 28
    assert [row.values[0] for row in ROWS] == [str(number) for _ in KINDS for number in range(1, 15)]


@pytest.mark.parametrize(("number", "row"), ROWS)
def test_it_is_proved_by_tests_that_are_there_and_by_modules_that_are(number: str, row: str) -> None:
    proofs = re.findall(r"``(tests/[\w/]+\.py)::(test_\w+)``", row)
    assert proofs and len(proofs) == len(re.findall("::", row)) == len(set(proofs))
    assert [f"{path}::{name}" for path, name in proofs if name not in named_in(path)] == []
    modules = re.findall(r"``(lazycrop/[\w/]+\.py)``", row)
    assert modules and [path for path in modules if not (ROOT / path).is_file()] == []
