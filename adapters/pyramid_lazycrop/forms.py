"""Forms: a validator for Colander, and with it for Deform's ``FileData``, and for a text that is a picture's URL.

::

    class Upload(colander.Schema):
        picture = colander.SchemaNode(deform.FileData(), validator=Picture())
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from colander import Invalid
from pyramid.threadlocal import get_current_request

from lazycrop import LazyCrop, LazyCropError


class Picture:
    """Is it a picture that would be stored? What is wrong with it is the node's message; nothing is stored.

    ``images``: those of the current request when not given. A file that Deform has kept from the last time is right.
    """

    def __init__(self, images: LazyCrop | None = None) -> None:
        self._images = images

    def __call__(self, node: object, value: Any) -> None:
        given = value.get("fp") if isinstance(value, Mapping) else getattr(value, "file", value)
        if given is None:
            return
        images = self._images or get_current_request().lazycrop
        try:
            images.check(given)
        except LazyCropError as error:
            raise Invalid(node, str(error)) from error
