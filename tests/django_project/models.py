"""Photos."""

from __future__ import annotations

from django.db import models


class Photo(models.Model):
    name = models.CharField(max_length=100)
    file = models.ImageField(upload_to="photos", blank=True, max_length=200)
