"""Memory: so many bytes that threads may have in use at the same time."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lazycrop.concurrency.deadlines import left
from lazycrop.concurrency.forks import renew
from lazycrop.errors import Overloaded

_SECONDS = 30.0  # Longest wait where no request waits.
_LARGE = 128_000_000  # So many bytes are not kept for the next picture: it is hardly ever as large.


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
        taken, changed = min(wanted, self._most), self._changed
        with changed:
            if not changed.wait_for(lambda: self._used + taken <= self._most, left(_SECONDS)):
                raise Overloaded("Other pictures take the memory that there is for them; ask again in a moment.")
            self._used += taken
        try:
            yield
        finally:
            with changed:
                self._used -= taken
                changed.notify_all()
            if wanted >= _LARGE:
                _give_back()


def _give_back() -> None:
    """Have what is free returned to the system.

    glibc keeps a heap for each thread, and what is free in it: 284 MB of one that has stored a PNG of 49 megapixels, 28
    so. It takes some milliseconds, which such a picture does not notice. Other systems do it by themselves.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
