"""A purge, and those who read the image while it is under way."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import pytest
from PIL import Image

from lazycrop import LazyCrop, UnknownImage
from lazycrop.stores import MemoryStore


class Watched(MemoryStore):
    """Calls ``meanwhile`` when something is about to be deleted, as somebody may just then."""

    meanwhile: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return "Watched()"

    def delete(self, key: str) -> None:
        call, self.meanwhile = self.meanwhile, None
        if call is not None:
            call()
        super().delete(key)


def test_who_asks_during_a_purge_is_not_told_of_the_image_after_it() -> None:
    store, picture = Watched(), io.BytesIO()
    Image.new("RGB", (60, 40)).save(picture, "PNG")
    images = LazyCrop(store=store, sizes="any", broker="inline")
    images.store_origin("cat", picture.getvalue())
    asked: list[int] = []

    def ask() -> None:
        asked.append(images.answer("/cat/20x20.png").status)
        with suppress(UnknownImage):
            images.record("cat")

    store.meanwhile = ask
    images.purge("cat")
    assert asked
    with pytest.raises(UnknownImage):
        images.record("cat")
    assert images.answer("/cat/20x20.png").status == 404


def test_what_was_found_before_is_deleted_while_it_is_looked_for_more() -> None:
    together = threading.Barrier(2, timeout=20)

    class Meeting(MemoryStore):
        lists = 0
        late: str | None = None

        def list(self, folder: str) -> Iterator[str]:
            if folder == "cat/":
                self.lists += 1
                if self.lists == 2:
                    together.wait()
                    self.put("cat/30x.png", b"a size that a job has put meanwhile", "image/png")
            return super().list(folder)

        def delete_many(self, keys: Sequence[str]) -> bool:
            if "cat/origin.png" in keys:
                together.wait()
            for key in keys:
                self.delete(key)
            return True

    store, picture = Meeting(), io.BytesIO()
    Image.new("RGB", (60, 40)).save(picture, "PNG")
    images = LazyCrop(store=store, sizes="any", broker="inline")
    images.store_origin("cat", picture.getvalue())
    images.warm("cat", ["10x", "20x"])
    images.store_origin("cat/below", picture.getvalue())
    store.lists = 0
    assert images.purge("cat") == 4  # The origin, and three sizes.
    assert sorted(store.list("cat/")) == ["cat/below/", "cat/image.json"]
    assert images.record("cat/below").version == 1
