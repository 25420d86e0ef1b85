"""Junk: a message is judged before Dramatiq has it, which trusts whatever its broker says. [dramatiq]

Others may be able to write to a broker. Unjudged, a message whose options are none ends the thread that takes it, for
good; and one of Redis that cannot be read ends its consumer each time that it is given out, which is every few seconds.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from lazycrop.concurrency.faults import Fault

if TYPE_CHECKING:
    from dramatiq import Broker, Message

logger = logging.getLogger(__name__)

_AHEAD = 3_600_000
"""Milliseconds by which a time may be in the future: a job that is put off for ever keeps a place for ever."""


class Judge:
    """Tells messages from junk, and tells of that."""

    def __init__(self) -> None:
        self._fault = Fault(logger, "jobs", "junk")

    def is_sound(self, broker: Broker, queue: str, body: bytes) -> bool:
        """Could this have been sent to ``queue`` by us?"""
        message = read(body)
        if is_sound := message is not None and _is_for(broker, queue, message):
            self._fault.over("what comes from the broker is jobs again")
        else:
            self._fault.tell("a message in the queue %r is no job of ours, and is dead: %.200r", queue, body)
        return is_sound


def read(body: bytes) -> Message[Any] | None:
    """The message, in which all that Dramatiq reads is of its kind; None for junk. Its actor judges the rest."""
    from dramatiq import Message
    from dramatiq.errors import DecodeError

    try:
        message: Any = Message.decode(body)
    except DecodeError:
        return None
    names = (message.queue_name, message.actor_name, message.message_id)
    options = message.options
    is_sound = (
        all(isinstance(name, str) for name in names)
        and isinstance(message.kwargs, dict)
        and isinstance(options, dict)
        and isinstance(options.get("redis_message_id", ""), str)
        and _is_number(options.get("retries", 0), 100)
        and _is_number(options.get("eta", 0), _latest())
        and _is_number(message.message_timestamp, _latest())
    )
    return message if is_sound else None


def _is_for(broker: Broker, queue: str, message: Message[Any]) -> bool:
    # What is said of an actor is said where it is declared: how often it is tried, what is called after it.
    of_actors = {*broker.actor_options, "throws"}
    return message.queue_name == queue and message.options.keys().isdisjoint(of_actors)


def _is_number(value: object, most: float) -> bool:
    return isinstance(value, int | float) and 0 <= value <= most


def _latest() -> float:
    return time.time() * 1000 + _AHEAD
