"""What is found of an image and what it is said to be, asked for at once, are of one moment."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from lazycrop import LazyCrop
from lazycrop.library.contents import Contents
from lazycrop.model.records import Record, Tombstone
from lazycrop.stores.guarded import Guarded
from lazycrop.stores.memory import MemoryStore
from servers import photo


def looked(
    monkeypatch: pytest.MonkeyPatch, images: LazyCrop, meanwhile: Callable[[], object]
) -> Record | Tombstone | None:
    """What a look says that reads the record before ``meanwhile``, and lists after it."""

    def together(self: Guarded, *begun: Callable[[], Any]) -> Sequence[Any]:
        monkeypatch.undo()
        said = begun[-1]()
        meanwhile()
        return [*(end() for end in begun[:-1]), said]

    contents = Contents(images._store, images._records)
    monkeypatch.setattr(Guarded, "together", together)
    return contents.look("cat").what_is


def test_an_image_that_is_stored_and_purged_during_a_look_is_seen_as_purged(monkeypatch: pytest.MonkeyPatch) -> None:
    images = LazyCrop(store=MemoryStore(), sizes="any", broker="inline")

    def meanwhile() -> None:
        images.store_origin("cat", photo("Fossa"))
        images.purge("cat")

    what_is = looked(monkeypatch, images, meanwhile)
    assert isinstance(what_is, Tombstone) and what_is.version == 1


@pytest.mark.parametrize("versions", [1, 2])
def test_an_image_that_is_purged_during_a_look_is_seen_as_purged(
    monkeypatch: pytest.MonkeyPatch, versions: int
) -> None:
    images = LazyCrop(store=MemoryStore(), sizes="any", broker="inline")
    for _ in range(versions):
        images.store_origin("cat", photo("Fossa"))
    what_is = looked(monkeypatch, images, lambda: images.purge("cat"))
    assert isinstance(what_is, Tombstone) and what_is.version == versions
