"""``python -m lazycrop.cli.json_worker``: Dramatiq's command line, whose processes log for machines."""

from __future__ import annotations

import logging
import runpy

from lazycrop.logs import write_json

if __name__ == "__main__":
    write_json(logging.INFO)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # as Dramatiq does
    runpy.run_module("dramatiq", run_name="__main__", alter_sys=True)
