"""ASGI: :class:`ImageApp` answers for images, :class:`Middleware` is the same behind a test of the path's prefix.

What was answered a moment ago is answered in the event loop, all else in a bounded number of threads.
:class:`AsyncImages` and :class:`AsyncHelpers` have the verbs of a LazyCrop, and the helpers of pages, to be awaited.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from functools import partial
from typing import Any, BinaryIO

from lazycrop.access.policy import CLOSED
from lazycrop.concurrency.coroutines import Threads
from lazycrop.concurrency.deadlines import deadline
from lazycrop.errors import ConfigurationError
from lazycrop.http.answers import Answer, encoded
from lazycrop.http.requests import Request, path_in
from lazycrop.images import LazyCrop
from lazycrop.markup import Helpers
from lazycrop.settings import check_prefix

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

THREADS = 16
"""How many threads answer, when nothing else is said: most of them wait, for a store or for each other."""

_BLOCK = 65_536  # Bytes of a streamed object at a time.
_CONDITIONS = (b"if-none-match", b"if-modified-since")


class ImageApp:
    """An ASGI application that answers for images: mount it where their URLs begin, which ``root_path`` then says.

    ``threads``: so many requests at most are worked on at a time; others wait, within their ``request_seconds``.
    Raises :class:`~lazycrop.errors.ConfigurationError` when nothing may be asked for.
    """

    def __init__(self, images: LazyCrop, threads: int = THREADS) -> None:
        if images.closed:
            raise ConfigurationError(CLOSED)
        self.images = images
        self._at_hand = images.at_hand
        self._threads = Threads("lazycrop-asgi", threads)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.respond(scope, receive, send, "")
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})  # before it was accepted: 403
        else:
            raise ValueError(f"Images are asked for by http, not by {scope['type']!r}.")

    async def respond(self, scope: Scope, receive: Receive, send: Send, prefix: str) -> None:
        """The same of images below ``prefix`` of the path."""
        if scope["method"] == "GET":
            hit = self._at_hand(path_in(scope)[len(prefix) :], scope["query_string"].decode("latin-1"))
            if hit is not None and not any(name in _CONDITIONS for name, _ in scope["headers"]):
                shortcut, body = hit
                # The list is its own: whoever is around us may add to it.
                await send({"type": "http.response.start", "status": shortcut.status, "headers": [*shortcut.encoded]})
                await send({"type": "http.response.body", "body": body})
                return
        await self._work(Request.from_scope(scope, prefix), receive, send)

    async def answer(self, request: Request) -> Answer:
        """The answer to a request; for adapters and other gateways. The time that it waits for a thread counts."""
        with deadline(self.images.config.request_seconds):
            return await self._threads.call(partial(self.images.answer, request), drop=Answer.close)

    def blocks(self, file: BinaryIO) -> Blocks:
        """An open file, to be sent."""
        return Blocks(file, self._threads)

    async def _work(self, request: Request, receive: Receive, send: Send) -> None:
        left, answering = asyncio.ensure_future(_until_left(receive)), asyncio.ensure_future(self.answer(request))
        try:
            await asyncio.wait((left, answering), return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                await self._send(answering.result(), left, send)
        finally:
            left.cancel()
            answering.cancel()

    async def _send(self, answer: Answer, left: asyncio.Future[None], send: Send) -> None:
        blocks = None if isinstance(answer.body, bytes) else self.blocks(answer.body)
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": encoded(answer.headers)})
            if blocks is not None:
                async for block in blocks:
                    if left.done():
                        return
                    await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b"" if blocks else answer.body})
        except OSError:  # So servers say that the client has left, from version 2.4 of the specification on.
            pass
        finally:
            if blocks is not None:
                blocks.close()


class Middleware:
    """An ASGI application in front of ``app``: what is below ``prefix`` is an image, all else reaches ``app`` as it is.

    ``prefix``: that of the images' settings when not given. ``images.url()`` makes URLs below theirs, so say it there.
    ``threads``: as for :class:`ImageApp`.
    """

    def __init__(
        self, app: Application, images: LazyCrop, prefix: str | None = None, *, threads: int = THREADS
    ) -> None:
        self._app = app
        self._images = ImageApp(images, threads)
        self._prefix = images.config.prefix if prefix is None else check_prefix(prefix)
        self._below = f"{self._prefix}/"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not path_in(scope).startswith(self._below):
            await self._app(scope, receive, send)
        else:
            await self._images.respond(scope, receive, send, self._prefix)


class Blocks:
    """An open file as the body of a response: its parts are read in threads, one when the last one was sent."""

    def __init__(self, file: BinaryIO, threads: Threads) -> None:
        self._file = file
        self._threads = threads

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while block := await self._threads.call(partial(self._file.read, _BLOCK)):
            yield block

    def close(self) -> None:
        """Close it on a thread, after what is read from it at this time."""
        self._threads.begin(self._file.close)


async def _live(receive: Receive, send: Send) -> None:
    """Nothing is to be done when a server starts, or ends."""
    while (event := (await receive())["type"]) != "lifespan.shutdown":
        await send({"type": f"{event}.complete"})
    await send({"type": f"{event}.complete"})


async def _until_left(receive: Receive) -> None:
    """Until the client is gone; what it sends meanwhile, nobody asked for."""
    while (await receive())["type"] != "http.disconnect":
        pass


_own = Threads("lazycrop-await", THREADS)


class AsyncImages:
    """The verbs of ``images`` that wait for disks and networks, to be awaited: ``await images.store_origin(…)``.

    They take what :class:`~lazycrop.LazyCrop`'s take, and raise what those raise. A thread makes each call; one that
    has begun goes on when whoever awaits it is cancelled.
    """

    def __init__(self, images: LazyCrop) -> None:
        self.images = images
        self.store_origin = _own.awaited(images.store_origin)
        self.adopt = _own.awaited(images.adopt)
        self.set_private = _own.awaited(images.set_private)
        self.record = _own.awaited(images.record)
        self.purge = _own.awaited(images.purge)
        self.warm = _own.awaited(images.warm)
        self.url = _own.awaited(images.url)


class AsyncHelpers:
    """The helpers of :class:`~lazycrop.Helpers`, to be awaited: ``await helpers.img(…)``."""

    def __init__(self, images: LazyCrop, mount: str | None = None) -> None:
        helpers = Helpers(images, mount)
        self.url = _own.awaited(helpers.url)
        self.srcset = _own.awaited(helpers.srcset)
        self.img = _own.awaited(helpers.img)
        self.picture = _own.awaited(helpers.picture)
