"""Doubles: what several tests put in a real thing's place."""

from __future__ import annotations

from typing import Any


class Taking:
    """A queue that takes every job, for nobody here to do."""

    ready = True

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        return True

    def ping(self) -> None: ...

    def close(self) -> None: ...
