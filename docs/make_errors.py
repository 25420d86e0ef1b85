"""Write errors.rst from the errors themselves: ``python docs/make_errors.py``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lazycrop.errors import LazyCropError

HEAD = """\
Errors
======

.. Made by docs/make_errors.py from the errors themselves.

All that lazycrop raises is a ``LazyCropError``. Each class has a ``code`` that stays and a ``status``, that of the
answer that a request gets; the text is a sentence that may be shown to a visitor. Over HTTP the code is in
``Cache-Status``::

    Cache-Status: lazycrop; fwd=bypass; detail=not-allowed

What to do about each is on the page :doc:`troubleshooting`.

"""
RULE = f"{'=' * 22} {'=' * 6} {'=' * 90}"


def errors(kind: type[LazyCropError] = LazyCropError) -> Iterator[type[LazyCropError]]:
    """The class and those below it, each before its own."""
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == LazyCropError.__module__:
            yield from errors(child)


def text() -> str:
    found = sorted(errors(), key=lambda kind: kind.code)
    rows = [f"``{kind.code}``".ljust(22) + f" {kind.status}    {_first_line(kind)}" for kind in found]
    table = "\n".join([RULE, f"{'code':22} status what it says", RULE, *rows, RULE])
    entries = [f".. autoexception:: lazycrop.errors.{kind.__name__}\n    :show-inheritance:\n" for kind in errors()]
    return f"{HEAD}{table}\n\n\nThe classes\n-----------\n\n" + "\n".join(entries)


def _first_line(kind: type[LazyCropError]) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


if __name__ == "__main__":
    Path(__file__).with_name("errors.rst").write_text(text(), encoding="utf-8")
