"""Site: memcached, a broker, a store, two web processes and a worker, each with a fault proxy before it."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from servers import HOST, ROOT, S3, FaultProxy, Memcached, RabbitMQ, Server, Valkey, answers, free_ports
from soak.faults import Break, Fault, Window

SECRET = "the key of the soak"
SECONDS: dict[str, Any] = {  # so short that much of what they are about happens within a minute
    "record_seconds": 2,
    "shortcut_seconds": 0.5,
    "lease_seconds": 5,
    "hot_seconds": 10,
    "source_seconds": 2,
    "memcached_rest_seconds": 1,
    "broker_rest_seconds": 1,
}
REQUEST_SECONDS = 8.0
BY_ITSELF, BUSY = "by itself", "machine too busy"
_PAUSE, _LATE = 0.2, 0.6  # Seconds between two rounds of the canary, and for such a pause and a round.


class Site:
    """``settings``: a LazyCrop's, past all proxies. ``webs``: the addresses of both web processes, behind theirs;
    ``direct``: past them. ``megabytes``: of the store's disk.
    """

    def __init__(self, folder: Path, broker: str, megabytes: int, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self.sources = self._make("sources")
        self.has_small_disk = _mounted(self._make("store"), megabytes, stack)
        self.servers: dict[str, Server] = {}
        self.proxies: dict[str, FaultProxy] = {}
        self.store = store = S3(folder / "store")
        store.log = folder / "store.log"  # which is to be written when the disk is full
        memcached = Memcached(self._make("memcached"), megabytes=8)  # so that it evicts
        queue: Any = {"redis": Valkey, "rabbitmq": RabbitMQ}[broker](self._make("broker"))
        for part, server in {"store": store, "memcached": memcached, "broker": queue}.items():
            self._start(part, server)
        self.public_url = f"{store.endpoint}/{store.bucket}/soak/"
        self.settings: dict[str, Any] = {
            "store": f"s3://{store.bucket}/soak/",
            "public_url": self.public_url,
            "s3_endpoint_url": store.endpoint,
            "s3_access_key": store.access_key,
            "s3_secret_key": store.secret_key,
            "memcached": memcached.address,
            "broker": queue.url,
            "sizes": "any",
            "secret": SECRET,
            "sources": f"files={self.sources}",
            "mezzanine_edges": "256,512",
            **SECONDS,
        }
        env = self._environment()
        [port] = free_ports(1)
        command = [sys.executable, "-m", "lazycrop", "--log-json", "worker", "--processes", "1", "--threads", "2"]
        command += ["--metrics-port", str(port)]
        url = f"http://{HOST}:{port}/metrics"
        self._start(
            "worker", self._python("worker", command, url, env | {"PROMETHEUS_MULTIPROC_DIR": str(self._make("jobs"))})
        )
        counts = {"PROMETHEUS_MULTIPROC_DIR": str(self._make("counts"))}
        self.direct = [self._web(f"web {number}", env | counts) for number in (1, 2)]
        self.webs = [f"http://{self.proxies[f'web {number}'].address}" for number in (1, 2)]

    def _make(self, name: str) -> Path:
        (path := self._folder / name).mkdir(exist_ok=True)
        return path

    def _start(self, part: str, server: Any) -> None:
        self._stack.callback(server.stop)
        server.start()
        self.servers[part] = server
        if part != "worker":
            self.proxies[part] = self._stack.enter_context(FaultProxy(server.port))

    def _environment(self) -> dict[str, str]:
        """That of processes which reach each server through its proxy."""
        behind = dict(self.settings)
        for part, setting in {"store": "s3_endpoint_url", "memcached": "memcached", "broker": "broker"}.items():
            port = str(self.servers[part].port)  # type: ignore[attr-defined]
            behind[setting] = behind[setting].replace(port, str(self.proxies[part].port))
        return {f"LAZYCROP_{name.upper()}": str(value) for name, value in {**behind, "metrics": True}.items()} | {
            "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
        }

    def _python(self, name: str, command: list[str], url: str, env: dict[str, str]) -> Server:
        return Server(command, ready=lambda: answers(url), folder=self._make(name), env=env, seconds=60)

    def _web(self, name: str, env: dict[str, str]) -> str:
        [port] = free_ports(1)
        command = [sys.executable, "-m", "gunicorn", "soak.app:application", "-b", f"{HOST}:{port}", "-w", "1"]
        command += ["--threads", "16", "--keep-alive", "60", "--timeout", "120", "--log-level", "warning"]
        server: Any = self._python(name, command, f"http://{HOST}:{port}/healthz/live", env)
        server.port = port
        self._start(name, server)
        return f"http://{HOST}:{port}"

    @property
    def breaks(self) -> dict[str, Break]:
        return dict.fromkeys(self.servers, self._break)

    @contextmanager
    def _break(self, fault: Fault) -> Iterator[None]:
        server = self.servers[fault.part]
        if fault.kind == "kill":
            server.kill()
            yield
            self._start_again(server)
        elif fault.kind == "flush":
            server.clear()
            yield
        elif fault.kind == "full disk":
            with self._full_disk():
                yield
        else:
            self.proxies[fault.part].set(fault.kind, fault.amount)  # type: ignore[arg-type]
            yield
            self.proxies[fault.part].set("pass")

    @contextmanager
    def _full_disk(self) -> Iterator[None]:
        """SeaweedFS writes to no volume any more that was full once, until its operator has started it again."""
        ballast = self._folder / "store/ballast"
        if self.has_small_disk:
            with suppress(OSError), ballast.open("wb") as file:
                while True:
                    file.write(bytes(1 << 20))
        try:
            yield
        finally:
            ballast.unlink(missing_ok=True)
            if self.has_small_disk:
                self.servers["store"].stop()
                self._start_again(self.servers["store"])

    def _start_again(self, server: Server) -> None:
        """As its operator would: SeaweedFS leaves out a whole volume whose index ends in the midst of an entry, as it
        does on a full disk, until that was written anew.
        """
        if isinstance(server, S3):
            subprocess.run([server.command[0], "fix", str(server.folder)], check=True, capture_output=True)
        server.start()

    def log(self, part: str) -> list[str]:
        return self.servers[part].log.read_text("utf-8", "replace").splitlines()


def _mounted(folder: Path, megabytes: int, stack: ExitStack) -> bool:
    """Whether the folder is a small disk of its own now, which only root can make."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False
    if done:
        stack.callback(subprocess.run, ["umount", "--lazy", str(folder)], check=True)
    return done


class Canary:
    """The soak's own objects, put, put anew, deleted, read and listed past the proxies for as long as the soak lasts.

    While that fails, or takes long, the store is at fault, whatever the plan says: a server that was killed may answer
    long before it has found its objects again, and a machine with too much to do makes it slow. ``held``: what each
    object has to be, or None; ``lost``: which of them are not, in the end.
    """

    def __init__(self, store: S3, windows: list[Window]) -> None:
        self._bucket, self._windows = store.bucket, windows
        once = {"total_max_attempts": 1}
        self._client = store.client(connect_timeout=1, read_timeout=2, retries=once)
        self._random = random.Random(store.port)
        self.changes = 0
        self.held: dict[str, bytes | None] = {}
        self._lock = threading.Lock()

    def run(self, ended: threading.Event) -> None:
        began = time.monotonic()
        while not ended.wait(_PAUSE):
            with self._lock:
                is_well = self.is_well()
            before, began = began, time.monotonic()
            if not is_well or began - before > _LATE:
                self.tell(BUSY if is_well else BY_ITSELF, before, began)

    def tell(self, kind: str, began: float, ended: float) -> None:
        last = next((window for window in reversed(self._windows) if window.kind == kind), None)
        if last is not None and last.ended == began:
            last.ended = ended
        else:
            self._windows.append(Window("store", kind, began, ended))

    def is_well(self) -> bool:
        self.changes += 1
        name = self._random.choice([f"canary/{self.changes}", self._random.choice([*self.held] or ["canary/0"])])
        body = self._random.choice([f"{self.changes}".encode()] * 9 + [None])
        self.held.pop(name, None)  # What is not acknowledged may be done later, and is never judged.
        try:
            self._change(name, body)
            self.held[name] = body
            self._client.list_objects_v2(Bucket=self._bucket, Prefix="canary/", MaxKeys=10)
            return self._is_held(self._random.choice([*self.held]))
        except (BotoCoreError, ClientError):
            return False

    def _change(self, name: str, body: bytes | None) -> None:
        if body is None:
            self._client.delete_object(Bucket=self._bucket, Key=name)
        else:
            self._client.put_object(Bucket=self._bucket, Key=name, Body=body)

    def _is_held(self, name: str) -> bool:
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
        except self._client.exceptions.NoSuchKey:
            found = None
        return bool(found == self.held[name])

    def lost(self) -> list[str]:
        with self._lock:
            return [name for name in self.held if not self._is_held_still(name)]

    def _is_held_still(self, name: str) -> bool:
        with suppress(BotoCoreError, ClientError):
            return self._is_held(name)
        return False

    def close(self) -> None:
        self._client.close()


class Watching:
    """Looks at the memory (MB), open descriptors and threads of processes, each with its children, once a second.

    And at the store, by a canary.
    """

    def __init__(self, site: Site, windows: list[Window]) -> None:
        self._site, self._parts = site, ("web 1", "web 2", "worker")
        self.canary = Canary(site.servers["store"], windows)  # type: ignore[arg-type]
        self.seen: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
        self._ended = threading.Event()
        runs = self._run, partial(self.canary.run, self._ended)
        self._threads = [threading.Thread(target=run, daemon=True) for run in runs]

    def __enter__(self) -> Watching:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        self.canary.close()

    def _run(self) -> None:
        while not self._ended.wait(1):
            for part in self._parts:
                with suppress(OSError, AssertionError, ValueError, IndexError):  # It is dead just now.
                    self.seen[part].append((time.monotonic(), *_look(self._site.servers[part].pid)))


def _look(group: int) -> tuple[float, int, int]:
    memory, files, threads = 0.0, 0, 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group:
                memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6
                threads += int(fields[17])
                files += len(os.listdir(folder / "fd"))
    if not threads:
        raise OSError("there is none")
    return memory, files, threads
