"""What is given to be stored: a URL, a file, bytes; and in a word where it is from."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from lazycrop.errors import FetchError, ImageTooLarge, LazyCropError
from lazycrop.sources.download import DownloadSettings, fetch
from lazycrop.sources.locations import describe

Given = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""An http or https URL as a text; a file as a Path, as its bytes, or as an open binary file."""

_PART = 1 << 20  # bytes


def read(source: Given, settings: DownloadSettings) -> tuple[bytes, str]:
    """The bytes, and where they are from: never a query string, credentials or a folder. Blocks until all are read.

    An open file is read from where it is to its end, and stays open. Raises
    :class:`~lazycrop.errors.FetchError`, :class:`~lazycrop.errors.ImageTooLarge`.
    """
    limit = settings.download_bytes
    with _reading("The source"):
        match source:
            case str():
                return fetch(source, settings), describe(source)
            case bytes() | bytearray() | memoryview():
                return _copied(source, limit), "bytes"
            case os.PathLike():
                return _read_file(source, limit)
        return _read_open(source, limit), "a file"


@contextmanager
def unmoved(source: Any) -> Iterator[None]:
    """After the block an open file that can be sought is where it was."""
    place = source.tell() if getattr(source, "seekable", bool)() else None
    try:
        yield
    finally:
        if place is not None:
            source.seek(place)


@contextmanager
def _reading(shown: str) -> Iterator[None]:
    """Whoever made what is read has errors of his own: a closed file has ValueError, a property may have any."""
    try:
        yield
    except LazyCropError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise FetchError(f"{shown} cannot be read: {reason.rstrip('.')}.") from error


def _copied(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    with memoryview(data) as view:
        _check(view.nbytes, limit)
        return bytes(view)


def _read_file(source: os.PathLike[str], limit: int) -> tuple[bytes, str]:
    path = os.fsdecode(source)
    shown = f"The file {os.path.abspath(path)!r}"
    with _reading(shown), open(path, "rb", opener=_open) as file:
        os.set_blocking(file.fileno(), True)
        return _read_open(file, limit, shown), os.path.basename(path)


def _open(path: str, flags: int) -> int:
    """Without a wait: a named pipe that nobody writes to is empty then."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _read_open(file: Any, limit: int, shown: str = "The source") -> bytes:
    """All of an open file, which may give it in parts, as a pipe does."""
    if not callable(getattr(file, "read", None)):
        raise FetchError(
            f"The source is of the type {type(file).__qualname__!r}; give a URL, a pathlib.Path, bytes, or an open"
            " binary file, such as an io.BytesIO that a picture was saved to."
        )
    data = bytearray()
    while part := _part(file, min(_PART, limit + 1 - len(data)), shown):
        data += part
        _check(len(data), limit)
    if not data:
        raise FetchError(f"{shown} has nothing to read: it is empty, or at its end; seek(0) goes to its beginning.")
    return bytes(data)


def _part(file: Any, size: int, shown: str) -> bytes:
    part = file.read(size)
    if part is None:
        raise FetchError(f"{shown} does not block, and has nothing to read at this moment; wait for all of it.")
    if isinstance(part, bytes | bytearray | memoryview):
        return bytes(part)
    getattr(part, "close", bool)()  # a coroutine would complain that nobody has awaited it
    raise FetchError(f"{shown} gives {type(part).__name__}, not bytes; open it with mode 'rb', or give its bytes.")


def _check(length: int, limit: int) -> None:
    if length > limit:
        raise ImageTooLarge(f"The image has more than {limit:,} bytes, which is the limit ('download_bytes').")
