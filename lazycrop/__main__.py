"""``python -m lazycrop`` is the command ``lazycrop``."""

from lazycrop.cli.commands import main

main()
