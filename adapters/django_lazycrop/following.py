"""Following: what rows say of their files, the sizes of these follow, once the transaction is committed.

When a row goes, or gets another file, all that was made of the former file is purged; the file itself is Django's. When
a file is written over, the image gets a new version, and with it new URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django.apps import apps
from django.db import transaction
from django.db.models import ImageField, Model
from django.db.models.signals import post_delete, post_save, pre_save

from django_lazycrop.pictures import project
from lazycrop import ConfigurationError

_FORMER = "_lazycrop_former"


def connect() -> None:
    """For each model with an ``ImageField``."""
    for model in apps.get_models():
        fields = [field for field in model._meta.get_fields() if isinstance(field, ImageField)]
        if fields:
            for signal, handler in ((pre_save, _before), (post_save, _saved), (post_delete, _deleted)):
                call = partial(handler, fields)
                signal.connect(call, sender=model, weak=False, dispatch_uid=("lazycrop", handler.__name__, model))


def _followed(fields: Iterable[ImageField]) -> dict[str, str]:
    """What the image ids of each field's files begin with; only of those that a source of ours has."""
    try:
        found = {field.name: project().prefix_of(field.storage) for field in fields}
    except ConfigurationError:  # which the checks tell
        return {}
    return {name: prefix for name, prefix in found.items() if prefix is not None}


def _before(
    fields: list[ImageField],
    sender: type[Model],
    instance: Model,
    raw: bool = False,
    using: str = "default",
    update_fields: frozenset[str] | None = None,
    **more: Any,
) -> None:
    """Keep the names of the files that are going to be others, as the database has them."""
    instance.__dict__.pop(_FORMER, None)
    names = [name for name in _followed(fields) if update_fields is None or name in update_fields]
    if raw or instance.pk is None or instance._state.adding or not names:
        return
    former = sender._base_manager.using(using).filter(pk=instance.pk).values(*names).first() or {}
    files = {name: getattr(instance, name) for name in names}
    changed = {
        name: before
        for name, before in former.items()
        if before and (files[name].name != before or not files[name]._committed)
    }
    instance.__dict__[_FORMER] = changed


def _saved(fields: list[ImageField], sender: type[Model], instance: Model, using: str = "default", **more: Any) -> None:
    former: dict[str, str] = instance.__dict__.pop(_FORMER, {})
    prefixes = _followed(fields)
    for name, before in former.items():
        is_same = getattr(instance, name).name == before
        images = project().images
        _after_commit(images.adopt if is_same else images.purge, f"{prefixes[name]}{before}", using)


def _deleted(
    fields: list[ImageField], sender: type[Model], instance: Model, using: str = "default", **more: Any
) -> None:
    for name, prefix in _followed(fields).items():
        if file := getattr(instance, name):
            _after_commit(project().images.purge, f"{prefix}{file.name}", using)


def _after_commit(do: Callable[[str], object], image_id: str, using: str) -> None:
    """What fails then is logged: the row is as it is, and a source is looked at again by itself."""

    def follow() -> None:  # no partial: Django wants its name for the log
        do(image_id)

    transaction.on_commit(follow, using=using, robust=True)
