"""A folder as it has grown over years: names in all scripts, which none of its files knows anything of."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from PIL import Image

from doubles import RED, Dictionary, flat, open_adopting
from lazycrop.caches.process import ProcessCache
from servers import photo

COUNT = 135  # five of each word
PHOTOS = [photo(name) for name in ("Fossa", "Wine", "Picture_1A")]
WORDS = (
    *("holiday", "Größe 1", "два слова", "写真 二", "🦊 fox", "100%", "a%20b", "a#b", "a+b", "it's", 'the "one"'),
    *("a&b=c", "a?b", "café", "x" * 176, "v2", "200x100", "origin", "a,b;c", "~tilde", "a:b", "(1)", "[x]", "{y}"),
    *("<z>", "$1", "@"),
)

# Prints the colour in the middle of one size of each of the files, as a process says that has never seen them.
ASK = """
import io, json, sys
from PIL import Image
from lazycrop import LazyCrop
source, store = sys.argv[1:]
images = LazyCrop(source=source, store=store, sizes=["12x"], broker="inline")
for name in json.load(sys.stdin):
    answer = images.answer(f"/{name}/12x.png")
    with answer.body if hasattr(answer.body, "read") else io.BytesIO(answer.body) as body:
        data = body.read()
    said = answer.status
    if said == 200:
        picture = Image.open(io.BytesIO(data)).convert("RGB")
        said = picture.getpixel((picture.width // 2, picture.height // 2))
    print(json.dumps(said))
images.close()
"""


def name_of(number: int) -> str:
    word = WORDS[number % len(WORDS)]
    folder = f"{number // 100}/" if number % 3 else f"Ordner {number // 100} ü/"
    return f"{folder if len(word) < 100 else ''}{word[: 180 - 9]}{number:05d}.png"


def colour_of(number: int) -> tuple[int, int, int]:
    return number % 250, number // 250 * 20, 99


def write_tree(folder: Path) -> dict[str, tuple[int, int, int]]:
    colours = {name_of(number): colour_of(number) for number in range(COUNT)}
    for name, colour in colours.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 12), colour).save(path)
    return colours


def fingerprints(folder: Path) -> dict[str, tuple[str, int]]:
    return {
        str(path): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def ask(source: Path, store: Path, names: list[str]) -> list[object]:
    command = [sys.executable, "-c", ASK, str(source), str(store)]
    done = subprocess.run(command, input=json.dumps(names), capture_output=True, text=True, timeout=300, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_files_of_all_names_are_answered_by_their_names_and_left_as_they_are(tmp_path: Path) -> None:
    source = tmp_path / "media"
    colours = write_tree(source)
    for path in PHOTOS:
        (source / path.name).write_bytes(path.read_bytes())
    before = fingerprints(source)
    answers = ask(source, tmp_path / "sizes", [*colours, *(path.name for path in PHOTOS)])
    wrong = {name: said for (name, colour), said in zip(colours.items(), answers, strict=False) if said != list(colour)}
    assert wrong == {}
    assert not any(isinstance(said, int) for said in answers[COUNT:])
    assert fingerprints(source) == before
    folders = [source, *(path for path in source.rglob("*") if path.is_dir())]
    assert sum(len(list(folder.iterdir())) for folder in folders) == len(before) + len(folders) - 1


def test_names_that_nobody_has_take_no_memory_and_one_look_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "lazycrop.service")  # What is logged is kept by pytest.
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source, cache=ProcessCache(100_000), record_seconds=60)
    assert images.answer("/cat.jpg/90x60.jpg").status == 200

    def ask_for_missing(numbers: range) -> None:
        for number in numbers:
            assert images.answer(f"/{number} нет.jpg/90x60.jpg").status == 404

    ask_for_missing(range(2_000))
    source.calls.clear()
    tracemalloc.start()
    try:
        ask_for_missing(range(2_000, 4_000))
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert source.calls == {"look": 2_000}
    # 255 kB, of however many names: 80 are the cache's, 170 what is remembered of the last 1,024 spellings of a URL. It
    # is over a megabyte where the cache keeps all, and twice as much where errors are left to the collector.
    assert grown < 350_000
    ask_for_missing(range(3_990, 4_000))
    assert source.calls == {"look": 2_000}  # they are known to be missing
    assert images.answer("/cat.jpg/90x60.jpg").status == 200
