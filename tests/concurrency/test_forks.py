"""Forks: what a child begins anew, and that nothing stays of what is gone; and gevent, which patches what is there."""

from __future__ import annotations

import gc
import os
import sys
import threading
import urllib.request
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from lazycrop import LazyCrop
from lazycrop.concurrency import forks
from lazycrop.concurrency.forks import Lock
from lazycrop.stores.memory import MemoryStore
from servers import HOST, ROOT, free_ports, running


def in_a_child(call: Callable[[], object]) -> int:
    """The exit status of a forked child that makes the call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            call()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return os.waitpid(child, 0)[1]


def test_a_lock_that_another_thread_held_is_free_in_a_child() -> None:
    lock, held, gate = Lock(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            gate.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(20)
    assert in_a_child(lambda: lock._lock.acquire(timeout=5) or os._exit(9)) == 0
    gate.set()
    thread.join()


def test_a_memory_store_that_another_thread_writes_to_works_in_a_child() -> None:
    store = MemoryStore()
    with store._lock:
        assert in_a_child(lambda: store.put("cat/200x.jpg", b"picture", "image/jpeg", new=True)) == 0


def test_what_is_gone_leaves_no_handlers() -> None:
    LazyCrop(store="memory:", sizes="any")
    gc.collect()
    before = len(forks._owners)
    for _ in range(200):
        LazyCrop(store="memory:", sizes="any")
    gc.collect()
    assert len(forks._owners) <= before


GEVENT_APPLICATION = """
from lazycrop import LazyCrop, Middleware

def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]

application = Middleware(page, LazyCrop(store="images", sizes="any"))
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gevent", "gthread"])
@pytest.mark.parametrize("preload", [["--preload"], []])
def test_gunicorn_answers_with_and_without_preload(kind: str, preload: list[str], tmp_path: Path) -> None:
    if kind == "gevent":
        pytest.importorskip("gevent")
    (tmp_path / "preloaded.py").write_text(GEVENT_APPLICATION)
    picture = ROOT / "tests/photos/Wine_by_Jakkub_Mede.jpg"
    LazyCrop(store=tmp_path / "images", sizes="any").store_origin("cat", picture)
    [port] = free_ports(1)
    options = ["-k", kind, *preload, "-b", f"{HOST}:{port}", "--threads", "4", "preloaded"]
    command = [sys.executable, "-m", "gunicorn", *options]
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    with running(command, ready=f"http://{HOST}:{port}/page", folder=tmp_path, env=environment):
        for path in ("/img/cat/300x.jpg", "/img/cat/200x.jpg", "/page"):
            assert fetched(port, path)


def fetched(port: int, path: str) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=20) as answer:
            data: bytes = answer.read()
            return data
    except OSError:
        return None
