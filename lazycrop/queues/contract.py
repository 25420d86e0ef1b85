"""The contract of all queues, :class:`Queue`, and their settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from lazycrop.errors import ConfigurationError
from lazycrop.options import option

if TYPE_CHECKING:
    from dramatiq import Broker as Broker

Message = dict[str, Any]
Actor = Callable[[Message], None]

EMBEDDED, INLINE = "embedded", "inline"
REDIS, RABBITMQ = ("redis", "rediss", "unix"), ("amqp", "amqps")


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    broker: Any = option(
        EMBEDDED,
        "`embedded` (threads of this process), `inline`, `redis://…`, `amqp://…`, a Dramatiq broker or a Queue.",
        secret=True,
        given="str | Broker | Queue",
    )
    queue: str = option("lazycrop", "The queue's name; applications that share a broker need one each.")
    broker_seconds: float = option(0.5, "Longest wait for the broker to take a message.")
    broker_rest_seconds: float = option(30.0, "How long a broker that failed is left alone.")
    backlog_seconds: int = option(
        60,
        "How long a size that somebody asks for may wait for a worker that encodes it small; after that it is stored "
        "as it was answered.",
    )
    worker_threads: int = option(2, "Threads of the embedded worker.", least=1)

    def __post_init__(self) -> None:
        if not isinstance(self.broker, str):
            if not isinstance(self.broker, Queue) and not hasattr(self.broker, "declare_actor"):
                raise ConfigurationError(
                    f"'broker' is of the type {type(self.broker).__name__!r}; it is a text, a Dramatiq broker, or an "
                    "object that keeps Queue's contract."
                )
        elif self.broker not in (EMBEDDED, INLINE):
            _check_url(self.broker)


def _check_url(broker: str) -> None:
    """The sentences show none of it but its scheme: what is malformed may be a password in any place."""
    scheme, separator, _ = broker.partition("://")
    if not separator or scheme not in (*REDIS, *RABBITMQ):
        what = repr(f"{scheme}://…" if separator else scheme) if scheme.isalpha() else "no URL"
        raise ConfigurationError(
            f"'broker' is {what}; it is 'embedded', 'inline', a redis:// or amqp:// URL, or a Dramatiq broker."
        )
    try:
        urlsplit(broker).port
    except ValueError:
        raise ConfigurationError(
            f"'broker' is a {scheme}:// URL whose host and port cannot be read; '/', '?', '#' and '@' in a password "
            "are written %2F, %3F, %23 and %40."
        ) from None


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is done beside the sending and the work.

    ``carry``: what travels with a message. ``resume``: what is around the work on one that came with that. ``dead``: is
    told the actor and the message of each job that is given up.
    """

    carry: Callable[[], Mapping[str, str]] | None = None
    resume: Callable[[Mapping[str, str]], AbstractContextManager[None]] | None = None
    dead: Callable[[str, Message], object] | None = None


NO_HOOKS = Hooks()


@dataclass(frozen=True, slots=True)
class Backlog:
    """Jobs that nobody works on: those that ``waiting`` are to be taken, that are to be tried again ``later``, and that
    are ``dead``; a worker has taken some of the first two ahead, which not every broker counts.

    ``oldest``: seconds since the one was sent that has waited for longest; 0 where none waits.
    """

    waiting: int = 0
    later: int = 0
    dead: int = 0
    oldest: float = 0.0


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead job. ``sent``: when, in Unix time. ``error``: the last one, where it is known."""

    actor: str
    message: Any
    sent: float
    error: str = ""


@runtime_checkable
class Inspectable(Protocol):
    """A queue that can be looked into. Each method raises whatever its broker raises."""

    def backlog(self) -> Backlog: ...

    def letters(self, limit: int) -> list[Letter]:
        """The dead jobs, the oldest first."""
        ...

    def requeue(self) -> int:
        """Have the dead jobs tried again, as new ones; returns how many."""
        ...


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
