"""Hooked: what travels with a message, and who is told of a job that is given up. [dramatiq]"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dramatiq.middleware import Middleware

from lazycrop.queues.contract import Actor, Hooks
from lazycrop.queues.contract import Message as Job

if TYPE_CHECKING:
    from dramatiq import Broker, Message
    from dramatiq.broker import MessageProxy

_CARRIED = "lazycrop_trace"
"""The message's option that has what travels with it; Dramatiq hands it on when the job is tried again."""


class Hooked(Middleware):
    """Does what ``hooks`` say for the actors of one LazyCrop. ``names``: theirs, by those that the broker knows."""

    def __init__(self, hooks: Hooks, names: Mapping[str, str]) -> None:
        self._hooks = hooks
        self._names = names
        self._at_hand = threading.local()

    def before_enqueue(self, broker: Broker, message: Message[Any], delay: int | None) -> None:
        if self._hooks.carry is not None and message.actor_name in self._names and _CARRIED not in message.options:
            message.options[_CARRIED] = dict(self._hooks.carry())

    def before_process_message(self, broker: Broker, message: MessageProxy) -> None:
        self._at_hand.carried = message.options.get(_CARRIED)

    def after_nack(self, broker: Broker, message: MessageProxy) -> None:
        if self._hooks.dead is not None and message.actor_name in self._names:
            self._hooks.dead(self._names[message.actor_name], message.args[0] if message.args else {})

    def around(self, do: Actor) -> Actor:
        """``do``, on the thread that has taken its message, within what came with that."""
        resume = self._hooks.resume
        if resume is None:
            return do

        def work(job: Job) -> None:
            carried = getattr(self._at_hand, "carried", None)
            with resume(carried if isinstance(carried, dict) else {}):
                do(job)

        return work
