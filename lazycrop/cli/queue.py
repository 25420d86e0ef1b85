"""Queue: ``queue``, which says how many jobs wait and which have failed for good. [click]"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import click

from lazycrop.cli.bulk import shown
from lazycrop.cli.options import Settings, command
from lazycrop.images import LazyCrop
from lazycrop.library.watch import Watch
from lazycrop.queues.contract import EMBEDDED, INLINE, Letter

_PATIENCE = 5.0


@command(shows=("broker", "queue"))
@click.option("--dead", type=click.IntRange(1), metavar="COUNT", help="List so many dead jobs, the oldest first.")
@click.option("--requeue", is_flag=True, help="Have all dead jobs tried again, as new ones.")
def queue(settings: Settings, dead: int | None, requeue: bool) -> None:
    """Say how many jobs wait, for how long, and how many are dead.

    A job is dead when it can never succeed, has failed four times, or has waited for an hour. Its size is made and
    stored again when somebody asks for it; Redis and RabbitMQ keep it for a week.
    """
    images = LazyCrop(**{"broker_seconds": _PATIENCE, **settings})
    if images.config.queue.broker in (EMBEDDED, INLINE):
        sys.exit(
            f"The broker is {images.config.queue.broker!r}, whose jobs are in the application's own processes; ask "
            "their MetricsApp or images.watch."
        )
    try:
        if requeue:
            click.echo(f"{images.watch.requeue()} sent again.")
        for letter in images.watch.letters(dead) if dead else ():
            click.echo(_line(letter))
        if not dead:
            click.echo(_counts(images.watch))
    except Exception as error:  # Each broker has its own.
        sys.exit(f"The broker does not say: {shown(str(error) or type(error).__name__)}. Try lazycrop check.")
    finally:
        images.close()


def _counts(watch: Watch) -> str:
    backlog = watch.backlog()
    if backlog is None:
        return "This queue cannot say."
    since = f", the oldest for {backlog.oldest:.0f} s" if backlog.waiting else ""
    return f"{backlog.waiting} waiting{since}\n{backlog.later} to be tried again later\n{backlog.dead} dead"


def _line(letter: Letter) -> str:
    message = letter.message if isinstance(letter.message, dict) else {"image_id": str(letter.message)}
    names = [letter.actor, str(message.get("image_id")), str(message.get("size") or "origin"), letter.error]
    sent = datetime.fromtimestamp(letter.sent, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return "\t".join([sent, *(shown(name) for name in names)])
