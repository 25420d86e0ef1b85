"""Letters: how many jobs wait in a broker, since when, and those that are dead; each broker has its own way to ask.

[dramatiq]
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from lazycrop.queues.contract import Backlog, Letter
from lazycrop.queues.junk import read

if TYPE_CHECKING:
    from dramatiq import Broker


class Letters(Protocol):
    """The jobs of one queue in one kind of broker."""

    def backlog(self) -> Backlog: ...

    def letters(self, limit: int) -> list[Letter]: ...

    def requeue_one(self) -> int:
        """Send the oldest dead job as a new one, and only then delete it: one that is stopped here is done twice.

        Returns 1, or 0 where there is none, or none whose actor is known any more.
        """
        ...


def open_letters(broker: Broker, queue: str) -> Letters:
    """By what the broker is: of one that an application gave, too."""
    if hasattr(broker, "dead_letters_by_queue"):
        return _OfStub(broker, queue)
    return _OfRedis(broker, queue) if hasattr(broker, "client") else _OfRabbitMQ(broker, queue)


class _OfRedis:
    """Ids are in a list, bodies in a hash beside it; dead ones in a sorted set (dramatiq/brokers/redis/*.lua)."""

    def __init__(self, broker: Any, queue: str) -> None:
        self._broker = broker
        self._client = broker.client
        self._name = f"{broker.namespace}:{queue}"
        self._dead = f"{self._name}.XQ"

    def backlog(self) -> Backlog:
        with self._client.pipeline(transaction=False) as pipe:
            pipe.llen(self._name).hlen(f"{self._name}.DQ.msgs").zcard(self._dead)
            # What a dead worker had taken comes back at the end.
            pipe.lindex(self._name, 0).lindex(self._name, -1)
            waiting, later, dead, first, last = pipe.execute()
        ids = [one for one in (first, last) if one is not None]
        bodies = self._client.hmget(f"{self._name}.msgs", ids) if ids else []
        return Backlog(waiting, later, dead, _age([body for body in bodies if body is not None]))

    def letters(self, limit: int) -> list[Letter]:
        ids = self._client.zrange(self._dead, 0, limit - 1)
        bodies = self._client.hmget(f"{self._dead}.msgs", ids) if ids else []
        return [_letter(body) for body in bodies if body is not None]

    def requeue_one(self) -> int:
        for one in self._client.zrange(self._dead, 0, 0):
            body = self._client.hget(f"{self._dead}.msgs", one)
            sent = body is not None and _send_again(self._broker, body)
            with self._client.pipeline(transaction=True) as pipe:
                pipe.zrem(self._dead, one).hdel(f"{self._dead}.msgs", one).execute()
            return int(sent)
        return 0


class _OfRabbitMQ:
    """A message can be looked at only by taking it; what is not acknowledged goes back to its place."""

    def __init__(self, broker: Any, queue: str) -> None:
        self._broker = broker
        self._queue = queue

    def backlog(self) -> Backlog:
        with self._channel() as channel:
            names = (self._queue, f"{self._queue}.DQ", f"{self._queue}.XQ")
            waiting, later, dead = (channel.queue_declare(one, passive=True).method.message_count for one in names)
            _, _, body = channel.basic_get(self._queue)
        return Backlog(waiting, later, dead, _age([body] if body else []))

    def letters(self, limit: int) -> list[Letter]:
        found: list[Letter] = []
        with self._channel() as channel:
            while len(found) < limit and (body := channel.basic_get(f"{self._queue}.XQ")[2]) is not None:
                found.append(_letter(body))
        return found

    def requeue_one(self) -> int:
        with self._channel() as channel:
            method, _, body = channel.basic_get(f"{self._queue}.XQ")
            if method is None:
                return 0
            sent = _send_again(self._broker, body)
            channel.basic_ack(method.delivery_tag)
            return int(sent)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        self._broker.declare_queue(self._queue, ensure=True)
        channel = self._broker.connection.channel()
        try:
            yield channel
        finally:
            channel.close()


class _OfStub:
    """Bodies are in a queue, dead messages in a list, of this very process."""

    def __init__(self, broker: Any, queue: str) -> None:
        self._broker = broker
        self._queue = queue

    def backlog(self) -> Backlog:
        waiting, later = (self._broker.queues[name] for name in (self._queue, f"{self._queue}.DQ"))
        with waiting.mutex:
            first = [*waiting.queue][:1]
        return Backlog(waiting.qsize(), later.qsize(), len(self._dead), _age(first))

    def letters(self, limit: int) -> list[Letter]:
        return [_letter(one.encode()) for one in [*self._dead][:limit]]

    def requeue_one(self) -> int:
        if not self._dead:
            return 0
        return int(_send_again(self._broker, self._dead.popleft().encode()))

    @property
    def _dead(self) -> Any:
        return self._broker.dead_letters_by_queue[self._queue]


def _age(bodies: list[bytes]) -> float:
    sent = [message.message_timestamp / 1000 for message in map(read, bodies) if message]
    return max(0.0, time.time() - min(sent)) if sent else 0.0


def _letter(body: bytes) -> Letter:
    message = read(body)
    if message is None:
        return Letter("", repr(body[:60]), 0.0, "It is no job of ours.")
    actor = message.actor_name.removeprefix(f"{message.queue_name.removesuffix('.DQ')}.")
    error = str(message.options.get("traceback", "")).strip().rpartition("\n")[2]
    return Letter(actor, message.args[0] if message.args else {}, message.message_timestamp / 1000, error)


def _send_again(broker: Broker, body: bytes) -> bool:
    """As a new message, that neither its tries nor its age are counted on."""
    message = read(body)
    if message is None or message.actor_name not in broker.actors:
        return False
    broker.get_actor(message.actor_name).send(*message.args, **message.kwargs)
    return True
