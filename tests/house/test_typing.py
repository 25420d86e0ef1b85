"""A project that uses the built wheel, and every adapter of it, is checked by mypy and pyright as its authors would."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

from lazycrop.settings import OPTIONS
from servers import ROOT

# What ships no types of its own.
CONFIG = """
[mypy]
strict = True

[mypy-bottle.*,django.*,pyramid.*,wheezy.*,paste.*]
ignore_missing_imports = True
"""

CONSUMERS = {
    "storage": """
from lazycrop import storage

cat = storage.S3ImageStorage(42, "jpg")
cat.configure({}, "bucket", "https://b.example/", "/", sizes=[(200, 100), "800x"], snap=True, memcached=("10.0.0.1",))
url: str = cat.store_origin(b"bytes")
""",
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

def store_again(data: bytes) -> str:
    return lazycrop.store_origin("cat", data, focal="auto").url + lazycrop.url("cat", "200x100")
""",
    "asgi": """
from lazycrop import LazyCrop
from lazycrop.asgi import Application, AsyncHelpers, AsyncImages, ImageApp, Middleware

images = LazyCrop(store="images", sizes=["200x100"])
application: Application = Middleware(ImageApp(images), images, threads=4)

async def store(data: bytes) -> str:
    width: int = (await AsyncImages(images).store_origin("cat", data, bound="400x400")).width
    return await AsyncHelpers(images, "/img").img("cat", "200x100", alt=f"{width} pixels")
""",
    "django": """
from django_lazycrop import get_images, image_id, response, thumbnail

url: str = get_images().url("cat", "200x100")
column = thumbnail("photo", "60x40")
answer = response(get_images().answer("/cat/200x100.jpg"))
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

# A line, and the rules of mypy and of pyright that it breaks.
CALL, TYPE = ("call-arg", "reportCallIssue"), ("arg-type", "reportArgumentType")
MISTAKES = [
    ("core", 'images.url("cat", 200)', TYPE),
    ("core", 'LazyCrop(stroe="images")', CALL),
    ("core", "LazyCrop(sizes=7)", TYPE),
    ("core", 'LazyCrop(max_edge="wide")', TYPE),
    ("storage", 'storage.S3ImageStorage("cat").configure({}, "bucket", "https://b.example/", stroe="x")', CALL),
    ("storage", 'storage.S3ImageStorage("cat").configure({}, "bucket", "https://b.example/", sizes=7)', TYPE),
    ("flask", 'lazycrop.images.store_origin("cat")', CALL),
    ("flask", 'LazyCrop(stroe="images")', CALL),
    ("flask", 'lazycrop.store_origin("cat", b"", bund="9x9")', CALL),
    ("flask", 'lazycrop.url("cat", b"9x9")', TYPE),
    ("asgi", 'purged = AsyncImages(images).purge("cat", "2")', TYPE),
    ("django", 'get_images().url("cat", 200)', TYPE),
    ("flask", "LazyCrop(sizes=7)", TYPE),
    ("pyramid", 'pyramid_lazycrop.set_lazycrop(Configurator(), stroe="images")', CALL),
    ("pyramid", "pyramid_lazycrop.set_lazycrop(Configurator(), sizes=7)", TYPE),
    ("wheezy", 'image_urls(stroe="images")', CALL),
    ("wheezy", "lazycrop_middleware_factory({}, sizes=7)", TYPE),
    ("bottle", "plugin.images.urls", ("attr-defined", "reportAttributeAccessIssue")),
    ("bottle", 'LazyCropPlugin(stroe="images")', CALL),
    ("bottle", "LazyCropPlugin(sizes=7)", TYPE),
    ("paste", "app_factory({}, sizes=5)", TYPE),
    ("paste", 'filter_factory({}, stroe="images")', CALL),
]


Error = tuple[int, str]  # A line and a rule.


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
    (packages / "of_the_tests.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return python


def _run(*command: str | Path, cwd: Path | None = None) -> str:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return result.stdout


def mypy(python: Path, folder: Path) -> list[Error]:
    (folder / "mypy.ini").write_text(CONFIG)
    cache = python.parent.parent / "mypy"  # One for all: most of the time goes into the frameworks.
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "--cache-dir", cache, "--output=json"]
    said = subprocess.run([*command, "consumer.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode in (0, 1), said.stderr
    return [(error["line"], error["code"]) for error in map(json.loads, said.stdout.splitlines())]


def pyright(python: Path, folder: Path) -> list[Error]:
    configure_pyright(python, folder)
    command = [Path(sys.executable).with_name("basedpyright"), "--outputjson", "consumer.py"]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert said.returncode in (0, 1), said.stderr
    found = [one for one in json.loads(said.stdout)["generalDiagnostics"] if one["severity"] == "error"]
    return [(error["range"]["start"]["line"] + 1, error["rule"]) for error in found]


def configure_pyright(python: Path, folder: Path) -> None:
    """As pyright's own standard is. Of what ships no types it says nothing."""
    config = {"venvPath": str(python.parent.parent.parent), "venv": python.parent.parent.name}
    rules = {"typeCheckingMode": "standard", "reportMissingModuleSource": False, "reportMissingImports": False}
    (folder / "pyrightconfig.json").write_text(json.dumps({**config, **rules}))


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_what_is_used_rightly_passes_and_each_mistake_is_found(consumer: str, python: Path, tmp_path: Path) -> None:
    # All in one file: a run of either takes seconds, whatever it finds.
    lines, mistakes = CONSUMERS[consumer].splitlines(), [one for one in MISTAKES if one[0] == consumer]
    (tmp_path / "consumer.py").write_text("\n".join([*lines, *(line for _, line, _ in mistakes)]))
    for number, check in enumerate((mypy, pyright)):
        wrong = [(line, rules[number]) for line, (_, _, rules) in enumerate(mistakes, len(lines) + 1)]
        assert check(python, tmp_path) == wrong


def test_an_editor_completes_every_setting(python: Path, tmp_path: Path) -> None:
    configure_pyright(python, tmp_path)
    source = "from lazycrop import LazyCrop\nimages = LazyCrop("
    labels = completions(tmp_path, source, {"line": 1, "character": 18})
    assert {f"{name}=" for name in OPTIONS} <= labels


def completions(folder: Path, source: str, position: dict[str, int]) -> set[str]:
    """What a language server (as in an editor) offers at this position."""
    uri = (folder / "consumer.py").as_uri()
    root = folder.as_uri()
    folders = [{"uri": root, "name": "consumer"}]
    initial = {"processId": None, "rootUri": root, "workspaceFolders": folders, "capabilities": {}}
    asked = [
        {
            "id": 1,
            "method": "initialize",
            "params": initial,
        },
        {"method": "initialized", "params": {}},
        {
            "method": "textDocument/didOpen",
            "params": {"textDocument": {"uri": uri, "languageId": "python", "version": 1, "text": source}},
        },
        {"id": 2, "method": "textDocument/completion", "params": {"textDocument": {"uri": uri}, "position": position}},
    ]
    command = [Path(sys.executable).with_name("basedpyright-langserver"), "--stdio"]
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdin is not None and server.stdout is not None
        try:
            for message in asked:
                body = json.dumps({"jsonrpc": "2.0", **message}).encode()
                server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                server.stdin.flush()
            while (reply := _reply(server.stdout)).get("id") != 2 or "method" in reply:
                if "id" in reply and "method" in reply:  # It asks for what an editor is set to; nothing.
                    body = json.dumps({"jsonrpc": "2.0", "id": reply["id"], "result": None}).encode()
                    server.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
                    server.stdin.flush()
        finally:
            server.kill()
    return {item["label"] for item in reply["result"]["items"]}


def _reply(stream: IO[bytes]) -> dict[str, Any]:
    length = 0
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.partition(b":")
        length = int(value) if name.lower() == b"content-length" else length
    reply: dict[str, Any] = json.loads(stream.read(length))
    return reply


def test_the_wheel_has_every_file_of_the_tree(python: Path) -> None:
    """Subpackages too, of lazycrop and of every adapter."""
    [packages] = python.parent.parent.glob("lib/python*/site-packages")
    for tree in (ROOT, ROOT / "adapters"):
        for package in sorted({path.parent for path in tree.glob("*lazycrop/__init__.py")}):
            files = {path.relative_to(tree) for path in package.rglob("*") if path.is_file()}
            files = {path for path in files if path.suffix != ".pyc"}
            installed = {path.relative_to(packages) for path in (packages / package.name).rglob("*") if path.is_file()}
            assert files == {path for path in installed if path.suffix != ".pyc"}
