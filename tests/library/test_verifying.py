"""Verifying and mending: each kind of damage is found, what can be made again is, and nothing else is touched."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from doubles import BLUE, GREEN, RED, Dictionary, flat, open_adopting
from lazycrop import LazyCrop
from lazycrop.errors import StoreUnavailable
from lazycrop.library.verifying import BROKEN, FOREIGN, LEFT, MISSING, OTHER, RECORD, Damage
from lazycrop.model import keys
from lazycrop.stores import MemoryStore
from servers import photo

LONG_AGO = str(int(time.time()) - 3600).encode()


def open_images(folder: Path) -> LazyCrop:
    return LazyCrop(store=folder, sizes="any", broker="inline", secret="a key")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A photograph in two versions, and one that was stored once; some sizes of both."""
    folder = tmp_path_factory.mktemp("stored")
    images = open_images(folder)
    images.store_origin("cat", photo("Wine"), "900x900")
    images.warm("cat", ["100x", "60x60-cover"])
    images.store_origin("cat", photo("Fossa"), "900x900")
    images.store_origin("dog", photo("Painting"), "900x900")
    for name in ("cat", "dog"):
        images.warm(name, ["100x", "60x60-cover", "80x80-contain", "70x50-fill"], ["jpg", "webp", "png"])
    return folder


@pytest.fixture
def images(stored: Path, tmp_path: Path) -> LazyCrop:
    shutil.copytree(stored, tmp_path, dirs_exist_ok=True)
    return open_images(tmp_path)


def damages(images: LazyCrop) -> list[Damage]:
    return [damage for verified in images.verifying.verify(jobs=2) for damage in verified.damages]


def kinds(images: LazyCrop) -> list[tuple[str, str]]:
    return [(damage.kind, damage.key) for damage in damages(images)]


def mend(images: LazyCrop) -> list[tuple[str, str]]:
    """What could not be mended."""
    left = [damage for verified in images.verifying.verify() for damage in images.mending.mend(verified)]
    return [(damage.kind, damage.key) for damage in left]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_what_is_whole_has_no_damage_and_stays_as_it_is(images: LazyCrop, tmp_path: Path) -> None:
    before = snapshot(tmp_path)
    assert damages(images) == mend(images) == []
    assert snapshot(tmp_path) == before


ORIGIN, MEZZANINE, SIZE = "cat/v2/origin.jpg", "cat/v2/mezzanine-256.jpg", "cat/v2/60x60-cover.webp"


def delete(path: Path) -> None:
    path.unlink()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def exchange(path: Path) -> None:
    """For the same object of another image."""
    other = Path(str(path).replace("cat/v2", "dog"))
    here, there = path.read_bytes(), other.read_bytes()
    path.write_bytes(there)
    other.write_bytes(here)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("key", [ORIGIN, MEZZANINE, SIZE])
@pytest.mark.parametrize("harm", [delete, cut, empty, exchange])
def test_each_kind_of_damage_is_found_and_mended_where_it_can_be(
    images: LazyCrop, tmp_path: Path, key: str, harm: object
) -> None:
    assert callable(harm)
    harm(tmp_path / key)
    expected = {delete: MISSING, cut: BROKEN, empty: BROKEN, exchange: OTHER}[harm]
    if (harm, key) == (delete, SIZE):
        assert damages(images) == []  # A size that is not there is made when somebody asks for it.
        return
    if (harm, key) == (cut, ORIGIN):
        expected = BROKEN
    keys_of = [key, *([key.replace("cat/v2", "dog")] if harm is exchange else [])]
    assert sorted(kinds(images)) == sorted((expected, one) for one in keys_of)
    lost = [(expected, one) for one in keys_of if "origin" in one]
    assert sorted(mend(images)) == sorted(lost)
    assert sorted(kinds(images)) == sorted(lost)


def test_one_byte_of_an_origin_is_enough(images: LazyCrop, tmp_path: Path) -> None:
    flip(tmp_path / ORIGIN)
    [(kind, key)] = kinds(images)
    assert key == ORIGIN and kind in (OTHER, BROKEN)


def test_a_size_in_place_of_another_one_is_found(images: LazyCrop, tmp_path: Path) -> None:
    shutil.copy(tmp_path / "cat/v2/100x.jpg", tmp_path / "cat/v2/70x50-fill.jpg")
    shutil.copy(tmp_path / "dog/origin.jpg", tmp_path / "cat/100x.jpg")  # of a version that has no record any more
    assert kinds(images) == [(OTHER, "cat/v2/70x50-fill.jpg")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 1}', None])
def test_a_broken_record_is_put_again_of_its_copy(images: LazyCrop, tmp_path: Path, content: bytes | None) -> None:
    before = images.record("cat")
    path = tmp_path / "cat/image.json"
    path.unlink() if content is None else path.write_bytes(content)
    assert kinds(images) == [(RECORD, "cat/image.json")]
    assert mend(images) == []
    assert damages(images) == []
    assert images.info("cat").record == before


def test_the_own_record_of_a_version_is_put_again(images: LazyCrop, tmp_path: Path) -> None:
    for harm in (delete, empty):
        harm(tmp_path / "cat/v2/image.json")
        assert kinds(images) == [(RECORD, "cat/v2/image.json")]
        assert mend(images) == damages(images) == []
    assert images.record("cat", 2).version == 2


def test_an_image_without_any_record_is_stored_again_of_its_origin(images: LazyCrop, tmp_path: Path) -> None:
    (tmp_path / "dog/image.json").write_bytes(b"{")
    assert kinds(images) == [(RECORD, "dog/image.json")]
    assert mend(images) == damages(images) == []
    record = images.info("dog").record
    assert record.version == 2
    assert images.answer("/dog/100x.jpg").status == 200


def test_a_private_image_is_verified_where_it_is(images: LazyCrop, tmp_path: Path) -> None:
    images.set_private("dog", True)
    images.warm("dog", ["100x"])
    assert damages(images) == []
    cut(tmp_path / "-private/dog/v2/100x.jpg")
    delete(tmp_path / "dog/image.json")
    assert kinds(images) == [(RECORD, "dog/image.json"), (RECORD, "dog/image.json")]  # of both places
    mend(images)
    assert mend(images) == damages(images) == []
    assert images.info("dog").record.private
    delete(tmp_path / "-private/dog/v2/origin.jpg")
    assert kinds(images) == [(MISSING, "-private/dog/v2/origin.jpg")]


def test_what_failed_stores_have_left_is_found_and_goes(images: LazyCrop, tmp_path: Path) -> None:
    store = images.store
    store.put("cat/-claim-9-00ff", LONG_AGO, "text/plain")
    store.put("cat/v9/origin.jpg", b"of a store that was killed", "image/jpeg")
    images.purge("dog")
    store.put("dog/100x.jpg", b"of a job that was late", "image/jpeg")
    assert kinds(images) == [(LEFT, "cat/-claim-9-00ff"), (LEFT, "dog/100x.jpg")]
    assert mend(images) == damages(images) == []
    assert not store.exists("cat/v9/origin.jpg") and store.exists("cat/v2/origin.jpg")
    assert set(os.listdir(tmp_path / "dog")) == {"image.json"}


def test_what_is_being_stored_just_now_is_left_alone(images: LazyCrop) -> None:
    store = images.store
    store.put("new/-claim-1-00ff", str(int(time.time())).encode(), "text/plain")
    store.put("new/origin.jpg", flat(RED), "image/jpeg")
    assert damages(images) == mend(images) == []
    assert store.exists("new/origin.jpg")


def test_a_copied_folder_is_told_and_not_touched(images: LazyCrop, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "dog", tmp_path / "fox")
    assert kinds(images) == mend(images) == [(FOREIGN, "fox/image.json")]


def test_an_image_at_its_source_is_verified_as_far_as_it_is_here() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)))
    record = images.adopt("cat.jpg")
    assert damages(images) == []
    images.store.delete(record.mezzanine_key(record.mezzanines[0]))
    assert kinds(images) == [(MISSING, record.mezzanine_key(record.mezzanines[0]))]
    assert mend(images) == damages(images) == []
    images.store.delete(record.origin_key)
    assert kinds(images) == [(MISSING, record.origin_key)]


def test_an_edited_image_is_verified_by_what_its_editor_wanted(images: LazyCrop) -> None:
    images.set_crop("dog", (1, 1), (60, 10, 20, 20))
    images.set_focal("cat", (5, 5))
    for name in ("cat", "dog"):
        images.warm(name, ["60x60-cover", "30x30-cover", "100x40-cover-se"])
    assert damages(images) == []


def test_verifying_goes_on_after_the_image_that_was_last(images: LazyCrop, tmp_path: Path) -> None:
    for name in ("a/b", "a", "a/z"):
        images.store_origin(name, flat(GREEN))
        images.warm(name, ["10x", "9x"])
    images.store_origin("hidden", flat(GREEN), private=True)
    done = [*images.verifying.verify()]
    for number, one in enumerate(done):
        rest = [*images.verifying.verify(after=one.folder)]
        assert [again.folder for again in rest] == [later.folder for later in done[number + 1 :]]
        assert {again.folder: again.objects for again in rest}.items() <= {d.folder: d.objects for d in done}.items()
        assert [again.damages for again in rest] == [()] * len(rest)


class Failing(MemoryStore):
    def __repr__(self) -> str:
        return "Failing()"

    def get(self, key: str, limit: int) -> bytes:
        if self.fails and "origin" in key:
            raise StoreUnavailable("It does not answer.")
        return super().get(key, limit)

    fails = False


def test_a_store_that_does_not_answer_is_not_damaged() -> None:
    store = Failing()
    images = LazyCrop(store=store, sizes="any")
    images.store_origin("cat", flat(BLUE))
    store.fails = True
    with pytest.raises(StoreUnavailable):
        damages(images)


def test_a_record_says_what_the_origin_has_to_be(images: LazyCrop, tmp_path: Path) -> None:
    path = tmp_path / "dog" / "image.json"
    content = json.loads(path.read_bytes())
    content["sha256"] = "0" * 64
    path.write_text(json.dumps(content))
    assert kinds(images) == [(OTHER, "dog/origin.jpg")]
    assert keys.record("dog") == "dog/image.json"
