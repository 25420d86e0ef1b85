"""What is published: built as for a release, and used as by somebody who has nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from email.message import Message
from email.parser import Parser
from hashlib import sha256
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from trove_classifiers import classifiers

from servers import ROOT, photo

BUILT = shutil.ignore_patterns(
    *(".git", ".venv*", ".bench", ".*_cache", ".hypothesis", "__pycache__", "*.egg-info", "build", "dist"),
    ".coverage*",  # Each process that is measured writes one, and takes it away.
)

# The first use that the README shows, less the URL.
EMBEDDED = """
import sys
from pathlib import Path
from lazycrop import LazyCrop

folder, path = sys.argv[1:]
images = LazyCrop(store=folder, sizes=["200x100"], broker="inline")
images.store_origin("cat", Path(path))
answer = images.answer("/cat/200x100.jpg")
assert answer.status == 200, answer.status
assert images.answer("/cat/300x100.jpg").status == 404
"""


@dataclass(frozen=True)
class Built:
    wheel: Path
    sdist: Path

    @property
    def wheel_names(self) -> list[str]:
        with zipfile.ZipFile(self.wheel) as archive:
            return archive.namelist()

    @property
    def sdist_names(self) -> list[str]:
        """Without the folder that all is in."""
        with tarfile.open(self.sdist) as archive:
            return [name.partition("/")[2] for name in archive.getnames()]

    @property
    def metadata(self) -> Message:
        [name] = [name for name in self.wheel_names if name.endswith(".dist-info/METADATA")]
        with zipfile.ZipFile(self.wheel) as archive:
            return Parser().parsestr(archive.read(name).decode())


def run(*command: str | Path, cwd: Path) -> None:
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """sdist and wheel, made from a copy: setuptools writes into the folder that it builds, and reads what it wrote."""
    copy = tmp_path_factory.mktemp("build") / "lazycrop"
    shutil.copytree(ROOT, copy, ignore=BUILT)
    run(sys.executable, "-m", "build", "--outdir", copy.parent, cwd=copy)
    [wheel], [sdist] = copy.parent.glob("*.whl"), copy.parent.glob("*.tar.gz")
    return Built(wheel, sdist)


def test_another_build_on_another_day_in_another_folder_has_the_same_bytes(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "another folder"
    shutil.copytree(ROOT, copy, ignore=BUILT, copy_function=shutil.copyfile)  # with the times and modes of today
    run(sys.executable, "-m", "build", "--outdir", tmp_path, cwd=copy)
    [wheel], [sdist] = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    for one, other in ((wheel, built.wheel), (sdist, built.sdist)):  # To show how they differ would take minutes.
        assert sha256(one.read_bytes()).hexdigest() == sha256(other.read_bytes()).hexdigest()


def test_the_index_would_accept_both(built: Built) -> None:
    run(sys.executable, "-m", "twine", "check", "--strict", built.wheel, built.sdist, cwd=ROOT)
    assert set(built.metadata.get_all("Classifier", [])) <= classifiers


def test_the_metadata_is_what_the_project_says_of_itself(built: Built) -> None:
    assert built.metadata["Name"] == "lazycrop"
    assert f'__version__ = "{built.metadata["Version"]}"' in (ROOT / "lazycrop/__init__.py").read_text("utf-8")
    assert built.metadata["License-Expression"] == "MIT"
    assert built.metadata["Requires-Python"] == ">=3.11"


def test_six_libraries_are_needed_and_each_has_a_floor(built: Built) -> None:
    requirements = [Requirement(text) for text in built.metadata.get_all("Requires-Dist", [])]
    core = [
        requirement for requirement in requirements if not (requirement.marker and "extra" in str(requirement.marker))
    ]
    assert {requirement.name for requirement in core} == {
        *{"WebOb", "Pillow", "boto3", "urllib3", "pymemcache", "dramatiq"},
    }
    assert all(str(one.specifier).startswith(">=") for one in core)


def test_the_wheel_has_types_the_demo_and_every_adapter(built: Built) -> None:
    names = built.wheel_names
    assert {"lazycrop/py.typed", "lazycrop/playground/seeding.jpg"} <= set(names)
    assert [name for name in names if name.startswith("lazycrop/playground/") and name.endswith(".html")]
    for adapter in (ROOT / "adapters").glob("*_lazycrop"):
        assert {f"{adapter.name}/__init__.py", f"{adapter.name}/py.typed"} <= set(names)
    packages = {"lazycrop", *(adapter.name for adapter in (ROOT / "adapters").glob("*_lazycrop"))}
    others = {name.partition("/")[0] for name in names} - packages
    assert all(name.endswith(".dist-info") for name in others), f"The wheel would install {others} too."


def test_the_sdist_has_all_that_the_tests_and_a_reader_need(built: Built) -> None:
    names = set(built.sdist_names)
    assert {"CHANGELOG.md", "LICENSE", "README.rst", "Makefile", "setup.py", "pyproject.toml"} <= names
    assert {"tests/conftest.py", "tests/servers.py", f"tests/photos/{photo('Fossa').name}"} <= names


def test_the_wheel_works_where_nothing_else_is_installed(built: Built, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pip", "install", "--quiet", built.wheel, cwd=tmp_path)
    run(python, "-W", "error::ResourceWarning", "-c", EMBEDDED, tmp_path / "images", photo("Fossa"), cwd=tmp_path)
    stored = {path.name for path in (tmp_path / "images/cat").iterdir()}
    assert {"image.json", "200x100.jpg"} <= stored
