"""Scene: images with a catalogue, what its tables have, and what they should have by a look at the store alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, select

from doubles import BLUE, GREEN, RED, flat
from lazycrop import LazyCrop
from lazycrop.catalogue import Derivative, Image

COLOURS = [flat(colour, size=(30, 20)) for colour in (RED, GREEN, BLUE)]
DATABASES = ["sqlite", "postgresql"]


def url_of(kind: str, folder: Path, postgresql: Any) -> str:
    return f"sqlite:///{folder}/lazycrop.db" if kind == "sqlite" else postgresql().url


@contextmanager
def open_images(folder: Path, url: str, **settings: Any) -> Iterator[LazyCrop]:
    """Images in ``folder`` that are small to make, with the tables of their catalogue."""
    fixed = {
        "store": folder / "images",
        "secret": "key",
        "broker": "inline",
        "sizes": "any",
        "mezzanine_edges": (),
        "catalogue": url,
    }
    images = LazyCrop(**{**fixed, **settings})
    images.catalogue.create()
    try:
        yield images
    finally:
        images.close()


def warm(images: LazyCrop, image_id: str, *sizes: str) -> None:
    for size in sizes:
        images.warm(image_id, [size])


def in_tables(images: LazyCrop) -> tuple[dict[str, dict[str, Any]], dict[tuple[Any, ...], int]]:
    """The rows of images by id, and the bytes of sizes by image, version, size and format."""
    engine = create_engine(images.catalogue.engine.url)
    try:
        with engine.connect() as connection:
            rows = connection.execute(select(Image.__table__)).mappings()
            found = {row["id"]: {name: value for name, value in row.items() if value is not None} for row in rows}
            sizes = connection.execute(select(Derivative.__table__)).mappings()
            names = ("image", "version", "size", "format")
            return found, {tuple(row[name] for name in names): row["bytes"] for row in sizes}
    finally:
        engine.dispose()


def in_folder(folder: Path) -> tuple[dict[str, dict[str, Any]], dict[tuple[Any, ...], int]]:
    """The same, by a look at the files and nothing of the package."""
    found: dict[str, dict[str, Any]] = {}
    sizes: dict[tuple[Any, ...], int] = {}
    for record in folder.rglob("image.json"):
        said = json.loads(record.read_text("utf-8"))
        image_id = str(record.parent.relative_to(folder))
        if said["image_id"] != image_id:  # of a former version, or in -private
            continue
        if "private" in said and type(said["private"]) is int:
            own = folder / "-private" / image_id / (f"v{said['private']}" if said["private"] > 1 else "") / "image.json"
            said = json.loads(own.read_text("utf-8"))
        found[image_id] = _row(said)
        if "purged" not in said:
            sizes.update(_sizes(folder, image_id))
    return found, sizes


def _row(said: dict[str, Any]) -> dict[str, Any]:
    row = {"id": said["image_id"], "private": said.get("private", False)}
    if "purged" in said:
        return {**row, "version": said["purged"], "purged_at": datetime.fromisoformat(said["purged_at"])}
    x, y = said["focal"] or (None, None)
    names = ("version", "format", "width", "height", "sha256", "source", "colour", "placeholder")
    row |= {name: said[name] for name in names if said[name] is not None}
    row |= {name: value for name, value in (("focal_x", x), ("focal_y", y)) if value is not None}
    return {**row, "bytes": said["length"], "stored_at": datetime.fromisoformat(said["stored_at"])}


def _sizes(folder: Path, image_id: str) -> Iterator[tuple[tuple[Any, ...], int]]:
    for root in (folder / image_id, folder / "-private" / image_id):
        for file in [*root.glob("*x*.*"), *root.glob("v*/*x*.*")]:
            if not file.name.startswith("mezzanine"):
                version = int(file.parent.name[1:]) if file.parent != root else 1
                yield (image_id, version, file.stem, file.suffix[1:]), file.stat().st_size


def check_equal(images: LazyCrop, folder: Path) -> None:
    """Row by row, column by column."""
    rows, sizes = in_tables(images)
    wanted_rows, wanted_sizes = in_folder(folder / "images")
    assert rows == wanted_rows
    assert sizes == wanted_sizes
