"""Output: what commands say to a person, and with --json to a program; and how they ask before they delete. [click]"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

_RENEWED = 0.1  # seconds between two looks of the line on a terminal


@dataclass(frozen=True, slots=True)
class Output:
    """How a command says things. ``as_json``: one object a line; ``quiet``: nothing but what was asked for."""

    as_json: bool
    quiet: bool

    def tell(self, content: dict[str, Any], text: str) -> None:
        """Something that was asked for, on standard output; ``text`` is for a person."""
        click.echo(json.dumps(content) if self.as_json else text)

    def item(self, content: dict[str, Any], text: str) -> None:
        """One of many things that are done; a person who wants it quiet needs their sum alone."""
        if self.as_json or not self.quiet:
            self.tell(content, text)

    def remark(self, text: str) -> None:
        """What is beside the point, on standard error."""
        if not self.quiet:
            click.echo(text, file=sys.stderr)


def output_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command ``as_json`` and ``quiet``, of which :class:`Output` is made."""
    command = click.option("--quiet", "-q", is_flag=True, help="Say nothing but what was asked for.")(command)
    return click.option("--json", "as_json", is_flag=True, help="Say it as JSON, one object a line.")(command)


yes_option = click.option("--yes", "-y", is_flag=True, help="Do it without being asked.")


def ask(question: str, yes: bool) -> None:
    """End the command with status 1 unless a person says yes, or has said so."""
    if yes:
        return
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort:
        sys.exit("Nothing was deleted. To be asked nothing, give --yes.")


class Progress:
    """How far it is, on a terminal, in one line that is renewed."""

    def __init__(self, output: Output) -> None:
        self._shows = sys.stderr.isatty() and not output.quiet
        self._shown = time.monotonic()

    def show(self, text: str) -> None:
        if self._shows and time.monotonic() >= self._shown + _RENEWED:
            self._shown = time.monotonic()
            click.echo(f"\r\x1b[K{text}", file=sys.stderr, nl=False)

    def clear(self) -> None:
        if self._shows:
            click.echo("\r\x1b[K", file=sys.stderr, nl=False)


def size_of(length: int) -> str:
    """Bytes as a person reads them: 1.2 GB."""
    amount = float(length)
    for unit in ("bytes", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}" if unit == "bytes" or amount >= 100 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} TB"


def count_of(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
