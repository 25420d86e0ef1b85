"""The application ``django_lazycrop``."""

from __future__ import annotations

from django.apps import AppConfig


class LazyCropConfig(AppConfig):  # type: ignore[misc]
    name = "django_lazycrop"
    label = "lazycrop"
    verbose_name = "Images"

    def ready(self) -> None:
        from django_lazycrop import checks, following, serving

        checks.connect()
        following.connect()
        serving.connect()
