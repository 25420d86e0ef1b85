"""Dramatiq's RabbitMQ broker, which answers in time, and whose messages are judged. [dramatiq, pika]"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker, _RabbitmqConsumer

from lazycrop.queues.junk import Judge
from lazycrop.queues.quiet import hush_pika

if TYPE_CHECKING:
    from dramatiq import Broker

_NOTHING = (None, None, None)
"""What pika's iterator gives where there is no message for a while."""


class _Consumer(_RabbitmqConsumer):
    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self._judge = Judge()
        self.iterator = map(self._judged, self.iterator)

    def _judged(self, found: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
        method, _, body = found
        if method is None or self._judge.is_sound(self.broker, self.queue_name, body):
            return found
        self._nack(method.delivery_tag)  # type: ignore[no-untyped-call]
        return _NOTHING


class _Broker(RabbitmqBroker):
    @property
    def consumer_class(self) -> type[_Consumer]:
        return _Consumer


def open_rabbitmq(url: str, seconds: float) -> Broker:
    """``seconds``: longest wait for one answer."""
    hush_pika()
    broker = _Broker(url=url)
    parameters = pika.URLParameters(url)
    parameters.connection_attempts = 1
    parameters.retry_delay = 0
    parameters.socket_timeout = seconds
    parameters.stack_timeout = 2 * seconds
    broker.parameters = parameters
    return broker
