"""Actors: declared on a given broker, with the options that suit derivatives. [dramatiq]"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lazycrop.concurrency.forks import Lock
from lazycrop.errors import BadRequest, ConfigurationError, ImageError, NotFound
from lazycrop.queues.contract import Actor

if TYPE_CHECKING:
    from dramatiq import Broker

# Dramatiq's own defaults are 20 retries over days. A derivative is made again on demand, so a job soon gives up.
_OPTIONS = {
    "max_retries": 3,
    "min_backoff": 1_000,
    "max_backoff": 30_000,
    "time_limit": 60_000,
    "max_age": 3_600_000,
    "throws": (BadRequest, NotFound, ImageError, TypeError),  # What can never succeed; a TypeError is a junk message.
}

_declaring = Lock()


def declare(broker: Broker, queue: str, actors: Mapping[str, Actor]) -> None:
    """Declare ``actors`` on ``broker``.

    Raises :class:`~lazycrop.errors.ConfigurationError` when another application's actors are there under this queue.
    """
    import dramatiq

    options = {name: value for name, value in _OPTIONS.items() if name in broker.actor_options}
    make: Any = dramatiq.actor
    with _declaring:
        for name, do in actors.items():
            if actor_name(queue, name) in broker.actors:
                raise ConfigurationError(
                    f"The queue {queue!r} of this broker is taken by another LazyCrop; give each its own with queue=…."
                )
            make(do, actor_name=actor_name(queue, name), queue_name=queue, broker=broker, **options)


def actor_name(queue: str, name: str) -> str:
    return f"{queue}.{name}"
