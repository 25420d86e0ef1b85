"""Folders: a store in a folder, and what it takes to write whole files, or none."""

from __future__ import annotations

import os
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from lazycrop.errors import BadRequest, MissingObject
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.stores.contract import Opened, checked_url, object_url, unavailable

_WAYS = 10_000  # Folders that are remembered to have no symbolic link on the way.


def _open_itself(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW)


def _read(descriptor: int, length: int) -> bytes:
    """All of a file, which a file system that is far away may give in parts."""
    data = os.read(descriptor, length)
    while len(data) < length and (more := os.read(descriptor, length - len(data))):
        data += more
    return data


class FolderStore:
    """A folder of this machine, or one that several machines share. It is made when the first object is put.

    A web server may serve it under ``public_url``. Names that begin with a dot are not objects. A symbolic link
    below the folder is never followed; the folder itself may be one.
    """

    is_remote = False

    def __init__(self, path: str | os.PathLike[str], public_url: str | None = None) -> None:
        self.path = os.path.realpath(path)
        self._ways: set[str] = set()
        self.public_url = checked_url("public_url", public_url)

    def __repr__(self) -> str:
        return f"FolderStore({self.path!r})"

    def url(self, key: str) -> str | None:
        return object_url(self.public_url, key) if self.public_url else None

    def put(
        self,
        key: str,
        data: bytes,
        content_type: str,
        *,
        cache_control: str = IMMUTABLE,
        new: bool = False,
        private: bool = False,
    ) -> bool:
        path = self._path(key)
        folder = os.path.dirname(path)
        temporary = os.path.join(folder, f"{_TEMPORARY}{uuid.uuid4().hex}")
        with self._failures("put", key):
            try:
                with self._create(temporary) as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                written = _link(temporary, path) if new else _rename(temporary, path)
                with suppress(FileNotFoundError):  # deleted again already, and its folder with it
                    _sync_folder(folder)
                return written
            finally:
                with suppress(OSError):
                    os.unlink(temporary)
                self._prune(folder)

    def get(self, key: str, limit: int) -> bytes:
        with self._failures("get", key):
            # A file object of Python's makes nine calls to the system of these four.
            descriptor = _open_itself(self._path(key, reading=True), os.O_RDONLY)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    raise IsADirectoryError
                if status.st_size > limit:
                    raise unavailable("get", key, f"it has {status.st_size} bytes, more than {limit}")
                return _read(descriptor, status.st_size)
            finally:
                os.close(descriptor)

    def open(self, key: str) -> Opened:
        with self._failures("open", key):
            # Unbuffered, because whoever sends it reads large pieces.
            file = open(self._path(key, reading=True), "rb", buffering=0, opener=_open_itself)  # noqa: SIM115 - the caller closes it
            return Opened(cast(BinaryIO, file), os.fstat(file.fileno()).st_size)

    def exists(self, key: str) -> bool:
        try:
            with self._failures("look for", key):
                return stat.S_ISREG(os.lstat(self._path(key, reading=True)).st_mode)
        except MissingObject:
            return False

    def delete(self, key: str) -> None:
        path = self._path(key)
        with suppress(MissingObject), self._failures("delete", key):
            os.unlink(path)
            folder = os.path.dirname(path)
            _remove_leftovers(folder)
            self._prune(folder)

    def list(self, folder: str) -> Iterator[str]:
        path = self._path(folder.removesuffix("/")) if folder else self.path
        found = []
        with suppress(MissingObject), self._failures("list", folder), os.scandir(path) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    found.append(f"{folder}{entry.name}/")
                elif entry.is_file(follow_symlinks=False):
                    found.append(f"{folder}{entry.name}")
        return iter(found)

    def _remember_way(self, way: str) -> None:
        if len(self._ways) >= _WAYS:
            self._ways.clear()
        self._ways.add(way)

    def _path(self, key: str, *, reading: bool = False) -> str:
        """The object's file. Keys are checked long before; this makes sure that none ever leaves the folder."""
        segments = key.split("/")
        if "\0" in key or any(not segment or segment.startswith(".") for segment in segments):
            raise BadRequest(f"The key {key[:80]!r} is malformed; it is names joined by '/', none beginning with '.'.")
        path = os.path.join(self.path, key)
        # To look for links takes half of the time of a hit. Only who may write there can put one on a way that was
        # looked at before, and a read does not follow the object itself; whoever writes looks each time.
        way = os.path.dirname(path) if reading else path
        if not reading or way not in self._ways:
            if os.path.realpath(way) != way:
                raise unavailable("reach", key, "there is a symbolic link on the way")
            if reading:
                self._remember_way(way)
        return path

    def _create(self, path: str) -> BinaryIO:
        """A new file at ``path``, and the folders above it, which a delete may be removing just now."""
        attempts = 100
        while True:
            try:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                return open(path, "xb")
            except (FileNotFoundError, FileExistsError):
                attempts -= 1
                if not attempts:
                    raise

    def _prune(self, folder: str) -> None:
        """Remove the folder and those above it as long as they are empty."""
        with suppress(OSError):
            while folder != self.path:
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if action != "put" and isinstance(error, FileNotFoundError | NotADirectoryError | IsADirectoryError):
                raise MissingObject("The store has no such object.") from None
            raise unavailable(action, key, error) from error


_TEMPORARY = ".lazycrop-"
_LEFTOVER_SECONDS = 60


def _rename(temporary: str, path: str) -> bool:
    os.replace(temporary, path)
    return True


def _link(temporary: str, path: str) -> bool:
    """Unlike a rename, a link never replaces what is there, and exactly one of several succeeds."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        if os.path.isdir(path):
            raise
        return False
    return True


def _sync_folder(folder: str) -> None:
    """Make the new name last through a power cut, which syncing the file alone does not."""
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_leftovers(folder: str) -> None:
    """Remove what killed puts have left in a folder, if that is all there is.

    If one is still being written after all, that put fails and is tried again.
    """
    with os.scandir(folder) as entries:
        leftovers = []
        for entry in entries:
            if not entry.name.startswith(_TEMPORARY):
                return
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < _LEFTOVER_SECONDS:
                return
            leftovers.append(entry.path)
    for path in leftovers:
        os.unlink(path)
