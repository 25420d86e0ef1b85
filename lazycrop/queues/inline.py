"""A queue that does the work at once, in the caller."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from lazycrop.queues.contract import Actor, Message

logger = logging.getLogger(__name__)


class InlineQueue:
    """Does the work at once, in the caller."""

    ready = True

    def __init__(self, actors: Mapping[str, Actor]) -> None:
        self._actors = actors

    def send(self, actor: str, message: Message) -> bool:
        try:
            self._actors[actor](message)
        except Exception:
            logger.warning("the job %s of %s failed", actor, message, exc_info=True)
            return False
        return True

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass
