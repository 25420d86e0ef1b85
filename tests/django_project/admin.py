"""The admin shows photos by one line."""

from __future__ import annotations

from django.contrib import admin

from django_lazycrop import thumbnail
from django_project.models import Photo


@admin.register(Photo)
class PhotoAdmin(admin.ModelAdmin):
    list_display = ("name", thumbnail("file", "60x40-cover", alt="thumb"))
