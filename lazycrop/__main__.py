"""``python -m lazycrop`` is the command ``lazycrop``."""

from lazycrop.cli import main

main()
