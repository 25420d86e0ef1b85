"""Queues to a broker outside of this process. [dramatiq]

What an actor does is handed in as a function. A queue answers within its budget whatever its broker does: a broker
that fails or hangs is left alone for a while, and the picture is answered all the same.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lazycrop.concurrency.pool import Pool
from lazycrop.errors import ConfigurationError
from lazycrop.queues.actors import actor_name, declare
from lazycrop.queues.contract import REDIS, Actor, Message, QueueSettings

if TYPE_CHECKING:
    from dramatiq import Broker

logger = logging.getLogger(__name__)


class BrokerQueue:
    """A broker outside of this process. One thread does all the sending, so that a broker that hangs holds nobody.

    (No timeout of redis-py or pika bounds a whole send; and pika opens a connection a thread.)
    """

    def __init__(self, settings: QueueSettings, actors: Mapping[str, Actor]) -> None:
        self._queue = settings.queue
        self._own = isinstance(settings.broker, str)
        self._ping: Callable[[Any], Any]
        self.broker, self._ping = _open_broker(settings)
        declare(self.broker, settings.queue, actors)
        self._budget = Budget(settings)

    @property
    def ready(self) -> bool:
        return self._budget.ready

    def send(self, actor: str, message: Message) -> bool:
        return self._budget.spend(lambda: self.broker.get_actor(actor_name(self._queue, actor)).send(message))

    def ping(self) -> None:
        self._budget.call(lambda: self._ping(self.broker))

    def close(self) -> None:
        if self._own:  # One that was given belongs to the application.
            with suppress(Exception):
                self._budget.call(self.broker.close)
        self._budget.close()


class Budget:
    """Makes calls to a broker in a thread of its own, waits for each no longer than it may, rests after a failure."""

    def __init__(self, settings: QueueSettings) -> None:
        self._settings = settings
        self._resting_until = 0.0
        self._sender = Pool("lazycrop-sender", 1)

    @property
    def ready(self) -> bool:
        return time.monotonic() >= self._resting_until

    def spend(self, call: Callable[[], Any]) -> bool:
        """Make the call; False when it fails or takes too long, and at once while resting from that."""
        if not self.ready:
            return False
        try:
            self.call(call)
        except Exception as error:  # Each broker raises errors of its own.
            self._resting_until = time.monotonic() + self._settings.broker_rest_seconds
            logger.warning(
                "the broker failed and is left alone for %.0f s: %r", self._settings.broker_rest_seconds, error
            )
            return False
        return True

    def close(self) -> None:
        self._sender.close()

    def call(self, call: Callable[[], Any]) -> None:
        """Make the call; raises what it raises, and TimeoutError."""
        future = self._sender.submit(call)
        try:
            future.result(self._settings.broker_seconds)
        except TimeoutError:
            future.cancel()  # If it has not begun, it must not happen later.
            raise TimeoutError(f"no answer within {self._settings.broker_seconds} s") from None


def _open_broker(settings: QueueSettings) -> tuple[Broker, Callable[[Any], Any]]:
    """The broker, and what asks it whether it is there."""
    broker, seconds = settings.broker, settings.broker_seconds
    if not isinstance(broker, str):
        return broker, lambda given: given.get_declared_queues()
    scheme = urlsplit(broker).scheme
    if scheme in REDIS:
        return _redis(broker, seconds), lambda opened: opened.client.ping()
    return _rabbitmq(broker, seconds), lambda opened: opened.connection


def _redis(url: str, seconds: float) -> Broker:
    try:
        import redis
        from dramatiq.brokers.redis import RedisBroker
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError:
        raise ConfigurationError("A redis:// broker needs a client: pip install lazycrop[redis].") from None

    # RedisBroker(url=…, socket_timeout=…) ignores the timeout, so the client is made here.
    client = redis.Redis.from_url(
        url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
    )
    # With the defaults the message of a killed worker was not given out again within 240 s; with these in 5.6 s.
    make: Any = RedisBroker
    return make(client=client, heartbeat_timeout=5_000, maintenance_chance=1_000_000)  # type: ignore[no-any-return]


def _rabbitmq(url: str, seconds: float) -> Broker:
    try:
        import pika
        from dramatiq.brokers.rabbitmq import RabbitmqBroker
    except ImportError:
        raise ConfigurationError("An amqp:// broker needs a client: pip install lazycrop[rabbitmq].") from None

    broker = RabbitmqBroker(url=url)
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.retry_delay = 0
    parameters.socket_timeout = seconds
    parameters.stack_timeout = 2 * seconds
    broker.parameters = parameters
    return broker
