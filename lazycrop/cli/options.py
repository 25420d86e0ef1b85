"""Options: every setting as a flag of every command, and where else a command finds its settings. [click]"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import Field
from difflib import get_close_matches
from functools import cache
from typing import Any

import click

from lazycrop import settings
from lazycrop.options import default_of

Settings = dict[str, Any]

LOG_JSON = "lazycrop.log_json"
"""Under which name a click.Context knows whether the log is for machines."""


def logs_json() -> bool:
    """Was the program, whichever it is that these commands are a part of, told to write its log as JSON?"""
    return bool(click.get_current_context().meta.get(LOG_JSON))


class _Setting(click.Option):
    """The flag of a setting."""

    def __init__(self, field: Field[Any], *, hidden: bool) -> None:
        self.setting = field.name
        flag = f"--{field.name.replace('_', '-')}"
        is_switch = isinstance(default_of(field), bool)
        super().__init__(
            [f"{flag}/--no-{flag[2:]}" if is_switch else flag, f"setting_{field.name}"],
            default=None,
            metavar=None if is_switch else "VALUE",
            help=f"{field.metadata['help'].replace('`', '')}{_default(default_of(field))}",
            hidden=hidden,
        )


@cache
def _setting(name: str, hidden: bool) -> _Setting:
    """Shared by all commands: to make each for each of them took a quarter of the time in which they are loaded."""
    return _Setting(settings.OPTIONS[name], hidden=hidden)


def _default(value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{name}={one}" for name, one in value.items()]
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return "" if value in (None, "", False) else f" [{value}]"


class Command(click.Command):
    """A command that is handed all ``settings``, wherever they were given; ``--help`` shows those that it ``shows``."""

    def __init__(self, *arguments: Any, shows: Iterable[str] = (), **attributes: Any) -> None:
        super().__init__(*arguments, **attributes)
        self.params += [
            click.Option(["--config"], metavar="FILE", help="An ini file with a section [lazycrop]."),
            *(_setting(name, name not in shows) for name in settings.OPTIONS),
            click.Option(
                ["--help-settings"],
                is_flag=True,
                is_eager=True,
                expose_value=False,
                callback=self._show_settings,
                help="Show all settings, each of which is an option too, and exit.",
            ),
        ]

    def parse_args(self, context: click.Context, arguments: list[str]) -> list[str]:
        """Of an option that there is not, the nearest of the command's own is meant rather than that of a setting."""
        try:
            return super().parse_args(context, arguments)
        except click.NoSuchOption as error:
            own = [flag for param in self.params if not getattr(param, "hidden", False) for flag in param.opts]
            others = error.possibilities or ()
            name, likeness = error.option_name, 0.8
            near = get_close_matches(name, own, 1, likeness) or get_close_matches(name, others, 1, likeness)
            raise click.NoSuchOption(error.option_name, possibilities=near, ctx=context) from None

    def invoke(self, context: click.Context) -> Any:
        given = context.params
        found = _found(context, given.pop("config"))
        flags = {option.setting: given.pop(str(option.name)) for option in self._settings()}
        given["settings"] = {**found, **{name: value for name, value in flags.items() if value is not None}}
        return super().invoke(context)

    def _settings(self) -> Iterator[_Setting]:
        return (param for param in self.params if isinstance(param, _Setting))

    def _show_settings(self, context: click.Context, option: click.Parameter, wanted: bool) -> None:
        if not wanted or context.resilient_parsing:
            return
        formatter = context.make_formatter()
        with formatter.section(
            "Settings; in FILE 'store = …', in the environment LAZYCROP_STORE, where secrets belong"
        ):
            formatter.write_dl([_record(option, context) for option in self._settings()])
        click.echo(formatter.getvalue().rstrip("\n"))
        context.exit()


def _found(context: click.Context, file: str | None) -> Settings:
    """The settings but for flags. An application that has these commands among its own says what its settings are."""
    own: Settings | None = context.meta.get("lazycrop.settings")
    if own is not None:
        return {**own, **(settings.from_ini(file) if file else {})}
    return settings.from_env({**os.environ, **({f"{settings.ENVIRONMENT_PREFIX}CONFIG": file} if file else {})})


def _record(option: _Setting, context: click.Context) -> tuple[str, str]:
    option.hidden = False  # The process ends with this list.
    return option.get_help_record(context) or ("", "")


def command(*, shows: Iterable[str] = ()) -> Callable[[Callable[..., None]], click.Command]:
    """Make a function a command, which takes ``settings`` beside its own arguments."""
    return click.command(cls=Command, shows=tuple(shows))
