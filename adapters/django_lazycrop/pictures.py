"""Pictures: the project's images, and the image id of whatever a template has in its hands."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

from django.conf import settings
from django.core.files.storage import Storage
from django.db.models.fields.files import FieldFile

from django_lazycrop.storages import as_storage, name_at, place_of
from lazycrop import ConfigurationError, LazyCrop, images_for


class Project(NamedTuple):
    """What ``settings.LAZYCROP`` says. ``storages``: those that it reads, by what their image ids begin with."""

    given: object
    images: LazyCrop
    storages: dict[str, Storage]
    places: dict[str, str]

    def prefix_of(self, storage: Storage) -> str | None:
        """What the ids of a storage's files begin with; None where it is no source of ours."""
        if not self.places:
            return None
        try:
            return self.places.get(place_of(storage))
        except ConfigurationError:
            return None


_lock = threading.Lock()
_made: Project | None = None


def project() -> Project:
    """That of ``settings.LAZYCROP``; another one when that is another object, as in ``override_settings``."""
    global _made
    given = getattr(settings, "LAZYCROP", None)
    made = _made
    if made is None or made.given is not given:
        with _lock:
            made = _made
            if made is None or made.given is not given:
                made = _made = _make(given)
    return made


def get_images() -> LazyCrop:
    """The images of the project. Raises :class:`lazycrop.ConfigurationError`."""
    return project().images


def image_id(picture: Any) -> Any:
    """The image id of a ``FieldFile``, of a URL of a storage that is a source, or of what is one already.

    None of an empty ``FieldFile``.
    """
    if isinstance(picture, FieldFile):
        return f"{project().prefix_of(picture.storage) or ''}{picture.name}" if picture else None
    if isinstance(picture, str) and picture.startswith(("/", "http:", "https:")):
        for prefix, storage in project().storages.items():
            if (name := name_at(storage, picture)) is not None:
                return f"{prefix}{name}"
    return picture


def _make(given: Any) -> Project:
    if isinstance(given, LazyCrop):
        return Project(given, given, {}, {})
    if not isinstance(given, Mapping):
        raise ConfigurationError(
            'The settings of the project have no dict LAZYCROP, such as {"store": "/srv/sizes", "source": "default", '
            '"sizes": ["400x300-cover"]}.'
        )
    own = {name.lower(): value for name, value in given.items()}
    places, used = {}, {}
    for prefix, place in {"": own.get("source"), **_below(own.get("sources"))}.items():
        if (storage := as_storage(place)) is not None:
            places[prefix], used[prefix] = place_of(storage), storage
    if "" in places:
        own["source"] = places[""]
    if isinstance(own.get("sources"), Mapping):
        own["sources"] = {name: places.get(f"{name}/", place) for name, place in own["sources"].items()}
    return Project(given, images_for(None, {}, own, ""), used, {place: prefix for prefix, place in places.items()})


def _below(sources: object) -> dict[str, Any]:
    return {f"{name}/": place for name, place in sources.items()} if isinstance(sources, Mapping) else {}
