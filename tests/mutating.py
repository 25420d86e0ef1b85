"""What can be changed in one place of a file: a condition, a comparison, a constant, what is returned, a statement.

Not changed are docstrings, annotations, sentences (of errors, settings and logs), and what the logger is told.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, order=True)
class Mutant:
    """``first``, ``last``: the lines of the statement that is changed. ``new``: what is there from ``start`` to ``end``
    instead, in bytes.
    """

    path: str
    line: int
    first: int
    last: int
    start: int
    end: int
    new: str

    @property
    def text(self) -> str:
        """The file, changed."""
        data = (ROOT / self.path).read_bytes()
        return (data[: self.start] + self.new.encode() + data[self.end :]).decode()

    @property
    def means_something(self) -> bool:
        """It can be compiled, and says something else."""
        try:
            return ast.dump(ast.parse(self.text)) != ast.dump(ast.parse((ROOT / self.path).read_text()))
        except SyntaxError:
            return False

    def __str__(self) -> str:
        lines = difflib.unified_diff(
            (ROOT / self.path).read_text().split("\n"), self.text.split("\n"), n=0, lineterm=""
        )
        return "\n".join(
            [f"{self.path}:{self.line}", *(f"  {line}" for line in lines if line[:2] not in ("++", "--", "@@"))]
        )


_OTHER = {ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">")}
_OTHER |= {ast.Eq: ("==", "!="), ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: ("is not", "is")}
_OTHER |= {ast.In: ("in", "not in"), ast.NotIn: ("not in", "in")}
_ARITHMETIC = {ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "//"), ast.FloorDiv: ("//", "*")}
_DELETED = ast.AugAssign | ast.Raise | ast.Break | ast.Continue | ast.Delete
_UNCHANGED = {"annotation", "returns", "decorator_list", "bases"}
Change = tuple[ast.AST, int, int, str]  # ... from, to, and what is there instead


class Source:
    """A file's text, and where its nodes are in it, in bytes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data = (ROOT / path).read_bytes()
        self.tree = ast.parse(self.data)
        self._starts = [0]
        for line in self.data.splitlines(keepends=True):
            self._starts.append(self._starts[-1] + len(line))

    def span(self, node: Any) -> tuple[int, int]:
        return self._starts[node.lineno - 1] + node.col_offset, self._starts[node.end_lineno - 1] + node.end_col_offset

    def mutants(self) -> Iterator[Mutant]:
        for statement, (node, start, end, new) in self._in_statements(self.tree):
            inner = getattr(statement, "body", None)
            last = inner[0].lineno - 1 if isinstance(inner, list) else statement.end_lineno
            yield Mutant(self.path, node.lineno, statement.lineno, max(last, statement.lineno), start, end, new)

    def _in_statements(self, parent: ast.AST) -> Iterator[tuple[Any, Change]]:
        for node in ast.walk(parent):
            if isinstance(node, ast.stmt) and not _is_left_alone(node):
                for change in (*self._of_statement(node), *self._of_expressions(node)):
                    yield node, change

    def _of_statement(self, node: ast.stmt) -> Iterator[Change]:
        if isinstance(node, ast.If):
            yield node, *self.span(node.test), f"not ({self._text(node.test)})"
        elif isinstance(node, ast.Return):
            is_none = isinstance(node.value, ast.Constant) and node.value.value is None
            if node.value is not None and not is_none:
                yield node, *self.span(node.value), "None"
        elif isinstance(node, ast.Try):
            for handler in node.handlers:
                if not isinstance(handler.body[0], ast.Raise):
                    yield handler, *self.span(handler.body[0]), "raise"
        elif (
            isinstance(node, _DELETED)
            or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call))
            or (isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Attribute | ast.Subscript))
        ):
            yield node, *self.span(node), "pass"

    def _of_expressions(self, node: ast.AST) -> Iterator[Change]:
        """Of a statement's own expressions, and not of those of the statements in it."""
        for name, value in ast.iter_fields(node):
            for child in value if isinstance(value, list) else [value]:
                if name in _UNCHANGED or not isinstance(child, ast.AST) or isinstance(node, ast.ClassDef):
                    continue
                if isinstance(child, ast.stmt | ast.JoinedStr | ast.ExceptHandler) or _is_told(child):
                    continue
                yield from self._of_expression(child)
                yield from self._of_expressions(child)

    def _of_expression(self, node: ast.AST) -> Iterator[Change]:
        if isinstance(node, ast.Compare) and len(node.ops) == 1:
            start, end = self._between(node.left, node.comparators[0])
            yield node, start, end, self.data[start:end].decode().replace(*_OTHER[type(node.ops[0])])
        elif isinstance(node, ast.BoolOp):
            for one, next_one in zip(node.values, node.values[1:], strict=False):
                start, end = self._between(one, next_one)
                words = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
                yield one, start, end, self.data[start:end].decode().replace(*words)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield node, *self.span(node), f"bool({self._text(node.operand)})"
        elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            start, end = self._between(node.left, node.right)
            yield node, start, end, self.data[start:end].decode().replace(*_ARITHMETIC[type(node.op)])
        elif isinstance(node, ast.IfExp):
            yield node, *self.span(node.test), f"not ({self._text(node.test)})"
        elif isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield test, *self.span(test), f"not ({self._text(test)})"
        elif isinstance(node, ast.Constant) and (new := _other_constant(node.value)) is not None:
            yield node, *self.span(node), new
        elif isinstance(node, ast.Call):
            yield from self._without_keywords(node)

    def _without_keywords(self, call: ast.Call) -> Iterator[Change]:
        for keyword in call.keywords:
            start, end = self.span(keyword)
            comma = re.match(rb"\s*,\s*", self.data[end:])
            if keyword.arg is not None and not _name(call.func)[:1].isupper():  # What a class needs, it says itself.
                yield keyword, start, end + (len(comma[0]) if comma else 0), ""

    def _text(self, node: ast.AST) -> str:
        start, end = self.span(node)
        return self.data[start:end].decode()

    def _between(self, left: ast.AST, right: ast.AST) -> tuple[int, int]:
        return self.span(left)[1], self.span(right)[0]


def _other_constant(value: object) -> str | None:
    if isinstance(value, bool):
        return str(not value)
    if isinstance(value, int | float):
        return repr(value * 2 if value > 9 or (isinstance(value, float) and value) else value + 1)
    is_text = isinstance(value, str) and value and " " in value  # a sentence: of an error, a setting, a log
    return repr(value + "x") if isinstance(value, str) and not is_text else None


def _name(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_told(node: ast.AST) -> bool:
    """A call of the logger: it may say something else."""
    is_method = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    return is_method and getattr(node.func.value, "id", "") == "logger"


def _is_left_alone(node: ast.stmt) -> bool:
    named = [getattr(target, "id", "") for target in getattr(node, "targets", [])]
    is_for_types = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    return is_for_types or (isinstance(node, ast.Expr) and _is_told(node.value)) or named in (["__all__"], ["T"])
