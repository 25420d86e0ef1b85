"""How a setting is declared: its default and its sentence of documentation, in one place.

Each module declares the settings that it reads as a frozen dataclass of its own;
:class:`lazycrop.settings.Config` inherits them all, so a Config may be handed wherever one of them is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, field
from typing import Any


def option(default: Any, help: str, *, least: float = 0) -> Any:
    """A dataclass field with this default (nothing that anybody changes) and this documentation.

    ``least``: the smallest value of a number.
    """
    metadata = {"help": help, "least": least}
    if isinstance(default, Mapping):  # Dataclasses refuse every mapping as a default, because some can be changed.
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(setting: Field[Any]) -> Any:
    """The default that was given to :func:`option`."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()
