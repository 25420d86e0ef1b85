"""How a setting is declared: its default and its sentence of documentation, in one place.

Each module declares the settings that it reads as a frozen dataclass of its own;
:class:`lazycrop.config.Config` inherits them all, so a Config may be handed wherever one of them is asked for.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any


def option(default: Any, help: str) -> Any:
    """A dataclass field with this default (immutable) and this documentation."""
    return field(default=default, metadata={"help": help})
