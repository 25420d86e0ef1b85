"""Folders: a source in a folder of this machine, or one that several machines share."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

from lazycrop.errors import BEING_WRITTEN, ImageTooLarge, SourceUnavailable
from lazycrop.model.keys import composed
from lazycrop.sources.contract import Seen
from lazycrop.sources.names import is_name, segments
from lazycrop.stores.files import ignores_case

# A folder that may be passed through need not be one that may be listed; Linux alone tells the two apart.
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY)
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_NO_FILE = {
    *(errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG),
    *(errno.EILSEQ, errno.EINVAL, errno.ENXIO, errno.ENODEV),
}
_LINKS = 10  # that one name may lead through
_LISTED = 200_000  # names of a folder that are looked through for one in another spelling
_FOLDERS = 16  # whose names are remembered
_TRIES = 3  # to read a file that is being written to
# The clocks of file systems: Linux's moves on each 10 ms or less, FAT's each 2 s, and then a time is in whole seconds.
_FINE_TICK, _COARSE_TICK = 0.02, 2.0


class FolderSource:
    """A folder with images in it, and folders with more of them. Their names are ids; nothing is written.

    A symbolic link is followed where it leads to something in the folder; the folder itself may be one. What cannot be
    read is not there, nor is anything but a regular file, and what begins with a dot has no name. A folder that is
    missing, cannot be read, or is empty cannot tell: a disk that is not mounted leaves an empty folder, and the images
    on it are not gone. Whoever means a folder to be empty puts any file into it, such as ``.keep``.

    A validator is size and time of modification, which copies of a folder on several machines have in common, as they
    have no inode and no time of change. The residual risk: a file that is replaced by one of the same size and the
    same time to the nanosecond, as a program may make that sets the time back; ``touch`` tells of it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.realpath(path)
        self._ignores_case: bool | None = None
        self._listed: dict[tuple[int, int], tuple[int, dict[str, str]]] = {}

    def __repr__(self) -> str:
        return f"FolderSource({self.path!r})"

    def look(self, name: str, first: int = 0) -> Seen | None:
        return self._seen(name, lambda file, length: _read(file, min(first, length)))

    def read(self, name: str, limit: int) -> Seen | None:
        def whole(file: int, length: int) -> bytes:
            if length > limit:
                raise ImageTooLarge(f"The image has more than {limit:,} bytes, which is the limit ('download_bytes').")
            return _read(file, length)

        return self._seen(name, whole, settled=True)

    def walk(self, below: str = "") -> Iterator[str]:
        """Sorted within each folder. Links to folders are left out: what they lead to has a name without them."""
        self._check_mounted()
        yield from self._walk(self.path, "", below)

    def _seen(self, name: str, take: Callable[[int, int], bytes], *, settled: bool = False) -> Seen | None:
        """What ``take`` has of the file, which was the same before and after that.

        ``settled``: once any later change of it will have another time.
        """
        for _ in range(_TRIES):
            with self._opened(name) as file:
                if file is None:
                    return None
                if settled:
                    _let_settle(os.fstat(file))
                before = os.fstat(file)
                data = take(file, before.st_size)
                if _validator(os.fstat(file)) == _validator(before):
                    return Seen(_validator(before), data, before.st_size)
        raise SourceUnavailable(BEING_WRITTEN)

    @contextmanager
    def _opened(self, name: str) -> Iterator[int | None]:
        parts = segments(name)
        file = self._open(parts) if parts else None
        try:
            yield file
        finally:
            if file is not None:
                os.close(file)

    def _open(self, parts: list[str]) -> int | None:
        """A descriptor of the file; None where it is not there. Raises OSError where the folder cannot tell."""
        try:
            return self._from_root(parts, _LINKS)
        except OSError as error:
            if error.errno in _NO_FILE:
                self._check_mounted()
                return None
            # One file on a bad sector is no reason to leave the others alone.
            raise SourceUnavailable("The image cannot be read at its source; try again in a few seconds.") from error

    def _check_mounted(self) -> None:
        with os.scandir(self.path) as entries:
            if next(entries, None) is None:
                raise OSError(f"{self.path!r} is empty: mount its disk, or put a file such as .keep into it")

    def _from_root(self, parts: list[str], links: int) -> int:
        root = os.open(self.path, _FOLDER & ~os.O_NOFOLLOW)
        try:
            return self._below(root, self.path, parts, links)
        finally:
            os.close(root)

    def _below(self, folder: int, path: str, parts: list[str], links: int) -> int:
        """Open it segment by segment, so that the system never follows a link: one could be put there at any time.

        A link is resolved here instead, and what it leads to is opened in the same way. (To resolve the whole path and
        compare, then open it, leaves a moment in between; to look afterwards where the descriptor leads is Linux's
        alone, and has opened what is outside by then.)
        """
        if not parts:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        name, mode = self._entry(folder, path, parts[0])
        path = os.path.join(path, name)
        if stat.S_ISLNK(mode):
            return self._from_root([*self._inside(path, links), *parts[1:]], links - 1)
        if len(parts) == 1:
            return _regular(name, folder, mode)
        below = os.open(name, _FOLDER, dir_fd=folder)
        try:
            return self._below(below, path, parts[1:], links)
        finally:
            os.close(below)

    def _inside(self, path: str, links: int) -> list[str]:
        """The segments of what a link leads to, from the folder on."""
        real = os.path.realpath(path)
        if not links or not real.startswith(self._root):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
        return real.removeprefix(self._root).split("/")

    @property
    def _root(self) -> str:
        """What the path of all that is in the folder begins with. A disk may be mounted by a link at any time."""
        return os.path.join(os.path.realpath(self.path), "")

    def _entry(self, folder: int, path: str, name: str) -> tuple[str, int]:
        """How the disk spells this name, and the mode of what has it."""
        try:
            mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        except FileNotFoundError:
            if name.isascii():
                raise
        else:
            if self._is_exact(folder, path, name):
                return name, mode
        name = self._names(folder).get(name, "")
        return name, os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode

    def _is_exact(self, folder: int, path: str, name: str) -> bool:
        """Is it there by this name? Where case is ignored, one file would have many ids."""
        if self._ignores_case is None:
            self._ignores_case = ignores_case(path)
        return self._ignores_case is False or self._names(folder).get(name) == name

    def _names(self, folder: int) -> dict[str, str]:
        """The names in a folder as the disk has them, by their spelling in ids: copies from Macs are decomposed.

        They are kept for as long as the folder does not change, because any stranger can ask for what is not there.
        """
        status = os.fstat(folder)
        key, changed = (status.st_dev, status.st_ino), status.st_mtime_ns
        if self._listed.get(key, (None,))[0] != changed:
            names = _list(folder)
            if time.time() - status.st_mtime < _COARSE_TICK:
                return names
            if len(self._listed) >= _FOLDERS:
                self._listed = {}
            self._listed[key] = (changed, names)
            return names
        return self._listed[key][1]

    def _walk(self, folder: str, prefix: str, below: str) -> Iterator[str]:
        for name, entry in self._entries(folder):
            if entry.is_dir(follow_symlinks=False):
                inner = f"{prefix}{name}/"
                if inner.startswith(below) or below.startswith(inner):
                    yield from self._walk(entry.path, inner, below)
            elif f"{prefix}{name}".startswith(below) and self._is_file(entry):
                yield prefix + name

    def _entries(self, folder: str) -> list[tuple[str, os.DirEntry[str]]]:
        """What has a name, in the spelling of ids; of two that have the same one that which is spelled so."""
        try:
            with os.scandir(folder) as entries:
                found = [(composed(entry.name), entry) for entry in entries if is_name(entry.name)]
        except OSError as error:
            if folder == self.path or error.errno not in _NO_FILE:
                raise
            return []  # What cannot be read is not there.
        found.sort(key=lambda pair: pair[0] == pair[1].name)
        return sorted(dict(found).items())

    def _is_file(self, entry: os.DirEntry[str]) -> bool:
        if not entry.is_symlink():
            return entry.is_file(follow_symlinks=False)
        real = os.path.realpath(entry.path)
        return real.startswith(self._root) and os.path.isfile(real)


def _regular(name: str, folder: int, mode: int) -> int:
    """A descriptor of a regular file. It is looked at before, because to open a device may do something."""
    if stat.S_ISREG(mode):
        file = os.open(name, _FILE, dir_fd=folder)
        if stat.S_ISREG(os.fstat(file).st_mode):
            return file
        os.close(file)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _list(folder: int) -> dict[str, str]:
    listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(listing) as entries:
            return {composed(entry.name): entry.name for entry in islice(entries, _LISTED)}
    finally:
        os.close(listing)


def _validator(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _let_settle(status: os.stat_result) -> None:
    """Wait until the clock that gave a file its time has moved on: a change in the same tick would not be seen."""
    tick = _FINE_TICK if status.st_mtime_ns % 1_000_000_000 else _COARSE_TICK
    time.sleep(min(tick, max(0.0, status.st_mtime + tick - time.time())))


def _read(file: int, length: int) -> bytes:
    """That many bytes, which a file system that is far away may give in parts; fewer of a file that was cut."""
    os.set_blocking(file, True)
    data = b""
    while len(data) < length and (more := os.read(file, length - len(data))):
        data += more
    return data
