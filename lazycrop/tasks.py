"""Tasks: brokers, and actors declared on a given one. [dramatiq]

What an actor does is handed in as a function. A queue answers within its budget whatever its broker does: a broker
that fails or hangs is left alone for a while, and the picture is answered all the same.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import urlsplit

from lazycrop.errors import BadRequest, ConfigurationError, ImageError, NotFound
from lazycrop.forks import Lock, after_fork
from lazycrop.options import option
from lazycrop.threads import Threads

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

logger = logging.getLogger(__name__)

Message = dict[str, Any]
Actor = Callable[[Message], None]

EMBEDDED, INLINE = "embedded", "inline"
_REDIS, _RABBITMQ = ("redis", "rediss", "unix"), ("amqp", "amqps")

# Dramatiq's own defaults are 20 retries over days. A derivative is made again on demand, so a job soon gives up.
_OPTIONS = {
    "max_retries": 3,
    "min_backoff": 1_000,
    "max_backoff": 30_000,
    "time_limit": 60_000,
    "max_age": 3_600_000,
    "throws": (BadRequest, NotFound, ImageError, TypeError),  # What can never succeed; a TypeError is a junk message.
}
_EMBEDDED_BACKLOG = 1_000  # Messages; one more is dropped, which is safe for the same reason.
_EMBEDDED_DRAIN = 10_000  # Milliseconds.
_EMBEDDED_STOP = 1_000  # The same; an idle thread looks every half a second whether it is to end.
_DEAD_LETTERS = 100


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
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
            if scheme not in (*_REDIS, *_RABBITMQ):
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


def open_queue(settings: TaskSettings, actors: Mapping[str, Actor]) -> Queue:
    """The queue that ``settings.broker`` names, with ``actors`` by name on it."""
    if isinstance(settings.broker, Queue):
        return settings.broker
    if settings.broker == INLINE:
        return InlineQueue(actors)
    if settings.broker == EMBEDDED:
        return EmbeddedQueue(settings, actors)
    return BrokerQueue(settings, actors)


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


class EmbeddedQueue:
    """Worker threads of this process: started by the first message, anew in a forked child, drained at exit."""

    ready = True

    def __init__(self, settings: TaskSettings, actors: Mapping[str, Actor]) -> None:
        self._settings = settings
        self._actors = actors
        self._lock = threading.Lock()
        self._started: tuple[Broker, Worker] | None = None
        after_fork(self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._started = None  # Its threads stayed with the parent.

    def send(self, actor: str, message: Message) -> bool:
        broker = self._start()
        queue = self._settings.queue
        if broker.queues[queue].qsize() >= _EMBEDDED_BACKLOG:
            logger.warning("%d jobs are waiting; one more is dropped and made again on demand", _EMBEDDED_BACKLOG)
            return False
        broker.get_actor(_actor_name(queue, actor)).send(message)
        return True

    def ping(self) -> None:
        pass

    def close(self) -> None:
        with self._lock:
            started, self._started = self._started, None
        if started is None:
            return
        atexit.unregister(self.close)
        broker, worker = started
        try:
            # In this order: a worker that is stopped first leaves its messages undone.
            broker.join(self._settings.queue, fail_fast=False, timeout=_EMBEDDED_DRAIN)  # type: ignore[call-arg]
        except Exception as error:
            logger.warning("jobs were left undone at exit and are made again on demand: %r", error)
        worker.stop(timeout=_EMBEDDED_STOP)  # Its threads are daemons: one that hangs is left to itself.

    def _start(self) -> Broker:
        with self._lock:
            if self._started is None:
                self._started = self._start_worker()
                atexit.register(self.close)
            return self._started[0]

    def _start_worker(self) -> tuple[Broker, Worker]:
        from dramatiq import Worker
        from dramatiq.brokers.stub import StubBroker
        from dramatiq.middleware import AgeLimit, Retries

        broker = StubBroker(middleware=[AgeLimit(), Retries()])
        # A plain StubBroker keeps every dead letter for ever.
        broker.dead_letters_by_queue = defaultdict(_dead_letters)
        declare(broker, self._settings.queue, self._actors)
        worker = Worker(broker, worker_threads=self._settings.worker_threads, worker_timeout=500)
        worker.start()
        return broker, worker


class BrokerQueue:
    """A broker outside of this process. One thread does all the sending, so that a broker that hangs holds nobody.

    (No timeout of redis-py or pika bounds a whole send; and pika opens a connection a thread.)
    """

    def __init__(self, settings: TaskSettings, actors: Mapping[str, Actor]) -> None:
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
        return self._budget.spend(lambda: self.broker.get_actor(_actor_name(self._queue, actor)).send(message))

    def ping(self) -> None:
        self._budget.call(lambda: self._ping(self.broker))

    def close(self) -> None:
        if self._own:  # One that was given belongs to the application.
            with suppress(Exception):
                self._budget.call(self.broker.close)
        self._budget.close()


class Budget:
    """Makes calls to a broker in a thread of its own, waits for each no longer than it may, rests after a failure."""

    def __init__(self, settings: TaskSettings) -> None:
        self._settings = settings
        self._resting_until = 0.0
        self._sender = Threads("lazycrop-sender", 1)

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


def _dead_letters() -> Any:
    return deque(maxlen=_DEAD_LETTERS)


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
            if _actor_name(queue, name) in broker.actors:
                raise ConfigurationError(
                    f"The queue {queue!r} of this broker is taken by another LazyCrop; give each its own with queue=…."
                )
            make(do, actor_name=_actor_name(queue, name), queue_name=queue, broker=broker, **options)


def _actor_name(queue: str, name: str) -> str:
    return f"{queue}.{name}"


def _open_broker(settings: TaskSettings) -> tuple[Broker, Callable[[Any], Any]]:
    """The broker, and what asks it whether it is there."""
    broker, seconds = settings.broker, settings.broker_seconds
    if not isinstance(broker, str):
        return broker, lambda given: given.get_declared_queues()
    scheme = urlsplit(broker).scheme
    if scheme in _REDIS:
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
