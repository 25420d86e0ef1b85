"""Working: ``worker``, Dramatiq's own command line under the settings that were given here. [click]"""

from __future__ import annotations

import os
import sys

import click

from lazycrop.cli.options import Settings, command
from lazycrop.settings import ENVIRONMENT_PREFIX, to_env

# Of glibc: one heap for all threads, which keeps 64 MB of what is freed. Then a picture uses what the last one has
# used, and a 1600x1200 takes 35 ms; 48 where fresh pages are got from the system each time, and given back.
_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "67108864"}


@command(shows=("broker", "queue"))
@click.option("--processes", default=os.cpu_count() or 1, show_default="one for each CPU", help="Processes.")
@click.option("--threads", default=4, show_default=True, help="Threads of each process.")
def worker(settings: Settings, processes: int, threads: int) -> None:
    """Store what has been asked for.

    It runs Dramatiq's own command on the queue of the setting 'broker', which is redis://… or amqp://….
    """
    # By the environment and not as arguments, which every user of the machine can read.
    environ = to_env(settings)
    for name in [name for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]:
        del os.environ[name]  # It is in the settings already, or none of them.
    os.environ.update(environ)
    from lazycrop.worker import images  # What is wrong with the settings shows here, as one sentence.

    counts = ["--processes", str(processes), "--threads", str(threads)]
    arguments = ["-m", "dramatiq", "lazycrop.worker", *counts, "--queues", images.config.queue.queue]
    os.environ.update(_MALLOC | os.environ)
    os.execv(sys.executable, [sys.executable, *arguments])  # In this process's place, so that signals reach it.
