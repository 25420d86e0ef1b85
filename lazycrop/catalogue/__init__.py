"""Catalogue: what the store knows, in tables of a database: images, their sizes, what is asked for.

``Image``, ``Derivative`` and ``Demand`` are mapped classes with a ``metadata`` of their own; ``ImageRef`` and
``Pictures`` are for models that have pictures. [SQLAlchemy] Nothing of SQLAlchemy is loaded before one of them is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazycrop.catalogue.catalogue import Catalogue as Catalogue
    from lazycrop.catalogue.model import ImageRef as ImageRef
    from lazycrop.catalogue.model import Pictures as Pictures
    from lazycrop.catalogue.tables import Demand as Demand
    from lazycrop.catalogue.tables import Derivative as Derivative
    from lazycrop.catalogue.tables import Image as Image
    from lazycrop.catalogue.tables import metadata as metadata

_HOMES = {
    "Catalogue": "catalogue",
    "Demand": "tables",
    "Derivative": "tables",
    "Image": "tables",
    "ImageRef": "model",
    "Pictures": "model",
    "metadata": "tables",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
