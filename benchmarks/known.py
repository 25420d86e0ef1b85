"""``python -m benchmarks.known <store> <number>``: cost per request where so many derivatives are stored and known.

Prints JSON: nanoseconds of a request for a stored size that this process knows of and is asked for the first time
(``first``), and again (``hot``); and CPU seconds of a cold one (``cold``).
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import measure

PER_IMAGE = 100
MOST = 100_000
HOT = 100
COLD = 150
ROUNDS = 300


def fill(folder: Path, count: int, photo: Path) -> None:
    """Store ``count`` derivatives, 100 an image. The images are links to one, and so are all sizes: it is quick."""
    from lazycrop import LazyCrop
    from lazycrop.model import keys

    images = LazyCrop(store=str(folder), sizes="any", broker="inline")
    record = images.store_origin("0", photo)
    originals = [path for path in (folder / "0").iterdir() if path.name != "image.json"]
    for number in range(count // PER_IMAGE):
        place = folder / str(number)
        place.mkdir(exist_ok=True)
        for path in originals if number else ():
            os.link(path, place / path.name)
        (folder / keys.record(str(number))).write_bytes(replace(record, image_id=str(number)).to_json())
        # A file can have 65,000 links.
        first = place / f"{_size(0)}.jpg"
        first.write_bytes(b"a stored size")
        for size in range(1, PER_IMAGE):
            os.link(first, place / f"{_size(size)}.jpg")
    os.sync()  # else the first fsync of what is measured pays for all of this


def main(folder: Path, count: int) -> dict[str, float]:
    from lazycrop import ImageApp, LazyCrop

    settings: dict[str, Any] = {"store": str(folder), "sizes": "any", "broker": "inline"}
    # Whatever their number, this process has used as much memory before: where malloc finds room for a picture makes
    # 0.1 ms of a cold request.
    _know(LazyCrop(**settings), MOST, every_image=0)
    images = LazyCrop(**settings, public_url="https://cdn.example.com/")
    application = ImageApp(images)
    paths = [f"/{image}/{_size(size)}.jpg" for image in range(count // PER_IMAGE) for size in range(PER_IMAGE)]
    _know(images, count)
    random.seed(1)
    few = random.sample(paths, HOT)
    return {
        "first": measure.median(_hot(application, [path]) for path in few),
        "hot": measure.median(_hot(application, few) for _ in range(ROUNDS)),
        "cold": measure.median(_cold(images, f"/0/{300 + number}x200.jpg") for number in range(COLD)),
    }


def _know(images: Any, count: int, every_image: int | None = None) -> None:
    """Have it know of ``count`` stored sizes, 100 an image (all of them of one, when it is given)."""
    from lazycrop import Size
    from lazycrop.model.derivatives import Derivative

    for image in range(count // PER_IMAGE):
        record = images.record(str(image if every_image is None else every_image))
        for size in range(PER_IMAGE):
            derivative = Derivative(str(image), Size.parse(_size(size)), "jpg", record.version)
            images._state.mark_stored(derivative, record.tag, images.config.recipe.fingerprint("jpg"))


def _size(number: int) -> str:
    return f"{100 + number}x50"


def _hot(application: Callable[..., Any], paths: list[str]) -> float:
    start = time.perf_counter_ns()
    for path in paths:
        # A server makes a new environ for each request, so it is in the processor's cache.
        environ = {"PATH_INFO": path, "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "QUERY_STRING": ""}
        application(environ, _start_response)
    return (time.perf_counter_ns() - start) / len(paths)


def _start_response(status: str, headers: list[tuple[str, str]]) -> None:
    assert status.startswith("301")


def _cold(images: Any, path: str) -> float:
    start = time.process_time()
    assert images.answer(path).status == 200
    return time.process_time() - start


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
