"""The contract of all queues, :class:`Queue`, and their settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from lazycrop.errors import ConfigurationError
from lazycrop.options import option

Message = dict[str, Any]
Actor = Callable[[Message], None]

EMBEDDED, INLINE = "embedded", "inline"
REDIS, RABBITMQ = ("redis", "rediss", "unix"), ("amqp", "amqps")


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    broker: Any = option(
        EMBEDDED,
        "`embedded` (threads of this process), `inline`, `redis://…`, `amqp://…`, a Dramatiq broker or a Queue.",
    )
    queue: str = option("lazycrop", "The queue's name; applications that share a broker need one each.")
    broker_seconds: float = option(0.5, "Longest wait for the broker to take a message.")
    broker_rest_seconds: float = option(30.0, "How long a broker that failed is left alone.")
    worker_threads: int = option(2, "Threads of the embedded worker.", least=1)

    def __post_init__(self) -> None:
        if isinstance(self.broker, str) and self.broker not in (EMBEDDED, INLINE):
            scheme = urlsplit(self.broker).scheme
            if scheme not in (*REDIS, *RABBITMQ):
                raise ConfigurationError(
                    f"'broker' is {self.broker.split('@')[-1]!r}; "
                    "it is 'embedded', 'inline', a redis:// or amqp:// URL, or a Dramatiq broker."
                )


@runtime_checkable
class Queue(Protocol):
    """Takes messages for actors."""

    @property
    def ready(self) -> bool:
        """False while a broker that failed is left alone."""
        ...

    def send(self, actor: str, message: Message) -> bool:
        """Hand over ``message``; False, within the budget, when the broker does not take it. Raises nothing."""
        ...

    def ping(self) -> None:
        """Raise whatever the broker raises when it does not answer."""
        ...

    def close(self) -> None:
        """Let what was sent be done, as far as this process does it, and end its threads."""
        ...
