"""What the README shows is run as it stands."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from types import SimpleNamespace
from typing import Any

import pytest
from docutils.core import publish_doctree

from law import LAYER, LAYERS, modules
from lazycrop.settings import from_ini, make_config
from servers import ROOT

README = (ROOT / "README.rst").read_text(encoding="utf-8")
DOCUMENTS = sorted([*ROOT.glob("*.rst"), *ROOT.glob("docs/**/*.rst")])
PAGES = sorted(ROOT.glob("*.rst"))  # which an index and a repository show without Sphinx
HOME = re.search(r'^HOME = "(.+)"$', (ROOT / "setup.py").read_text("utf-8"), re.MULTILINE)[1]  # type: ignore[index]


def blocks(text: str) -> list[str]:
    found = re.findall(r"\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", text)
    return [dedent(block) for block in found]


@pytest.mark.slow
def test_the_readme_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    middleware, store, flask, pyramid, s3 = blocks(README)
    site: dict[str, Any] = {"__name__": __name__}  # Pyramid looks its caller up
    for block in (middleware, store, middleware, store):  # Whoever starts it again has stored nothing again.
        exec(block, site)
    [command] = re.findall(r"^    lazycrop (store \S+ \S+ --store .+)$", README, re.MULTILINE)
    subprocess.run([sys.executable, "-m", "lazycrop", *command.split()], check=True, capture_output=True)
    assert list(tmp_path.glob("images/*/v2")) == []  # then the URLs that the README goes on with would be others
    assert call(site["application"], "/") == ("200 OK", b'<img src="/img/cat/200x100.jpg">')
    status, picture = call(site["application"], "/img/cat/200x100.jpg")
    assert (status, picture[:3]) == ("200 OK", b"\xff\xd8\xff")
    site["images"].close()

    exec(flask, site)
    response = site["app"].test_client().get("/")
    assert b'alt="A cat"' in response.data
    response.close()

    exec(pyramid, site)
    status, picture = call(site["application"], "/img/cat/200x100@2x.jpg")
    assert (status, picture[:3]) == ("200 OK", b"\xff\xd8\xff")
    for mounted in site["config"].registry["lazycrop"].values():
        mounted.app.images.close()

    exec(s3, site)
    assert site["images"].url("cat", "card", version=2) == "/img/cat/v2/400x300-cover.jpg"


def call(application: Any, path: str) -> tuple[str, bytes]:
    seen: list[str] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "QUERY_STRING": "", "SCRIPT_NAME": ""}
    server = {"SERVER_NAME": "x", "SERVER_PORT": "80", "wsgi.url_scheme": "http"}
    body = application({**environ, **server}, lambda status, headers, *_: seen.append(status))
    try:
        return seen[0], b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_snippet_is_python(document: Path) -> None:
    for block in blocks(document.read_text(encoding="utf-8")):
        ast.parse(block)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_names_is_there(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    named = re.findall(r"``((?:docs|examples|benchmarks|deploy)/[\w./]*)``", text)
    named += re.findall(rf"{re.escape(HOME)}/(?:blob|tree|raw)/main/(\S+)", text)
    made = [name for name in named if name.startswith("docs/_build")]  # by `make docs`
    assert [name for name in named if not (ROOT / name).exists() and name not in made] == []
    pictures = [name for name in re.findall(r"\.\. image:: (\S+)", text) if not name.startswith(HOME)]
    assert [name for name in pictures if not (document.parent / name).exists()] == []


def test_the_readme_reads_wherever_it_is_shown() -> None:
    """An index of packages knows no files beside it."""
    targets = re.findall(r"^\.\. (?:_[^:]+|image):+ (\S+)$", README, re.MULTILINE)
    assert len(targets) > 15 and [target for target in targets if not target.startswith(f"{HOME}/")] == []
    assert re.findall(r"``docs/[\w/]+\.rst``", README) == []


@pytest.mark.parametrize("document", PAGES, ids=lambda path: path.name)
def test_every_page_is_restructured_text_by_itself(document: Path) -> None:
    reported: list[str] = []
    publish_doctree(
        document.read_text(encoding="utf-8"),
        source_path=str(document),
        settings_overrides={"warning_stream": SimpleNamespace(write=reported.append), "syntax_highlight": "none"},
    )
    assert reported == []


def test_the_ini_file_of_the_operations_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs/operations.rst").read_text(encoding="utf-8")
    [block] = re.findall(r"::\n\n((?: {4}.*\n)*? {4}\[lazycrop\]\n(?: {4}.*\n)+)", text)
    ini = tmp_path / "lazycrop.ini"
    ini.write_text(dedent(block), encoding="utf-8")
    config = make_config(from_ini(ini))
    assert config.policy.secret == ("new key", "old key") and len(config.policy.sizes) == 3
    assert len(config.cache.memcached) == 2


def test_the_loggers_of_the_operations_are_there() -> None:
    named = re.findall(r"^``lazycrop\.([\w.]+)`` ", (ROOT / "docs/operations.rst").read_text("utf-8"), re.MULTILINE)
    known = modules(ROOT)
    assert len(named) > 5
    assert [name for name in named if "logging.getLogger(__name__)" not in known[name].read_text("utf-8")] == []


def test_the_table_of_layers_is_that_of_the_law() -> None:
    text = (ROOT / "docs/architecture.rst").read_text(encoding="utf-8")
    rows = re.findall(r"^(\d+) {2,}(\S.*\n(?: +\S.*\n)*)", text[text.index("layer packages") :], re.MULTILINE)
    there = {module.partition(".")[0] for module in modules(ROOT)}
    told = {int(layer): {name for name in re.findall(r"``(\w+)``", row) if name in LAYER} for layer, row in rows}
    assert told == {layer: {name for name in names if name in there} for layer, names in enumerate(LAYERS)}
