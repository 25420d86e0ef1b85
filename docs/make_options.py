"""Write options.rst from the settings themselves: ``python docs/make_options.py``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from lazycrop.options import default_of
from lazycrop.settings import OPTIONS, SECTIONS, ServiceSettings

HEAD = """\
Options
=======

.. Made by docs/make_options.py from the settings themselves.

Every option can be a keyword of ``LazyCrop(…)``; a key ``lazycrop.<name>`` of a mapping or of a framework's ini file; a
line ``<name> = …`` under ``[lazycrop]`` of an ini file of lazycrop's own; ``LAZYCROP_<NAME>`` in the environment or in
a Flask application's configuration; and a flag of the command line, with hyphens: ``--public-url``. In a section of
paste's ini file the name stands alone. As a text, a list has its items on lines of their own, or on one line apart by
blanks or commas (a ``secret`` on lines only; a place in ``sources`` may have some); a mapping is a list of
``name=value``; and ``none`` is the empty one of both, and an option that is not set. In an ini file of lazycrop's own a
``%`` stands for itself, but for ``%(here)s``, the file's folder. An unknown name is refused with the nearest one that
exists, a bad value with what it may be.
"""
FIRST = ("store", "sizes", "presets", "secret", "prefix")
TITLES = {
    "policy": "What may be asked for",
    "answers": "Answers",
    "shortcuts": "Shortcuts",
    "store": "Store",
    "cache": "Cache",
    "queue": "Queue and worker",
    "recipe": "Rendering",
    "limits": "Limits on sources",
    "ingest": "What is made of each image when it is stored",
    "download": "Download of origins",
    "sources": "Sources: images that are already somewhere",
    "catalogue": "Catalogue: what the store knows, in a database",
}


def text() -> str:
    rare = [field for field in OPTIONS.values() if field.metadata["rare"]]
    sections = [_section("The five that most applications set", (OPTIONS[name] for name in FIRST))]
    sections += [_section("Waiting, and URLs in pages", _others(ServiceSettings))]
    sections += [_section(TITLES[name], _others(owner)) for name, owner in SECTIONS.items()]
    return "\n".join([HEAD, *sections, _section("Rarely needed", rare)])


def _others(owner: type[Any]) -> list[Field[Any]]:
    return [field for field in fields(owner) if field.name not in FIRST and not field.metadata["rare"]]


def _section(title: str, options: Iterable[Field[Any]]) -> str:
    entries = [f"``{field.name}``\n    {_sentence(field)} {_shown(default_of(field))}\n" for field in options]
    return "\n".join([f"\n{title}\n{'-' * len(title)}\n", *entries])


def _sentence(field: Field[Any]) -> str:
    return str(field.metadata["help"]).replace("`", "``")


def _shown(default: Any) -> str:
    if default in (None, (), "") or (isinstance(default, Mapping) and not default):
        return "*Default: none.*"
    if isinstance(default, Mapping):
        default = " ".join(f"{name}={value}" for name, value in default.items())
    elif isinstance(default, tuple):
        default = " ".join(map(str, default))
    return f"*Default:* ``{default}``"


if __name__ == "__main__":
    Path(__file__).with_name("options.rst").write_text(text(), encoding="utf-8")
