"""Store an image once, ask for any size of it by URL.

>>> from lazycrop import LazyCrop, Middleware
>>> images = LazyCrop(store="./images", sizes=["200x100", "800x"])
>>> images.store_origin("cat", "https://example.com/cat.jpg")
>>> application = Middleware(application, images, prefix="/img")
>>> images.url("cat", "200x100")
'/img/cat/200x100.jpg'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lazycrop.errors import ConfigurationError as ConfigurationError
    from lazycrop.errors import LazyCropError as LazyCropError
    from lazycrop.errors import UnknownImage as UnknownImage
    from lazycrop.http.answers import Answer as Answer
    from lazycrop.markup import Helpers as Helpers
    from lazycrop.http.requests import Request as Request
    from lazycrop.model.records import Record as Record
    from lazycrop.model.sizes import Size as Size
    from lazycrop.service import LazyCrop as LazyCrop
    from lazycrop.wsgi import ImageApp as ImageApp
    from lazycrop.wsgi import Middleware as Middleware

__version__ = "0.1.0"

_HOMES = {
    "Answer": "http.answers",
    "ConfigurationError": "errors",
    "Helpers": "markup",
    "ImageApp": "wsgi",
    "LazyCrop": "service",
    "LazyCropError": "errors",
    "Middleware": "wsgi",
    "Record": "model.records",
    "Request": "http.requests",
    "Size": "model.sizes",
    "UnknownImage": "errors",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that ``import lazycrop`` alone loads nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
