"""Events: what happened, told once by those who know it, heard by whoever listens.

A listener is called after the fact, in the process and on the thread where it happened, with names and numbers only.
Whatever it raises is logged and changes nothing.
"""

from __future__ import annotations

import difflib
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, cast

from lazycrop.errors import ConfigurationError

logger = logging.getLogger(__name__)

_NAMED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")


@dataclass(frozen=True, slots=True)
class Event:
    """``image_id`` and ``version``: whose; ``key``: of the object in the store that it is about, if it is about one."""

    image_id: str
    version: int | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Stored(Event):
    """An image was stored (``key`` is its origin's), or a size of one. ``late``: the worker was, and stored it as
    it was answered although it could have fewer bytes.
    """

    length: int = 0
    late: bool = False


@dataclass(frozen=True, slots=True)
class Replaced(Stored):
    """An image was stored under an id that had one."""


@dataclass(frozen=True, slots=True)
class Rendered(Event):
    """A stage of a size was made. ``seconds``: from its first byte read to its last byte encoded."""

    length: int = 0
    seconds: float = 0.0
    stage: int = 1


@dataclass(frozen=True, slots=True)
class Purged(Event):
    """An image, or one of its versions, was purged of ``objects`` objects."""

    objects: int = 0


@dataclass(frozen=True, slots=True)
class Failed(Event):
    """A size could not be made. ``code``: of the error."""

    code: str = ""


@dataclass(frozen=True, slots=True)
class Answered(Event):
    """A request was answered; ``image_id`` is empty, for what was asked for may be no image.

    ``outcome``: as Cache-Status says it. ``stages``: seconds of each. What was answered a moment ago and is answered
    again takes less time than to tell of it: that is counted, see :attr:`Events.tally`.
    """

    status: int = 0
    outcome: str = ""
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rendering(Event):
    """So many renders more, or less, wait for a slot or are under way in this process."""

    waiting: int = 0
    under_way: int = 0


@dataclass(frozen=True, slots=True)
class Queued(Event):
    """A job was handed to the queue. ``taken``: or was not, because the broker is down or the queue full."""

    actor: str = ""
    taken: bool = True


@dataclass(frozen=True, slots=True)
class Worked(Event):
    """An actor has tried a job. ``code``: of the error where it failed, which may be tried again."""

    actor: str = ""
    seconds: float = 0.0
    stages: Mapping[str, float] = field(default_factory=dict)
    code: str = ""


@dataclass(frozen=True, slots=True)
class Dead(Event):
    """A job was given up: it can never succeed, has failed too often, or is too old."""

    actor: str = ""


@dataclass(frozen=True, slots=True)
class Gone(Event):
    """A size was deleted (``key``), or all that there was of a version; of the image, another version may be there."""


@dataclass(frozen=True, slots=True)
class Asked(Event):
    """A size was asked for and may be, ``count`` times. Told only where somebody listens: it is every request."""

    size: str = ""
    format: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Refused(Asked):
    """A size was asked for that policy does not list. The image may be none."""


_ALL = (Stored, Replaced, Rendered, Purged, Failed, Answered, Rendering, Queued, Worked, Dead)

KINDS: dict[str, type[Event]] = {kind.__name__.lower(): kind for kind in _ALL}
"""What can be listened for, by name."""


class Events:
    """Who listens for what."""

    def __init__(self) -> None:
        self._calls: dict[type[Event], tuple[Callable[[Any], object], ...]] = {}
        self.tally: Callable[[], Mapping[int, int]] = dict
        """What was answered again by shortcuts since the last call, by status: counted once somebody listens for
        ``answered`` when a LazyCrop is made."""

    def on(self, name: str, call: Callable[[Any], object]) -> None:
        """Have ``call(event)`` called for each event of this name, a key of KINDS; raises ConfigurationError."""
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, 1, 0.0)[0]
            raise ConfigurationError(
                f"There is no event {name!r}; did you mean {near!r}? There are {', '.join(KINDS)}."
            )
        self.listen(KINDS[name], call)

    def listen(self, kind: type[Event], call: Callable[[Any], object]) -> None:
        """The same by the event's class, for those of this package: some are for them alone."""
        self._calls[kind] = (*self._calls.get(kind, ()), call)

    def heard(self, kind: type[Event]) -> bool:
        """Does anybody listen for it? Else it need not even be made."""
        return kind in self._calls

    def on_all(self, call: Callable[[Any], object]) -> None:
        """The same for each event that changes what is stored, or should have: none that comes with each request."""
        for kind in (Stored, Replaced, Rendered, Purged, Failed):
            self.on(kind.__name__.lower(), call)

    def tell(self, event: Event) -> None:
        """Tell all who listen for it. Raises nothing."""
        for call in self._calls.get(type(event), ()):
            try:
                call(event)
            except Exception:
                logger.exception("a listener failed at %r", event, extra={"event": "listener-failed"})


def listener(given: object) -> Callable[[Any], object]:
    """What a setting names, or is: ``package.module:function`` is loaded at the first event, since the module may be
    the one that makes the LazyCrop. Raises ConfigurationError for what is no such name.
    """
    if callable(given):
        return given
    if not isinstance(given, str) or not _NAMED.fullmatch(given):
        raise ConfigurationError(f"'events' is {given!r}; it is a function, named like 'package.module:function'.")
    module, _, function = given.partition(":")
    return lambda event: loaded(module, function)(event)


def loaded(module: str, function: str) -> Callable[[Any], object]:
    """The function of this name. Raises ConfigurationError where there is none."""
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"'events' names {module}:{function}, which is not there: {error}.") from error
    if not callable(found):
        raise ConfigurationError(f"'events' names {module}:{function}, which is no function.")
    return cast(Callable[[Any], object], found)
