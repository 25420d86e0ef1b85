"""Queues to a broker outside of this process. [dramatiq]

What an actor does is handed in as a function. A queue answers within its budget whatever its broker does: a broker
that fails or hangs is left alone for a while, and the picture is answered all the same.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lazycrop.concurrency.guard import Guard
from lazycrop.errors import ConfigurationError
from lazycrop.queues.actors import actor_name, declare
from lazycrop.queues.contract import NO_HOOKS, REDIS, Actor, Backlog, Hooks, Letter, Message, QueueSettings
from lazycrop.queues.letters import open_letters
from lazycrop.queues.quiet import hush_tries

if TYPE_CHECKING:
    from dramatiq import Broker

logger = logging.getLogger(__name__)


class BrokerQueue:
    """A broker outside of this process. One thread does all the sending, so that a broker that hangs holds nobody.

    (No timeout of redis-py or pika bounds a whole send; and pika opens a connection a thread.)
    """

    def __init__(self, settings: QueueSettings, actors: Mapping[str, Actor], hooks: Hooks = NO_HOOKS) -> None:
        self._queue = settings.queue
        self._own = isinstance(settings.broker, str)
        self._ping: Callable[[Any], Any]
        self.broker, self._ping = _open_broker(settings)
        declare(self.broker, settings.queue, actors, hooks)
        if self._own:
            hush_tries(self.broker)
        self._guard = open_guard(settings)
        self._letters = open_letters(self.broker, settings.queue)

    @property
    def ready(self) -> bool:
        return self._guard.ready

    def send(self, actor: str, message: Message) -> bool:
        return spend(self._guard, lambda: self.broker.get_actor(actor_name(self._queue, actor)).send(message))

    def ping(self) -> None:
        self._guard.call(lambda: self._ping(self.broker))

    def backlog(self) -> Backlog:
        return self._guard.call(self._letters.backlog)

    def letters(self, limit: int) -> list[Letter]:
        return self._guard.call(lambda: self._letters.letters(limit))

    def requeue(self) -> int:
        """One by one, each within the budget; what becomes dead meanwhile stays."""
        return sum(self._guard.call(self._letters.requeue_one) for _ in range(self.backlog().dead))

    def close(self) -> None:
        if self._own:  # One that was given belongs to the application.
            with suppress(Exception):
                self._guard.call(self.broker.close)
        self._guard.close()


def open_guard(settings: QueueSettings) -> Guard:
    """Makes calls to a broker, on one thread: pika opens a connection a thread. Any error is an illness."""
    return Guard(
        *(f"broker of the queue {settings.queue!r}", logger),
        seconds=settings.broker_seconds,
        threads=1,
        rest_seconds=settings.broker_rest_seconds,
    )


def spend(guard: Guard, call: Callable[[], Any]) -> bool:
    """Make the call; False when it fails or takes too long, and at once while the broker is left alone."""
    try:
        guard.call(call)
    except Exception:  # Each broker raises errors of its own; the guard has told of it.
        return False
    return True


def _open_broker(settings: QueueSettings) -> tuple[Broker, Callable[[Any], Any]]:
    """The broker, and what asks it whether it is there."""
    broker, seconds = settings.broker, settings.broker_seconds
    if not isinstance(broker, str):
        return broker, lambda given: given.get_declared_queues()
    scheme = urlsplit(broker).scheme
    if scheme in REDIS:
        return _redis(broker, settings.queue, seconds), lambda opened: opened.client.ping()
    return _rabbitmq(broker, seconds), lambda opened: opened.connection


def _redis(url: str, queue: str, seconds: float) -> Broker:
    try:
        from lazycrop.queues.redis_broker import open_redis
    except ImportError:
        raise ConfigurationError("A redis:// broker needs a client: pip install lazycrop[redis].") from None
    return open_redis(url, queue, seconds)


def _rabbitmq(url: str, seconds: float) -> Broker:
    try:
        from lazycrop.queues.rabbitmq_broker import open_rabbitmq
    except ImportError:
        raise ConfigurationError("An amqp:// broker needs a client: pip install lazycrop[rabbitmq].") from None
    return open_rabbitmq(url, seconds)
