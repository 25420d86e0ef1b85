"""What Dramatiq's command line loads: ``dramatiq lazycrop.worker``.

The configuration is the environment's: ``LAZYCROP_STORE`` and so on, or ``LAZYCROP_CONFIG``, an ini file's path.
"""

from __future__ import annotations

import os

import dramatiq

from lazycrop.errors import ConfigurationError
from lazycrop.images import LazyCrop
from lazycrop.queues.brokers import BrokerQueue
from lazycrop.queues.quiet import hush_consumers
from lazycrop.queues.watch import Watch

if _folder := os.environ.get("dramatiq_prom_db"):  # noqa: SIM112
    os.environ.setdefault("PROMETHEUS_MULTIPROC_DIR", _folder)  # Dramatiq says so too, but after this is loaded.

images = LazyCrop.from_env()

if not isinstance(images.jobs.queue, BrokerQueue):
    raise ConfigurationError(
        f"The broker is {images.config.queue.broker!r}, which works inside the application itself and needs no worker; "
        "set 'broker' to a redis:// or amqp:// URL."
    )

broker = images.jobs.queue.broker
dramatiq.set_broker(broker)
broker.add_middleware(Watch())
if images.config.metrics:
    from dramatiq.middleware.prometheus import Prometheus

    broker.add_middleware(Prometheus())
hush_consumers(broker, images.config.queue.queue)
