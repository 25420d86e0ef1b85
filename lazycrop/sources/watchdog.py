"""The end of a download: at its deadline, whatever the server is doing then."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from types import TracebackType


class Watchdog:
    """Shuts down the watched connection at the deadline, whatever it is doing then, and says so in ``fired``.

    Nothing else ends a server that drips: a socket's timeout starts anew with every byte. A connection that was
    shut looks like one that has ended, so nothing read may be believed before :meth:`check`.
    """

    def __init__(self, seconds: float) -> None:
        self.fired = False
        self._deadline = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._watched: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._fire)
        self._timer.daemon = True

    @property
    def left(self) -> float:
        """Seconds until the deadline, always above 0 (which a socket would take for "do not block")."""
        return max(0.001, self._deadline - time.monotonic())

    def watch(self, connection: socket.socket) -> None:
        """Watch this connection, and no other one any more."""
        with self._lock:
            self._release()
            # A descriptor of its own: TLS takes the socket over, and a number once closed may be somebody else's.
            self._watched = socket.socket(fileno=os.dup(connection.fileno()))
            if self.fired:
                self._shut()

    def check(self) -> None:
        """Raise TimeoutError if the deadline has passed: what was read by then may be cut."""
        if self.fired:
            raise TimeoutError

    def __enter__(self) -> Watchdog:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        self._timer.join()
        self._release()

    def _fire(self) -> None:
        with self._lock:
            self.fired = True
            self._shut()

    def _shut(self) -> None:
        if self._watched is not None:
            with suppress(OSError):  # the server was first
                self._watched.shutdown(socket.SHUT_RDWR)

    def _release(self) -> None:
        if self._watched is not None:
            self._watched.close()
