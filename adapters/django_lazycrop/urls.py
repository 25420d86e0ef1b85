"""The routes of images: ``path("img/", include("django_lazycrop.urls"))``."""

from __future__ import annotations

from django.urls import re_path

from django_lazycrop.serving import image

app_name = "lazycrop"
urlpatterns = [re_path(r"^(?P<path>[\s\S]*)$", image, name="image")]
