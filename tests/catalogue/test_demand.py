"""Demand: what is asked for is counted, whichever way it is answered, in bounded memory, and said to whoever asks."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest
from sqlalchemy import insert, select

from catalogue.scene import COLOURS, DATABASES, check_equal, open_images, url_of
from lazycrop import ImageApp, LazyCrop
from lazycrop.catalogue import Demand as Row
from lazycrop.catalogue import demand as counting
from lazycrop.catalogue.demand import Demand
from lazycrop.catalogue.wanted import Wanted, proposed
from lazycrop.events import Asked, Events, Refused
from servers import ROOT


@pytest.fixture(params=DATABASES)
def images(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LazyCrop]:
    url = url_of(request.param, tmp_path, lambda: request.getfixturevalue("postgresql"))
    settings = {"sizes": ["8x8", "9x"], "secret": (), "snap": True}
    with open_images(tmp_path, url, public_url="https://cdn.example.com/", **settings) as images:
        images.store_origin("cat", COLOURS[0])
        yield images


def counted(images: LazyCrop) -> dict[tuple[str, str, str], int]:
    assert images._demand is not None
    images._demand.flush()
    with images.catalogue.engine.connect() as connection:
        rows = connection.execute(select(Row.__table__)).mappings()
        return {
            ("refused" if row["refused"] else row["image"], row["size"], row["format"]): row["count"] for row in rows
        }


def get(images: LazyCrop, path: str, method: str = "GET") -> str:
    environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": method}
    setup_testing_defaults(environ)
    seen: list[str] = []
    ImageApp(images)(environ, lambda status, headers, *_: seen.append(status))  # type: ignore[arg-type, return-value]
    return seen[0][:3]


def test_every_way_to_answer_counts_once(images: LazyCrop) -> None:
    statuses = [get(images, "/cat/8x8.jpg") for _ in range(5)]
    assert statuses[0] == "200" and statuses[-1] == "301"  # made, stored, and remembered
    statuses = [images.answer("/cat/8x8.jpg").status for _ in range(2)]
    assert counted(images) == {("cat", "8x8", "jpg"): 7}
    get(images, "/cat/8x8.jpg")
    get(images, "/cat/8x8.jpg", "HEAD")
    images.answer("/cat/8x8.jpg", if_none_match="*")
    images._service.forget()
    get(images, "/cat/origin.jpg")
    assert counted(images) == {("cat", "8x8", "jpg"): 9, ("cat", "origin", "jpg"): 1}


def test_refused_sizes_are_counted_apart_and_of_no_image(images: LazyCrop) -> None:
    assert [get(images, f"/{name}/70x.jpg") for name in ("cat", "nobody")] == ["404", "404"]
    assert get(images, "/cat/7x7.jpg") == "302"  # to 8x8, which it snaps to
    assert get(images, "/cat/junk") == "400"
    assert get(images, "/nobody/8x8.jpg") == "404"
    assert counted(images) == {("refused", "70x", "jpg"): 2, ("refused", "7x7", "jpg"): 1}


def test_what_no_broker_takes_is_counted_on(images: LazyCrop, monkeypatch: pytest.MonkeyPatch) -> None:
    get(images, "/cat/8x8.jpg")
    with monkeypatch.context() as context:
        context.setattr(images.jobs.queue, "send", lambda *arguments: False)
        assert counted(images) == {}
    get(images, "/cat/8x8.jpg")
    assert counted(images) == {("cat", "8x8", "jpg"): 2}


def test_where_nothing_is_counted_nobody_is_told(tmp_path: Path) -> None:
    images = LazyCrop(store=tmp_path, sizes="any", broker="inline")
    assert type(images._service._shortcuts).__name__ == "Shortcuts"
    assert not images._events.heard(Asked) and not images._events.heard(Refused)


def test_what_is_asked_for_most_is_kept_however_much_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MOST", 100)
    sent: list[dict[str, Any]] = []
    demand, events = Demand(lambda message: bool(sent.append(message)) or True, lambda: None), Events()
    demand.listen(events)
    for number in range(20_000):
        events.tell(Asked(f"image-{number}", size="8x8", format="jpg"))
        if number % 20 == 0:
            events.tell(Asked("cat", size="8x8", format="jpg"))
    demand.close()
    found = {(image_id, size): count for image_id, size, _, count in sent[0]["asked"]}
    assert len(found) <= 100
    assert 1_000 - 20_000 / 100 * 1.1 <= found["cat", "8x8"] <= 1_000


def test_what_it_keeps_of_a_hundred_thousand_sizes_is_bounded() -> None:
    demand, events = Demand(lambda message: True, lambda: None), Events()
    demand.listen(events)
    tracemalloc.start()
    try:
        for number in range(100_000):
            events.tell(Asked("cat", size=f"{number % 9999 + 1}x{number}", format="jpg"))
            events.tell(Refused("cat", size=f"{number % 9999 + 1}x{number}", format="jpg"))
        assert tracemalloc.get_traced_memory()[0] < 8_000_000
    finally:
        tracemalloc.stop()
    demand.close()


def test_what_is_long_ago_goes(images: LazyCrop) -> None:
    with images.catalogue.engine.begin() as connection:
        from datetime import date

        row = {"image": "cat", "size": "8x8", "format": "jpg", "refused": False, "count": 1}
        connection.execute(insert(Row).values(day=date(2020, 1, 1), **row))
    get(images, "/cat/8x8.jpg")
    assert counted(images) == {("cat", "8x8", "jpg"): 1}


def test_a_process_that_ends_says_what_it_has_counted(tmp_path: Path) -> None:
    """Whatever its queue: the embedded one has threads, and its end has to come after."""
    url = f"sqlite:///{tmp_path}/lazycrop.db"
    with open_images(tmp_path, url) as images:
        images.store_origin("cat", COLOURS[0])
        code = (
            "from lazycrop import LazyCrop\n"
            f"images = LazyCrop(store={str(tmp_path / 'images')!r}, sizes='any', catalogue={url!r})\n"
            "assert images.answer('/cat/8x8.jpg').status == 200"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
        assert counted(images) == {("cat", "8x8", "jpg"): 1}
        check_equal(images, tmp_path)


def test_a_size_is_proposed_that_is_wanted_and_one_is_not_that_nobody_wants() -> None:
    wanted = [Wanted("8x8", 5000, 9, False), Wanted("70x", 200, 0, True), Wanted("71x", 20, 0, True)]
    assert proposed(wanted, {"8x8", "9x"}) == ["8x8", "70x"]
    assert proposed([], {"8x8"}) == []


def lazycrop(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "lazycrop",
        *arguments,
        "--store",
        "images",
        "--catalogue",
        "sqlite:///lazycrop.db",
    ]
    done = subprocess.run(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def test_the_command_line_creates_syncs_and_shows_sizes(tmp_path: Path) -> None:
    before = lazycrop(tmp_path, "catalogue", "sync")
    assert before.returncode == 1 and "lazycrop catalogue create" in before.stderr
    assert lazycrop(tmp_path, "catalogue", "create").returncode == 0
    url = f"sqlite:///{tmp_path}/lazycrop.db"
    LazyCrop(store=tmp_path / "images").store_origin("cat", COLOURS[0])
    done = lazycrop(tmp_path, "catalogue", "sync", "--json")
    assert json.loads(done.stdout) == {"images": 1, "sizes": 0, "changed": 1, "removed": 0, "unreadable": []}
    assert "1 images and 0 sizes; 0 were not" in lazycrop(tmp_path, "catalogue", "sync").stdout
    assert lazycrop(tmp_path, "catalogue", "sync", "--quiet").stdout == ""
    with open_images(tmp_path, url, sizes=["8x8", "9x"], secret=()) as images:
        for path in ("/cat/8x8.jpg", *["/cat/70x.jpg"] * 12):
            get(images, path)
        counted(images)
    shown = lazycrop(tmp_path, "sizes", "--sizes", "8x8 9x", "--presets", "card=8x8").stdout
    assert "1  8x8 (card) of 1 images" in shown and "12  70x" in shown
    assert "nobody asks for: 9x" in shown and shown.endswith("sizes = 70x\n")
    assert lazycrop(tmp_path, "sizes", "--sizes", "8x8 9x", "--quiet").stdout == "sizes = 70x 8x8\n"
    lines = [
        json.loads(line) for line in lazycrop(tmp_path, "sizes", "--sizes", "8x8 9x", "--json").stdout.splitlines()
    ]
    assert lines[0] == {"size": "70x", "count": 12, "images": 1, "refused": True}
    assert lines[-1] == {"idle": ["9x"], "sizes": ["70x", "8x8"]}
    (tmp_path / "images/cat/image.json").write_text("{")
    broken = lazycrop(tmp_path, "catalogue", "sync")
    assert broken.returncode == 1 and broken.stderr.startswith("cat: ")
