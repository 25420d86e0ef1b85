"""The contract of all sources, :class:`Source`: read-only places where images already are.
:func:`lazycrop.testing.sources.check_source` checks it by running.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Seen:
    """What a source has under a name.

    ``validator``: a text that changes when the file does, such as its ETag, or its size and time; never empty.
    ``data``: its first bytes, as many as were asked for, or all of them. ``length``: of the file, in bytes; None where
    the source does not say.
    """

    validator: str
    data: bytes
    length: int | None = None


@runtime_checkable
class Source(Protocol):
    """What lazycrop asks of a source. Names are like ``2024/Größe 1.jpg``: UTF-8, NFC, joined by ``/``.

    All of it may block and is safe for threads. What is not there, cannot be read, or is outside of the source is not
    there; whatever is raised means that the source cannot tell now. Nothing is ever written to it. Its ``__repr__``
    says where it is, alike in every process, and shows no secret.
    """

    def look(self, name: str, first: int = 0) -> Seen | None:
        """The file of this name with its first ``first`` bytes, by one request or stat; None where it is not there."""
        ...

    def read(self, name: str, limit: int) -> Seen | None:
        """All of it: ``data`` is the whole file, of which ``validator`` speaks; None where it is not there.

        Raises :class:`~lazycrop.errors.ImageTooLarge` for more than ``limit`` bytes.
        """
        ...

    def walk(self, below: str = "") -> Iterator[str]:
        """The names of all its files whose names begin with ``below`` (a folder, with a slash at its end), in any
        order, lazily. Raises where a source cannot list, as a site cannot.
        """
        ...


@runtime_checkable
class Describing(Protocol):
    """A source that says where a file of it is. What a Source may do besides."""

    def describe(self, name: str) -> str:
        """Where it is, in a word that anybody may read: without credentials, and folders of a machine."""
