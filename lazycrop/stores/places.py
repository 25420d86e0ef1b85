"""Places: the store that a setting names."""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, unquote, urlsplit

from lazycrop.errors import ConfigurationError
from lazycrop.options import shown
from lazycrop.stores.contract import Store, StoreSettings
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.guarded import Guarded
from lazycrop.stores.memory import MemoryStore
from lazycrop.stores.s3 import S3Store

# What somebody meant who wrote quotes, or a comment after the value: the folder would be another one.
_NO_VALUE = re.compile(r"""^["'].*["']$|\s[#;]""", re.DOTALL)
_METHODS = ("put", "get", "open", "exists", "delete", "list", "url")


def open_store(settings: StoreSettings) -> Guarded:
    """The store that ``settings.store`` is or names, with every call to it bounded, by itself or by us."""
    store = settings.store
    if isinstance(store, str | os.PathLike):
        store = _named(os.fspath(store), settings)
    elif not all(hasattr(store, method) for method in _METHODS):
        raise ConfigurationError(
            f"'store' is {store!r}; it is a text, a path, or an object that keeps Store's contract."
        )
    is_bounded = vars(type(store)).get("bounded", False)
    return Guarded(store, settings, threads=0 if is_bounded else settings.store_connections)


def _named(place: str, settings: StoreSettings) -> Store:
    if place == "memory:":
        return MemoryStore(public_url=settings.public_url)
    try:
        url = urlsplit(place)
        netloc, port = url.netloc, url.port
    except ValueError as error:
        raise ConfigurationError(f"'store' is {shown(place)}, which cannot be read: {error}.") from None
    if url.scheme == "s3":
        if not netloc or port is not None or "@" in netloc or url.query or url.fragment:
            raise ConfigurationError(
                f"'store' is {shown(place)}; an S3 store is written s3://bucket/base/path. "
                "Its server is `s3_endpoint_url`, its keys are `s3_access_key` and `s3_secret_key`."
            )
        return S3Store(
            netloc,
            url.path,
            public_url=settings.public_url,
            endpoint_url=settings.s3_endpoint_url,
            access_key=settings.s3_access_key,
            secret_key=settings.s3_secret_key,
            region=settings.s3_region,
            acl=settings.s3_acl,
            settings=settings,
        )
    if url.scheme not in ("", "file") and len(url.scheme) > 1:  # One letter is a drive.
        raise ConfigurationError(f"'store' is {shown(place)}; it is a folder, s3://bucket/base/path or memory:.")
    return FolderStore(_folder_of(place, url), public_url=settings.public_url)


def _folder_of(place: str, url: SplitResult) -> str:
    """The folder's path: of a file URL decoded; of a text with the home folder that ``~`` stands for."""
    if url.scheme == "file":
        if url.netloc not in ("", "localhost") or url.query or url.fragment:
            raise ConfigurationError(
                f"'store' is {shown(place)}; a file URL is written file:///srv/images, and '?' and '#' as %3F and %23."
            )
        path = unquote(url.path)
    else:
        if _NO_VALUE.search(place):
            raise ConfigurationError(
                f"'store' is {place!r}; a value in a file has no quotes, and a comment is a line of its own. "
                "(A folder of such a name is written as a file:// URL.)"
            )
        path = os.path.expanduser(place)
        if path.startswith("~") and path == place:
            raise ConfigurationError(f"'store' is {place!r}, and there is no such home folder; write its path.")
    if not path or "\0" in path:
        raise ConfigurationError(f"'store' is {place!r}; it is a folder, s3://bucket/base/path or memory:.")
    return path
