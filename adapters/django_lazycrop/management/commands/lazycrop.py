"""``manage.py lazycrop …``: the command line of lazycrop, under the settings of the project."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import click
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_lazycrop.pictures import get_images
from lazycrop import LazyCropError


class Command(BaseCommand):  # type: ignore[misc]
    help = "Store, warm and purge images, and more: manage.py lazycrop --help."
    requires_system_checks: Sequence[str] = ()

    def run_from_argv(self, argv: list[str]) -> None:
        own = argparse.ArgumentParser(add_help=False, allow_abbrev=False)  # which manage.py has read already
        for option in ("--settings", "--pythonpath"):
            own.add_argument(option)
        try:
            _run(own.parse_known_args(argv[2:])[1], f"{argv[0]} {argv[1]}")
        except LazyCropError as error:
            sys.exit(str(error))

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("arguments", nargs=argparse.REMAINDER)

    def handle(self, *arguments: Any, **options: Any) -> None:
        """For ``call_command("lazycrop", "purge", "cat")``."""
        try:
            _run(options["arguments"], "lazycrop", standalone_mode=False)
        except (LazyCropError, click.ClickException) as error:
            raise CommandError(str(error)) from error


def _run(arguments: list[str], name: str, **how: Any) -> None:
    from lazycrop import cli

    above = click.Context(click.Command(None))
    above.meta["lazycrop.settings"] = get_images().config.changed
    cli.commands.main(arguments, prog_name=name, parent=above, **how)
