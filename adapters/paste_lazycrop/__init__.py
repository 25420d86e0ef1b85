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
from functools import partial
from typing import TYPE_CHECKING, Any, Unpack

from lazycrop import Answer, ImageApp, LazyCrop, Middleware, images_for, send

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

    from lazycrop import Settings

__all__ = ["app_factory", "filter_app_factory", "filter_factory", "response"]


def filter_factory(
    global_conf: Mapping[str, Any], images: LazyCrop | None = None, **settings: Unpack[Settings]
) -> Callable[[WSGIApplication], Middleware]:
    """``images``, or those of ``settings``, in front of an application. Raises :class:`lazycrop.ConfigurationError`."""
    images = images_for(images, settings, global_conf)
    return lambda app: Middleware(app, images)


def filter_app_factory(
    app: WSGIApplication, global_conf: Mapping[str, Any], images: LazyCrop | None = None, **settings: Unpack[Settings]
) -> Middleware:
    """The same in front of ``app``. Raises :class:`lazycrop.ConfigurationError`."""
    return Middleware(app, images_for(images, settings, global_conf))


def app_factory(
    global_conf: Mapping[str, Any], images: LazyCrop | None = None, **settings: Unpack[Settings]
) -> ImageApp:
    """The same as an application of its own. Raises :class:`lazycrop.ConfigurationError`."""
    return ImageApp(images_for(images, settings, global_conf))


def response(answer: Answer) -> WSGIApplication:
    """An Answer as an application that gives it once."""
    return partial(send, answer)
