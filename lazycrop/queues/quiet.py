"""Quiet: of what Dramatiq and pika log at each try while a store or a broker is away, two lines are left: that it went,
and that it is back. [dramatiq]
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from lazycrop.concurrency.faults import Fault

if TYPE_CHECKING:
    from dramatiq import Broker

logger = logging.getLogger(__name__)

_CONSUMERS = ("dramatiq.worker.ConsumerThread({})", "dramatiq.worker.ConsumerThread({}.DQ)")
_RABBITMQ = "dramatiq.brokers.rabbitmq._RabbitmqConsumer"
_AGAIN = (
    *("Consumer encountered a connection error", "Restarting consumer", "Failed to post_process_message"),
    *("Failed to ack message", "Failed to nack message"),
)

_PIKA = (
    *("pika.adapters.utils.io_services_utils", "pika.adapters.utils.connection_workflow"),
    *("pika.adapters.base_connection", "pika.adapters.blocking_connection", "pika.connection"),
)


def hush_tries(broker: Broker) -> None:
    """Have what is said of each try of each job said for who debugs; of a broker of our own."""
    from dramatiq.middleware import AgeLimit, Retries

    for middleware in broker.middleware:
        if isinstance(middleware, (AgeLimit, Retries)):
            middleware.logger = SimpleNamespace(info=logger.debug, warning=logger.debug)


def hush_pika() -> None:
    """pika has ten lines and a traceback for each connection that fails. Those of the application's own are let be."""
    for name in _PIKA:
        logging.getLogger(name).addFilter(_is_of_others)


def _is_of_others(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith("lazycrop-broker")  # where all sending is done


def hush_consumers(broker: Broker, queue: str) -> None:
    """Each consumer has some lines every three seconds, and each job that is done one. For a worker's process."""
    for name in (*(name.format(queue) for name in _CONSUMERS), _RABBITMQ):
        logging.getLogger(name).addFilter(_is_new)
    consume, fault = broker.consume, Fault(logger, "broker")

    def watched(*arguments: Any, **options: Any) -> Any:
        try:
            return _Consumer(consume(*arguments, **options), fault)
        except Exception as error:
            _tell(fault, error)
            raise

    broker.consume = watched  # type: ignore[method-assign]


def _is_new(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_AGAIN)


class _Consumer:
    """A consumer that tells of a broker which is gone. After that there is another one, which tells that it is back."""

    def __init__(self, consumer: Any, fault: Fault) -> None:
        self._consumer = consumer
        self._fault = fault
        self._is_fresh = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            message = next(self._consumer)
        except Exception as error:
            _tell(self._fault, error)
            raise
        if self._is_fresh:
            self._is_fresh = False
            self._fault.over("the broker gives jobs again")
        return message


def _tell(fault: Fault, error: Exception) -> None:
    fault.tell("the broker gives no jobs: %s", error)
