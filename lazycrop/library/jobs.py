"""Jobs: what is done by actors, on a queue that is opened when the first one is sent."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.forks import Lock
from lazycrop.concurrency.timing import Tracing, recorded
from lazycrop.errors import BadRequest, LazyCropError
from lazycrop.events import Dead, Events, Queued, Worked
from lazycrop.model.derivatives import Derivative
from lazycrop.queues.contract import Actor, Hooks, Message, Queue

logger = logging.getLogger(__name__)

STORE = "store"
"""The name of the actor that stores a derivative."""

MEZZANINES = "mezzanines"
"""The name of the actor that makes the mezzanines of an image that was stored without."""

LOOK = "look"
"""The name of the actor that looks whether a source's file is still what its image was made from."""

DEMAND = "demand"
"""The name of the actor that adds what was asked for to the catalogue."""

WARM = "warm"
"""The name of the actor that has the most wanted sizes of a new image made."""

LOOSE = "loose"
"""The name of the actor that purges images that no row of a model names."""

SINCE = "since"
"""What a message says where visitors ask for what it names: since when, in Unix time."""

ALSO = "also"
"""What a message says of other sizes of the same image that are to be made with it: of each its size and format."""


class Jobs:
    """``actors``: what jobs do, by their names; each may be repeated. ``open_queue``: makes the queue to them."""

    def __init__(
        self,
        actors: Mapping[str, Actor],
        open_queue: Callable[[Mapping[str, Actor]], Queue],
        events: Events | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._events = events or Events()
        # What a worker's threads have is not to keep all of this alive.
        self._tracing = tracing
        self.actors: dict[str, Actor] = {}
        for name, do in actors.items():
            self.add(name, do)
        self.hooks = Hooks(
            carry=tracing.carry if tracing else None,
            resume=tracing.resume if tracing else None,
            dead=partial(_bury, self._events),
        )
        self._open_queue = open_queue
        self._fault = Fault(logger, "queue")
        self._lock = Lock()
        self._queue: Queue | None = None

    def add(self, name: str, do: Actor) -> None:
        """Have one more kind of jobs; before the queue is opened."""
        self.actors[name] = _watched(name, do, self._events, self._tracing)

    @property
    def queue(self) -> Queue:
        """The queue to the actors; opened when first needed."""
        if (queue := self._queue) is not None:
            return queue
        with self._lock:
            if self._queue is None:
                self._queue = self._open_queue(self.actors)
            return self._queue

    @property
    def ready(self) -> bool:
        """False while the broker is left alone, or where there is none. Raises nothing."""
        try:
            return self.queue.ready
        except Exception as error:  # The picture is never worse for a queue that cannot be opened, whatever it raises.
            self._failed(error)
            return False

    def send(self, actor: str, derivative: Derivative, *, soon: bool = False) -> bool:
        """Ask an actor to work on ``derivative``; False when the broker does not take it. Raises nothing.

        ``soon``: visitors ask for it; the message says since when.
        """
        return self.hand_over(actor, derivative.to_message() | ({SINCE: int(time.time())} if soon else {}))

    def send_together(self, actor: str, derivatives: Sequence[Derivative]) -> bool:
        """Ask an actor to work on derivatives of one version of an image; as :meth:`send`."""
        first, *others = derivatives
        also = [[one.size and str(one.size), one.format] for one in others]
        return self.hand_over(actor, first.to_message() | ({ALSO: also} if also else {}))

    def hand_over(self, actor: str, message: Message) -> bool:
        """Send a message, which is of JSON's types only; False when the broker does not take it. Raises nothing."""
        try:
            taken = self.queue.send(actor, message)
        except Exception as error:  # as above
            self._failed(error)
            taken = False
        else:
            self._fault.over("jobs are queued again")
        if self._events.heard(Queued):
            self._events.tell(Queued(*_named(message), actor=actor, taken=taken))
        return taken

    def _failed(self, error: Exception) -> None:
        self._fault.tell("no job can be queued: %r", error, trace=True)

    def close(self) -> None:
        """Let embedded jobs finish and end the queue's threads."""
        with self._lock:
            queue, self._queue = self._queue, None
        if queue is not None:
            queue.close()


def named(message: Message) -> list[Derivative]:
    """The derivatives that a message names; junk raises :class:`~lazycrop.errors.BadRequest`."""
    derivatives = [Derivative.from_message(message)]
    for other in message.get(ALSO, ()):
        match other:
            case [size, format]:
                derivatives.append(Derivative.from_message({**message, "size": size, "format": format}))
            case _:
                raise BadRequest(f"The message {str(message)[:200]!r} names something that is no size with a format.")
    return [*dict.fromkeys(derivatives)]


def _watched(name: str, do: Actor, events: Events, tracing: Tracing | None) -> Actor:
    """``do``, with a span around it, and told of."""

    def work(message: Message) -> None:
        if tracing is None and not events.heard(Worked):
            return do(message)
        started, code = time.perf_counter(), ""
        with recorded(tracing.span if tracing else None) as stages:
            try:
                with tracing.span(f"job {name}") if tracing else nullcontext():
                    do(message)
            except Exception as error:
                code = error.code if isinstance(error, LazyCropError) else type(error).__name__
                raise
            finally:
                seconds = time.perf_counter() - started
                events.tell(Worked(*_named(message), actor=name, seconds=seconds, stages=stages, code=code))

    return work


def _bury(events: Events, actor: str, message: Message) -> None:
    if events.heard(Dead):
        events.tell(Dead(*_named(message), actor=actor))


def _named(message: Message) -> tuple[str, int | None]:
    """Whose job a message is. It may be junk."""
    image_id, version = (message.get("image_id"), message.get("version")) if isinstance(message, dict) else (None, None)
    return str(image_id or ""), version if isinstance(version, int) else None
