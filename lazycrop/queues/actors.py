"""Actors: declared on a given broker, with the options that suit derivatives. [dramatiq]"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lazycrop.concurrency.faults import Fault
from lazycrop.concurrency.forks import Lock
from lazycrop.errors import BadRequest, ConfigurationError, ImageError, LazyCropError, NotFound
from lazycrop.queues.contract import NO_HOOKS, Actor, Hooks, Message

if TYPE_CHECKING:
    from dramatiq import Broker

logger = logging.getLogger(__name__)

_VAIN = (BadRequest, NotFound, ImageError, TypeError)
"""What can never succeed; a TypeError is a junk message."""

# Dramatiq's own defaults are 20 retries over days. A derivative is made again on demand, so a job soon gives up.
_OPTIONS = {
    "max_retries": 3,
    "min_backoff": 1_000,
    "max_backoff": 30_000,
    "time_limit": 60_000,
    "max_age": 3_600_000,
    "throws": _VAIN,
}

_declaring = Lock()


def declare(broker: Broker, queue: str, actors: Mapping[str, Actor], hooks: Hooks = NO_HOOKS) -> None:
    """Declare ``actors`` on ``broker``.

    Raises :class:`~lazycrop.errors.ConfigurationError` when another application's actors are there under this queue.
    """
    import dramatiq

    options = {name: value for name, value in _OPTIONS.items() if name in broker.actor_options}
    make: Any = dramatiq.actor
    if hooks != NO_HOOKS:
        from lazycrop.queues.hooked import Hooked

        hooked = Hooked(hooks, {actor_name(queue, name): name for name in actors})
        broker.add_middleware(hooked)
        actors = {name: hooked.around(do) for name, do in actors.items()}
    fault = Fault(logger, "jobs")
    with _declaring:
        for name, do in actors.items():
            if actor_name(queue, name) in broker.actors:
                raise ConfigurationError(
                    f"The queue {queue!r} of this broker is taken by another LazyCrop; give each its own with queue=…."
                )
            make(_told(name, do, fault), actor_name=actor_name(queue, name), queue_name=queue, broker=broker, **options)


def actor_name(queue: str, name: str) -> str:
    return f"{queue}.{name}"


def _told(name: str, do: Actor, fault: Fault) -> Actor:
    """``do``, which tells of failures once: Dramatiq logs a traceback at each try, but for its own Retry."""
    from dramatiq.errors import Retry

    def work(message: Message) -> None:
        try:
            do(message)
        except _VAIN as error:
            extra = {"event": "job-in-vain", "actor": name, "error": type(error).__name__}
            logger.warning("the job %s of %s can never succeed: %r", name, message, error, extra=extra)
            raise
        except Exception as error:
            said = "jobs fail, and are tried again or made again on demand; the first is %s of %s: %r"
            # Errors of ours say themselves what it is.
            fault.tell(said, name, message, error, trace=not isinstance(error, LazyCropError))
            raise Retry(repr(error)) from None
        fault.over("jobs are done again")

    return work
