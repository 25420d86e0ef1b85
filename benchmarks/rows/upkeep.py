"""Upkeep: list, usage, cleanup --dry-run and verify of many images: seconds for a thousand, and peak memory.

``python -m benchmarks.rows.upkeep 100000`` in a folder; ``… 10000 s3`` in SeaweedFS; then the commands, if not all of
them. Each is a process of its own. All images are copies of one small photograph (its objects are links), with a record
of its own each.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lazycrop import LazyCrop

_LINKS = 50_000  # to one file; ext4 has 65,000 at most
ROOT = Path(__file__).parents[2]
COMMANDS = (["list", "--quiet"], ["usage"], ["cleanup", "--dry-run", "--quiet"], ["verify", "--quiet", "--jobs", "2"])


def made(folder: Path) -> dict[str, bytes]:
    """The objects of one image."""
    images = LazyCrop(store=folder, sizes="any", broker="inline")
    images.store_origin("cat", next(ROOT.glob("tests/photos/Fossa*")), "300x300")
    images.warm("cat", ["100x", "60x60-cover"])
    return {path.name: path.read_bytes() for path in (folder / "cat").iterdir()}


def name_of(number: int) -> str:
    return f"users/{number // 1000:03}/{number % 1000:03}" if number % 2 else f"{number:06}"


def record_of(objects: dict[str, bytes], number: int) -> bytes:
    return objects["image.json"].replace(b'"cat"', b'"%s"' % name_of(number).encode())


def fill_folder(template: Path, store: Path, objects: dict[str, bytes], count: int) -> None:
    for number in range(count):
        folder = store / name_of(number)
        folder.mkdir(parents=True)
        for name in objects:
            if name != "image.json":
                if number % _LINKS == 0:
                    (template / name).unlink(missing_ok=True)
                    (template / name).write_bytes(objects[name])
                os.link(template / name, folder / name)
        (folder / "image.json").write_bytes(record_of(objects, number))


def fill_bucket(store: object, objects: dict[str, bytes], count: int) -> None:
    def put(number: int) -> None:
        for name, data in objects.items():
            content = record_of(objects, number) if name == "image.json" else data
            store.put(f"{name_of(number)}/{name}", content, "image/jpeg")  # type: ignore[attr-defined]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put, range(count)))


def measure(arguments: list[str], env: dict[str, str], count: int) -> None:
    began = time.monotonic()
    done = subprocess.Popen(
        [sys.executable, "-m", "lazycrop", *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert done.stdout is not None
    last = b""
    for line in done.stdout:
        last = line
    _, _, used = os.wait4(done.pid, 0)
    seconds = time.monotonic() - began
    cpu = used.ru_utime + used.ru_stime
    print(
        f"{arguments[0]:8} {count:7} images: {seconds:6.1f} s, {1000 * seconds / count:6.2f} s a thousand "
        f"({1000 * cpu / count:.2f} s of CPU), peak {used.ru_maxrss / 1024:.0f} MB   {last.decode().strip()}",
        flush=True,
    )


def main(count: int, kind: str = "folder", *names: str) -> None:
    commands = [command for command in COMMANDS if not names or command[0] in names]
    with tempfile.TemporaryDirectory(dir=os.environ.get("UPKEEP_DIR")) as temporary:
        template, store = Path(temporary) / "template", Path(temporary) / "store"
        objects = made(template)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "LAZYCROP_STORE": str(store), "LAZYCROP_SIZES": "100x"}
        if kind == "folder":
            fill_folder(template, store, objects, count)
            for command in commands:
                measure(command, env, count)
            return
        sys.path.insert(0, str(ROOT / "tests"))
        from servers import S3

        s3 = S3(Path(temporary))
        s3.start()
        try:
            env |= {"LAZYCROP_STORE": f"s3://{s3.bucket}/many/", "LAZYCROP_S3_ENDPOINT_URL": s3.endpoint}
            env |= {"LAZYCROP_S3_ACCESS_KEY": s3.access_key, "LAZYCROP_S3_SECRET_KEY": s3.secret_key}
            env |= {"LAZYCROP_S3_REGION": s3.region}
            os.environ.update({name: value for name, value in env.items() if name.startswith("LAZYCROP_")})
            fill_bucket(LazyCrop.from_env().store, objects, count)
            for command in commands:
                measure(command, env, count)
        finally:
            s3.stop()


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    main(int(sys.argv[1]), *sys.argv[2:])
