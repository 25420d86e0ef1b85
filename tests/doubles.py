"""Doubles: what several tests put in a real thing's place."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from PIL import Image

from lazycrop import LazyCrop
from lazycrop.sources.contract import Seen
from lazycrop.stores.contract import Store
from lazycrop.stores.memory import MemoryStore

RED, GREEN, BLUE = (200, 10, 10), (10, 200, 10), (10, 10, 200)


class Taking:
    """A queue that takes every job, for nobody here to do."""

    ready = True

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        return True

    def ping(self) -> None: ...

    def close(self) -> None: ...


class Letters:
    """A queue of what was sent, which is done when the test says so."""

    ready = True

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def send(self, actor: str, message: dict[str, Any]) -> bool:
        self.sent.append((actor, message))
        return True

    def ping(self) -> None: ...

    def close(self) -> None: ...


def flat(
    colour: tuple[int, int, int], format: str = "JPEG", size: tuple[int, int] = (900, 600), **options: Any
) -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, format, **options)
    return file.getvalue()


class Dictionary:
    """A source that is a dictionary, and counts what it is asked for."""

    def __init__(self, **files: bytes) -> None:
        self.files = {name.replace("__", "."): data for name, data in files.items()}
        self.touches = 0
        self.down = False
        self.calls: Counter[str] = Counter()

    def __repr__(self) -> str:
        return "Dictionary()"

    def look(self, name: str, first: int = 0) -> Seen | None:
        self.calls["look"] += 1
        return self._seen(name, first)

    def read(self, name: str, limit: int) -> Seen | None:
        self.calls["read"] += 1
        return self._seen(name, limit)

    def walk(self, below: str = "") -> Iterator[str]:
        return (name for name in self.files if name.startswith(below))

    def _seen(self, name: str, first: int) -> Seen | None:
        if self.down:
            raise OSError("down")
        data = self.files.get(name)
        if data is None:
            return None
        return Seen(f"{hashlib.sha256(data).hexdigest()} {self.touches}", data[:first], len(data))


@contextmanager
def opening(make_store: Callable[[], Store], **usual: Any) -> Iterator[Callable[..., LazyCrop]]:
    """What makes a LazyCrop by ``usual`` and other settings, as often as it is called; all are closed in the end."""
    with ExitStack() as stack:

        def make(store: Any = None, **settings: Any) -> LazyCrop:
            images = LazyCrop(store=make_store() if store is None else store, **{**usual, **settings})
            stack.callback(images.close)
            return images

        yield make


def open_adopting(source: Dictionary, **settings: Any) -> LazyCrop:
    """A LazyCrop whose images are files of ``source``; nothing is remembered of them for long."""
    settings = {"store": MemoryStore(), "sizes": "any", "broker": "inline", "record_seconds": 0, **settings}
    return LazyCrop(source=source, source_seconds=1, **settings)
