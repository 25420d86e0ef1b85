"""What is given to be stored: a URL, a file, bytes; and in a word where it is from."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any, BinaryIO

from lazycrop.errors import FetchError, ImageTooLarge
from lazycrop.sources.download import DownloadSettings, describe, fetch

Given = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""An http or https URL as a text; a file as a Path, as its bytes, or as an open binary file."""

_CHUNK = 1 << 20


def read(source: Given, settings: DownloadSettings) -> tuple[bytes, str]:
    """The bytes, and where they are from: never a query string, credentials or a folder. Blocks until all are read.

    Raises :class:`~lazycrop.errors.FetchError`, :class:`~lazycrop.errors.ImageTooLarge`.
    """
    limit = settings.download_bytes
    match source:
        case str():
            return _read_url(source, settings)
        case os.PathLike():
            return _read_file(Path(source), limit)
        case bytes() | bytearray() | memoryview():
            return _within(bytes(source), limit), "bytes"
    return _read_open(source, limit), "a file"


def _read_url(url: str, settings: DownloadSettings) -> tuple[bytes, str]:
    if "://" not in url:
        raise FetchError(
            f"The source {url[:80]!r} is a text, and no URL: one begins with https:// or http://. A file is given as a "
            "pathlib.Path, as bytes, or as an open file."
        )
    return fetch(url, settings), describe(url)


def _read_file(path: Path, limit: int) -> tuple[bytes, str]:
    try:
        with path.open("rb") as file:
            return _read_open(file, limit), path.name
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL in it
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise FetchError(f"The file '{path.absolute()}' cannot be read: {reason}.") from error


def _read_open(file: Any, limit: int) -> bytes:
    """All of an open file, which may give it in parts, as a pipe does."""
    if not callable(getattr(file, "read", None)):
        raise FetchError(
            f"The source is a {type(file).__name__}; give a URL, a pathlib.Path, bytes, or an open binary file."
        )
    data = bytearray()
    while len(data) <= limit:
        try:
            part = file.read(min(_CHUNK, limit + 1 - len(data)))
        except (OSError, ValueError) as error:  # ValueError: it is closed
            raise FetchError(f"The file that was given cannot be read: {error}.") from error
        if isinstance(part, str) or isinstance(file, io.TextIOBase):
            raise FetchError("The file that was given is open as text; open it with mode 'rb'.")
        if part is None:
            raise FetchError("The file that was given does not block, and has nothing to read at this moment.")
        if not part:
            return bytes(data)
        data += part
    return _within(bytes(data), limit)


def _within(data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise ImageTooLarge(f"The image has more than {limit:,} bytes, which is the limit ('download_bytes').")
    return data
