"""The command line: ``lazycrop store``, ``adopt``, ``url``, ``serve`` and the others.

Every command takes every setting: as a flag, else from ``LAZYCROP_*`` in the environment, else from an ini file.
:func:`main` runs it; ``commands`` is its click.Group, loaded when it is first asked for.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lazycrop.errors import ConfigurationError

if TYPE_CHECKING:
    from lazycrop.cli.program import commands as commands


def main() -> None:
    """Run the command; an error is one sentence on stderr and exit status 1."""
    try:
        program = _program()
    except ConfigurationError as error:
        sys.exit(str(error))
    program.main()


def __getattr__(name: str) -> Any:
    if name != "commands":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _program().commands


def _program() -> Any:
    try:
        import click  # noqa: F401
    except ImportError as error:
        raise ConfigurationError("The command line needs click and waitress: pip install lazycrop[cli].") from error
    return import_module("lazycrop.cli.program")
