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
from types import ModuleType

import pytest

from lazycrop import LazyCrop
from lazycrop.concurrency import forks
from lazycrop.concurrency.forks import Lock
from lazycrop.stores.memory import MemoryStore
from servers import HOST, ROOT, eventually, free_ports, running


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


APPLICATION = """
from lazycrop import LazyCrop, Middleware

def page(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"page"]

application = Middleware(page, LazyCrop(store="images", sizes="any"))
"""
GUNICORN = "gunicorn --threads 4 -b {address} served"
DEPLOYMENTS = [
    *(f"{GUNICORN} -k {kind} {how}" for kind in ("gevent", "gthread") for how in ("", "--preload", "--preload -w 2")),
    "uvicorn --interface wsgi --workers 2 --host {host} --port {port} served:application",
    "granian --interface wsgi --workers 2 --host {host} --port {port} served:application",
    "waitress --listen {address} served:application",
]


@pytest.mark.slow
@pytest.mark.parametrize("deployment", DEPLOYMENTS)
def test_every_server_answers_and_stores_in_each_of_its_processes(deployment: str, tmp_path: Path) -> None:
    program, *arguments = deployment.split()
    pytest.importorskip("gevent" if "gevent" in arguments else program)
    (tmp_path / "served.py").write_text(APPLICATION)
    picture = ROOT / "tests/photos/Wine_by_Jakkub_Mede.jpg"
    LazyCrop(store=tmp_path / "images", sizes="any").store_origin("cat", picture)
    [port] = free_ports(1)
    where = {"host": HOST, "port": port, "address": f"{HOST}:{port}"}
    command = [sys.executable, "-m", program, *(argument.format(**where) for argument in arguments)]
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    with running(command, ready=f"http://{HOST}:{port}/page", folder=tmp_path, env=environment) as server:
        for path in ("/img/cat/300x.jpg", "/img/cat/200x.jpg", "/page"):
            assert fetched(port, path)
        eventually(lambda: (tmp_path / "images/cat/300x.jpg").exists(), what="the size is stored")
        assert fetched(port, "/img/cat/300x.jpg")
        assert "Traceback" not in server.log.read_text()


def fetched(port: int, path: str) -> bytes | None:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=20) as answer:
            data: bytes = answer.read()
            return data
    except OSError:
        return None


def test_a_module_that_is_being_imported_has_patched_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gevent.monkey", ModuleType("gevent.monkey"))
    assert not forks.has_greenlets()
