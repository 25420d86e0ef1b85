"""How a setting is declared: its default and its sentence of documentation, in one place.

Each module declares the settings that it reads as a frozen dataclass of its own;
:class:`lazycrop.settings.Config` has them all, each as a section.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field
from types import UnionType
from typing import Any, Union, get_args, get_origin

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


# What may be a password: all before the last @ (but for 200x100@2x, which is a size), and a query.
_HIDDEN = re.compile(r"^([a-z][a-z0-9+.-]*://)?.*@(?![0-9.]+x\b)", re.IGNORECASE | re.DOTALL)
_QUERY = re.compile(r"\?.*", re.DOTALL)


def option(
    default: Any,
    help: str,
    *,
    least: float = 0,
    secret: bool = False,
    rare: bool = False,
    given: str = "",
    spell: Callable[[Any], Any] | None = None,
    read: Callable[[str], Any] | None = None,
) -> Any:
    """A dataclass field with this default (nothing that anybody changes) and this documentation.

    ``least``: the smallest value of a number. ``secret``: no text ever shows the value. ``rare``: hardly anybody sets
    it. ``given``: the type that a person may give, where that is more than the field's own, in the words of
    :mod:`lazycrop.keywords`. ``spell``: makes the text of an item that was given as something else. ``read``: makes the
    items of a text that is not read as others are, because they may hold blanks and commas.
    """
    metadata = {
        "help": help,
        "least": least,
        "secret": secret,
        "rare": rare,
        "given": given,
        "spell": spell,
        "read": read,
    }
    if isinstance(default, Mapping):  # Dataclasses refuse every mapping as a default, because some can be changed.
        return field(default_factory=lambda: default, metadata=metadata)
    return field(default=default, metadata=metadata)


def default_of(setting: Field[Any]) -> Any:
    """The default that was given to :func:`option`."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def typed(value: Any, kind: Any) -> Any:
    """``value`` as ``kind``, from a string where it is one; else a TypeError or ValueError that says what is wanted."""
    if kind is Any:
        return os.fspath(value) if isinstance(value, os.PathLike) else value
    if get_origin(kind) in (Union, UnionType):
        if value is None or value in ("", "none"):
            return None
        return typed(value, next(part for part in get_args(kind) if part is not type(None)))
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


def at_least(value: Any, least: float) -> Any:
    """``value``, where it is no number below ``least``; else a ValueError that says what is wanted."""
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
        value = split(value)
    if not isinstance(value, Iterable) or isinstance(value, bytes | Mapping):
        raise TypeError("a list")
    try:
        return tuple(typed(one, kind) for one in value)
    except (TypeError, ValueError) as error:
        raise TypeError(f"a list in which each item is {error}") from None


def _mapping(value: Any, kind: Any) -> dict[str, Any]:
    if value is None or value == "none":
        return {}
    if isinstance(value, str):
        pairs = [pair.partition("=") for pair in split(value)]
        if not all(separator for _, separator, _ in pairs):
            raise ValueError("a list of name=value pairs")
        value = {name.strip(): content.strip() for name, _, content in pairs}
    if not isinstance(value, Mapping):
        raise TypeError("a mapping, or a list of name=value pairs")
    return {name: typed(content, kind) for name, content in value.items()}


def printed(value: Any) -> str:
    """The text that :func:`typed` reads as ``value``; a TypeError for what no text stands for."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        value = tuple(f"{name}={printed(content)}" for name, content in value.items())
    if isinstance(value, tuple):
        return "\n".join(map(str, value)) or "none"
    if isinstance(value, str | int | float | os.PathLike):
        return str(value)
    raise TypeError("a text")


def is_printable(value: Any) -> bool:
    """Does each item of a list or mapping stay one item in a text?"""
    items = [*value, *value.values()] if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    return not any(re.search(r"[\s,]", item) for item in items if isinstance(item, str))


def shown(value: Any) -> str:
    """``value`` in a sentence: its repr, without what may be a password."""
    if isinstance(value, str):
        return repr(_QUERY.sub("?…", _HIDDEN.sub(r"\1…@", value)))
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(shown, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{name!r}: {shown(content)}' for name, content in value.items())}}}"
    return repr(value)


def split(text: str) -> list[str]:
    """The items of a list: one a line, or on one line apart by blanks or commas."""
    if "\n" in text.strip():
        return [line.strip() for line in text.splitlines() if line.strip()]
    return [item for item in re.split(r"[\s,]+", text) if item]
