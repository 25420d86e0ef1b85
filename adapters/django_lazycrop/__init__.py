"""lazycrop in Django.

::

    INSTALLED_APPS = [..., "django_lazycrop"]
    LAZYCROP = {"store": "/srv/sizes", "source": "default", "sizes": ["400x300-cover", "400x300-cover@2x"]}

    urlpatterns = [..., path("img/", include("django_lazycrop.urls"))]
    # or, for images below settings.LAZYCROP["prefix"] before all else: MIDDLEWARE = ["django_lazycrop.middleware", ...]

    {% load lazycrop %}{% lazycrop_img photo.file "400x300-cover" alt="…" %}

A source that is a name in ``STORAGES`` is that storage: what an ``ImageField`` put there gets sizes as it is, and what
was there before, too. :func:`get_images` is the project's :class:`lazycrop.LazyCrop`, and ``manage.py lazycrop`` its
command line.
"""

from __future__ import annotations

from django_lazycrop.admin import thumbnail
from django_lazycrop.pictures import get_images, image_id
from django_lazycrop.serving import middleware, response

__all__ = ["get_images", "image_id", "middleware", "response", "thumbnail"]
