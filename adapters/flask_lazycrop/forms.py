"""Forms: a validator for the ``FileField`` of WTForms, and for a text field that takes a picture's URL.

::

    class Upload(Form):
        picture = FileField(validators=[Picture()])
"""

from __future__ import annotations

from typing import Any

from flask import current_app
from wtforms import ValidationError

from lazycrop import LazyCrop, LazyCropError


class Picture:
    """Is it a picture that would be stored? What is wrong with it is the field's message; nothing is stored.

    ``images``: those of the current application when not given. An empty field is right: say ``DataRequired`` too.
    """

    def __init__(self, images: LazyCrop | None = None) -> None:
        self._images = images

    def __call__(self, form: object, field: Any) -> None:
        if not field.data:
            return
        images = self._images or current_app.extensions["lazycrop"]
        for given in field.data if isinstance(field.data, list) else [field.data]:
            try:
                images.check(given)
            except LazyCropError as error:
                raise ValidationError(str(error)) from error
