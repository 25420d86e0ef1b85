"""The documentation as a site: built as ``make docs`` does it, and followed by its links."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import lazycrop
from docs import make_errors
from lazycrop.cli.program import commands
from lazycrop.errors import LazyCropError
from servers import ROOT

MOVING = (ROOT / "docs/moving.rst").read_text("utf-8")


class Page(HTMLParser):
    """What a page links to, and the places in it that may be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.places: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.links += [given[name] or "" for name in ("href", "src") if name in given]
        self.places |= {given["id"] or ""} if "id" in given else set()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", folder / "doctrees", "-b", "html"]
    done = subprocess.run([*command, ROOT / "docs", folder / "html"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "html"


def test_it_is_built_without_a_warning_and_every_link_within_it_leads_somewhere(site: Path) -> None:
    pages = {path: Page(path) for path in site.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            is_there = target.exists() and (
                not parts.fragment or target not in pages or unquote(parts.fragment) in {"", *pages[target].places}
            )
            dead += [] if is_there else [f"{path.relative_to(site)}: {link}"]
    assert len(pages) > 25 and dead == []


def test_every_public_name_and_command_and_error_is_on_it(site: Path) -> None:
    places = Page(site / "api.html").places
    assert [name for name in lazycrop.__all__ if f"lazycrop.{name}" not in places and not is_an_error(name)] == [
        "__version__"
    ]
    text = (site / "cli.html").read_text("utf-8")
    assert [name for name in commands.commands if f'id="lazycrop-{name}"' not in text] == []
    errors = Page(site / "errors.html").places
    assert [kind.__name__ for kind in make_errors.errors() if f"lazycrop.errors.{kind.__name__}" not in errors] == []


def is_an_error(name: str) -> bool:
    found = getattr(lazycrop, name)
    return isinstance(found, type) and issubclass(found, LazyCropError)


def test_the_errors_are_those_of_the_code() -> None:
    assert (ROOT / "docs/errors.rst").read_text("utf-8") == make_errors.text(), "run: make generated"


def test_each_code_that_the_page_of_symptoms_names_is_one() -> None:
    text = (ROOT / "docs/troubleshooting.rst").read_text("utf-8")
    named = re.findall(r"^\d{3} ``([\w-]+)``", text, re.MULTILINE)
    assert len(named) > 6 and set(named) <= {kind.code for kind in make_errors.errors()}


def ours() -> list[str]:
    """The sizes in the right column of the tables of those who move."""
    rows = [line[48:] for line in MOVING.splitlines() if line.startswith("``")]
    return [size for row in rows for size in re.findall(r"``(\d*x\d*[a-z@-][^\s`]*|\d*x\d*)", row)]


def test_each_size_that_somebody_is_told_to_write_is_one() -> None:
    images = lazycrop.LazyCrop(store="memory:", sizes="any")
    assert len(ours()) > 50
    for size in ours():
        assert str(images.size(size)) == size
    images.close()


def test_what_is_written_in_python_after_a_move_works() -> None:
    space: dict[str, object] = {}
    snippets = re.findall(r"code-block:: python\n    :caption: after\n\n((?:(?: {4}.*)?\n)+)", MOVING)
    assert len(snippets) == 2
    for snippet in snippets:
        exec(re.sub("^    ", "", snippet, flags=re.MULTILINE), space)
        space["images"].close()  # type: ignore[attr-defined]


def test_the_templates_after_a_move_are_templates() -> None:
    from django.template import Engine
    from jinja2 import Environment

    jinja = re.findall(r"code-block:: jinja\n    :caption: after\n\n((?:(?: {4}.*)?\n)+)", MOVING)
    django = re.findall(r"code-block:: html\+django\n    :caption: after\n\n((?:(?: {4}.*)?\n)+)", MOVING)
    engine = Engine(libraries={"lazycrop": "django_lazycrop.templatetags.lazycrop"})
    assert len(jinja) == 1 and len(django) == 3
    assert all(Environment(autoescape=True).from_string(text) for text in jinja)
    assert all(engine.from_string(text) for text in django)
