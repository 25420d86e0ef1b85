"""Write lazycrop/keywords.py from the settings themselves: ``python docs/make_keywords.py``."""

from __future__ import annotations

import re
import textwrap
from dataclasses import Field
from pathlib import Path
from typing import Any

from lazycrop.settings import OPTIONS

HEAD = '''\
"""Keywords: every setting with the type that a person gives it, for type checkers and editors (PEP 692).

Made by docs/make_keywords.py from the settings themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from lazycrop.caches.contract import KeyValue
    from lazycrop.model.sizes import Asks
    from lazycrop.queues.contract import Broker, Queue
    from lazycrop.sources.contract import Source
    from lazycrop.stores.contract import Store


class Settings(TypedDict, total=False):
    """The keywords of :class:`lazycrop.LazyCrop`, and of everything that makes one."""
'''


def text() -> str:
    return HEAD + "".join(map(_keyword, OPTIONS.values()))


def _keyword(field: Field[Any]) -> str:
    sentence = field.metadata["help"].replace("`", "``")
    lines = textwrap.wrap(f'"""{sentence}"""', 120, initial_indent="    ", subsequent_indent="    ")
    return f"\n    {field.name}: {_given(field)}\n" + "\n".join(lines) + "\n"


def _given(field: Field[Any]) -> str:
    """The type that a person gives: any sequence for what is kept as a tuple."""
    return field.metadata["given"] or re.sub(r"tuple\[(\w+), \.\.\.\]", r"Sequence[\1]", str(field.type))


if __name__ == "__main__":
    (Path(__file__).parent.parent / "lazycrop/keywords.py").write_text(text(), encoding="utf-8")
