"""Checks: what ``manage.py check`` says of the images."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core import checks
from django.urls import NoReverseMatch, reverse

from django_lazycrop.pictures import get_images
from django_lazycrop.serving import MIDDLEWARE, mount
from lazycrop import ConfigurationError, ImageApp


def connect() -> None:
    checks.register(check_images)


def check_images(app_configs: Any, **options: Any) -> list[checks.CheckMessage]:
    try:
        images = ImageApp(get_images()).images
    except ConfigurationError as error:
        return [checks.Error(f"LAZYCROP: {error}", id="lazycrop.E001")]
    if MIDDLEWARE in settings.MIDDLEWARE or not getattr(settings, "ROOT_URLCONF", None):
        return []
    return _check_routes(images.config.prefix)


def _check_routes(prefix: str) -> list[checks.CheckMessage]:
    try:
        reverse("lazycrop:image", kwargs={"path": ""})
    except NoReverseMatch:
        hint = f'Add path("{prefix.strip("/")}/", include("django_lazycrop.urls")), or {MIDDLEWARE!r} to MIDDLEWARE.'
        return [checks.Warning("No URL of the project leads to the images.", hint=hint, id="lazycrop.W001")]
    if mount() == prefix:
        return []
    hint = f'Have "prefix": "{mount()}" in LAZYCROP: what images.url() makes, and the command line, begins with that.'
    return [checks.Warning(f"The images are at {mount()}/, and LAZYCROP says {prefix}.", hint=hint, id="lazycrop.W002")]
