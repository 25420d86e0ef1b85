"""What is given to be stored: read to its end, whatever it is, or refused with a sentence."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hostile import PICTURE, Server, answer
from lazycrop.errors import FetchError, ImageTooLarge, StoreUnavailable
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.given import read

LIMIT = 300_000
SETTINGS = DownloadSettings(download_bytes=LIMIT)
DATA = os.urandom(LIMIT)


def refused(source: Any) -> str:
    with pytest.raises(FetchError) as caught:
        read(source, SETTINGS)
    return str(caught.value)


class Dripping(io.RawIOBase):
    """Gives 1,000 bytes at a time, as a pipe may; and then what ``end`` says."""

    def __init__(self, end: Any = b"") -> None:
        self._rest: list[Any] = [DATA[i : i + 1_000] for i in range(0, LIMIT, 1_000)] + [end]

    def read(self, size: int = -1) -> Any:
        part = self._rest.pop(0)
        if isinstance(part, Exception):
            raise part
        return part


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO, lambda data: Dripping()])
def test_bytes_and_files_are_read_to_their_end(kind: Any) -> None:
    assert read(kind(DATA), SETTINGS)[0] == DATA


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_one_byte_more_than_allowed_is_too_large(kind: Any) -> None:
    with pytest.raises(ImageTooLarge, match="300,000 bytes"):
        read(kind(DATA + b"x"), SETTINGS)


def test_the_bytes_of_a_view_count_and_not_its_items() -> None:
    with pytest.raises(ImageTooLarge):
        read(memoryview(bytes(LIMIT + 8)).cast("Q"), SETTINGS)


@pytest.mark.parametrize("bufsize", [-1, 0])
def test_a_pipe_is_read_to_its_end(bufsize: int) -> None:
    program = f"import sys, os; sys.stdout.buffer.write(bytes({LIMIT}))"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, bufsize=bufsize) as process:
        assert process.stdout is not None
        assert read(process.stdout, SETTINGS) == (bytes(LIMIT), "a file")  # type: ignore[arg-type]
        assert not process.stdout.closed


@pytest.mark.parametrize("buffering", [-1, 0])
def test_a_socket_is_read_to_its_end(buffering: int) -> None:
    ours, theirs = socket.socketpair()

    def send() -> None:
        with theirs:
            theirs.sendall(DATA)

    thread = threading.Thread(target=send)
    thread.start()
    with ours, ours.makefile("rb", buffering=buffering) as file:
        assert read(file, SETTINGS)[0] == DATA  # type: ignore[arg-type]
    thread.join()


def test_an_open_file_is_read_from_where_it_is_and_stays_open() -> None:
    file = io.BytesIO(DATA)
    file.seek(7)
    assert read(file, SETTINGS)[0] == DATA[7:]
    assert not file.closed
    assert "seek(0)" in refused(file)


def test_a_path_is_described_by_its_name_alone(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(DATA)
    assert read(tmp_path / "cat.jpg", SETTINGS) == (DATA, "cat.jpg")
    with os.scandir(os.fsencode(tmp_path)) as entries:
        assert read(next(entries), SETTINGS) == (DATA, "cat.jpg")  # type: ignore[arg-type] # its path is bytes


def test_a_named_pipe_is_read_and_one_without_a_writer_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "nothing to read" in refused(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)

    def write() -> None:
        with open(writer, "wb") as file:
            file.write(DATA)

    thread = threading.Thread(target=write)
    thread.start()
    assert read(tmp_path / "pipe", SETTINGS) == (DATA, "pipe")
    thread.join()
    os.close(reader)


def test_a_url_is_fetched_and_described_without_its_query() -> None:
    with Server(answer()) as server:
        settings = DownloadSettings(allow_networks=("127.0.0.0/8",), download_ports=(str(server.port),))
        assert read(f"{server.url}?token=secret", settings) == (PICTURE, server.url)


@pytest.mark.parametrize("text", ["", "cat.jpg", "/etc/hostname", "file:///etc/hostname", "C:\\cat.jpg", "a\0b"])
def test_a_text_is_taken_for_a_url_and_never_for_a_file(text: str) -> None:
    sentence = refused(text)
    assert "a text is taken for a URL" in sentence and "Give a Path for a file" in sentence


@pytest.mark.parametrize(
    ("name", "reason"),
    [("gone.jpg", "No such file"), (".", "Is a directory"), ("a\0b", "null byte"), ("x" * 300, "too long")],
)
def test_a_file_that_cannot_be_read_is_named_in_full(
    name: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sentence = refused(Path(name))
    assert str(tmp_path) in sentence and reason in sentence


def test_a_socket_in_a_folder_is_no_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert "cannot be read" in refused(tmp_path / "socket")


def test_a_relative_path_below_a_folder_that_is_gone_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert "No such file" in refused(Path("cat.jpg"))


class BadPath:
    def __fspath__(self) -> str:
        raise RuntimeError("on strike")

    __str__ = __repr__ = __fspath__


class Lazy:
    @property
    def read(self) -> Any:
        raise RuntimeError("not connected")

    @property
    def __class__(self) -> Any:  # as of a proxy that stands for nothing yet
        return self.read


class Uploaded:
    async def read(self, size: int = -1) -> bytes:
        return DATA


def closed() -> io.BytesIO:
    file = io.BytesIO(DATA)
    file.close()
    return file


def released() -> memoryview:
    view = memoryview(DATA)
    view.release()
    return view


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: 7, "The source is of the type 'int'; give a URL"),
        (lambda: None, "of the type 'NoneType'"),
        (lambda: ["cat.jpg"], "of the type 'list'"),
        (lambda: object, "of the type 'type'"),
        (lambda: Image.new("RGB", (9, 9)), "an io.BytesIO that a picture was saved to"),
        (lambda: io.StringIO("text"), "gives str, not bytes; open it with mode 'rb'"),
        (Uploaded, "gives coroutine, not bytes"),
        (BadPath, "on strike"),
        (Lazy, "The source cannot be read: not connected."),
        (closed, "closed file"),
        (released, "released"),
        (lambda: Dripping(None), "nothing to read at this moment"),
        (lambda: Dripping("text"), "gives str"),
        (lambda: Dripping(OSError(5, "Input/output error")), "Input/output error"),
        (lambda: Dripping(EOFError()), "EOFError"),
        (lambda: io.BytesIO(), "nothing to read"),
    ],
)
def test_whatever_else_is_handed_in_is_refused_with_a_sentence(make: Any, words: str) -> None:
    assert words in refused(make())


def test_an_error_of_ours_stays_what_it_is() -> None:
    with pytest.raises(StoreUnavailable):
        read(Dripping(StoreUnavailable("not now")), SETTINGS)  # type: ignore[arg-type]
