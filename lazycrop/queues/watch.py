"""Watch: a worker process of which a thread has died ends, so that its supervisor starts it again. [dramatiq]"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

from dramatiq.middleware import Middleware

if TYPE_CHECKING:
    from dramatiq import Broker, Worker

logger = logging.getLogger(__name__)


class Watch(Middleware):
    """Looks every second; for processes that do nothing else, since the end is at once. Their messages come again."""

    def __init__(self) -> None:
        self._ended = threading.Event()

    def after_worker_boot(self, broker: Broker, worker: Worker) -> None:
        threading.Thread(target=self._run, args=(worker,), name="lazycrop-watch", daemon=True).start()

    def before_worker_shutdown(self, broker: Broker, worker: Worker) -> None:
        self._ended.set()

    def _run(self, worker: Worker) -> None:
        while not self._ended.wait(1):
            if not all(thread.is_alive() for thread in [*worker.consumers.values(), *worker.workers]):
                said = "a thread that takes or does jobs has died; this process ends"
                logger.critical(said, extra={"event": "consumer-died"})
                os._exit(1)
