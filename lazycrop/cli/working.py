"""Working: ``worker``, Dramatiq's own command line under the settings that were given here. [click]"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click

from lazycrop.cli.options import Settings, command, logs_json
from lazycrop.settings import ENVIRONMENT_PREFIX, make_config, to_env

# Of glibc: one heap for all threads, which keeps 64 MB of what is freed. Then a picture uses what the last one has
# used, and a 1600x1200 takes 35 ms; 48 where fresh pages are got from the system each time, and given back.
_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}


@command(shows=("broker", "queue"))
@click.option("--processes", default=os.cpu_count() or 1, show_default="one for each CPU", help="Processes.")
@click.option("--threads", default=4, show_default=True, help="Threads of each process.")
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65_535),
    default=9191,
    show_default=True,
    help="Where Prometheus finds what all of them count, at /metrics, with the setting 'metrics'.",
)
@click.option("--metrics-host", default="127.0.0.1", show_default=True, help="The address for that.")
def worker(settings: Settings, processes: int, threads: int, metrics_port: int, metrics_host: str) -> None:
    """Store what has been asked for.

    It runs Dramatiq's own command on the queue of the setting 'broker', which is redis://… or amqp://….
    """
    # By the environment and not as arguments, which every user of the machine can read.
    environ = to_env(settings)
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[name]  # It is in the settings already, or none of them.
    os.environ.update(environ)
    if make_config(settings).metrics:
        _share_counts(metrics_host, metrics_port)
    from lazycrop.worker import images  # What is wrong with the settings shows here, as one sentence.

    counts = ["--processes", str(processes), "--threads", str(threads)]
    program = ["lazycrop.cli.json_worker", "--skip-logging"] if logs_json() else ["dramatiq"]
    arguments = ["-m", *program, "lazycrop.worker", *counts, "--queues", images.config.queue.queue]
    os.environ.update(_MALLOC | os.environ)
    os.execv(sys.executable, [sys.executable, *arguments])  # In this process's place, so that signals reach it.


def _share_counts(host: str, port: int) -> None:
    """Say where the processes count, and where Dramatiq's middleware shows that; a new run counts from nothing.

    (prometheus_client looks for the folder when it is loaded.)
    """
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR") or tempfile.mkdtemp(prefix="lazycrop-metrics-")
    for file in Path(folder).glob("*.db"):
        file.unlink(missing_ok=True)
    place = {"dramatiq_prom_db": folder, "dramatiq_prom_host": host, "dramatiq_prom_port": str(port)}
    os.environ |= {"PROMETHEUS_MULTIPROC_DIR": folder, **place}
