"""A queue that does the work at once, in the caller."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lazycrop.concurrency.faults import Fault
from lazycrop.errors import LazyCropError
from lazycrop.queues.contract import Actor, Message

logger = logging.getLogger(__name__)


class InlineQueue:
    """Does the work at once, in the caller."""

    ready = True

    def __init__(self, actors: Mapping[str, Actor]) -> None:
        self._actors = actors
        self._fault = Fault(logger, "jobs")

    def send(self, actor: str, message: Message) -> bool:
        try:
            self._actors[actor](message)
        except Exception as error:
            trace = not isinstance(error, LazyCropError)
            self._fault.tell("jobs fail; the first is %s of %s: %r", actor, message, error, trace=trace)
            return False
        self._fault.over("jobs are done again")
        return True

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass
