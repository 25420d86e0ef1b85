"""lazycrop in an ini file of PasteDeploy.

::

    [filter:images]                     # in front of an application: [app:main] filter-with = images
    use = egg:lazycrop
    store = %(here)s/images
    sizes = 200x100 800x

    [app:images]                        # or an application of its own, to be mounted at a path
    use = egg:lazycrop

Settings are those of :class:`lazycrop.LazyCrop`. What several sections share stands in ``[DEFAULT]``, there as
``lazycrop.store`` and so on. Each section makes its own LazyCrop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from lazycrop import ImageApp, LazyCrop, Middleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["app_factory", "filter_app_factory", "filter_factory"]


def filter_factory(global_conf: Mapping[str, str], **settings: str) -> Callable[[WSGIApplication], Middleware]:
    """Raises :class:`lazycrop.ConfigurationError`."""
    images = _images(global_conf, settings)
    return lambda app: Middleware(app, images)


def filter_app_factory(app: WSGIApplication, global_conf: Mapping[str, str], **settings: str) -> Middleware:
    """Raises :class:`lazycrop.ConfigurationError`."""
    return Middleware(app, _images(global_conf, settings))


def app_factory(global_conf: Mapping[str, str], **settings: str) -> ImageApp:
    """Raises :class:`lazycrop.ConfigurationError`."""
    return ImageApp(_images(global_conf, settings))


def _images(global_conf: Mapping[str, str], settings: Mapping[str, str]) -> LazyCrop:
    return LazyCrop.from_mapping({**global_conf, **{f"lazycrop.{name}": value for name, value in settings.items()}})
