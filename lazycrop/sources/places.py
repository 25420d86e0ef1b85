"""Places: the sources that settings name, each guarded, and which of them an image id is of."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from lazycrop.concurrency.guard import Guard
from lazycrop.errors import BadRequest, ImageTooLarge, SourceUnavailable
from lazycrop.model.keys import composed
from lazycrop.sources.contract import Describing, Seen, Source
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.opening import check_apart, open_source
from lazycrop.sources.settings import SourceSettings
from lazycrop.stores.contract import Store, StoreSettings

logger = logging.getLogger(__name__)
T = TypeVar("T")

_OF_ONE_FILE = (SourceUnavailable, ImageTooLarge, BadRequest)
"""What a source raises that says nothing of its other files."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the image of an id would be: a source, and the name of its file there.

    Everything that is asked is bounded, and raises SourceUnavailable or ImageTooLarge only.
    """

    source: Source
    name: str
    _guard: Guard

    @property
    def described(self) -> str:
        """Where it is from, as a record may say it to everybody: without credentials, and folders of this machine."""
        return self.source.describe(self.name) if isinstance(self.source, Describing) else self.name

    def look(self, first: int = 0, seconds: float | None = None) -> Seen | None:
        """The file with its first ``first`` bytes; None where it is not there. ``seconds``: the longest wait, if less
        than that of the settings.
        """
        return self.begin_look(first, seconds)()

    def begin_look(self, first: int = 0, seconds: float | None = None) -> Callable[[], Seen | None]:
        """:meth:`look` in two steps: it is under way when this returns, and what it returns waits for it."""
        with _failures():
            result = self._guard.begin(lambda: self.source.look(self.name, first), seconds)
        return lambda: _ours(result)

    def read(self, limit: int) -> Seen | None:
        """All of the file; None where it is not there. Raises ImageTooLarge for more than ``limit`` bytes."""
        return _ours(lambda: self._guard.call(lambda: self.source.read(self.name, limit)))


class Sources:
    """The sources by their names: of images that are named in ``sources``, or the only one, whose name is "".

    Nothing is connected to before the first look. Raises ConfigurationError for a place that is none, or that is the
    store's own. False where there are none.
    """

    def __init__(
        self,
        settings: SourceSettings,
        download: DownloadSettings,
        store_settings: StoreSettings,
        store: Store | None = None,
    ) -> None:
        named = {composed(name): place for name, place in settings.sources.items()}
        if settings.source is not None:
            named = {"": settings.source}
        self.names: dict[str, Source] = {
            name: open_source(place, settings, download, store_settings) for name, place in named.items()
        }
        for source in self.names.values():
            check_apart(source, store)
        self._guards = {name: _guard(name, source, settings) for name, source in self.names.items()}

    def __bool__(self) -> bool:
        return bool(self.names)

    def place(self, image_id: str) -> Place | None:
        """Where the image of this id would be; None where no source covers it. Asks nobody."""
        if "" in self.names:
            return Place(self.names[""], image_id, self._guards[""])
        name, _, rest = image_id.partition("/")
        return Place(self.names[name], rest, self._guards[name]) if rest and name in self.names else None

    def covers(self, image_id: str) -> bool:
        """May a source have the image of this id? Asks nobody."""
        return self.place(image_id) is not None

    def walk(self, below: str = "") -> Iterator[str]:
        """The ids of all images of all sources whose ids begin with ``below`` (with a slash at its end), lazily.

        There may be names among them that are too long for an id. Blocks, and is not bounded. Raises SourceUnavailable,
        and BadRequest where a source cannot list.
        """
        for name, source in self.names.items():
            head = f"{name}/" if name else ""
            if head.startswith(below) or below.startswith(head):
                with _failures():
                    yield from (head + one for one in source.walk(below[len(head) :]))

    def close(self) -> None:
        for guard in self._guards.values():
            guard.close()


def _guard(name: str, source: Source, settings: SourceSettings) -> Guard:
    return Guard(
        f"the source {f'{name} ' if name else ''}{source!r}",
        logger,
        seconds=settings.source_read_seconds,
        threads=settings.source_reads,
        rest_seconds=settings.source_rest_seconds,
        is_ill=lambda error: not isinstance(error, _OF_ONE_FILE),
        is_fault=lambda error: isinstance(error, SourceUnavailable),
    )


def _ours(result: Callable[[], T]) -> T:
    with _failures():
        return result()


@contextmanager
def _failures() -> Iterator[None]:
    """The reason, which may name hosts and paths, is for the log; the client is told the kind of failure only."""
    try:
        yield
    except _OF_ONE_FILE:
        raise
    except Exception as error:
        raise SourceUnavailable("The source of the image is not available; try again in a few seconds.") from error
