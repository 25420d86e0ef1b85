"""The import law: who may import whom. The table, how imports are read, and a sentence for each break of it."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

# From the lowest; an arrow goes down. The order in a row is that of the drawing, from left to right.
LAYERS = (
    ("options", "errors", "events", "logs", "samples"),
    ("model", "access", "concurrency"),
    ("pictures", "stores", "sources", "caches", "queues", "catalogue", "metrics"),
    ("http",),
    ("settings", "keywords"),
    ("library",),
    ("build",),
    ("service", "upkeep"),
    ("images",),
    ("asgi", "wsgi", "markup"),
    ("storage", "playground", "cli", "worker", "testing"),
)
LAYER = {package: number for number, packages in enumerate(LAYERS) for package in packages}

# Of two on one layer, the first may import the second.
SIBLINGS = {
    ("options", "errors"),
    ("events", "errors"),
    ("access", "model"),  # It decides about derivatives and signs their URLs.
    ("sources", "stores"),  # A source may be a bucket, and is another place than the store.
    ("asgi", "markup"),  # It has the helpers of pages, to be awaited.
    ("cli", "playground"),  # `lazycrop demo` and `lazycrop worker` start these two.
    ("cli", "worker"),
}

OWNERS = {
    "PIL": "pictures",
    "cykooz_resizer": "pictures",
    "pillow_heif": "pictures",
    "mozjpeg_lossless_optimization": "pictures",
    "oxipng": "pictures",
    "boto3": "stores",
    "botocore": "stores",
    "urllib3": "sources",
    "pymemcache": "caches",
    "dramatiq": "queues",
    "redis": "queues",
    "pika": "queues",
    "sqlalchemy": "catalogue",
    "webob": "http",
    "prometheus_client": "metrics",
    "opentelemetry": "metrics",
    "click": "cli",
    "waitress": "cli",
}
# Dramatiq's command line loads it, and finds its broker by dramatiq.set_broker().
# The classic API answers in the words of one library that has no adapter.
ALSO = {("worker", "dramatiq"), ("storage", "webob")}

FRAMEWORKS = {
    "bottle_lazycrop": {"bottle"},
    "django_lazycrop": {"django", "storages", "click"},
    "flask_lazycrop": {"flask", "werkzeug", "click", "wtforms"},
    "paste_lazycrop": {"paste"},
    "pyramid_lazycrop": {"pyramid", "colander"},
    "wheezy_lazycrop": {"wheezy"},
}
# What a framework's own command line takes in; and what has the same names for ASGI as lazycrop itself has for WSGI.
MODULES = {"cli", "asgi"}


def modules(root: Path) -> dict[str, Path]:
    """Each module of the package in the checkout ``root``: ``stores.folder``; a package's own is ``stores``, or ""."""
    package = root / "lazycrop"
    files = {".".join(path.relative_to(package).with_suffix("").parts): path for path in sorted(package.rglob("*.py"))}
    return {name.removesuffix("__init__").removesuffix("."): path for name, path in files.items()}


def package_of(module: str) -> str:
    return module.partition(".")[0]


def imports(path: Path) -> list[tuple[str, str | None]]:
    """(module, name or None) of each import of a file, those within functions and for types too."""
    try:
        return _imports(path.read_text("utf-8"))
    except ValueError as error:
        raise AssertionError(f"{path}: {error}") from None


@cache
def _imports(text: str) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"line {node.lineno}: name the module in full, it is easier to find.")
            found += [(node.module or "", alias.name) for alias in node.names]
    return found


def arrows(root: Path) -> dict[str, set[str]]:
    """Which modules of the package each of them imports."""
    known = modules(root)
    return {name: _of_ours(path, known) - {name} for name, path in known.items()}


def _of_ours(path: Path, known: Iterable[str]) -> set[str]:
    found = set()
    for module, name in imports(path):
        package, _, inner = module.partition(".")
        if package == "lazycrop" and (module, name) != ("lazycrop", "__version__"):
            deeper = f"{inner}.{name}".lstrip(".")
            found.add(deeper if deeper in known else inner)
    return found


def third_party(path: Path) -> set[str]:
    return (
        {module.partition(".")[0] for module, _ in imports(path)} - sys.stdlib_module_names - {"lazycrop", "_typeshed"}
    )


def breaks(root: Path) -> list[str]:
    """A sentence for each break of the law in the checkout ``root``."""
    graph = arrows(root)
    return [*_without_layer(graph), *_wrong_arrows(graph), *_circles(graph), *_foreign(root), *_of_adapters(root)]


def _without_layer(graph: Iterable[str]) -> Iterator[str]:
    for package in sorted({package_of(module) for module in graph} - {*LAYER, "", "__main__"}):
        yield f"{package} has no layer; give it one in LAYERS, as low as it can be."


def _wrong_arrows(graph: Mapping[str, set[str]]) -> Iterator[str]:
    for module, others in graph.items():
        for other in sorted(others):
            package, target = package_of(module), package_of(other)
            if package == target or (package, target) in SIBLINGS:
                continue
            mine, its = _layer(package), _layer(target)
            arrow = (
                f"{package} (layer {mine}) imports {target or 'all of lazycrop'} (layer {its}), in {module} → {other}"
            )
            if its > mine:
                yield (
                    f"{arrow}: a package imports layers below its own only; move what it needs below layer {mine}, or "
                    "have it handed in from above."
                )
            elif its == mine:
                yield (
                    f"{arrow}: packages on one layer do not know each other; move what both need to a layer below, or "
                    "what joins them to one above."
                )


def _layer(package: str) -> int:
    """The package's own public names, and what runs it, are above all."""
    return LAYER.get(package, len(LAYERS))


def _circles(graph: Mapping[str, set[str]]) -> Iterator[str]:
    for start in graph:
        if (way := _way_back(graph, start)) and start == min(way):
            yield (
                f"{' → '.join([*way, start])} is a circle: the modules of {package_of(start)} import each other in one "
                "direction; move what both ends need into a module of its own, or make them one."
            )


def _way_back(graph: Mapping[str, set[str]], start: str) -> list[str] | None:
    """The shortest way from a module to itself, through its own package."""
    ways, seen = [[start]], set()
    for way in ways:
        for other in sorted(graph.get(way[-1], ())):
            if other == start:
                return way
            if other not in seen and package_of(other) == package_of(start):
                seen.add(other)
                ways.append([*way, other])
    return None


def _foreign(root: Path) -> Iterator[str]:
    owners = {**{library: adapter for adapter, its in FRAMEWORKS.items() for library in its}, **OWNERS}
    for module, path in modules(root).items():
        package = package_of(module)
        for library in sorted(third_party(path)):
            owner = owners.get(library)
            if owner is None:
                yield f"{module} imports {library}, which no package owns; give it an owner in OWNERS, or do without."
            elif owner != package and (package, library) not in ALSO:
                yield (
                    f"{module} imports {library}: each library is inside one package, and this one is inside {owner}; "
                    f"move that code to {owner}, or call what {owner} offers."
                )


def _of_adapters(root: Path) -> Iterator[str]:
    for path in sorted((root / "adapters").rglob("*.py")):
        adapter = path.relative_to(root / "adapters").parts[0]
        for library in sorted(third_party(path) - FRAMEWORKS.get(adapter, set()) - {adapter}):
            yield (
                f"{adapter} imports {library}: an adapter knows its framework and lazycrop only; do without it, or say "
                "in FRAMEWORKS that it is a part of the framework."
            )
        for used in sorted(_used_of_lazycrop(path) - {*_public(root), *MODULES}):
            yield (
                f"{adapter} uses {used} of lazycrop: an adapter knows its public names only; take one of those, or "
                "make it public in lazycrop/__init__.py."
            )


def _public(root: Path) -> set[str]:
    """``__all__`` as the file says it, without importing anything of it."""
    namespace: dict[str, set[str]] = {}
    for node in ast.parse((root / "lazycrop/__init__.py").read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
            namespace["public"] = set(ast.literal_eval(node.value))
    return {"__version__", *namespace["public"]}


def _used_of_lazycrop(path: Path) -> set[str]:
    """The names that a file imports from lazycrop, whole modules below it, and what it takes from ``lazycrop.``."""
    pairs = [pair for pair in imports(path) if pair[0].partition(".")[0] == "lazycrop"]
    used = {name or "" if module == "lazycrop" else module.partition(".")[2] for module, name in pairs} - {""}
    if ("lazycrop", None) in pairs:
        nodes = ast.walk(ast.parse(path.read_text("utf-8")))
        attributes = [node for node in nodes if isinstance(node, ast.Attribute)]
        used |= {one.attr for one in attributes if isinstance(one.value, ast.Name) and one.value.id == "lazycrop"}
    return used
