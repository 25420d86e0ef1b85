"""Leftovers: whatever a store leaves that is killed at any of its calls goes with the next store, purge or cleanup, and
not before it is certain that nobody will come back for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from doubles import BLUE, GREEN, RED, flat
from lazycrop import LazyCrop
from lazycrop.library import claims
from lazycrop.stores import MemoryStore

OLD = 700  # Seconds after which nobody reckons with a claim.


class Killed(BaseException):
    """The process is no more."""


class Mortal(MemoryStore):
    """From a call on, whose number counts from 0, it does nothing for this process any more."""

    bounded = True

    def __init__(self) -> None:
        super().__init__()
        self.left = 10**9

    def _live(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Killed

    def put(self, *of: Any, **options: Any) -> bool:
        self._live()
        return super().put(*of, **options)

    def get(self, *of: Any) -> bytes:
        self._live()
        return super().get(*of)

    def delete(self, key: str) -> None:
        self._live()
        super().delete(key)

    def list(self, folder: str) -> Any:
        self._live()
        return super().list(folder)

    @property
    def keys(self) -> set[str]:
        return {key for key in self._objects if not key.startswith("-changes/")}


def open_images(store: MemoryStore, private: bool) -> LazyCrop:
    settings = {"secret": "a long random text", "private": True} if private else {}
    return LazyCrop(store=store, sizes="any", broker="inline", mezzanine_edges="20", **settings)  # type: ignore[arg-type]


def killed(store: Mortal, call: int, private: bool) -> bool:
    """Was a store of the image killed at this call, or had it come to its end before?"""
    store.left = call
    try:
        open_images(store, private).store_origin("cat", flat(BLUE, size=(60, 40)))
    except Killed:
        return True
    finally:
        store.left = 10**9
    return False


def store_again(images: LazyCrop) -> None:
    images.store_origin("cat", flat(GREEN, size=(60, 40)))


def purge(images: LazyCrop) -> None:
    images.purge("cat")


def clean(images: LazyCrop) -> None:
    planned = {one.key for one in images.cleaning.clean(dry_run=True)}
    removed = {one.key for one in images.cleaning.clean()}
    # A claim, which is where everybody may read, goes with what is private before it is come to.
    assert {key for key in planned ^ removed if "-claim-" not in key} == set()
    assert [*images.cleaning.clean(dry_run=True)] == []


def is_sound(images: LazyCrop, store: Mortal) -> bool:
    """Is all that is there of a version that is one, or of what says that there is none?"""
    return not any("-claim-" in key for key in store.keys) and not any(
        verified.damages for verified in images.verifying.verify()
    )


@pytest.mark.parametrize("private", [False, True], ids=["public", "private"])
@pytest.mark.parametrize("before", [0, 1, 2])
@pytest.mark.parametrize("then", [store_again, purge, clean])
def test_of_a_store_that_is_killed_at_any_call_nothing_stays(
    then: Callable[[LazyCrop], None], before: int, private: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_SETTLE_SECONDS", 0.01)
    now = time.time
    for call in range(100):
        store = Mortal()
        for _ in range(before):
            open_images(store, private).store_origin("cat", flat(RED, size=(60, 40)))
        with monkeypatch.context() as clock:
            clock.setattr(time, "time", lambda: now() - OLD)
            was_killed = killed(store, call, private)
        at_first = set(store.keys)
        then(open_images(store, private))
        assert is_sound(open_images(store, private), store), (call, sorted(at_first), sorted(store.keys))
        if not was_killed:
            assert call > 3
            return
    raise AssertionError("it has no end")


@pytest.mark.parametrize("then", [store_again, purge, clean])
def test_what_may_be_of_somebody_who_is_only_slow_stays(
    then: Callable[[LazyCrop], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_SETTLE_SECONDS", 0.01)
    store = Mortal()
    open_images(store, False).store_origin("cat", flat(RED, size=(60, 40)))
    store.put("cat/-claim-2-00ff", str(int(time.time())).encode(), "text/plain")
    store.put("cat/v2/origin.jpg", flat(BLUE, size=(60, 40)), "image/jpeg")
    then(open_images(store, False))
    assert {"cat/-claim-2-00ff", "cat/v2/origin.jpg"} <= store.keys
