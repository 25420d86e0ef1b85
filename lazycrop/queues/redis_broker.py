"""Dramatiq's Redis broker, for a Redis that others use too, that may be slow, and whose workers may be killed.

What the broker does by itself, and why it does something else here:

- A killed worker's messages are given out again by its maintenance, which runs KEYS over the whole database. It is
  off, and :class:`Keeper` gives them out, by names that are known: a namespace has one queue.
- A timeout or a refusal ends the thread that consumes for good, or leaves messages taken by a worker that knows nothing
  of them. All that Redis raises is a lost connection here, after which the consumer starts anew, under a new id; what
  was taken under the old one is given out again like a killed worker's. So a job may be done twice, which is safe.
- A job that is to be tried again is lost when Redis does not take it at that moment. It is offered until it does.
- A message that cannot be read ends the thread that consumes, and is given out again. It is put to the dead ones.

[dramatiq]
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.errors import ConnectionClosed
from dramatiq.middleware import Middleware
from redis.backoff import NoBackoff
from redis.retry import Retry

from lazycrop.queues.junk import Judge

if TYPE_CHECKING:
    from dramatiq import Broker, Message, Worker

logger = logging.getLogger(__name__)

_DEAD = 5
"""Seconds without a sign of life after which a worker's messages are given out again."""

_LETTERS = 7 * 86_400
"""Seconds for which messages that failed for good are kept."""

_OFFERS = 3_600
"""Times, a second apart, that a job to be tried again is offered; then it is too old to be done."""

# Redis's own clock, since those of two machines may differ by more than _DEAD. Every command of the broker puts its id
# into __heartbeats__, so none that has taken a message is missing there.
_KEEP = """
local namespace, queue, id, dead, letters = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local now = tonumber(redis.call("time")[1])
local alive, heartbeats = namespace .. ":alive", namespace .. ":__heartbeats__"
redis.call("zadd", alive, now, id)
for _, other in ipairs(redis.call("zrange", heartbeats, 0, -1)) do
    redis.call("zadd", alive, "NX", now, other)
end
for _, other in ipairs(redis.call("zrangebyscore", alive, 0, now - dead)) do
    for _, name in ipairs({queue, queue .. ".DQ"}) do
        local taken = namespace .. ":__acks__." .. other .. "." .. name
        for _, message in ipairs(redis.call("smembers", taken)) do
            if redis.call("hexists", namespace .. ":" .. name .. ".msgs", message) == 1 then
                redis.call("rpush", namespace .. ":" .. name, message)
            end
        end
        redis.call("del", taken)
    end
    redis.call("zrem", alive, other)
    redis.call("zrem", heartbeats, other)
end
local failed = namespace .. ":" .. queue .. ".XQ"
for _, message in ipairs(redis.call("zrangebyscore", failed, 0, (now - letters) * 1000)) do
    redis.call("zrem", failed, message)
    redis.call("hdel", failed .. ".msgs", message)
end
"""


class _Lost(redis.ConnectionError, ConnectionClosed):
    """Redis did not do it, in the words of both libraries."""


class _Client(redis.Redis):
    def execute_command(self, *args: Any, **options: Any) -> Any:
        try:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        except redis.exceptions.NoScriptError:
            raise  # Whoever runs a script then loads it.
        except redis.RedisError as error:
            raise _Lost(str(error)) from error


class _Broker(RedisBroker):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._consumed: set[str] = set()
        self._judge = Judge()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5_000) -> Any:
        if queue_name in self._consumed:
            self.broker_id = str(uuid4())
        self._consumed.add(queue_name)
        return super().consume(queue_name, prefetch, timeout)

    def do_fetch(self, queue_name: str, limit: int) -> list[bytes]:
        """Up to ``limit`` messages for this worker; junk is put to the dead ones."""
        found = self._dispatch("fetch")(queue_name, limit)  # type: ignore[no-untyped-call]
        sound = [body for body in found if body is not None and self._judge.is_sound(self, queue_name, body)]
        if len(sound) < len(found):
            self._bury(queue_name, {*found} - {*sound})
        return sound

    def _bury(self, queue_name: str, junk: set[bytes | None]) -> None:
        """Its ids are not in it, so they are looked for among all that this worker has taken."""
        ids = list(self.client.smembers(f"{self.namespace}:__acks__.{self.broker_id}.{queue_name}"))
        bodies = self.client.hmget(f"{self.namespace}:{queue_name}.msgs", ids) if ids else []
        for one, body in zip(ids, bodies, strict=True):
            if body in junk:
                self.do_nack(queue_name, one)

    def enqueue(self, message: Message[Any], *, delay: int | None = None) -> Message[Any]:
        if delay is not None:  # By a worker's thread, which has nothing better to do while Redis is away.
            for _ in range(_OFFERS):
                try:
                    return super().enqueue(message, delay=delay)
                except _Lost:
                    time.sleep(1)
        return super().enqueue(message, delay=delay)


class Keeper(Middleware):
    """Says every second that this worker lives, and gives out again what others had taken who do not."""

    def __init__(self, client: redis.Redis, namespace: str, queue: str) -> None:
        self._keep = client.register_script(_KEEP)
        self._namespace = namespace
        self._queue = queue
        self._ended = threading.Event()

    def before_worker_boot(self, broker: Broker, worker: Worker) -> None:
        self._ended = threading.Event()
        threading.Thread(target=self._run, args=(broker, self._ended), name="lazycrop-keeper", daemon=True).start()

    def after_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._ended.set()

    def _run(self, broker: Any, ended: threading.Event) -> None:
        while True:
            try:
                self._keep(keys=[self._namespace], args=[self._queue, broker.broker_id, _DEAD, _LETTERS])
            except Exception as error:
                logger.debug("nothing was given out again: %r", error)
            if ended.wait(1):
                return


def open_redis(url: str, queue: str, seconds: float) -> Broker:
    """The broker of one queue, in a namespace of its own. ``seconds``: longest wait for one answer."""
    # RedisBroker(url=…, socket_timeout=…) ignores the timeout, so the client is made here.
    client = _Client.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0))
    namespace = f"lazycrop:{queue}"
    broker = _Broker(client=client, namespace=namespace, maintenance_chance=0)
    broker.add_middleware(Keeper(client, namespace, queue))
    return broker
