"""How a setting is declared: its default and its sentence of documentation, in one place.

Each module declares the settings that it reads as a frozen dataclass of its own;
:class:`lazycrop.config.Config` inherits them all, so a Config may be handed wherever one of them is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, field
from typing import Any


def option(default: Any, help: str) -> Any:
    """A dataclass field with this default (nothing that anybody changes) and this documentation."""
    if isinstance(default, Mapping):  # Which dataclasses take for mutable, whatever it is.
        return field(default_factory=lambda: default, metadata={"help": help})
    return field(default=default, metadata={"help": help})


def default_of(setting: Field[Any]) -> Any:
    """The default that was given to :func:`option`."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()
