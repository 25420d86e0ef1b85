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
    from lazycrop.caches.contract import KeyValue as KeyValue
    from lazycrop.errors import BadImageId as BadImageId
    from lazycrop.errors import BadRecord as BadRecord
    from lazycrop.errors import BadRequest as BadRequest
    from lazycrop.errors import BadSize as BadSize
    from lazycrop.errors import BrokenImage as BrokenImage
    from lazycrop.errors import ConfigurationError as ConfigurationError
    from lazycrop.errors import FetchError as FetchError
    from lazycrop.errors import Forbidden as Forbidden
    from lazycrop.errors import ImageError as ImageError
    from lazycrop.errors import ImageTooLarge as ImageTooLarge
    from lazycrop.errors import LazyCropError as LazyCropError
    from lazycrop.errors import MethodNotAllowed as MethodNotAllowed
    from lazycrop.errors import MissingObject as MissingObject
    from lazycrop.errors import NotAllowed as NotAllowed
    from lazycrop.errors import NotFound as NotFound
    from lazycrop.errors import Overloaded as Overloaded
    from lazycrop.errors import Quarantined as Quarantined
    from lazycrop.errors import SourceUnavailable as SourceUnavailable
    from lazycrop.errors import StoreUnavailable as StoreUnavailable
    from lazycrop.errors import Unavailable as Unavailable
    from lazycrop.errors import UnknownImage as UnknownImage
    from lazycrop.errors import UnsupportedImage as UnsupportedImage
    from lazycrop.http.answers import Answer as Answer
    from lazycrop.http.requests import Request as Request
    from lazycrop.http.requests import mount as mount
    from lazycrop.images import LazyCrop as LazyCrop
    from lazycrop.keywords import Settings as Settings
    from lazycrop.logs import JsonLines as JsonLines
    from lazycrop.markup import Helpers as Helpers
    from lazycrop.model.records import Record as Record
    from lazycrop.model.sizes import Size as Size
    from lazycrop.queues.contract import Queue as Queue
    from lazycrop.samples import sample as sample
    from lazycrop.settings import Config as Config
    from lazycrop.sources.bucket import BucketSource as BucketSource
    from lazycrop.sources.contract import Seen as Seen
    from lazycrop.sources.contract import Source as Source
    from lazycrop.sources.folder import FolderSource as FolderSource
    from lazycrop.sources.site import SiteSource as SiteSource
    from lazycrop.stores.contract import Opened as Opened
    from lazycrop.stores.contract import Store as Store
    from lazycrop.wsgi import HealthApp as HealthApp
    from lazycrop.wsgi import ImageApp as ImageApp
    from lazycrop.wsgi import MetricsApp as MetricsApp
    from lazycrop.wsgi import Middleware as Middleware
    from lazycrop.wsgi import images_for as images_for
    from lazycrop.wsgi import send as send

__version__ = "0.1.0"

_HOMES = {
    "Answer": "http.answers",
    "BadImageId": "errors",
    "BadRecord": "errors",
    "BadRequest": "errors",
    "BadSize": "errors",
    "BrokenImage": "errors",
    "BucketSource": "sources.bucket",
    "Config": "settings",
    "ConfigurationError": "errors",
    "FetchError": "errors",
    "FolderSource": "sources.folder",
    "Forbidden": "errors",
    "HealthApp": "wsgi",
    "Helpers": "markup",
    "ImageApp": "wsgi",
    "ImageError": "errors",
    "ImageTooLarge": "errors",
    "JsonLines": "logs",
    "KeyValue": "caches.contract",
    "LazyCrop": "images",
    "LazyCropError": "errors",
    "MethodNotAllowed": "errors",
    "MetricsApp": "wsgi",
    "Middleware": "wsgi",
    "MissingObject": "errors",
    "NotAllowed": "errors",
    "NotFound": "errors",
    "Opened": "stores.contract",
    "Overloaded": "errors",
    "Quarantined": "errors",
    "Queue": "queues.contract",
    "Record": "model.records",
    "Request": "http.requests",
    "Seen": "sources.contract",
    "Settings": "keywords",
    "SiteSource": "sources.site",
    "Size": "model.sizes",
    "Source": "sources.contract",
    "SourceUnavailable": "errors",
    "Store": "stores.contract",
    "StoreUnavailable": "errors",
    "Unavailable": "errors",
    "UnknownImage": "errors",
    "UnsupportedImage": "errors",
    "images_for": "wsgi",
    "mount": "http.requests",
    "sample": "samples",
    "send": "wsgi",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used, so that ``import lazycrop`` alone loads nothing else."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
