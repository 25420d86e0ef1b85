"""Stores that do not show what was put into them: an error in the end, and never a loop without one."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from lazycrop import LazyCrop
from lazycrop.errors import StoreUnavailable
from lazycrop.model.keys import CHANGES
from lazycrop.model.records import Record
from lazycrop.stores import MemoryStore


class Blind(MemoryStore):
    """Lists nothing, as a proxy does that answers every question with its own page."""

    def list(self, folder: str) -> Iterator[str]:
        return iter(())


class Stale(MemoryStore):
    """What was read once is read again, whatever was put since."""

    def __init__(self) -> None:
        super().__init__()
        self._read: dict[str, bytes] = {}

    def get(self, key: str, limit: int) -> bytes:
        return self._read.setdefault(key, super().get(key, limit))


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (60, 40)).save(file, "PNG")
    return file.getvalue()


def test_a_store_that_lists_nothing_takes_no_image() -> None:
    store = Blind()
    with pytest.raises(StoreUnavailable):
        LazyCrop(store=store, sizes="any", broker="inline").store_origin("cat", picture())
    assert not [key for key in store._objects if not key.startswith(CHANGES)]


def test_a_store_that_reads_what_was_there_before_takes_a_second_version_all_the_same() -> None:
    images = LazyCrop(store=(store := Stale()), sizes="any", broker="inline")
    images.store_origin("cat", picture())
    assert images.store_origin("cat", picture()).version == 2
    assert Record.from_json(store._objects["cat/image.json"]).version == 2
