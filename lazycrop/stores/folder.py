"""Folders: a store in a folder."""

from __future__ import annotations

import errno
import os
import stat
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO, cast

from lazycrop.errors import BadImageId, BadRequest, LazyCropError, MissingObject
from lazycrop.model.derivatives import IMMUTABLE
from lazycrop.model.keys import composed
from lazycrop.stores.contract import Listed, Opened, checked_url, object_url, unavailable
from lazycrop.stores.files import TEMPORARY, ignores_case, link, remove_leftovers, rename, sync, sync_folder
from lazycrop.stores.walking import walk

_NO_NAMES = (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL)  # EINVAL: to exFAT and SMB, for one with ? or :
_IN_THE_WAY = (NotADirectoryError, IsADirectoryError, FileExistsError)
_FAILURES = (OSError, UnicodeEncodeError)  # The latter where the names of files are in no UTF-8.
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

    bounded = True  # Where it hangs on a network, so does every process that looks at it.

    def __init__(self, path: str | os.PathLike[str], public_url: str | None = None) -> None:
        self.path = os.path.realpath(path)
        self._ways: set[str] = set()
        self._ignores_case: bool | None = None
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
        with self._failures("put", key):
            path = self._path(key)
            folder = os.path.dirname(path)
            temporary = os.path.join(folder, f"{TEMPORARY}{uuid.uuid4().hex}")
            try:
                with self._create(temporary) as file:
                    file.write(data)
                    file.flush()
                    sync(file.fileno())
                written = link(temporary, path) if new else rename(temporary, path)
                with suppress(FileNotFoundError):  # deleted again already, and its folder with it
                    sync_folder(folder)
                return written
            finally:
                with suppress(OSError):
                    os.unlink(temporary)
                self._prune(folder)

    def get(self, key: str, limit: int) -> bytes:
        try:
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
        except _FAILURES as error:
            raise self._failure("get", key, error) from None

    def open(self, key: str) -> Opened:
        try:
            # Unbuffered, because whoever sends it reads large pieces.
            file = open(self._path(key, reading=True), "rb", buffering=0, opener=_open_itself)  # noqa: SIM115 - the caller closes it
            return Opened(cast(BinaryIO, file), os.fstat(file.fileno()).st_size)
        except _FAILURES as error:
            raise self._failure("open", key, error) from None

    def exists(self, key: str) -> bool:
        try:
            return stat.S_ISREG(os.lstat(self._path(key, reading=True)).st_mode)
        except MissingObject:  # spelled otherwise
            return False
        except _FAILURES as error:
            failure = self._failure("look for", key, error)
            if isinstance(failure, MissingObject):
                return False
            raise failure from None

    def delete(self, key: str) -> None:
        with suppress(MissingObject), self._failures("delete", key):
            path = self._path(key, missing=True)
            os.unlink(path)
            folder = os.path.dirname(path)
            remove_leftovers(folder)
            self._prune(folder)

    def list(self, folder: str) -> Iterator[str]:
        found = []
        with suppress(MissingObject), self._failures("list", folder):
            path = self._path(folder.removesuffix("/"), missing=True) if folder else self.path
            with os.scandir(path) as entries:
                for entry in entries:
                    name = composed(entry.name)  # HFS+ takes them apart.
                    if name.startswith("."):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        found.append(f"{folder}{name}/")
                    elif entry.is_file(follow_symlinks=False):
                        found.append(f"{folder}{name}")
        return iter(found)

    def walk(self, prefix: str, after: str = "", *, deep: bool = True) -> Iterator[Listed]:
        return walk(self.list, self._measured, prefix, after, deep)

    def _measured(self, key: str) -> Listed | None:
        with self._failures("list", key), suppress(FileNotFoundError):  # deleted meanwhile
            status = os.lstat(os.path.join(self.path, key))
            return Listed(key, status.st_size, status.st_mtime)
        return None

    def copy(self, source: str, key: str, content_type: str, *, private: bool = False) -> None:
        """By a link: no file is ever written to again. Where there are no links, its bytes are put once more."""
        with self._failures("put", key):
            path, original = self._path(key), self._path(source, reading=True)
            with suppress(OSError):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.link(original, path, follow_symlinks=False)
                sync_folder(os.path.dirname(path))
                return
        self.put(key, self.get(source, sys.maxsize), content_type)

    def _remember_way(self, way: str) -> None:
        if len(self._ways) >= _WAYS:
            self._ways.clear()
        self._ways.add(way)

    def _path(self, key: str, *, reading: bool = False, missing: bool = False) -> str:
        """The object's file. Keys are checked long before; this makes sure that none ever leaves the folder.

        ``reading``, ``missing``: what is spelled otherwise on the disk is missing; else it is in the way.
        """
        spelled = f"/{key}/"
        if "//" in spelled or "/." in spelled or "\0" in key:
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
        if self._ignores_case is not False and self._is_spelled_otherwise(path):
            if reading or missing:
                raise MissingObject("The store has no such object.")
            raise BadImageId(
                f"The key {key[:80]!r} differs from one that is there in upper and lower case only, which the folder "
                "of the store ignores; take another image id."
            )
        return path

    def _is_spelled_otherwise(self, path: str) -> bool:
        """Is there something by this name that has another one, as 'Cat' beside 'cat' where case is ignored?

        Found out once, and at the first use that can tell. The residual risk: two that are put at the same moment.
        """
        while path != self.path:
            folder, name = os.path.split(path)
            if self._ignores_case is None:
                self._ignores_case = ignores_case(folder)
            if self._ignores_case is False:
                return False
            if self._ignores_case and os.path.lexists(path) and name not in map(composed, os.listdir(folder)):
                return True
            path = folder
        return False

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
        """Remove the folder and those above it as long as they are empty, or not even there."""
        while folder != self.path:
            try:
                os.rmdir(folder)
            except OSError as error:
                if error.errno not in (errno.ENOENT, *_NO_NAMES):
                    return
            folder = os.path.dirname(folder)

    @contextmanager
    def _failures(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except _FAILURES as error:
            raise self._failure(action, key, error) from None

    def _failure(self, action: str, key: str, error: OSError | UnicodeEncodeError) -> LazyCropError:
        """What to raise for it; a reason that is for the log is its cause."""
        no_name = isinstance(error, UnicodeEncodeError) or error.errno in _NO_NAMES
        if action != "put" and (no_name or isinstance(error, (FileNotFoundError, *_IN_THE_WAY))):
            return MissingObject("The store has no such object.")
        if action == "put" and isinstance(error, _IN_THE_WAY) and os.path.isdir(self.path):
            return BadImageId(
                f"The key {key[:80]!r} has a name in a folder that an object of another image has already, which "
                "folders do not have twice; choose another image id."
            )
        if no_name:
            return BadImageId(
                f"The key {key[:80]!r} has a name that the folder of the store cannot have: most can have names of "
                "255 bytes, some not every character. Choose another image id."
            )
        return unavailable(action, key, error)
