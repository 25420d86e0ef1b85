"""Storages: a Django storage as a source of lazycrop, which reads the same files in its own way."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlencode, urlsplit

from django.conf import settings
from django.core.files.storage import FileSystemStorage, Storage, storages

from lazycrop import ConfigurationError


def as_storage(place: object) -> Storage | None:
    """The storage that a setting means: one of ``STORAGES`` by its name, or an object; None for any other place."""
    if isinstance(place, Storage):
        return place
    return storages[place] if isinstance(place, str) and place in settings.STORAGES else None


def place_of(storage: Storage) -> str:
    """Where a storage is, as a source says it. Raises :class:`lazycrop.ConfigurationError` for one of another kind."""
    if isinstance(storage, FileSystemStorage):
        return Path(storage.location).as_uri()
    if _is_s3(storage):
        return _bucket(storage)
    raise ConfigurationError(
        f"A source is the storage {type(storage).__qualname__}, which lazycrop cannot read: it reads FileSystemStorage "
        "and the S3Storage of django-storages. Give it a Source object that can."
    )


def name_at(storage: Storage, url: str) -> str | None:
    """The name of the file that a storage has at this URL; None where it is none of its URLs."""
    base, path = _base(storage), url.partition("#")[0].partition("?")[0]
    return unquote(path[len(base) :]) if path.startswith(base) else None


def _is_s3(storage: Storage) -> bool:
    try:
        from storages.backends.s3 import S3Storage
    except ImportError:
        return False
    return isinstance(storage, S3Storage)


def _bucket(storage: Any) -> str:
    if getattr(storage, "security_token", None):
        raise ConfigurationError(
            "A source is an S3 storage with a 'security_token', which ends some day; give it keys of its own, or none: "
            "then they are looked for where boto3 does."
        )
    own = {
        "endpoint_url": storage.endpoint_url,
        "region": storage.region_name,
        "access_key": storage.access_key,
        "secret_key": storage.secret_key,
    }
    query = urlencode({name: value for name, value in own.items() if value}, safe=":/")
    location = storage.location.strip("/")
    return f"s3://{storage.bucket_name}/{location}/{f'?{query}' if query else ''}"


def _base(storage: Storage) -> str:
    """What all of its URLs begin with."""
    # That of a folder may begin with the script's name, which is another one for each request.
    return str(storage.base_url) if isinstance(storage, FileSystemStorage) else _remembered_base(storage)


@cache
def _remembered_base(storage: Storage) -> str:
    """By a URL of it, which may have to be signed."""
    return urlsplit(str(storage.url("-")))._replace(query="").geturl().removesuffix("-")
