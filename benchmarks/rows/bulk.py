"""Bulk: ``lazycrop store`` of a folder of photographs with one job and with two, and what two processes can be at all.

``python -m benchmarks.rows.bulk PHOTOGRAPHS 500`` into a folder; ``… 500 s3`` into SeaweedFS. Images a second by the
clock, CPU of all processes, and their memory (PSS, the most that they had together). The control: Pillow alone makes
one picture of 1600 px of each photograph, in one process and in two; where its ratio is less than 2, the machine's
second core is not a whole one.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

from PIL import Image

from benchmarks import ROOT
from benchmarks.measure import tree
from servers import S3

_ROUNDS = 2  # of which the better one counts


def thumbnail(path: Path) -> None:
    with Image.open(path) as image:
        image.draft("RGB", (1600, 1600))
        image.thumbnail((1600, 1600))
        image.convert("RGB").save(BytesIO(), "JPEG", quality=80)


def control(paths: list[Path], jobs: int) -> float:
    """Images a second."""
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        pool.map(thumbnail, paths[:jobs], 1)
        began = time.monotonic()
        pool.map(thumbnail, paths, 4)
        return len(paths) / (time.monotonic() - began)


def memory_of(pid: int) -> int:
    """Bytes that all processes of a tree have."""
    found = 0
    with suppress(OSError):  # One has ended meanwhile.
        for process in tree(pid):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
            found += 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return found


def bulk(folder: Path, jobs: int, env: dict[str, str], count: int) -> float:
    """Images a second, of a fresh store."""
    before, began, peak = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic(), 0
    command = [sys.executable, "-m", "lazycrop", "store", str(folder), "--jobs", str(jobs)]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory_of(process.pid))
            time.sleep(0.2)
        assert process.returncode == 0
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"lazycrop store, {jobs} jobs: {count / seconds:.2f} images a second, "
        f"{1000 * cpu / count:.0f} ms of CPU each, peak {peak / 1e6:.0f} MB",
        flush=True,
    )
    return count / seconds


@contextmanager
def places(kind: str, temporary: Path) -> Iterator[Iterator[dict[str, str]]]:
    """The settings of one store after another."""
    if kind == "folder":
        yield ({"LAZYCROP_STORE": str(temporary / f"store{number}")} for number in range(100))
        return
    s3 = S3(temporary)
    s3.start()
    settings = {"LAZYCROP_S3_ENDPOINT_URL": s3.endpoint, "LAZYCROP_S3_REGION": s3.region}
    settings |= {"LAZYCROP_S3_ACCESS_KEY": s3.access_key, "LAZYCROP_S3_SECRET_KEY": s3.secret_key}
    try:
        yield ({**settings, "LAZYCROP_STORE": f"s3://{s3.bucket}/{number}/"} for number in range(100))
    finally:
        s3.stop()


def main(photographs: Path, count: int, kind: str = "folder") -> None:
    given = sorted(photographs.glob("*.jpg"))
    with tempfile.TemporaryDirectory() as temporary:
        (folder := Path(temporary, "photographs")).mkdir()
        paths = [folder / f"{number:05}.jpg" for number in range(count)]
        for number, path in enumerate(paths):
            shutil.copyfile(given[number % len(given)], path)
        (server := Path(temporary, "server")).mkdir()
        with places(kind, server) as stores:
            best: dict[str, float] = {}
            for _ in range(_ROUNDS):
                for jobs in (1, 2):
                    env = {**os.environ, "PYTHONPATH": str(ROOT), **next(stores)}
                    for name, found in (("store", bulk(folder, jobs, env, count)), ("Pillow", control(paths, jobs))):
                        best[f"{name} {jobs}"] = max(best.get(f"{name} {jobs}", 0.0), found)
    for name in ("store", "Pillow"):
        one, two = best[f"{name} 1"], best[f"{name} 2"]
        print(f"{name}: {one:.2f} and {two:.2f} images a second, two jobs ÷ one {two / one:.2f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
