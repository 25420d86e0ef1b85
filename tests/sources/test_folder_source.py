"""Folders as sources: which names lead to a file, and that no other file is ever read."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from unicodedata import normalize

import pytest

import lazycrop.sources.folder as folder_source
from lazycrop.errors import ImageTooLarge, SourceUnavailable
from lazycrop.sources.contract import Seen
from lazycrop.sources.folder import FolderSource
from mounts import mounted

NAMES = [
    "cat.jpg",
    "2024/Größe 1.jpg",
    "2024/Ελλάδα/Φωτογραφία.JPG",
    "日本語/写真.png",
    "한국어.webp",
    "Йод.gif",
    "👨‍👩‍👧 família.jpeg",
    "100%25 #1 + 'a' & \"b\"; c, d?.jpg",
    "no extension",
    "trailing .",
    f"{'x' * 176}.jpg",
]


def make(root: Path, files: dict[str, bytes]) -> FolderSource:
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return FolderSource(root)


def data_of(source: FolderSource, name: str) -> bytes | None:
    """What is there under a name, the same whether it is looked at or read."""
    looked, read = source.look(name, 1000), source.read(name, 1000)
    assert looked == read
    return read.data if read else None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_file_is_found_by_its_name_however_the_disk_spells_it(tmp_path: Path, name: str, form: str) -> None:
    source = make(tmp_path, {normalize(form, name): b"picture"})  # type: ignore[arg-type]
    assert data_of(source, normalize("NFC", name)) == b"picture"
    assert [*source.walk()] == [normalize("NFC", name)]


def test_any_one_folder_on_the_way_may_be_decomposed(tmp_path: Path) -> None:
    source = make(tmp_path, {f"für/{normalize('NFD', 'später')}/größe.jpg": b"picture"})
    assert data_of(source, "für/später/größe.jpg") == b"picture"
    assert [*source.walk("für/später/")] == ["für/später/größe.jpg"]


def test_the_exact_name_goes_before_the_decomposed_one(tmp_path: Path) -> None:
    source = make(tmp_path, {normalize("NFD", "é.jpg"): b"decomposed", "é.jpg": b"composed"})
    assert data_of(source, "é.jpg") == b"composed"
    assert [*source.walk()] == ["é.jpg"]


def test_what_is_added_to_a_folder_that_was_looked_through_is_found(tmp_path: Path) -> None:
    source = make(tmp_path, {"cat.jpg": b"cat"})
    os.utime(tmp_path, (1, 1))  # long ago: what is in it is remembered
    assert data_of(source, "é.jpg") is None
    make(tmp_path, {normalize("NFD", "é.jpg"): b"new"})
    assert data_of(source, "é.jpg") == b"new"


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/", "/cat.jpg", "cat.jpg/", "a//b.jpg", "../outside.jpg", "a/../cat.jpg", "./cat.jpg", "a"),
        *(
            "cat.jpg/below",
            ".hidden.jpg",
            "a/.hidden.jpg",
            "cat.jpg\0",
            "a\\b.jpg",
            "\udcff.jpg",
            "CAT.jpg",
            "none.jpg",
        ),
        *("x" * 2000, "é" * 200, "a/" * 400 + "b"),
    ],
)
def test_what_is_no_name_of_a_file_is_not_there(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside.jpg").write_bytes(b"outside")
    source = make(tmp_path / "media", {"cat.jpg": b"cat", "a/b.jpg": b"b", ".hidden.jpg": b"", "a/.hidden.jpg": b""})
    assert data_of(source, name) is None


def test_a_link_is_followed_where_it_leads_to_something_inside(tmp_path: Path) -> None:
    source = make(tmp_path / "media", {"2024/cat.jpg": b"cat"})
    (tmp_path / "media/latest").symlink_to("2024")
    (tmp_path / "media/2024/kitten.jpg").symlink_to(tmp_path / "media/latest/cat.jpg")
    (tmp_path / "media/new.jpg").symlink_to("latest/kitten.jpg")
    for name in ("latest/cat.jpg", "2024/kitten.jpg", "latest/kitten.jpg", "new.jpg"):
        assert data_of(source, name) == b"cat"
    assert [*source.walk()] == ["2024/cat.jpg", "2024/kitten.jpg", "new.jpg"]


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.jpg").write_bytes(b"secret")
    (tmp_path / "media-other").mkdir()
    (tmp_path / "media-other/key.jpg").write_bytes(b"secret")
    source = make(tmp_path / "media", {"a/cat.jpg": b"cat"})
    links = {
        "relative.jpg": "../secret/key.jpg",
        "absolute.jpg": tmp_path / "secret/key.jpg",
        "folder": "../secret",
        "a/up": "../..",
        "neighbour": "../media-other",
        "itself.jpg": "itself.jpg",
        "back": ".",
        "dangling.jpg": "none.jpg",
    }
    for name, target in links.items():
        (tmp_path / "media" / name).symlink_to(target)
    for name in (*links, "folder/key.jpg", "a/up/secret/key.jpg", "neighbour/key.jpg", "back/relative.jpg"):
        assert data_of(source, name) is None
    assert [*source.walk()] == ["a/cat.jpg"]


def test_a_link_that_comes_and_goes_never_leads_out(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/cat.jpg").write_bytes(b"secret")
    source = make(tmp_path / "media", {"real/cat.jpg": b"cat"})
    link, folder = tmp_path / "link", tmp_path / "media/a"
    done = threading.Event()

    def swap() -> None:
        while not done.is_set():
            for target in ("../secret", "real"):
                link.symlink_to(target)
                link.rename(folder)

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        found = {seen.data if (seen := source.look("a/cat.jpg", 10)) else None for _ in range(2000)}
    finally:
        done.set()
        swapper.join()
    assert found <= {b"cat", None}


def test_only_regular_files_are_there(tmp_path: Path) -> None:
    source = make(tmp_path, {"folder.jpg/cat.jpg": b"cat"})
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "device.jpg").symlink_to("/dev/zero")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.jpg"))
    listener.close()
    if os.geteuid() == 0:
        os.mknod(tmp_path / "zero.jpg", 0o20666, os.makedev(1, 5))
    for name in ("fifo.jpg", "device.jpg", "socket.jpg", "zero.jpg", "folder.jpg"):
        assert data_of(source, name) is None
    assert [*source.walk()] == ["folder.jpg/cat.jpg"]


def test_a_name_that_is_no_text_is_left_out(tmp_path: Path) -> None:
    source = make(tmp_path, {"cat.jpg": b"cat", ".hidden/dog.jpg": b"dog", ".dog.jpg": b"dog", "a\nb.jpg": b"line"})
    Path(os.fsdecode(bytes(tmp_path) + b"/\xff.jpg")).write_bytes(b"latin")
    assert [*source.walk()] == ["cat.jpg"]


def test_a_walk_is_sorted_and_goes_below_a_folder_only(tmp_path: Path) -> None:
    names = ["2023/a.jpg", "2024/b.jpg", "2024/ab/c.jpg", "2024x/d.jpg", "e.jpg"]
    source = make(tmp_path, dict.fromkeys(names, b""))
    assert sorted(source.walk()) == sorted(names)
    assert [*source.walk("2024/")] == ["2024/ab/c.jpg", "2024/b.jpg"]
    assert [*source.walk("2024/ab/")] == ["2024/ab/c.jpg"]
    assert [*source.walk("none/")] == []


def test_a_walk_begins_before_all_folders_were_looked_at(tmp_path: Path) -> None:
    source = make(tmp_path, {"a/1.jpg": b"", "b/2.jpg": b""})
    walk = source.walk()
    assert next(walk) == "a/1.jpg"
    make(tmp_path, {"b/3.jpg": b""})
    assert [*walk] == ["b/2.jpg", "b/3.jpg"]


def test_a_look_has_as_many_bytes_as_were_asked_for_and_the_length_of_all(tmp_path: Path) -> None:
    source = make(tmp_path, {"cat.jpg": b"0123456789", "empty.jpg": b""})
    for first, data in {0: b"", 4: b"0123", 10: b"0123456789", 100: b"0123456789"}.items():
        seen = source.look("cat.jpg", first)
        assert seen and (seen.data, seen.length) == (data, 10)
    assert source.look("empty.jpg", 5) == source.read("empty.jpg", 5)
    with pytest.raises(ImageTooLarge, match="9 bytes"):
        source.read("cat.jpg", 9)


def test_a_file_that_is_replaced_has_another_validator(tmp_path: Path) -> None:
    source = make(tmp_path, {"cat.jpg": b"first"})
    seen: list[Seen | None] = []
    for data in (b"first", b"other", b"again"):  # of one length, as fast as the clock of the file system allows
        (tmp_path / "cat.jpg").write_bytes(data)
        seen.append(source.read("cat.jpg", 100))
    assert [one.data for one in seen if one] == [b"first", b"other", b"again"]
    assert len({one.validator for one in seen if one}) == 3
    os.utime(tmp_path / "cat.jpg", (1, 1))
    aged = source.look("cat.jpg")
    assert aged and aged.validator not in {one.validator for one in seen if one}


def test_copies_of_a_folder_have_the_same_validators(tmp_path: Path) -> None:
    sources = [make(tmp_path / one, {"cat.jpg": b"cat"}) for one in ("here", "there")]
    for one in ("here", "there"):
        os.utime(tmp_path / one / "cat.jpg", ns=(1, 1_700_000_000_123_456_789))
    assert sources[0].look("cat.jpg") == sources[1].look("cat.jpg")


def test_a_file_that_is_written_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, path, read = make(tmp_path, {"cat.jpg": b"half"}), tmp_path / "cat.jpg", folder_source._read
    writes = [b"nearly all", b"all of it"]

    def read_and_write(file: int, length: int) -> bytes:
        data = read(file, length)
        if writes:
            path.write_bytes(writes.pop(0))
        return data

    monkeypatch.setattr(folder_source, "_read", read_and_write)
    seen = source.read("cat.jpg", 100)
    assert seen and (seen.data, seen.length) == (b"all of it", 9)
    writes += [b"%d" % number * 10 for number in range(10)]
    with pytest.raises(SourceUnavailable, match="being written"):
        source.read("cat.jpg", 100)


def test_the_file_that_was_looked_at_is_the_one_that_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, path, read = make(tmp_path, {"cat.jpg": b"old"}), tmp_path / "cat.jpg", folder_source._read

    def replace_and_read(file: int, length: int) -> bytes:
        (tmp_path / "new").write_bytes(b"another one")
        (tmp_path / "new").rename(path)
        return read(file, length)

    monkeypatch.setattr(folder_source, "_read", replace_and_read)
    seen = source.read("cat.jpg", 100)
    assert seen and (seen.data, seen.length, seen.validator[:2]) == (b"old", 3, "3-")


@pytest.mark.parametrize("ask", [lambda source: source.look("cat.jpg"), lambda source: [*source.walk()]])
def test_a_folder_that_is_missing_or_empty_cannot_tell(tmp_path: Path, ask: object) -> None:
    assert callable(ask)
    source = FolderSource(tmp_path / "media")
    with pytest.raises(FileNotFoundError):
        ask(source)
    (tmp_path / "media").mkdir()  # a mount point without its disk
    with pytest.raises(OSError, match="is empty: mount its disk"):
        ask(source)
    (tmp_path / "media/.keep").touch()
    assert not ask(source)
    (tmp_path / "media/.keep").unlink()
    (tmp_path / "media").rmdir()
    (tmp_path / "media").write_bytes(b"a file")
    with pytest.raises(NotADirectoryError):
        ask(source)


def test_a_disk_may_be_mounted_by_a_link_later(tmp_path: Path) -> None:
    source = FolderSource(tmp_path / "media")
    make(tmp_path / "disk", {"cat.jpg": b"cat"})
    (tmp_path / "disk/latest.jpg").symlink_to("cat.jpg")
    (tmp_path / "media").symlink_to("disk")
    assert data_of(source, "cat.jpg") == data_of(source, "latest.jpg") == b"cat"
    assert data_of(source, "none.jpg") is None
    assert [*source.walk()] == ["cat.jpg", "latest.jpg"]


def test_the_name_of_a_file_counts_where_case_is_ignored(tmp_path: Path) -> None:
    with mounted("ignores case", tmp_path) as folder:
        source = make(folder, {"2024/Cat.jpg": b"cat"})
        assert data_of(source, "2024/Cat.jpg") == b"cat"
        assert data_of(source, "2024/cat.jpg") is None
        assert data_of(source, "2024/Cat.JPG") is None


def test_nothing_is_left_open(tmp_path: Path) -> None:
    source = make(tmp_path, {"a/b/cat.jpg": b"cat", "a/é.jpg": b"e"})
    (tmp_path / "a/link").symlink_to("b")
    os.mkfifo(tmp_path / "a/fifo")
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for name in ("a/b/cat.jpg", "a/link/cat.jpg", "a/none.jpg", "a/ü.jpg", "a/fifo", "a/b", "a"):
        data_of(source, name)
    with pytest.raises(ImageTooLarge):
        source.read("a/b/cat.jpg", 1)
    assert before == (os.listdir("/proc/self/fd") if before else [])
