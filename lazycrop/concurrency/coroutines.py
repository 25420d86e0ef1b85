"""Coroutines: calls that threads of a bounded pool make, and that coroutines wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

from lazycrop.concurrency.pool import Pool

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most ``count`` threads, for coroutines of any event loop; a call waits until one of them is free."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = Pool(name, count)

    async def call(self, do: Callable[[], T], drop: Callable[[T], object] = lambda result: None) -> T:
        """What ``do()`` returns or raises.

        Where the coroutine is cancelled, a call that has not begun is not made; ``drop`` gets the result of one that
        has, on a thread.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: Exception | None) -> None:
            if ended.done():  # Whoever waited for it has left.
                if error is None:
                    self.begin(lambda: drop(result))
            elif error is None:
                ended.set_result(result)
            else:
                ended.set_exception(error)

        def tell(result: Any, error: Exception | None) -> None:
            loop.call_soon_threadsafe(settle, result, error)

        call = self._pool.submit(lambda: _make(do, drop, tell))
        try:
            return await ended
        finally:
            call.cancel()  # A call that has begun goes on.

    def begin(self, do: Callable[[], object]) -> None:
        """Have ``do()`` called; nobody waits for it."""
        self._pool.submit(do)

    def awaited(self, do: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
        """The same function, to be awaited."""

        async def wait(*arguments: P.args, **options: P.kwargs) -> T:
            return await self.call(lambda: do(*arguments, **options))

        wait.__doc__ = do.__doc__
        return wait

    def close(self) -> None:
        self._pool.close()


def _make(do: Callable[[], T], drop: Callable[[T], object], tell: Callable[[Any, Exception | None], object]) -> None:
    try:
        result = do()
    except Exception as error:
        with suppress(RuntimeError):  # The loop has ended meanwhile.
            tell(None, error)
        return
    try:
        tell(result, None)
    except RuntimeError:  # as above
        drop(result)
