"""Forms: a validator for the ``FileField`` of a form, and for a text field that takes a picture's URL.

::

    class Upload(forms.Form):
        picture = forms.FileField(validators=[validate_picture])
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ValidationError

from django_lazycrop.pictures import get_images
from lazycrop import LazyCropError


def validate_picture(given: Any) -> None:
    """Is it a picture that would be stored? What is wrong with it is the field's message; nothing is stored."""
    try:
        get_images().check(given)
    except LazyCropError as error:
        raise ValidationError(str(error), code=error.code) from error
