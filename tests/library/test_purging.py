"""A purge, and those who read the image while it is under way."""

from __future__ import annotations

import io
from collections.abc import Callable
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
