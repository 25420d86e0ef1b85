"""The applications that the servers run, as factories; the environment configures them.

lazycrop itself reads ``LAZYCROP_…``. ``BENCH_PLAIN=1``: as if the extra ``fast`` were not installed.
``BENCH_APART=1``: jobs are put on a queue that nobody here reads, as where the worker is elsewhere.
``BENCH_CORES=1``: of the machine's cores only the first is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from io import BytesIO
from pathlib import Path
from typing import Any

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def images() -> Application:
    """lazycrop, mounted at the root."""
    if "BENCH_PLAIN" in os.environ:  # Before anything of lazycrop is imported.
        sys.modules["cykooz_resizer"] = None  # type: ignore[assignment]  # what makes an import fail
    if cores := os.environ.get("BENCH_CORES"):
        os.sched_setaffinity(0, range(int(cores)))
    from lazycrop import ImageApp, LazyCrop

    return ImageApp(LazyCrop(**_settings()))


def _settings() -> dict[str, Any]:
    from lazycrop.settings import from_env

    settings = from_env()
    if "BENCH_APART" in os.environ:
        from dramatiq.brokers.stub import StubBroker

        settings["broker"] = StubBroker(middleware=[])
    return settings


def mounted() -> Application:
    """The same below ``/img`` of an application that is a constant."""
    from lazycrop import LazyCrop, Middleware

    return Middleware(bare(), LazyCrop(**_settings()), prefix="/img")


def counted_images() -> Application:
    """lazycrop, mounted at the root, and its renders and writes are counted."""
    from benchmarks import counting

    counting.start()
    return images()


def bare() -> Application:
    """A constant: the least that an application can be."""
    headers = [("Content-Type", "text/plain"), ("Content-Length", "2")]

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", headers)
        return [b"ok"]

    return application


def same_headers() -> Application:
    """A constant that has the headers of a redirect of ours: what a server needs to send them."""
    answer = _redirect()
    headers = answer.headers

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("301 Moved Permanently", headers)
        return []

    return application


def _redirect() -> Any:
    from lazycrop import LazyCrop
    from lazycrop.settings import from_env

    images = LazyCrop(**from_env())
    answer = images.answer(os.environ["BENCH_PATH"])
    assert answer.status == 301, answer
    return answer


def whitenoise() -> Application:
    """WhiteNoise on the folder of the store."""
    from whitenoise import WhiteNoise

    application: Application = WhiteNoise(bare(), root=os.environ["LAZYCROP_STORE"])
    return application


def pillow_alone() -> Application:
    """The shortest server that does what it must: decode (with libjpeg's scaling), turn, shrink, encode."""
    from PIL import Image, ImageOps

    sources = Path(os.environ["BENCH_SOURCES"])
    formats = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/ready":
            start_response("204 No Content", [])
            return []
        _, size, format, name = environ["PATH_INFO"].split("/")
        width, height = map(int, size.split("x"))
        with Image.open(sources / name) as image:
            image.draft(None, (width, height))
            image.thumbnail((width, height), Image.Resampling.LANCZOS)
            file = BytesIO()
            ImageOps.exif_transpose(image).save(file, formats[format], quality=80)
        body = file.getvalue()
        start_response("200 OK", [("Content-Type", f"image/{format}"), ("Content-Length", str(len(body)))])
        return [body]

    return application
