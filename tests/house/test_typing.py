"""A project that uses the built wheel, and every adapter of it, is checked by mypy as its authors would."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from servers import ROOT

# What ships no types of its own.
CONFIG = """
[mypy]
strict = True

[mypy-bottle.*,pyramid.*,wheezy.*,paste.*]
ignore_missing_imports = True
"""

CONSUMERS = {
    "core": """
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment
from collections.abc import Iterable
from lazycrop import Answer, ImageApp, LazyCrop, LazyCropError, Helpers, Middleware, Record, Size

images = LazyCrop(store="images", sizes=["200x100"])
record: Record = images.store_origin("cat", b"bytes", bound=Size(4000, 4000), focal="auto")
width: int = record.width

def page(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    try:
        html: str = Helpers(images, "/img").img("cat", "200x100", alt="A cat", widths=[200, "400x"], class_="photo")
    except LazyCropError as error:
        html = f"{error.status} {error.code}"
    start_response("200 OK", [])
    return [html.encode()]

application: WSGIApplication = Middleware(page, images)
alone: WSGIApplication = ImageApp(images)

def answer(environ: WSGIEnvironment) -> Answer:
    return ImageApp(images).answer(environ, "/img")
""",
    "flask": """
from flask import Flask
from flask_lazycrop import LazyCrop

lazycrop = LazyCrop(sizes=["200x100"])

def create_app() -> Flask:
    app = Flask(__name__)
    lazycrop.init_app(app)
    return app

def store(data: bytes) -> str:
    return lazycrop.images.store_origin("cat", data).url
""",
    "pyramid": """
import pyramid_lazycrop
from lazycrop import LazyCrop
from pyramid.config import Configurator

def configure(config: Configurator, images: LazyCrop) -> None:
    pyramid_lazycrop.includeme(config)
    pyramid_lazycrop.set_lazycrop(config, images)
""",
    "wheezy": """
from typing import Any
from lazycrop import LazyCrop
from wheezy.http import HTTPRequest
from wheezy_lazycrop import ImagesMixin, image_urls, lazycrop_middleware_factory, template_helpers

class Page(ImagesMixin):
    pass

def helpers(request: HTTPRequest) -> str:
    return template_helpers(request)["lazycrop_url"]("cat", "200x100")

urls: list[Any] = [*image_urls(LazyCrop(sizes="any"))]
factories = [lazycrop_middleware_factory]
""",
    "bottle": """
from bottle_lazycrop import LazyCropPlugin
from lazycrop import LazyCrop

plugin = LazyCropPlugin(LazyCrop(store="images", sizes="any"), keyword="images")
url: str = plugin.images.url("cat", "200x100", expires=60)
""",
    "paste": """
from wsgiref.types import WSGIApplication
from paste_lazycrop import app_factory, filter_app_factory, filter_factory

app: WSGIApplication = app_factory({}, store="images", sizes="any")
wrapped: WSGIApplication = filter_factory({}, sizes="any")(app)
same: WSGIApplication = filter_app_factory(app, {}, sizes="any")
""",
}

MISTAKES = {
    "core": ('images.url("cat", 200)', "arg-type"),
    "flask": ('lazycrop.images.store_origin("cat")', "call-arg"),
    "bottle": ("plugin.images.urls", "attr-defined"),
    "paste": ("app_factory({}, sizes=5)", "arg-type"),
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, and the frameworks from the environment of the tests."""
    folder = tmp_path_factory.mktemp("typing")
    leave = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__", "benchmarks", "tests")
    shutil.copytree(ROOT, folder / "copy", ignore=leave)  # setuptools writes into the folder that it builds.
    _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, folder / "copy")
    _run(sys.executable, "-m", "venv", "--without-pip", folder / "venv")
    python = folder / "venv/bin/python"
    [wheel] = folder.glob("lazycrop-*.whl")
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel)
    [packages] = folder.glob("venv/lib/python*/site-packages")
    (packages / "of_the_tests.pth").write_text(sysconfig.get_path("purelib"))
    return python


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def mypy(python: Path, folder: Path, source: str) -> str:
    (folder / "mypy.ini").write_text(CONFIG)
    (folder / "consumer.py").write_text(source)
    cache = python.parent.parent / "mypy"  # One for all: most of the time goes into the frameworks.
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--cache-dir", cache, "consumer.py"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_project_that_uses_it_rightly_passes_strict_mypy(consumer: str, python: Path, tmp_path: Path) -> None:
    assert mypy(python, tmp_path, CONSUMERS[consumer]).startswith("Success")


@pytest.mark.parametrize("consumer", MISTAKES)
def test_a_mistake_is_found(consumer: str, python: Path, tmp_path: Path) -> None:
    mistake, code = MISTAKES[consumer]
    found = mypy(python, tmp_path, f"{CONSUMERS[consumer]}\n{mistake}\n")
    assert f"[{code}]" in found and "Found 1 error" in found
