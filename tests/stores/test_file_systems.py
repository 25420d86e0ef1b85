"""Folders on file systems that can do less: without links, without fsync of folders, that ignore case."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lazycrop.errors import BadImageId, BadRequest, MissingObject, StoreUnavailable
from lazycrop.stores.folder import FolderStore
from lazycrop.testing import check_store
from mounts import mounted
from servers import ROOT


@pytest.mark.parametrize("mode", ["no links", "no fsync of folders", "no fsync", "ignores case", "takes names apart"])
def test_a_folder_on_a_file_system_that_can_do_less_keeps_the_contract(mode: str, tmp_path: Path) -> None:
    with mounted(mode, tmp_path) as images:
        check_store(FolderStore(images))
        assert not [*images.rglob("*")]


def test_where_case_is_ignored_a_picture_is_never_anothers(tmp_path: Path) -> None:
    with mounted("ignores case", tmp_path) as images:
        first = FolderStore(images)
        first.put("cat/image.json", b"cat", "application/json")
        for store in (first, FolderStore(images)):
            for key in ("Cat/image.json", "cat/Image.json"):
                assert not store.exists(key)
                with pytest.raises(MissingObject):
                    store.get(key, 100)
                with pytest.raises(MissingObject):
                    store.open(key)
                store.delete(key)
                for new in (True, False):
                    with pytest.raises(BadRequest, match="case"):
                        store.put(key, b"Cat", "application/json", new=new)
            assert [*store.list("Cat/")] == []
            assert store.get("cat/image.json", 100) == b"cat"
            assert store.put("dog/image.json", b"dog", "application/json")


def test_where_names_are_taken_apart_they_are_listed_as_they_were_put(tmp_path: Path) -> None:
    with mounted("takes names apart", tmp_path) as images:
        store = FolderStore(images)
        keys = [f"{name}/v2/image.json" for name in ("Größe 1.jpg", "한글", "Ệ", "й")]
        for key in keys:
            assert store.put(key, key.encode(), "application/json", new=True)
            assert not store.put(key, b"again", "application/json", new=True)
        assert not [name for name in os.listdir(images) if name in str(keys)], "they are other texts on the disk"
        for one in (store, FolderStore(images)):
            assert sorted(one.list("")) == sorted(f"{key.partition('/')[0]}/" for key in keys)
            for key in keys:
                assert [*one.list(key.removesuffix("image.json"))] == [key]
                assert one.get(key, 100) == key.encode()
        for key in keys:
            store.delete(key)
        assert [*images.iterdir()] == []


def test_where_case_counts_it_is_found_out_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(tmp_path)
    store.put("cat/200x.jpg", b"cat", "image/jpeg")
    store.put("Cat/200x.jpg", b"Cat", "image/jpeg")
    monkeypatch.setattr(os, "listdir", None)
    assert (store.get("cat/200x.jpg", 9), store.get("Cat/200x.jpg", 9)) == (b"cat", b"Cat")


REFUSALS = [errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EINVAL]


def refuse(number: int) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", REFUSALS)
def test_whatever_says_that_there_are_no_links(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", refuse(number))
    check_store(FolderStore(tmp_path))
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    "number",
    [errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.ENOSYS, errno.EROFS, errno.ENOTTY, errno.EISDIR],
)
def test_whatever_says_that_nothing_can_be_synced(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse(number))
    assert FolderStore(tmp_path).put("cat/200x.jpg", b"picture", "image/jpeg")


@pytest.mark.parametrize("number", [errno.EISDIR, errno.EACCES, errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_opened_is_not_synced(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def open_files(path: str, flags: int, *more: int) -> int:
        if os.path.isdir(path):
            raise OSError(number, os.strerror(number))
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", open_files)
    assert FolderStore(tmp_path).put("cat/200x.jpg", b"picture", "image/jpeg", new=True)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_says_that_data_is_lost_is_an_error(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refuse(number))
    with pytest.raises(StoreUnavailable):
        FolderStore(tmp_path).put("cat/200x.jpg", b"picture", "image/jpeg")
    assert [*tmp_path.iterdir()] == []


def test_a_link_whose_answer_was_lost_is_known_for_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = os.link

    def twice(*arguments: Any) -> None:
        link(*arguments)
        link(*arguments)

    monkeypatch.setattr(os, "link", twice)
    assert FolderStore(tmp_path).put("cat/200x.jpg", b"picture", "image/jpeg", new=True)
    assert not FolderStore(tmp_path).put("cat/200x.jpg", b"another", "image/jpeg", new=True)


KILLED_WHILE_RENAMING = """
import os, signal, sys
from lazycrop.stores.folder import FolderStore

def link(*arguments):
    raise PermissionError(1, "Operation not permitted")

os.link = link
os.replace = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
FolderStore(sys.argv[1]).put("cat/200x.jpg", b"picture", "image/jpeg", new=True)
"""


def test_a_reservation_that_a_killed_put_has_left_is_taken_away_when_it_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", KILLED_WHILE_RENAMING, str(tmp_path)]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60, check=False)
    left = [*(tmp_path / "cat").glob(".*")]
    assert len(left) == 2, "the object and its reservation"
    for path in left:
        os.utime(path, (0, 0))
    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    store = FolderStore(tmp_path)
    assert store.put("cat/200x.jpg", b"picture", "image/jpeg", new=True)
    assert store.get("cat/200x.jpg", 100) == b"picture"


@pytest.mark.parametrize("key", [f"cat/{'x' * 300}.jpg", f"{'x' * 300}/200x.jpg", "/".join(["y" * 200] * 30)])
def test_a_name_that_is_too_long_is_missing_and_cannot_be_put(key: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    assert not store.exists(key)
    for read in (lambda: store.get(key, 100), lambda: store.open(key)):
        with pytest.raises(MissingObject):
            read()
    store.delete(key)
    assert [*store.list(f"{key}/")] == []
    for new in (True, False):
        with pytest.raises(BadImageId, match="255 bytes"):
            store.put(key, b"picture", "image/jpeg", new=new)
    assert [*tmp_path.rglob("*.jpg")] == []


@pytest.mark.parametrize("key", ["cat/a?b/image.json", "cat/a:b/image.json"])
def test_a_character_that_the_folder_refuses_is_a_sentence(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "makedirs", refuse(errno.EINVAL))  # as exFAT does
    store = FolderStore(tmp_path)
    with pytest.raises(BadImageId, match="not every character"):
        store.put(key, b"picture", "image/jpeg")
    assert not store.exists(key)


ASCII_ONLY = """
import sys
from lazycrop.errors import BadImageId
from lazycrop.stores.folder import FolderStore

assert sys.getfilesystemencoding() == "ascii"
store, key = FolderStore(sys.argv[1]), chr(0x1F408) + "/1x1.jpg"
assert not store.exists(key) and [*store.list(key)] == []
store.delete(key)
try:
    store.put(key, b"", "image/jpeg")
except BadImageId as error:
    print(ascii(str(error)))
"""


def test_where_names_of_files_are_no_utf_8_an_emoji_is_a_sentence(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", ASCII_ONLY, str(tmp_path)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, timeout=60, check=False)
    assert b"not every character" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("there", "key"), [("cat/200x.jpg", "cat/200x.jpg/200x.jpg"), ("cat/200x.jpg/200x.jpg", "cat/200x.jpg")]
)
def test_a_name_that_an_object_of_another_image_has_is_a_sentence(there: str, key: str, tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.put(there, b"there", "image/jpeg")
    for new in (True, False):
        with pytest.raises(BadImageId, match="another image has already"):
            store.put(key, b"picture", "image/jpeg", new=new)
    assert store.get(there, 100) == b"there"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["200x.jpg"]


def test_a_store_that_is_a_file_is_not_available(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(b"")
    with pytest.raises(StoreUnavailable):
        FolderStore(tmp_path / "images").put("cat/200x.jpg", b"picture", "image/jpeg")
