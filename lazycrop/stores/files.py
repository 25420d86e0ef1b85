"""Files: what it takes to write whole files, or none, on file systems that can do less than others."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from contextlib import suppress

from lazycrop.model.keys import composed

_NOT_THERE = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)
"""What file systems answer to what they cannot do: exFAT, SMB, vboxsf and those of FUSE, each something else."""
_NO_LINKS = (*_NOT_THERE, errno.EMLINK, errno.EXDEV)
_NO_SYNC = (*_NOT_THERE, errno.EROFS, errno.ENOTTY, errno.EISDIR)

TEMPORARY = ".lazycrop-"
_LEFTOVER_SECONDS = 60
_POLL = 0.02


def rename(temporary: str, path: str) -> bool:
    os.replace(temporary, path)
    return True


def link(temporary: str, path: str) -> bool:
    """Unlike a rename, a link never replaces what is there, and exactly one of several succeeds."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        if os.path.isdir(path):
            raise
        with suppress(FileNotFoundError):  # deleted again already
            return os.path.samefile(temporary, path)  # NFS may ask twice when an answer is lost, see open(2)
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return _rename_new(temporary, path)
    return True


def _rename_new(temporary: str, path: str) -> bool:
    """Where there are no links: rename it under a reservation, which all others who put something new need as well.

    A reservation that a killed process has left is taken away when it is old. Should its owner live after all, both
    rename: the object is that of one of them, whole.
    """
    folder, name = os.path.split(path)
    # Names that a folder may take for the same one have the same reservation.
    name = hashlib.sha256(composed(name).casefold().encode("utf-8", "surrogatepass")).hexdigest()[:32]
    reservation = os.path.join(folder, f"{TEMPORARY}{name}")
    while not _reserve(reservation):
        if os.path.lexists(path):
            return False
        # By the clock of the file system, which may be another machine's.
        with suppress(FileNotFoundError):
            if _touched(temporary) - os.lstat(reservation).st_mtime > _LEFTOVER_SECONDS:
                os.unlink(reservation)
                continue
        time.sleep(_POLL)
    try:
        if os.path.lexists(path):
            if os.path.isdir(path):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
            return False
        return rename(temporary, path)
    finally:
        with suppress(OSError):
            os.unlink(reservation)


def _reserve(path: str) -> bool:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError:
        return False
    return True


def _touched(path: str) -> float:
    os.utime(path)
    return os.lstat(path).st_mtime


def sync_folder(folder: str) -> None:
    """Make the new name last through a power cut, which syncing the file alone does not."""
    if os.name != "posix":
        return  # elsewhere a folder cannot be opened
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:  # a folder may be written to that may not be listed, or that nobody can open
        if error.errno in _NO_SYNC:
            return
        raise
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync(descriptor: int) -> None:
    """Sync it where the file system knows how to; where it does not, the object may be lost with the power."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SYNC:
            raise


def ignores_case(folder: str) -> bool | None:
    """Does the folder find by another case what is in it? None: nothing is in it by which to tell.

    Not by comparing inodes, which FUSE makes anew for each name.
    """
    with suppress(OSError):
        names = os.listdir(folder)
        for name in names:
            other = name.swapcase()
            if name.isascii() and other != name and other not in names:
                return os.path.lexists(os.path.join(folder, other))
    return None


def remove_leftovers(folder: str) -> None:
    """Remove what killed puts have left in a folder, if that is all there is.

    If one is still being written after all, that put fails and is tried again.
    """
    with os.scandir(folder) as entries:
        leftovers = []
        for entry in entries:
            if not entry.name.startswith(TEMPORARY):
                return
            if time.time() - entry.stat(follow_symlinks=False).st_mtime < _LEFTOVER_SECONDS:
                return
            leftovers.append(entry.path)
    for path in leftovers:
        os.unlink(path)
