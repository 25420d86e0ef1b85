"""Settings: keywords, a mapping, an ini file or the environment → one frozen, typed and checked :class:`Config`.

A user sees flat names (``max_edge``); each is declared by the package that reads it, in a section of its own.
"""

from __future__ import annotations

import configparser
import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

from lazycrop.access.policy import PolicySettings
from lazycrop.caches.contract import CacheSettings
from lazycrop.catalogue.settings import CatalogueSettings
from lazycrop.errors import BadSize, ConfigurationError
from lazycrop.events import listener
from lazycrop.http.answers import AnswerSettings
from lazycrop.http.shortcuts import ShortcutSettings
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES
from lazycrop.options import at_least, default_of, is_printable, option, printed, shown, typed
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe
from lazycrop.queues.contract import QueueSettings
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.settings import SourceSettings
from lazycrop.stores.contract import StoreSettings

MOST_ASKED = 100
"""So often a size may have to be asked for before it is stored: the cache has an entry for each time."""

PREFIX = "lazycrop."
ENVIRONMENT_PREFIX = "LAZYCROP_"

# What Kubernetes puts into the environment for a Service named lazycrop or lazycrop-web, and Docker for a link
# (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables): nobody's settings.
_SERVICE = re.compile(
    r"(?:\w+_)?(?:service_host|service_port(?:_\w+)?|port_[0-9]+_(?:tcp|udp|sctp)(?:_\w+)?|env_\w+)", re.ASCII
)
_LINK = re.compile(r"(?:\w+_)?name", re.ASCII)
_SERVICE_PORT, _SERVICE_URL = re.compile(r"(?:\w+_)?port", re.ASCII), re.compile(r"(?:tcp|udp|sctp)://")


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """What the service itself reads."""

    prefix: str = option("/img", "The path below which images are mounted.")
    format: str = option("jpg", "The format of URLs that the application makes without naming one; may be `auto`.")
    fallback_url: str | None = option(
        None, "What pages show in place of an image that is missing; without it their helpers raise an error."
    )
    events: Any = option(
        None,
        "A function, as `package.module:function`, that is called with each event: with what was stored, replaced, "
        "rendered or purged, and what failed.",
        given="str | Callable[[Any], object]",
    )
    request_seconds: float = option(8.0, "How long a request may wait for stores, slots and other requests, in all.")
    waiting_requests: int = option(
        0,
        "How many requests of one process may wait for a store, cache or broker that is slow (0.5 s a call or more); "
        "one more is answered 503 with Retry-After at once, so that the server's other threads are free for the "
        "application. 0 is half of the threads that bring requests, and 2 at least; give a server of two threads 1, "
        "and one that only answers for images all of its threads. Greenlets of gevent are not bounded.",
    )
    follow_seconds: float = option(
        3.0, "How long to wait for bytes that another process is making, before making them here."
    )
    store_after: int = option(
        1,
        "How often a size has to be asked for, within `marker_seconds`, before it is stored; until then it is "
        "rendered, and answered again while it is hot. With 2, a scan of thousands of sizes writes nothing.",
        least=1,
    )
    renders: int = option(0, "Renders at once in one process; 0 is the number of CPUs.")
    metrics: bool = option(False, "Whether this process counts what it does, for Prometheus; needs `[metrics]`.")
    traces: bool = option(False, "Whether this process makes spans, with OpenTelemetry; needs `[otel]`.")
    render_wait_seconds: float = option(2.0, "Longest wait for one of these; then the answer is 503 with Retry-After.")

    def __post_init__(self) -> None:
        check_prefix(self.prefix)
        if self.store_after > MOST_ASKED:
            raise ConfigurationError(f"'store_after' is {self.store_after}; it is {MOST_ASKED} at most.")
        if self.events is not None:
            listener(self.events)
        if self.format not in (*CONTENT_TYPES, AUTO):
            raise ConfigurationError(
                f"{self.format!r} in 'format' is no format; the formats are {', '.join(CONTENT_TYPES)}."
            )


@dataclass(frozen=True, kw_only=True, repr=False)
class Config(ServiceSettings):
    """Every setting: those of the service itself, and a section for each package that has some.

    Made by :func:`make_config`; raises :class:`~lazycrop.errors.ConfigurationError` for a value that cannot be right.
    """

    policy: PolicySettings
    answers: AnswerSettings
    shortcuts: ShortcutSettings
    store: StoreSettings
    cache: CacheSettings
    queue: QueueSettings
    recipe: Recipe
    limits: Limits
    ingest: IngestSettings
    download: DownloadSettings
    sources: SourceSettings
    catalogue: CatalogueSettings

    @property
    def offered_formats(self) -> list[str]:
        """What `.auto` may choose, best first: no format that may not be asked for."""
        return [format for format in self.answers.auto_formats if format in self.policy.formats]

    @property
    def changed(self) -> dict[str, Any]:
        """The settings that are not their defaults, by name: ``LazyCrop(**config.changed)`` is the same again."""
        values = {**vars(self), **{name: value for section in _sections(self) for name, value in vars(section).items()}}
        return {name: values[name] for name, field in OPTIONS.items() if values[name] != default_of(field)}

    def __repr__(self) -> str:
        return f"Config({', '.join(f'{name}={_shown(name, value)}' for name, value in self.changed.items())})"


SECTIONS: dict[str, type[Any]] = {
    field.name: get_type_hints(Config)[field.name] for field in fields(Config) if "help" not in field.metadata
}
"""The sections of a Config by name, in the order of the documentation."""

OWNERS: tuple[type[Any], ...] = (ServiceSettings, *SECTIONS.values())

_OWNER_OF: dict[str, type[Any]] = {field.name: owner for owner in OWNERS for field in fields(owner)}

OPTIONS: dict[str, Field[Any]] = {field.name: field for owner in OWNERS for field in fields(owner)}
"""Every setting by its name, which is its own: no two sections share one."""

_TYPES = {name: get_type_hints(owner)[name] for name, owner in _OWNER_OF.items()}


def _sections(config: Config) -> list[Any]:
    return [getattr(config, name) for name in SECTIONS]


def make_config(settings: Mapping[str, Any]) -> Config:
    """A Config from ``settings``, in which any value may be a string.

    Raises :class:`~lazycrop.errors.ConfigurationError` that names the key, the value and the nearest valid key.
    """
    values: dict[type[Any], dict[str, Any]] = {owner: {} for owner in OWNERS}
    for name, value in settings.items():
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, 1, 0.0)[0]
            raise ConfigurationError(f"There is no setting {name!r}; did you mean {near!r}?")
        values[_OWNER_OF[name]][name] = _read(name, value)
    sections = {name: owner(**values[owner]) for name, owner in SECTIONS.items()}
    return Config(**values[ServiceSettings], **sections)


def _read(name: str, value: Any) -> Any:
    metadata = OPTIONS[name].metadata
    try:
        if metadata["read"] and isinstance(value, str) and value != "none":
            value = metadata["read"](value)
        read = at_least(typed(_spelled(value, metadata["spell"]), _TYPES[name]), metadata["least"])
        if not metadata["read"] and not is_printable(read):
            raise ValueError("made of texts without blanks and commas")
        return read
    except BadSize as error:
        raise ConfigurationError(f"In {name!r}: {error}") from None
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"The setting {name!r} is {_shown(name, value)}, which is not {error}.") from None


def _spelled(value: Any, spell: Callable[[Any], Any] | None) -> Any:
    if spell is not None and isinstance(value, os.PathLike):
        return spell(value)
    if spell is None or isinstance(value, str) or not isinstance(value, Iterable):
        return value
    if isinstance(value, Mapping):
        return {name: spell(item) for name, item in value.items()}
    return [spell(item) for item in value]


def _shown(name: str, value: Any) -> str:
    return "…" if OPTIONS[name].metadata["secret"] else shown(value)


def check_prefix(prefix: str) -> str:
    """Return ``prefix`` as it is, or raise :class:`~lazycrop.errors.ConfigurationError`."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", prefix):
        raise ConfigurationError(
            f"'prefix' is {shown(prefix)}; it is a path like '/img', without a slash at its end, or empty."
        )
    return prefix


def from_mapping(settings: Mapping[str, Any], prefix: str = PREFIX) -> dict[str, Any]:
    """Those of ``settings`` whose name begins with ``prefix``, without it and in lower case.

    They go over those of the ini file that ``config`` names, if it is among them.
    """
    named = {name[len(prefix) :].lower(): value for name, value in settings.items() if name.startswith(prefix)}
    return with_file({name: value for name, value in named.items() if not _is_of_a_service(name, value)})


def with_file(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` over those of the ini file that their ``config`` names."""
    own = {name: value for name, value in settings.items() if name != "config"}
    return {**from_ini(settings["config"]), **own} if settings.get("config") else own


def _is_of_a_service(name: str, value: Any) -> bool:
    is_url = _SERVICE_PORT.fullmatch(name) and _SERVICE_URL.match(str(value))
    is_link = _LINK.fullmatch(name) and str(value).startswith("/")  # /web/lazycrop
    return bool(is_url or is_link or _SERVICE.fullmatch(name))


def from_ini(path: str | os.PathLike[str], section: str = "lazycrop") -> dict[str, Any]:
    """The settings in ``[lazycrop]`` of an ini file; ``%(here)s`` is the file's folder, any other ``%`` a ``%``."""
    if "\0" in os.fspath(path):
        raise ConfigurationError(f"The file {os.fspath(path)!r} cannot be read: no file has such a name.")
    path = Path(path).resolve()
    parser = configparser.ConfigParser(defaults={"here": str(path.parent)}, interpolation=_Names())
    try:
        with path.open(encoding="utf-8-sig") as file:
            parser.read_file(file)
        return {name: value for name, value in parser.items(section) if name != "here"}
    except OSError as error:
        raise ConfigurationError(f"The file {str(path)!r} cannot be read: {error.strerror}.") from None
    except configparser.NoSectionError:
        raise ConfigurationError(f"The file {str(path)!r} has no section [{section}].") from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"The file {str(path)!r} is no ini file: it is not UTF-8 text.") from None
    except configparser.Error as error:
        raise ConfigurationError(f"The file {str(path)!r} is no ini file: {_reason(error)}.") from None


class _Names(configparser.Interpolation):
    """``%(here)s`` stands for a value; another ``%`` for itself, as in the percent-encoded password of a URL."""

    def before_get(self, parser: object, section: str, option: str, value: str, defaults: Mapping[str, str]) -> str:
        def of(name: re.Match[str]) -> str:
            if name[1].lower() not in defaults:
                raise configparser.InterpolationMissingOptionError(option, section, "", name[1])
            return defaults[name[1].lower()]

        return re.sub(r"%\((\w+)\)s", of, value)


def _reason(error: configparser.Error) -> str:
    """What is wrong with it, and nothing of what it says: that may be a password."""
    match error:
        case configparser.InterpolationMissingOptionError():
            return f"the value of {error.option!r} names a %(…)s that it does not define"
        case configparser.DuplicateOptionError():
            return f"line {error.lineno} sets {error.option!r} again"
        case configparser.DuplicateSectionError() | configparser.MissingSectionHeaderError():
            return f"line {error.lineno} is not what there should be"
        case configparser.ParsingError():
            return f"line {error.errors[0][0]} is neither 'name = value' nor [section]"
    return type(error).__name__


def from_env(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings in ``LAZYCROP_…``, over those of the ini file that ``LAZYCROP_CONFIG`` names."""
    return from_mapping(os.environ if environ is None else environ, ENVIRONMENT_PREFIX)


def to_env(settings: Mapping[str, Any]) -> dict[str, str]:
    """``settings`` as :func:`from_env` reads them, to be handed to another process.

    Raises :class:`~lazycrop.errors.ConfigurationError`, also for an object (a store, a broker): no text stands for one.
    """
    make_config(settings)
    return {f"{ENVIRONMENT_PREFIX}{name.upper()}": _printed(name, value) for name, value in settings.items()}


def _printed(name: str, value: Any) -> str:
    try:
        return printed(_read(name, value))
    except TypeError:
        raise ConfigurationError(
            f"The setting {name!r} is an object of this process, which no other process can be told of; give a text."
        ) from None
