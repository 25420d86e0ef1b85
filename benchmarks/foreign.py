"""Foreign requests: what the pages of an application wait for beside its images, and those of another server."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

from servers import HOST

PAUSE = 0.005  # Seconds between two requests.

Samples = dict[str, list[float]]
"""Seconds that each request took, by the name of who was asked."""


def samples(urls: Mapping[str, str], is_over: Callable[[], bool]) -> Samples:
    """They take turns, so that whatever else the machine does meets all of them."""
    found: Samples = {name: [] for name in urls}
    while not is_over():
        for name, url in urls.items():
            began = time.perf_counter()
            _ask(url)
            found[name].append(time.perf_counter() - began)
            time.sleep(PAUSE)
    return found


def samples_for(urls: Mapping[str, str], seconds: float) -> Samples:
    end = time.monotonic() + seconds
    return samples(urls, lambda: time.monotonic() > end)


def _ask(url: str) -> None:
    """A page, by a connection of its own."""
    with socket.create_connection((HOST, urlsplit(url).port or 80), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert connection.makefile("rb").read().endswith(b"ok")


def share(samples: list[float], part: float) -> float:
    """Seconds that such a part of them take at most."""
    return sorted(samples)[min(len(samples) - 1, int(len(samples) * part))]


def growth(before: Samples, during: Samples, name: str, part: float) -> float:
    """How many times as long they take as before."""
    return share(during[name], part) / share(before[name], part)


def cells(samples: list[float]) -> list[float]:
    """Median, p99 and longest, in milliseconds."""
    return [1000 * share(samples, part) for part in (0.5, 0.99, 1)]


@contextmanager
def process(nice: int = 0) -> Iterator[ProcessPoolExecutor]:
    """A process that calls functions. ``nice``: of clients, which stand for other machines: servers go before them."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), os.nice, (nice,)) as pool:
        yield pool
