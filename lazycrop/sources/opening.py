"""Opening: the source that a setting names, which must be apart from the store."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from lazycrop.errors import ConfigurationError
from lazycrop.options import shown
from lazycrop.sources.bucket import BucketSource
from lazycrop.sources.contract import Source
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.folder import FolderSource
from lazycrop.sources.settings import SourceSettings
from lazycrop.sources.site import SiteSource
from lazycrop.stores.contract import Store, StoreSettings
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.s3 import S3Store

_PLACES = "it is a folder, https://host/path/, s3://bucket/prefix/, or a Source object"
_OF_A_BUCKET = {"endpoint_url", "region", "access_key", "secret_key"}


def open_source(
    place: Any, settings: SourceSettings, download: DownloadSettings, store_settings: StoreSettings
) -> Source:
    """The source at a place: an object that is one already, or what a text names. Connects to nothing."""
    if not isinstance(place, str):
        source: Source = place
        return source
    try:
        url = urlsplit(place)
    except ValueError as error:
        raise ConfigurationError(f"A source is {shown(place)}, which cannot be read: {error}.") from None
    if url.scheme in ("http", "https"):
        return SiteSource(place, settings=download, seconds=settings.source_read_seconds)
    if url.scheme == "s3":
        return _bucket(place, url, settings, store_settings)
    if url.scheme not in ("", "file") and len(url.scheme) > 1:  # One letter is a drive.
        raise ConfigurationError(f"A source is {shown(place)}; {_PLACES}.")
    return FolderSource(_folder_of(place, url))


def _bucket(place: str, url: SplitResult, settings: SourceSettings, store: StoreSettings) -> BucketSource:
    own = dict(pair.split("=", 1) for pair in url.query.split("&") if "=" in pair)
    if not url.netloc or "@" in url.netloc or url.fragment or own.keys() - _OF_A_BUCKET or (url.query and not own):
        raise ConfigurationError(
            f"A source is {shown(place)}; a bucket is written s3://bucket/prefix/, and what is its own goes behind it: "
            "?endpoint_url=…&region=…&access_key=…&secret_key=… in part or all."
        )
    given = {name: unquote(value) for name, value in own.items()}  # A + is a +: keys have some.
    if given.get("endpoint_url", store.s3_endpoint_url) == store.s3_endpoint_url:
        # The keys of the store are shown to the server of the store only.
        given = {**{name: getattr(store, f"s3_{name}") for name in _OF_A_BUCKET}, **given}
    patience = replace(
        store,
        store_read_seconds=settings.source_read_seconds,
        store_seconds=settings.source_read_seconds,
        store_connections=settings.source_reads,
    )
    return BucketSource(url.netloc, url.path, settings=patience, **given)


def _folder_of(place: str, url: SplitResult) -> str:
    """The folder's path: of a file URL decoded; of a text with the home folder that ``~`` stands for."""
    path = unquote(url.path) if url.scheme == "file" else os.path.expanduser(place)
    if url.scheme == "file" and (url.netloc not in ("", "localhost") or url.query or url.fragment):
        raise ConfigurationError(f"A source is {shown(place)}; a file URL is written file:///srv/images.")
    if not path or "\0" in path or (path.startswith("~") and path == place):
        raise ConfigurationError(f"A source is {shown(place)}, which is no folder of this machine; {_PLACES}.")
    return path


def check_apart(source: Source, store: Store | None) -> None:
    """Raise ConfigurationError for a source in the store, or a store in the source: what is made would be found there
    as images, of which more would be made.
    """
    if isinstance(source, FolderSource) and isinstance(store, FolderStore):
        overlap = _is_within(source.path, store.path) or _is_within(store.path, source.path)
    elif isinstance(source, BucketSource) and isinstance(store, S3Store):
        overlap = source.objects.overlaps(store)
    else:
        return
    if overlap:
        raise ConfigurationError(f"The source {source!r} and the store {store!r} overlap; move one of them elsewhere.")


def _is_within(path: str, other: str) -> bool:
    """Is one the other, or in it? By the folders themselves, where they are there: case may be ignored."""
    path, other = os.path.realpath(path), os.path.realpath(other)
    while path != os.path.dirname(path):
        if path == other or _is_same(path, other):
            return True
        path = os.path.dirname(path)
    return path == other


def _is_same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False
