"""The command line: ``lazycrop store``, ``url``, ``warm``, ``purge``, ``serve``, ``worker``, ``check`` and ``demo``."""

from lazycrop.cli.commands import commands as commands
from lazycrop.cli.commands import main as main
