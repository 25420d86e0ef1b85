"""The import law: a module imports only from rows above its own, and each third-party library has one owner."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from servers import ROOT

ROWS = [
    {"errors", "deadlines", "forks"},
    {"options", "sizes", "threads", "resampling", "headers", "colours"},
    {"derivatives", "pixels"},
    {"records", "stores", "pictures"},
    {"encoding"},
    {
        *{"urls", "policy", "fetch", "s3", "folders", "caches", "render", "answers", "tasks"},
        *{"negotiation", "flights", "origins"},
    },
    {"shortcuts"},
    {"config"},
    {"library"},
    {"making"},
    {"service"},
    {"middleware", "markup"},
    {"storage", "worker", "testing", "demo"},
    {"cli"},
    {"__main__"},
]
END = len(ROWS)
ROW = {module: number for number, row in enumerate(ROWS) for module in row}

OWNERS = {
    "urllib3": {"fetch"},
    "boto3": {"s3"},
    "botocore": {"s3"},
    "pymemcache": {"caches"},
    "PIL": {"colours", "resampling", "pixels", "pictures", "encoding"},
    "cykooz_resizer": {"resampling"},
    "pillow_heif": {"pictures"},
    "webob": {"negotiation", "middleware", "storage"},
    "dramatiq": {"tasks", "worker"},
    "redis": {"tasks", "worker"},
    "pika": {"tasks", "worker"},
    "click": {"cli"},
    "waitress": {"cli"},
    # storage answers in the words of the framework that its user names.
    **{name: {"storage"} for name in ("bottle", "django", "flask", "pyramid", "wheezy_lazycrop")},
}

COMMANDS = {"cli"}  # What a framework's own command line takes in.

FRAMEWORKS = {
    "flask_lazycrop": {"flask", "werkzeug", "click"},
    "pyramid_lazycrop": {"pyramid"},
    "bottle_lazycrop": {"bottle"},
    "wheezy_lazycrop": {"wheezy"},
    "paste_lazycrop": {"paste"},
}


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """(module, name or None) of each import of a file, those within functions too."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: name the module in full, it is easier to find."
            yield from ((node.module or "", alias.name) for alias in node.names)


def of_ours(module: str, name: str | None) -> str | None:
    """The module of lazycrop that is imported, "" for the package itself, None when it is another's."""
    package, _, rest = module.partition(".")
    if package != "lazycrop":
        return None
    return rest.partition(".")[0] or (name if name in ROW else "") or ""


def third_party(path: Path) -> set[str]:
    roots = {module.partition(".")[0] for module, _ in imports(path)}
    return roots - sys.stdlib_module_names - {"lazycrop", "_typeshed"}


def modules() -> dict[Path, str]:
    """Each file of the package with its module's name; the package's own __init__ is not one."""
    files = {path: path.relative_to(ROOT / "lazycrop").parts[0] for path in (ROOT / "lazycrop").rglob("*.py")}
    return {path: name.removesuffix(".py") for path, name in files.items() if name != "__init__.py"}


def adapters() -> list[Path]:
    return sorted((ROOT / "adapters").rglob("*.py"))


def test_every_module_has_a_row() -> None:
    unknown = {name for name in modules().values() if name not in ROW}
    assert not unknown, f"Give {unknown} a row in ROWS, as low as it can be."


def test_a_module_imports_only_from_rows_above_its_own() -> None:
    broken = [
        f"{name} imports {other or 'lazycrop itself'}"
        for path, name in modules().items()
        for other in (of_ours(*pair) for pair in imports(path) if pair != ("lazycrop", "__version__"))
        if other is not None and other != name and ROW.get(other, END) >= ROW.get(name, END)
    ]
    assert not broken


def test_each_third_party_library_is_imported_by_its_owner_only() -> None:
    broken = [
        f"{name} imports {library}"
        for path, name in {**modules(), ROOT / "lazycrop/__init__.py": "lazycrop"}.items()
        for library in third_party(path)
        if name not in OWNERS.get(library, set())
    ]
    assert not broken


def test_adapters_import_their_framework_and_public_names_only() -> None:
    from lazycrop import __all__ as public

    broken = []
    for path in adapters():
        name = path.relative_to(ROOT / "adapters").parts[0]
        assert name in FRAMEWORKS, f"Say in FRAMEWORKS what {name} may import."
        broken += [f"{name} imports {library}" for library in third_party(path) - FRAMEWORKS[name] - {name}]
        broken += [f"{name} uses {used}" for used in used_of_lazycrop(path) - {*public, *COMMANDS}]
    assert not broken


def used_of_lazycrop(path: Path) -> set[str]:
    """The names that a file imports from lazycrop, whole modules below it, and what it takes from ``lazycrop.``."""
    pairs = [(module, name) for module, name in imports(path) if of_ours(module, name) is not None]
    used = {name or "" if module == "lazycrop" else module for module, name in pairs} - {""}
    if ("lazycrop", None) in pairs:
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        used |= {one.attr for one in attributes if isinstance(one.value, ast.Name) and one.value.id == "lazycrop"}
    return used


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
