"""The playground: one page on which a picture takes any size that is asked for, and says how it came about.

:class:`Playground` is for an application's own images, behind its login; :func:`demo_app` is ``lazycrop demo``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lazycrop.errors import UnknownImage
from lazycrop.images import LazyCrop
from lazycrop.playground import door
from lazycrop.playground.app import Playground as Playground
from lazycrop.playground.page import resource
from lazycrop.wsgi import Middleware

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

DEMO = {"sizes": "any", "answer": "stream", "prefix": "/img"}
"""The settings that the demo counts on. A redirect to a store would hide from its script how a picture came about."""

PHOTOGRAPH = "seeding"
"""The id of the photograph that is there from the start."""

_WHOLE = "640x"  # As the page shows all of the image, to point at.


def demo_app(
    images: LazyCrop, host: str = "127.0.0.1", port: int | None = None, token: str | None = None
) -> WSGIApplication:
    """The page, and the images behind it, as one application; it stores the photograph if it is not there.

    ``host``, ``port``: where it listens. Whoever asks for it by another name is refused; without a port, by that of
    another host only. ``token``: what a browser is asked for once, where others than this machine can reach it.
    """
    _store_photograph(images)
    images.warm(PHOTOGRAPH, [_WHOLE])  # It starts the workers, which the first request would else wait for.
    playground = Playground(images, image_id=PHOTOGRAPH, after_forgetting=lambda: _store_photograph(images))
    app: WSGIApplication = Middleware(playground, images)
    if token is not None:
        app = door.locked(app, token, port)
    return door.addressed(app, host, port)


def _store_photograph(images: LazyCrop) -> None:
    try:
        images.record(PHOTOGRAPH)
    except UnknownImage:
        images.store_origin(PHOTOGRAPH, resource("seeding.jpg"), focal="auto")
