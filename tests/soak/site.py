"""Site: memcached, a broker, a store, two web processes and a worker, each with a fault proxy before it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from servers import HOST, ROOT, S3, FaultProxy, Memcached, RabbitMQ, Server, Valkey, answers, ask, free_ports
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
BUSY = "machine too busy"
_LATE = 0.4  # Seconds for a sleep of 0.1 and a question to the store, past its proxy.


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
            server.start()
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
        """SeaweedFS writes to no volume any more that was full once, until it is started again."""
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
                self.servers["store"].kill()
                self.servers["store"].start()

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


class Watching:
    """Looks at the memory (MB), open descriptors and threads of processes, each with its children, once a second.

    And at the machine: where it has so much to do that the store itself answers late, that is a fault of the store too.
    """

    def __init__(self, site: Site, windows: list[Window]) -> None:
        self._site, self._parts, self._windows = site, ("web 1", "web 2", "worker"), windows
        self.seen: dict[str, list[tuple[float, float, int, int]]] = defaultdict(list)
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._run, self._run_canary)]

    def __enter__(self) -> Watching:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _run_canary(self) -> None:
        began = time.monotonic()
        while not self._ended.wait(0.1):
            with suppress(OSError, IndexError):  # It was killed.
                ask(self._site.store.port, b"GET /healthz HTTP/1.0\r\n\r\n")
            before, began = began, time.monotonic()
            if began - before > _LATE:
                self._windows.append(Window("store", BUSY, before, began))

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
