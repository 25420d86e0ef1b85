"""Stores that do not show what was put into them: an error in the end, and never a loop without one."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from PIL import Image

from lazycrop import LazyCrop
from lazycrop.cli.checking import _check_store, _Checklist
from lazycrop.errors import StoreUnavailable
from lazycrop.library import claims
from lazycrop.model import keys
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
    """It is put, and nobody else changes the image: there is nothing that would have to be read."""
    images = LazyCrop(store=(store := Stale()), sizes="any", broker="inline")
    images.store_origin("cat", picture())
    assert images.store_origin("cat", picture()).version == 2
    assert Record.from_json(store._objects["cat/image.json"]).version == 2


def test_where_another_has_to_be_looked_for_a_store_that_reads_what_was_there_before_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(claims, "_SETTLE_SECONDS", 0.0)
    images = LazyCrop(store=(store := Stale()), sizes="any", broker="inline")
    images.store_origin("cat", picture())
    store.put(keys.claim("cat", 2, "somebody else's"), str(int(time.time())).encode(), "text/plain")
    with pytest.raises(StoreUnavailable):
        images.store_origin("cat", picture())


def test_check_says_of_a_store_that_it_reads_what_was_there_before(capsys: pytest.CaptureFixture[str]) -> None:
    for store, has_failed in ((Stale(), True), (MemoryStore(), False)):
        checklist = _Checklist()
        _check_store(LazyCrop(store=store, sizes="any", broker="inline", answer="stream"), checklist)
        assert checklist.failed == has_failed
        assert ("Ask the store itself, with no cache between" in capsys.readouterr().out) == has_failed
        assert not store._objects
