"""Each tutorial, followed word by word: its files are written, its commands run, and its page is used by a visitor."""

from __future__ import annotations

import http.cookiejar
import io
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from pathlib import Path
from textwrap import dedent

import pytest
from PIL import Image

from lazycrop import sample
from servers import HOST, ROOT, free_ports, running

TUTORIALS = sorted(ROOT.glob("docs/tutorials/*.rst"))
BLOCK = re.compile(r"\.\. code-block:: (\w+)\n(?: {4}:caption: (.+)\n)?\n((?:(?: {4}.*)?\n)+)")
# What makes an environment is that of the tests.
PREPARED = ("mkdir ", "python3 -m venv ", "pip install ")
BOUNDARY = "limit"


def follow(tutorial: Path, folder: Path, port: int) -> str:
    """Do what it says, in its order, up to its last command, which starts the server: return that one."""
    commands: list[str] = []
    for language, caption, block in BLOCK.findall(tutorial.read_text("utf-8")):
        text = dedent(block).strip("\n").replace("8000", str(port)) + "\n"
        if language == "console":
            commands = [line.removeprefix("$ ") for line in text.splitlines()]
            for command in commands[: None if "pip install" in text else -1]:
                if not command.startswith(PREPARED):
                    subprocess.run(command, shell=True, cwd=folder, env=environ(folder), check=True)
        elif caption:
            name, at_the_end, _ = caption.partition(" (at the end)")
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text((file.read_text("utf-8") if at_the_end else "") + text, "utf-8")
    return commands[-1]


def environ(folder: Path) -> dict[str, str]:
    path = ":".join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": ":".join(map(str, (folder, ROOT, ROOT / "adapters")))}


class Visitor:
    """A browser without a window: it keeps cookies, and sends forms with all of their hidden fields."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._opener = urllib.request.build_opener(cookies)

    def get(self, path: str = "/", **headers: str) -> bytes:
        with self._opener.open(urllib.request.Request(self.url + path, headers=headers), timeout=30) as answer:
            return bytes(answer.read())

    def images(self) -> list[str]:
        return [unescape(src) for src in re.findall(r'<img src="([^"]*)"', self.get().decode())]

    def post(self, path: str, fields: dict[str, str], file: tuple[str, bytes] | None = None) -> tuple[int, str]:
        """The form at ``path`` of the page; the status and text of what comes."""
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="(\w+)"', self.get().decode())
        parts = [(name, "", value.encode()) for name, value in {**fields, **dict(hidden)}.items()]
        parts += [(file[0], '; filename="picture.jpg"', file[1])] if file else []
        body = b"".join(
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value + b"\r\n"
            for name, more, value in parts
        )
        kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        sent = urllib.request.Request(self.url + path, body + f"--{BOUNDARY}--\r\n".encode(), kind)
        try:
            with self._opener.open(sent, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@contextmanager
def served(command: str, folder: Path, port: int) -> Iterator[Visitor]:
    url = f"http://{HOST}:{port}"
    with running(["sh", "-c", f"exec {command}"], ready=f"{url}/", folder=folder, env=environ(folder)):
        yield Visitor(url)


@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_who_follows_it_has_a_gallery(tutorial: Path, tmp_path: Path) -> None:
    [port] = free_ports(1)
    command = follow(tutorial, tmp_path, port).replace("PYTHONPATH=. ", "").replace("runserver", "runserver --noreload")
    with served(command, tmp_path, port) as visitor:
        field = re.findall(r'<input type="file" name="(\w+)"', visitor.get().decode())[0]
        status, page = visitor.post("/", {"title": "A <b> seed"}, (field, sample()))
        assert status == 200 and "A &lt;b&gt; seed" in page
        [source] = visitor.images()
        assert Image.open(io.BytesIO(visitor.get(source, Accept="image/webp"))).size == (300, 200)
        for refused in (b"no picture", sample()[:-100_000]):
            status, page = visitor.post("/", {"title": "Nothing"}, (field, refused))
            assert status in (200, 415, 422) and re.search("format|valid image|broken|truncated|end", page)
        assert visitor.images() == [source]

    with served(command, tmp_path, port) as visitor:  # The database and the pictures are there after a start.
        assert visitor.images() == [source]
        [delete] = re.findall(r'action="([^"]+/delete)"', visitor.get().decode())
        assert visitor.post(delete, {})[0] == 200
        assert visitor.images() == []
        with pytest.raises(urllib.error.HTTPError, match="404"):
            visitor.get(source)


def test_each_framework_that_is_promised_has_one() -> None:
    assert [path.stem for path in TUTORIALS] == ["django", "fastapi", "flask", "pyramid"]
