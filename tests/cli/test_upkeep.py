"""The commands of an operator: list, info, usage, cleanup, verify; how they ask, what they print, how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from doubles import GREEN, RED, flat
from lazycrop import LazyCrop, LazyCropError, cli
from servers import ROOT, free_ports, photo

TINY = flat(RED, size=(20, 10))


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commands find it by themselves: three images, one in two versions, with some sizes."""
    monkeypatch.chdir(tmp_path)
    images = LazyCrop(store="images", sizes="any", broker="inline", secret="a key")
    for name in ("cat", "users/1", "users/2", "cat"):
        images.store_origin(name, TINY if images.usage().images < 3 else flat(GREEN, size=(20, 10)))
        images.warm(name, ["10x", "5x"])
    return tmp_path / "images"


def run(*arguments: str, status: int = 0, typed: str = "") -> Result:
    """The finished command, in this process; errors are what main() makes of them."""
    result = CliRunner().invoke(cli.commands, arguments, input=typed)
    if isinstance(result.exception, LazyCropError):
        result.exit_code = 1
    elif result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == status, (result.output, result.exception)
    return result


def told(*arguments: str, status: int = 0) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments, "--json", status=status).stdout.splitlines()]


def test_images_are_listed(store: Path) -> None:
    assert run("list").stdout.splitlines()[0].split("\t")[:3] == ["cat", "20x10", "jpg"]
    assert run("list").stdout.splitlines()[0].endswith("\tv2")
    assert run("list", "--quiet").stdout == "cat\nusers/1\nusers/2\n"
    assert run("list", "users/", "-q").stdout == "users/1\nusers/2\n"
    assert run("list", "-q", "--after", "cat", "--limit", "1").stdout == "users/1\n"
    first, *rest = told("list")
    assert (first["image_id"], first["version"], len(rest)) == ("cat", 2, 2)
    assert first["sha256"] and first["url"] == "/img/cat/v2/origin.jpg"
    assert run("list", "nobody").stdout == ""


def test_an_image_is_shown_with_its_sizes(store: Path) -> None:
    text = run("info", "cat").stdout
    assert "version:     2" in text and "10x.jpg\tv1\t" in text and "10x.jpg\tv2\t" in text
    [content] = told("info", "cat")
    assert len(content["sizes"]) == 4 and content["record"]["image_id"] == "cat"
    assert content["bytes"] == sum(path.stat().st_size for path in (store / "cat").rglob("*") if path.is_file())
    assert run("info", "cat", "--quiet").stdout.splitlines()[0] == "cat/v2/10x.jpg"
    assert "There is no image 'dog'" in str(run("info", "dog", status=1).exception)


def test_where_the_subject_is_is_said_and_taken_back(store: Path) -> None:
    assert "focal point: 30,40\n" in run("focal", "cat", "30,40").stdout
    assert told("focal", "cat", "none")[0]["focal"] is None
    (found,) = told("info", "cat")
    assert (found["record"]["version"], found["record"]["focal"]) == (4, None)
    assert run("focal", "cat", "auto", "--quiet").stdout == ""
    assert "write 30,40" in run("focal", "cat", "left", status=2).stderr
    assert "whole per cent" in str(run("focal", "cat", "300,40", status=1).exception)


def test_a_crop_is_said_of_a_shape_or_a_preset_and_taken_back(store: Path) -> None:
    assert run("crop", "cat", "4x3", "10,0,50.5,100").stdout.endswith("crops:       4x3\n")
    assert told("crop", "cat", "card", "0,0,100,50", "--presets", "card=30x20-cover")[0]["crops"] == {
        "4x3": [10, 0, 50.5, 100],
        "3x2": [0, 0, 100, 50],
    }
    assert [*told("crop", "cat", "4x3", "none")[0]["crops"]] == ["3x2"]
    assert "write LEFT,TOP,WIDTH,HEIGHT" in run("crop", "cat", "4x3", "10,0,50", status=2).stderr
    assert "is malformed" in str(run("crop", "cat", "4x3", "90,0,50,50", status=1).exception)


def test_an_image_gets_another_id(store: Path) -> None:
    assert run("rename", "cat", "pets/cat").stdout.startswith("id:          pets/cat\n")
    assert run("list", "-q").stdout == "pets/cat\nusers/1\nusers/2\n"
    assert "users/1" in str(run("rename", "pets/cat", "users/1", status=1).exception)
    assert run("list", "-q").stdout == "pets/cat\nusers/1\nusers/2\n"


def test_usage_is_counted(store: Path) -> None:
    length = sum(path.stat().st_size for path in store.rglob("*") if path.is_file())
    assert told("usage") == [{"prefix": "", "images": 3, "sizes": 8, "objects": 16, "bytes": length}]
    assert run("usage", "users/1").stdout.startswith("1 image, 2 sizes, 4 objects, ")
    assert "No image id begins with '/users'" in str(run("usage", "/users", status=1).exception)


def test_cleanup_says_what_it_would_do_asks_and_does_it(store: Path) -> None:
    before = {path for path in store.rglob("*") if path.is_file()}
    only = ("--sizes", "10x", "--keep-versions", "1")
    dry = run("cleanup", "--dry-run", *only).stdout
    assert "object of a former version\tcat/10x.jpg\t" in dry and "size off the list\tcat/v2/5x.jpg\t" in dry
    assert "6 objects (3 objects of former versions, 3 sizes off the list)" in dry and "would be deleted." in dry
    asked = run("cleanup", *only, typed="n\n", status=1)
    assert "Delete them? [y/N]" in asked.stderr and "Nothing was deleted" in str(asked.exception)
    run("cleanup", *only, status=1)  # Nobody is there to be asked.
    assert {path for path in store.rglob("*") if path.is_file()} == before
    done = run("cleanup", *only, "--quiet", typed="y\n")
    assert done.stdout.startswith("6 objects") and done.stdout.endswith("were deleted.\n")
    assert len({path for path in store.rglob("*") if path.is_file()}) == len(before) - 6
    assert told("cleanup", "--yes", *only) == []


def test_cleanup_of_what_is_named_alone(store: Path) -> None:
    found = told("cleanup", "users/", "--sizes-off-list", "--sizes", "10x", "--yes")
    assert {one["key"] for one in found} == {"users/1/5x.jpg", "users/2/5x.jpg"}
    assert {one["reason"] for one in found} == {"size"}
    assert "all of them would go" in str(run("cleanup", "--sizes-off-list", "--yes", status=1).exception)
    assert "set 'catalogue'" in str(run("cleanup", "--unasked", "30", "--yes", status=1).exception)
    left = run("cleanup", "--yes")
    assert left.stdout.startswith("0 objects") and "Sizes are left out" in left.stderr


def test_cleanup_of_a_store_that_does_not_answer_deletes_nothing(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    there = ("--store", "s3://pics/", "--s3-endpoint-url", f"http://127.0.0.1:{nobody}", "--s3-region", "x")
    done = run("cleanup", "--yes", "--sizes", "1x", *there, status=1)
    assert "0 objects, 0 bytes, were deleted." in done.stderr
    assert "not available" in str(done.exception)


def test_verify_finds_and_mends(store: Path) -> None:
    assert run("verify").stdout == "3 images, 16 objects: 0 faults.\n"
    (store / "cat/v2/10x.jpg").write_bytes(b"\xff\xd8")
    (store / "users/1/origin.jpg").unlink()
    found = told("verify", status=1)
    assert {(one["kind"], one["key"], one["mended"]) for one in found} == {
        ("broken", "cat/v2/10x.jpg", False),
        ("missing", "users/1/origin.jpg", False),
    }
    mended = run("verify", "--repair", status=1).stdout
    assert "broken\tcat/v2/10x.jpg\tthe size is broken: " in mended and "it is mended" in mended
    assert "2 faults, 1 mended." in mended
    assert run("verify", "cat", "--quiet").stdout == "1 image, 8 objects: 0 faults.\n"
    assert "1 fault." in run("verify", "--quiet", status=1).stdout


def test_a_purge_asks(store: Path) -> None:
    assert "Delete all of cat?" in run("purge", "cat", typed="n\n", status=1).stderr
    assert (store / "cat/v2/origin.jpg").exists()
    assert run("purge", "cat", "--version", "1", typed="y\n").stdout == "3 objects deleted.\n"
    assert told("purge", "cat", "--yes") == [{"image_id": "cat", "version": None, "objects": 3}]


def test_a_url_is_absolute_where_it_is_told_of_which_site() -> None:
    url = ("url", "cat", "10x", "--sizes", "any", "--store", "memory:", "--absolute")
    assert run(*url, "https://www.example.com/").stdout == "https://www.example.com/img/cat/10x.jpg\n"
    assert "--absolute is 'example.com'" in str(run(*url, "example.com", status=1).exception)


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lazycrop", *arguments]
    return subprocess.Popen(command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_verify_goes_on_where_it_was_stopped(tmp_path: Path, end: signal.Signals) -> None:
    images = LazyCrop(store=tmp_path / "images", sizes="any", broker="inline")
    for number in range(60):
        images.store_origin(f"{number:02}", photo("Fossa") if number == 0 else TINY)
    for number in range(1, 60):  # Each takes some time.
        for name in ("a", "b"):
            images.store.put(f"{number:02}/{10 + number}x{number + 9}-fill.jpg", TINY, "image/jpeg")
            images.store.put(f"{number:02}/v2/{name}", b"none of ours", "text/plain")
    command = ("verify", "--state", "state.json", "--json", "--jobs", "1")
    with begun(tmp_path, *command) as first:
        assert first.stdout is not None and first.stderr is not None
        lines = [first.stdout.readline()]
        while end == signal.SIGKILL and not (tmp_path / "state.json").exists() and first.poll() is None:
            time.sleep(0.01)
        first.send_signal(end)
        lines += first.stdout.readlines()  # communicate() leaves out what readline() has read ahead.
        errors = first.stderr.read()
    if first.returncode in (0, 1):  # It was quicker.
        assert not (tmp_path / "state.json").exists()
        return
    assert first.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[end]
    if end != signal.SIGKILL:
        assert "Stopped: " in errors and "Run it again to go on." in errors
    with begun(tmp_path, *command) as second:
        rest, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    keys = {json.loads(line)["key"] for line in [*lines, *rest.splitlines()] if line.strip()}
    assert len(keys) == 59
    assert "60 images" in errors and not (tmp_path / "state.json").exists()


def test_a_state_that_says_nothing_is_a_sentence(store: Path) -> None:
    Path("state.json").write_text("[]")
    assert "does not say how far a run was" in str(run("verify", "--state", "state.json", status=1).exception)
