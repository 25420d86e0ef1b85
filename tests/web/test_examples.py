"""Every example is started as its first line says, and used as a visitor would."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

from client import alike
from lazycrop import LazyCrop
from servers import HOST, ROOT, eventually, free_ports, photo, running

SCRIPTS = Path(sys.executable).parent


def command(example: str, port: int) -> list[str | Path]:
    match example:
        case "flask":
            return [SCRIPTS / "flask", "--app", "app", "run", "--port", str(port)]
        case "pyramid" | "paste":
            return [SCRIPTS / "pserve", "development.ini"]
        case "bottle":
            return [sys.executable, "-m", "bottle", "--bind", f"{HOST}:{port}", "app:app"]
        case "asgi":
            return [SCRIPTS / "granian", "--interface", "asgi", "--host", HOST, "--port", str(port), "app:application"]
        case "starlette" | "fastapi":
            return [sys.executable, "-m", "uvicorn", "--host", HOST, "--port", str(port), "app:app"]
        case _:
            return [SCRIPTS / "waitress-serve", f"--listen={HOST}:{port}", "app:application"]


@contextmanager
def started(example: str, folder: Path) -> Iterator[str]:
    """The URL of an example that runs in a copy of its folder."""
    shutil.copytree(ROOT / "examples" / example, folder, dirs_exist_ok=True)
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}"
    for ini in folder.glob("*.ini"):
        ini.write_text(ini.read_text().replace(f"{HOST}:6543", f"{HOST}:{port}"))
    # The entry points, where the checkout is not installed.
    metadata = folder / "metadata"
    metadata.mkdir()
    egg_info = [sys.executable, "-W", "ignore", ROOT / "setup.py", "--quiet", "egg_info", "--egg-base", metadata]
    subprocess.run(egg_info, cwd=ROOT, check=True, capture_output=True)
    path = ":".join(map(str, (folder, metadata, ROOT, ROOT / "adapters")))
    with running(command(example, port), ready=f"{url}/", folder=folder, env={"PYTHONPATH": path}):
        yield url


@dataclass(frozen=True)
class Got:
    status: int
    headers: Message
    body: bytes


def get(url: str, data: bytes | None = None, method: str | None = None, **headers: str) -> Got:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, data, sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return Got(response.status, response.headers, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Got(error.code, error.headers, error.read())


def upload(url: str, picture: bytes) -> Got:
    """As the form of the page sends it."""
    head = b'--limit\r\nContent-Disposition: form-data; name="picture"; filename="picture.jpg"\r\n\r\n'
    return get(url, head + picture + b"\r\n--limit--\r\n", Content_Type="multipart/form-data; boundary=limit")


def check_pictures(url: str) -> None:
    """The page shows a picture, in the size that it says, and the same one when it is asked for again."""
    page = get(f"{url}/").body.decode()
    [src] = re.findall(r'<img src="([^"]*)"', page)
    assert 'width="300" height="200"' in page
    first = get(url + unescape(src), Accept="image/webp")
    assert first.status == 200 and first.headers["Content-Type"] == "image/webp"
    assert Image.open(io.BytesIO(first.body)).size == (300, 200)

    def stored() -> bool:
        return "stored" in get(url + unescape(src), Accept="image/webp").headers["Cache-Status"]

    eventually(stored, what="the size is stored")
    assert alike(get(url + unescape(src), Accept="image/webp").body, first.body)
    assert get(url + unescape(src).replace("300x", "301x")).status == 404


@pytest.mark.parametrize("example", ["flask", "pyramid", "wheezy", "bottle", "django", "starlette", "fastapi"])
def test_an_uploaded_picture_is_on_the_page(example: str, tmp_path: Path) -> None:
    with started(example, tmp_path) as url:
        answer = upload(f"{url}/", photo("Fossa").read_bytes())
        assert answer.status == 200 and b"<img" in answer.body
        check_pictures(url)


@pytest.mark.parametrize("example", ["wsgi", "asgi"])
def test_a_picture_that_was_put_is_on_the_page(example: str, tmp_path: Path) -> None:
    with started(example, tmp_path) as url:
        assert get(f"{url}/cat", photo("Fossa").read_bytes(), "PUT").status == 200
        check_pictures(url)


def test_the_images_of_a_paste_filter_are_in_front_of_an_application(tmp_path: Path) -> None:
    with started("paste", tmp_path) as url:
        LazyCrop(store=tmp_path / "images").store_origin("cat", photo("Fossa"))
        check_pictures(url)


@pytest.mark.parametrize("example", ["flask", "pyramid", "bottle", "django", "fastapi"])
def test_what_is_no_picture_is_refused_with_a_sentence(example: str, tmp_path: Path) -> None:
    with started(example, tmp_path) as url:
        answer = upload(f"{url}/", b"no picture")
        assert answer.status == 415 and answer.body.endswith(b".")


def test_every_example_is_tested_and_short() -> None:
    folders = {path.parent.name: path for path in (ROOT / "examples").glob("*/app.py")}
    assert set(folders) - {"gallery"} == {  # test_gallery.py tests that one
        *("flask", "pyramid", "wheezy", "bottle", "paste", "django", "wsgi", "asgi", "starlette", "fastapi")
    }
    for name, path in folders.items():
        most = 80 if name == "gallery" else 40
        assert len(path.read_text("utf-8").splitlines()) < most, f"{path} is not under {most} lines."
