"""The import law holds, is noticed when it is broken, and each package and module says what it is."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import law
from servers import ROOT

LONGEST = 350  # Lines of a module that a stranger can still read at once.


def test_the_law_holds() -> None:
    assert not (broken := law.breaks(ROOT)), "\n".join(broken)


def test_who_may_import_a_neighbour_makes_no_circle() -> None:
    graph = {one: {other for first, other in law.SIBLINGS if first == one} for one, _ in law.SIBLINGS}
    assert all(other not in graph for others in graph.values() for other in others)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A checkout to break the law in."""
    for folder in ("lazycrop", "adapters"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        (
            "lazycrop/pictures/pixels.py",
            "from lazycrop.images import LazyCrop",
            "pictures (layer 2) imports images (layer 8), in pictures.pixels → images: a package imports layers",
        ),
        (
            "lazycrop/model/sizes.py",
            "def late():\n    import lazycrop.stores",
            "model (layer 1) imports stores (layer 2), in model.sizes → stores: a package imports layers below its own",
        ),
        (
            "lazycrop/sources/download.py",
            "from lazycrop.caches.process import ProcessCache",
            "sources (layer 2) imports caches (layer 2), in sources.download → caches.process: packages on one layer",
        ),
        (
            "lazycrop/model/sizes.py",
            "from lazycrop.access import policy",
            "model (layer 1) imports access (layer 1), in model.sizes → access.policy: packages on one layer do not",
        ),
        (
            "lazycrop/errors.py",
            "import lazycrop",
            "errors (layer 0) imports all of lazycrop (layer 11)",
        ),
        (
            "lazycrop/model/sizes.py",
            "from lazycrop.model.urls import parse",
            "model.sizes → model.urls → model.sizes is a circle: the modules of model import each other in one",
        ),
        (
            "lazycrop/stores/folder.py",
            "import urllib3",
            "stores.folder imports urllib3: each library is inside one package, and this one is inside sources; move",
        ),
        (
            "lazycrop/service.py",
            "import requests",
            "service imports requests, which no package owns; give it an owner in OWNERS, or do without.",
        ),
        (
            "lazycrop/attic.py",
            '"""Things."""',
            "attic has no layer; give it one in LAYERS, as low as it can be.",
        ),
        (
            "adapters/flask_lazycrop/__init__.py",
            "from lazycrop.library.records import Records",
            "flask_lazycrop uses library.records of lazycrop: an adapter knows its public names only; take one of",
        ),
        (
            "adapters/bottle_lazycrop/__init__.py",
            "import webob",
            "bottle_lazycrop imports webob: an adapter knows its framework and lazycrop only; do without it, or say",
        ),
    ],
)
def test_a_break_of_the_law_fails_with_a_sentence(copy: Path, file: str, line: str, said: str) -> None:
    path = copy / file
    before = path.read_text("utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{line}\n", "utf-8")
    assert any(said in sentence for sentence in set(law.breaks(copy)) - set(law.breaks(ROOT)))


def test_no_module_is_too_long_to_be_read_at_once() -> None:
    lines = {name: path.read_text("utf-8").count("\n") for name, path in law.modules(ROOT).items()}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


def test_every_module_says_first_what_it_is_and_a_package_in_one_sentence() -> None:
    files = [*law.modules(ROOT).values(), *(ROOT / "adapters").rglob("*.py")]
    said = {path: ast.get_docstring(ast.parse(path.read_text("utf-8"))) for path in files}
    assert [path for path, text in said.items() if not text] == []
    first = {path: (text or "").splitlines()[0] for path, text in said.items() if path.name == "__init__.py"}
    assert [line for line in first.values() if not line.endswith(".")] == []


def test_importing_lazycrop_loads_no_library_and_starts_no_thread() -> None:
    program = """
import json, sys, threading
modules, threads = set(sys.modules), threading.active_count()
import lazycrop
print(json.dumps([sorted(set(sys.modules) - modules), threading.active_count() - threads]))
"""
    answer = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    loaded, threads = json.loads(answer.stdout)
    assert [module for module in loaded if module.partition(".")[0] not in {*sys.stdlib_module_names, "lazycrop"}] == []
    assert threads == 0
    assert [module for module in loaded if module.startswith("lazycrop")] == ["lazycrop"]


def test_the_drawing_is_what_the_imports_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    from make_drawing import DRAWING, drawing

    assert DRAWING.read_text("utf-8") == drawing(), "Run `make drawing`, and look at what it draws."
