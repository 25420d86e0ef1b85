"""Write options.rst from the settings themselves: ``python docs/make_options.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from lazycrop.options import default_of
from lazycrop.settings import Config

HEAD = """\
Options
=======

.. Made by docs/make_options.py from the settings themselves.

Every option can be a keyword of ``LazyCrop(…)``; a key ``lazycrop.<name>`` of a mapping or of a framework's ini file; a
line ``<name> = …`` under ``[lazycrop]`` of an ini file of lazycrop's own; ``LAZYCROP_<NAME>`` in the environment or in
a Flask application's configuration; and a flag of the command line, with hyphens: ``--public-url``. In a section of
paste's ini file the name stands alone. As a text, a list has its items on lines of their own, or on one line apart by
blanks or commas (a ``secret`` on lines only); a mapping is a list of ``name=value``; and ``none`` is the empty one of
both, and an option that is not set. An unknown name is refused with the nearest one that exists, a bad value with what
it may be.
"""
TITLES = {
    "Config": "Where things are, and how they are answered",
    "PolicySettings": "What may be asked for",
    "AnswerSettings": "Answers",
    "ShortcutSettings": "Shortcuts",
    "CacheSettings": "Cache",
    "TaskSettings": "Queue and worker",
    "StoreSettings": "Store",
    "Recipe": "Rendering",
    "Limits": "Limits on sources",
    "IngestSettings": "What is made of each image when it is stored",
    "FetchSettings": "Download of origins",
    "MarkupSettings": "Markup",
}


def text() -> str:
    sections = [HEAD]
    for owner in (Config, *Config.__bases__):
        inherited = {field.name for base in Config.__bases__ for field in fields(base)} if owner is Config else set()
        options = [field for field in fields(owner) if field.name not in inherited]
        title = TITLES[owner.__name__]
        sections.append(f"\n{title}\n{'-' * len(title)}\n")
        for field in options:
            sentence = field.metadata["help"].replace("`", "``")
            sections.append(f"``{field.name}``\n    {sentence} {_shown(default_of(field))}\n")
    return "\n".join(sections)


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
