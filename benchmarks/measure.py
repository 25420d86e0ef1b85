"""What a server costs: CPU and memory of its whole process tree, requests per second, and medians."""

from __future__ import annotations

import asyncio
import os
import re
import statistics
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.peers import WRK

TICKS = os.sysconf("SC_CLK_TCK")
WAIT = 60.0  # Seconds; no single answer may take longer.


def tree(pid: int) -> list[int]:
    """The process and all below it."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU that the tree has used, user and system, with that of its children that have ended.

    /proc/<pid>/stat counts in ticks of 10 ms, too coarse for one request; the same sum in nanoseconds is the process's
    CPU clock, whose number is made as clock_getcpuclockid(3) makes it.
    """
    total = 0.0
    for one in tree(pid):
        total += time.clock_gettime_ns(~one << 3 | 2) / 1e9
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[13:15])) / TICKS  # cutime, cstime
    return total


def settle(pid: int, seconds: float = 5.0) -> float:
    """CPU of the tree once it works no more: threads may go on after the answer."""
    deadline = time.monotonic() + seconds
    before = cpu_seconds(pid)
    while True:
        time.sleep(0.03)
        now = cpu_seconds(pid)
        if now - before < 0.0005 or time.monotonic() > deadline:
            return now
        before = now


def peak_memory(pid: int) -> int:
    """The highest resident memory in bytes, the sum of each process's own: pages that they share count again."""
    return sum(peak_of(one) for one in tree(pid))


def peak_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None, f"process {pid} has no memory"
    return int(found[1]) * 1024


def fetch(url: str) -> bytes:
    """The body of a 200, or an HTTPError."""
    with urllib.request.urlopen(url, timeout=WAIT) as response:
        return bytes(response.read())


def costs(pid: int, urls: Iterable[str]) -> list[tuple[float, bytes]]:
    """CPU in seconds, and the body, of each request, one at a time."""
    found = []
    before = settle(pid)
    for url in urls:
        body = fetch(url)
        after = settle(pid)
        found.append((after - before, body))
        before = after
    return found


def nanoseconds(call: Callable[[], object], seconds: float = 0.3) -> float:
    """What one call takes in this process: the least of several rounds, the one least disturbed."""
    count, least = 100, float("inf")
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        start = time.perf_counter_ns()
        for _ in range(count):
            call()
        least = min(least, (time.perf_counter_ns() - start) / count)
    return least


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def mean(values: Iterable[float]) -> float:
    return statistics.fmean(values)


@dataclass(frozen=True)
class Reply:
    """``seconds``: from connecting, or from the request on a connection that was open, to the last byte."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, started: float | None = None
) -> Reply:
    """One request on an open connection; the answer has a Content-Length."""
    started = started or time.perf_counter()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), WAIT)).decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
    body = await asyncio.wait_for(reader.readexactly(int(headers.get("content-length", 0))), WAIT)
    return Reply(int(head[0].split()[1]), headers, body, time.perf_counter() - started)


def requests_per_second(urls: Sequence[str], seconds: float, folder: Path, connections: int = 8) -> float:
    """How many of ``urls``, in turn, one server answers; they are on one host. Any error fails."""
    rate = _wrk if WRK else _own_client
    return rate(urls, seconds, folder, connections)


def _wrk(urls: Sequence[str], seconds: float, folder: Path, connections: int) -> float:
    paths = ", ".join(f'"{urlsplit(url).path}"' for url in urls)
    script = folder / "wrk.lua"
    script.write_text(
        f"local paths = {{{paths}}}\nlocal turn = 0\n"
        'request = function() turn = turn % #paths + 1; return wrk.format("GET", paths[turn]) end\n'
    )
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(script), urls[0]]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + 30).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise AssertionError(f"Some requests failed:\n{said}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def _own_client(urls: Sequence[str], seconds: float, folder: Path, connections: int) -> float:
    """The same without wrk. It is slower than fast servers are, and so makes them look more alike."""

    async def client(first: int, deadline: float) -> int:
        parts = urlsplit(urls[0])
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        count = 0
        while time.monotonic() < deadline:
            reply = await ask(reader, writer, urlsplit(urls[(first + count) % len(urls)]).path)
            assert reply.status < 400, f"Some request failed: {reply}"
            count += 1
        writer.close()
        return count

    async def clients() -> int:
        deadline = time.monotonic() + seconds
        return sum(await asyncio.gather(*(client(number, deadline) for number in range(connections))))

    return asyncio.run(clients()) / seconds
