"""Memory: so many bytes that threads may have in use at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.forks import renew
from lazycrop.errors import Overloaded

_SECONDS = 30.0  # Longest wait where no request waits.


class Memory:
    """``most`` bytes that are shared; who asks for more than are free waits, and then has them all."""

    def __init__(self, most: int) -> None:
        self._most = most
        renew(self)

    def after_fork(self) -> None:
        self._changed = threading.Condition()
        self._used = 0

    @contextmanager
    def use(self, wanted: int) -> Iterator[None]:
        """Have ``wanted`` bytes for the block, or all where that is more. Blocks within the request's deadline.

        Raises :class:`~lazycrop.errors.Overloaded`.
        """
        wanted, changed = min(wanted, self._most), self._changed
        with changed:
            if not changed.wait_for(lambda: self._used + wanted <= self._most, left(_SECONDS)):
                raise Overloaded("Other pictures take the memory that there is for them; ask again in a moment.")
            self._used += wanted
        try:
            yield
        finally:
            with changed:
                self._used -= wanted
                changed.notify_all()
