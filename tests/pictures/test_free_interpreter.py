"""While a picture is encoded, the other threads of the process go on: those of a web server among them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image

from lazycrop.pictures import encoding, small
from lazycrop.pictures.encoding import encode, save_mezzanine
from lazycrop.pictures.pixels import Pixels
from lazycrop.pictures.settings import IngestSettings, Recipe, Stage
from servers import photo


def pixels(width: int, height: int) -> Pixels:
    return Pixels([Image.open(photo("Fossa")).convert("RGB").resize((width, height))], [0])


def awake_during(work: Callable[[], object]) -> int:
    """How often a thread that sleeps for a millisecond at a time wakes up while another one does this."""

    def timed() -> tuple[float, float]:
        began = time.monotonic()
        work()
        return began, time.monotonic()

    awake = []
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(timed)
        while not working.done():
            awake.append(time.monotonic())
            time.sleep(0.001)
    began, ended = working.result()
    return sum(began + 0.001 < at < ended - 0.001 for at in awake)


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="this system has no such files")
def test_other_threads_go_on_while_a_jpeg_is_encoded() -> None:
    truth = pixels(5000, 3500)  # It takes 100 ms and more, and they woke up twice at most.
    assert awake_during(lambda: save_mezzanine(truth, "jpg", IngestSettings())) > 10


@pytest.mark.skipif(small.oxipng is None, reason="the extra `small` is not installed")
def test_other_threads_go_on_while_a_png_is_shrunk() -> None:
    image = pixels(400, 300).images[0]
    assert awake_during(lambda: small.shrunk_png(image)) > 10


def test_the_file_is_the_same_without_such_files(monkeypatch: pytest.MonkeyPatch) -> None:
    truth = pixels(600, 400)
    usual = [encode(truth, format, Recipe(), stage) for format in ("jpg", "gif") for stage in Stage]

    def refuse(name: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(encoding.os, "memfd_create", refuse, raising=False)
    assert [encode(truth, format, Recipe(), stage) for format in ("jpg", "gif") for stage in Stage] == usual


@pytest.mark.skipif(small.oxipng is None, reason="the extra `small` is not installed")
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_a_png_is_shrunk_where_the_program_is_no_python(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pixels(200, 150).images[0].convert(mode)
    alone = small.shrunk_png(image)
    monkeypatch.setattr(small.sys, "executable", "/usr/bin/uwsgi")
    assert alone is not None
    assert small.shrunk_png(image) == alone
    assert Image.open(BytesIO(alone)).size == (200, 150)
