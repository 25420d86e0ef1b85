"""File systems that can do less, mounted through FUSE."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from servers import eventually

FILE_SYSTEM = '''
"""A folder again, through FUSE, that lacks what its mode says."""
import errno, os, sys, unicodedata
from fuse import FUSE, FuseOSError, Operations

mode, root, mount = sys.argv[1:]


class Again(Operations):
    def at(self, path):
        if mode == "takes names apart":
            return root + unicodedata.normalize("NFD", path)
        if mode != "ignores case":
            return root + path
        here = root
        for name in filter(None, path.split("/")):
            there = os.listdir(here) if os.path.isdir(here) else []
            here = os.path.join(here, next((one for one in there if one.lower() == name.lower()), name))
        return here

    def getattr(self, path, handle=None):
        status = os.lstat(self.at(path))
        return {name: getattr(status, name) for name in dir(status) if name in
                ("st_atime", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")}

    def readdir(self, path, handle): return [".", "..", *os.listdir(self.at(path))]
    def mkdir(self, path, flags): return os.mkdir(self.at(path), flags)
    def rmdir(self, path): return os.rmdir(self.at(path))
    def unlink(self, path): return os.unlink(self.at(path))
    def rename(self, old, new): return os.rename(self.at(old), self.at(new))
    def create(self, path, flags, info=None): return os.open(self.at(path), os.O_RDWR | os.O_CREAT | os.O_EXCL, flags)
    def open(self, path, flags): return os.open(self.at(path), flags)
    def read(self, path, size, offset, handle): return os.pread(handle, size, offset)
    def write(self, path, data, offset, handle): return os.pwrite(handle, data, offset)
    def release(self, path, handle): return os.close(handle)
    def utimens(self, path, times=None): return os.utime(self.at(path), times)

    def fsync(self, path, data_only, handle):
        if mode == "no fsync":
            raise FuseOSError(errno.EINVAL)

    def fsyncdir(self, path, data_only, handle):
        if mode in ("no fsync of folders", "no fsync"):
            raise FuseOSError(errno.EINVAL)

    def link(self, target, source):
        if mode == "no links":
            raise FuseOSError(errno.EPERM)
        return os.link(self.at(source), self.at(target))


FUSE(Again(), mount, foreground=True, nothreads=True)
'''


@contextmanager
def mounted(mode: str, folder: Path) -> Iterator[Path]:
    try:
        import fuse  # noqa: F401
    except (ImportError, OSError):
        pytest.skip("no FUSE: apt-get install libfuse2, pip install fusepy")
    if not os.access("/dev/fuse", os.W_OK):
        pytest.skip("no FUSE: /dev/fuse cannot be opened")
    root, mount = folder / "root", folder / "mount"
    root.mkdir()
    mount.mkdir()
    command = [sys.executable, "-W", "ignore", "-c", FILE_SYSTEM, mode, str(root), str(mount)]
    with subprocess.Popen(command) as server:
        try:
            eventually(lambda: os.path.ismount(mount) or server.poll() is not None, what="it is mounted")
            if server.poll() is not None:
                pytest.skip("no FUSE: this machine does not let us mount")
            yield mount / "images"
        finally:
            subprocess.run(["umount", str(mount)], check=False)
            try:
                server.wait(10)
            except subprocess.TimeoutExpired:
                server.kill()
