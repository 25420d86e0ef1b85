"""Settings: keywords, a mapping, an ini file or the environment → one frozen, typed and checked :class:`Config`.

The settings themselves are declared where they are read (``CacheSettings`` in :mod:`lazycrop.caches.layered` and so on);
here they come together, strings become types, and the store and the cache that they name are made.
"""

from __future__ import annotations

import configparser
import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from lazycrop.access.policy import PolicySettings
from lazycrop.caches.contract import CacheSettings, KeyValue
from lazycrop.caches.memcached import Memcached
from lazycrop.errors import ConfigurationError
from lazycrop.http.answers import AnswerSettings
from lazycrop.http.shortcuts import ShortcutSettings
from lazycrop.library.state import State
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES
from lazycrop.options import default_of, option
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe
from lazycrop.queues.contract import TaskSettings
from lazycrop.sources.download import FetchSettings
from lazycrop.stores.contract import Store, StoreSettings
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.memory import MemoryStore
from lazycrop.stores.s3 import S3Store

PREFIX = "lazycrop."
ENVIRONMENT_PREFIX = "LAZYCROP_"
SECRETS = ("secret", "access_key", "secret_key", "broker")

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass(frozen=True, kw_only=True, repr=False)
class Config(
    PolicySettings,
    AnswerSettings,
    ShortcutSettings,
    CacheSettings,
    TaskSettings,
    StoreSettings,
    Recipe,
    Limits,
    IngestSettings,
    FetchSettings,
):
    """Every setting. Raises :class:`~lazycrop.errors.ConfigurationError` for a value that cannot be right."""

    store: Any = option(
        "images", "Where images are kept: a folder, `s3://bucket/base/path`, `memory:`, or a Store object."
    )
    public_url: str | None = option(
        None, "Where anybody can fetch the store's objects. S3 derives it; a folder without it is streamed."
    )
    cache: Any = option(
        None, "A cache of your own that processes share, in place of memcached; it keeps KeyValue's contract."
    )
    endpoint_url: str | None = option(
        None, "The address of an S3 server that is not Amazon's; boto3's own settings count too."
    )
    access_key: str | None = option(None, "The S3 access key; without it boto3 looks where it always does.")
    secret_key: str | None = option(None, "The S3 secret key.")
    region: str | None = option(None, "The S3 region.")
    acl: str | None = option(None, "The ACL sent with each S3 object, such as `public-read`.")
    answer: str = option("redirect", "`redirect` to stored sizes where there is a public URL, or `stream` them.")
    prefix: str = option("/img", "The path below which images are mounted.")
    format: str = option("jpg", "The format of URLs that the application makes without naming one; may be `auto`.")
    fallback_url: str | None = option(
        None, "What pages show in place of an image that is missing; without it their helpers raise an error."
    )
    secret: tuple[str, ...] = option((), "Keys that sign URLs, one a line: the first signs, all are accepted.")
    auto_formats: tuple[str, ...] = option(
        ("avif", "webp"), "What `.auto` may choose when Accept names it, best first; else the origin's own kind."
    )
    slow_formats: tuple[str, ...] = option(
        ("avif",), "Formats too dear to encode on the request path of `.auto`: the worker makes them."
    )
    request_seconds: float = option(8.0, "How long a request may wait for stores, slots and other requests, in all.")
    follow_seconds: float = option(
        3.0, "How long to wait for bytes that another process is making, before making them here."
    )
    renders: int = option(0, "Renders at once in one process; 0 is the number of CPUs.")
    render_wait_seconds: float = option(2.0, "Longest wait for one of these; then the answer is 503 with Retry-After.")

    def __post_init__(self) -> None:
        for settings in type(self).__bases__:
            getattr(settings, "__post_init__", lambda self: None)(self)
        check_prefix(self.prefix)
        if self.answer not in ("redirect", "stream"):
            raise ConfigurationError(f"'answer' is {self.answer!r}; it is 'redirect' or 'stream'.")
        for name in ("format", "auto_formats", "slow_formats"):
            value = getattr(self, name)
            for format in (value,) if isinstance(value, str) else value:
                if format not in CONTENT_TYPES and (name, format) != ("format", AUTO):
                    raise ConfigurationError(
                        f"{format!r} in {name!r} is no format; the formats are {', '.join(CONTENT_TYPES)}."
                    )
        if self.public_url is not None and urlsplit(self.public_url).scheme not in ("http", "https"):
            raise ConfigurationError(f"'public_url' is {self.public_url!r}; it is an absolute http or https URL.")
        if any(not secret.strip() for secret in self.secret):
            raise ConfigurationError("'secret' holds an empty key; give long random texts, one a line.")
        if not isinstance(self.store, str | os.PathLike):
            given = [name for name in ("public_url", "endpoint_url", "acl") if getattr(self, name) is not None]
            if given:
                raise ConfigurationError(
                    f"{given[0]!r} is given beside a Store object, which has its own; drop one of them."
                )

    def __repr__(self) -> str:
        changed = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != default_of(f)}
        shown = ", ".join(f"{name}={'…' if name in SECRETS else repr(value)}" for name, value in changed.items())
        return f"Config({shown})"


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` as it is, or raise :class:`~lazycrop.errors.ConfigurationError`."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix):
        raise ConfigurationError(
            f"'prefix' is {prefix!r}; it is a path like '/img', without a slash at its end, or empty."
        )
    return prefix


def make_config(settings: Mapping[str, Any]) -> Config:
    """A Config from ``settings``, in which any value may be a string.

    Raises :class:`~lazycrop.errors.ConfigurationError` that names the key, the value and the nearest valid key.
    """
    types = get_type_hints(Config)
    known = {f.name: f for f in fields(Config)}
    values = {}
    for name, value in settings.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            raise ConfigurationError(f"There is no setting {name!r}; did you mean {near!r}?")
        if name == "secret" and isinstance(value, str) and value != "none":
            value = [line.strip() for line in value.strip().splitlines()]  # A key may hold blanks and commas.
        try:
            values[name] = _at_least(_typed(value, types[name]), known[name].metadata["least"])
        except (TypeError, ValueError) as error:
            shown = "…" if name in SECRETS else repr(value)
            raise ConfigurationError(f"The setting {name!r} is {shown}, which is not {error}.") from None
    return Config(**values)


def from_mapping(settings: Mapping[str, Any], prefix: str = PREFIX) -> dict[str, Any]:
    """Those of ``settings`` whose name begins with ``prefix``, without it and in lower case."""
    return {name[len(prefix) :].lower(): value for name, value in settings.items() if name.startswith(prefix)}


def from_ini(path: str | os.PathLike[str], section: str = "lazycrop") -> dict[str, Any]:
    """The settings in ``[lazycrop]`` of an ini file; ``%(here)s`` is the file's folder."""
    path = Path(path).resolve()
    parser = configparser.ConfigParser(defaults={"here": str(path.parent).replace("%", "%%")})
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
        return {name: value for name, value in parser.items(section) if name != "here"}
    except OSError as error:
        raise ConfigurationError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from None
    except configparser.NoSectionError:
        raise ConfigurationError(f"The file {str(path)!r} has no section [{section}].") from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigurationError(f"The file {str(path)!r} is no ini file: {str(error).splitlines()[0]}") from None


def from_env(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings in ``LAZYCROP_…``, over those of the ini file that ``LAZYCROP_CONFIG`` names."""
    settings = from_mapping(os.environ if environ is None else environ, ENVIRONMENT_PREFIX)
    path = settings.pop("config", None)
    return {**(from_ini(path) if path else {}), **settings}


def open_store(config: Config) -> Store:
    """The store that ``config.store`` names."""
    store = config.store
    if not isinstance(store, str | os.PathLike):
        if not all(hasattr(store, method) for method in ("put", "get", "open", "exists", "delete", "list", "url")):
            raise ConfigurationError(
                f"'store' is {store!r}; it is a text, a path, or an object that keeps Store's contract."
            )
        return store  # type: ignore[no-any-return]
    store = os.fspath(store)
    url = urlsplit(store)
    if url.scheme == "s3":
        if not url.netloc:
            raise ConfigurationError(f"'store' is {store!r}; an S3 store is written s3://bucket/base/path.")
        return S3Store(
            url.netloc,
            url.path,
            public_url=config.public_url,
            endpoint_url=config.endpoint_url,
            access_key=config.access_key,
            secret_key=config.secret_key,
            region=config.region,
            acl=config.acl,
            settings=config,
        )
    if store == "memory:":
        return MemoryStore(public_url=config.public_url)
    if url.scheme not in ("", "file") and len(url.scheme) > 1:  # One letter is a drive.
        raise ConfigurationError(f"'store' is {store!r}; it is a folder, s3://bucket/base/path or memory:.")
    return FolderStore(url.path if url.scheme == "file" else store, public_url=config.public_url)


def open_cache(config: Config, store: Store) -> State:
    """The cache that ``config.memcached`` names; what is known of one store is never taken for another's.

    A store's repr names its place, and does so alike in every process.
    """
    shared: KeyValue | None = config.cache
    if shared is None and config.memcached:
        shared = Memcached(
            config.memcached, seconds=config.memcached_seconds, rest_seconds=config.memcached_rest_seconds
        )
    return State(shared, config, namespace=repr(store), secret=config.secret[0] if config.secret else "")


def _typed(value: Any, kind: Any) -> Any:
    """``value`` as ``kind``, from a string where it is one; else a TypeError or ValueError that says what is wanted."""
    if kind is Any:
        return value
    if get_origin(kind) in (Union, UnionType):
        if value is None or value in ("", "none"):
            return None
        return _typed(value, next(part for part in get_args(kind) if part is not type(None)))
    if kind is bool:
        return _bool(value)
    if kind in (int, float):
        if isinstance(value, bool):
            raise TypeError("a number")
        try:
            number = kind(value)
            if number != float(value):
                raise ValueError
            return number
        except (TypeError, ValueError, OverflowError):
            raise ValueError("a whole number" if kind is int else "a number") from None
    if get_origin(kind) is tuple:
        return _tuple(value, get_args(kind)[0])
    if isinstance(get_origin(kind), type) and issubclass(get_origin(kind), Mapping):
        return _mapping(value, get_args(kind)[1])
    if not isinstance(value, str | os.PathLike):
        raise TypeError("a text")
    return os.fspath(value)


def _at_least(value: Any, least: float) -> Any:
    if isinstance(value, int | float) and not least <= value < float("inf"):
        raise ValueError(f"a number from {least:g} on")
    return value


def _bool(value: Any) -> bool:
    text = str(value).lower()
    if text not in _TRUE + _FALSE:
        raise ValueError("true or false")
    return text in _TRUE


def _tuple(value: Any, kind: Any) -> tuple[Any, ...]:
    if value is None or value == "none":
        return ()
    if isinstance(value, str):
        value = _split(value)
    try:
        return tuple(_typed(one, kind) for one in value)
    except TypeError:
        raise TypeError("a list") from None


def _mapping(value: Any, kind: Any) -> dict[str, Any]:
    if value is None or value == "none":
        return {}
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in _split(value)]
        if not all(separator for _, separator, _ in pairs):
            raise ValueError("a list of name=value pairs")
        value = {name.strip(): content.strip() for name, _, content in pairs}
    if not isinstance(value, Mapping):
        raise TypeError("a mapping, or a list of name=value pairs")
    return {name: _typed(content, kind) for name, content in value.items()}


def _split(text: str) -> list[str]:
    """The items of a list: one a line, or on one line apart by blanks or commas."""
    if "\n" in text.strip():
        return [line.strip() for line in text.splitlines() if line.strip()]
    return [item for item in re.split(r"[\s,]+", text) if item]
