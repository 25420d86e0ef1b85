"""The program: all commands in one group, and how errors and signals end it. [click]"""

from __future__ import annotations

import logging
import signal
import sys
from typing import NoReturn

import click

from lazycrop import __version__, logs
from lazycrop.cli.adopting import adopt
from lazycrop.cli.catalogue import catalogue, sizes
from lazycrop.cli.checking import check
from lazycrop.cli.editing import crop, focal, rename
from lazycrop.cli.images import purge, url, warm
from lazycrop.cli.listing import info, list_, usage
from lazycrop.cli.logs import OneLine
from lazycrop.cli.options import LOG_JSON
from lazycrop.cli.queue import queue
from lazycrop.cli.serving import demo, serve
from lazycrop.cli.storing import store
from lazycrop.cli.upkeep import cleanup, verify
from lazycrop.cli.working import worker
from lazycrop.errors import LazyCropError


def main() -> None:
    """Run the command; an error is one sentence on stderr and exit status 1."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _end)
    try:
        commands(prog_name="lazycrop")
    except LazyCropError as error:
        sys.exit(str(error))


def _end(number: int, frame: object) -> NoReturn:
    """End by SIGTERM as in any other way: jobs are finished, temporary folders go."""
    sys.exit(128 + number)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--log-json", is_flag=True, help="Write the log for machines: a JSON object a line.")
@click.pass_context
def commands(context: click.Context, log_json: bool) -> None:
    """Store an image once; ask for any size of it by URL, any time later."""
    context.meta[LOG_JSON] = log_json
    if log_json:
        logs.write_json()
        return
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(message)s"))
    handler.addFilter(logging.Filter("lazycrop"))  # Other libraries' warnings are about the same, in more lines.
    logging.basicConfig(handlers=[handler])


_OF_IMAGES = (store, adopt, url, warm, purge, focal, crop, rename)
_OF_THE_STORE = (list_, info, usage, cleanup, verify, catalogue, sizes)
for command in (*_OF_IMAGES, *_OF_THE_STORE, serve, demo, worker, check, queue):
    commands.add_command(command)
