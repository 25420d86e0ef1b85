"""Sources: the photographs as they are, PNG and WebP made from them, and stores that hold them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks import BUILD
from benchmarks.peers import Contender, Site, gunicorn
from lazycrop.model.records import Record
from lazycrop.pictures.ingest import Prepared

SIZES = ("200x100", "400x300", "800x600", "1600x1200")
OTHER_PHOTOS = 5  # As many of them as PNG and WebP.
DOWNLOAD_BYTES = 100_000_000  # A PNG of 16 megapixels has 30 MB.


@dataclass(frozen=True)
class Kind:
    """What the sources are: the photographs in a format, as large as they are or shrunk to an edge."""

    format: str
    edge: int | None = None

    def __str__(self) -> str:
        return self.format.upper() + (f" of {self.edge:,} px" if self.edge else "")


JPEG = Kind("jpg")
OTHERS = (Kind("png"), Kind("webp"), Kind("png", 2400), Kind("webp", 2400))


@dataclass(frozen=True)
class Plan:
    """What is measured. ``photos``: JPEG files. ``runs``: of each measurement. ``seconds``: of each load."""

    photos: tuple[Path, ...]
    runs: int
    seconds: float
    quick: bool


def image_id(name: str) -> str:
    return Path(name).stem


@cache
def folder(plan: Plan, kind: Kind) -> Path:
    """Where the sources of a kind are."""
    place = BUILD / "sources" / f"{kind.format}-{kind.edge}"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for number, photo in enumerate(plan.photos):
        name = re.sub(r"[^A-Za-z0-9_-]", "_", photo.stem)
        if kind == JPEG:
            shutil.copyfile(photo, place / f"{name}.jpg")
        elif number < OTHER_PHOTOS:
            _convert(photo, place / f"{name}.{kind.format}", kind.edge)
    return place


def names(plan: Plan, kind: Kind) -> list[str]:
    """File names of the sources of a kind."""
    return sorted(path.name for path in folder(plan, kind).iterdir())


def _convert(photo: Path, path: Path, edge: int | None) -> None:
    from PIL import Image, ImageOps

    with Image.open(photo) as image:
        upright = ImageOps.exif_transpose(image)
        if edge:
            upright.thumbnail((edge, edge), Image.Resampling.LANCZOS)
        upright.convert("RGB").save(path, quality=90, compress_level=3)


@cache
def store(plan: Plan, kind: Kind, mezzanines: bool = True) -> Path:
    """A folder store that has the sources of a kind and nothing else. Copy it, do not change it."""
    from lazycrop import LazyCrop

    place = BUILD / "stores" / f"{kind.format}-{kind.edge}-{'with' if mezzanines else 'without'}-mezzanines"
    shutil.rmtree(place, ignore_errors=True)
    settings = {} if mezzanines else {"mezzanine_edges": "none"}
    images = LazyCrop(store=str(place), sizes="any", download_bytes=DOWNLOAD_BYTES, **settings)
    for name in names(plan, kind):
        images.store_origin(image_id(name), folder(plan, kind) / name)
    images.close()
    return place


def record_of(prepared: Prepared) -> Record:
    """The record of an image that is in no store."""
    return Record(
        image_id="photo",
        version=1,
        format=prepared.format,
        width=prepared.width,
        height=prepared.height,
        length=len(prepared.data),
        sha256="0" * 64,
        stored_at="2026-01-01T00:00:00+00:00",
        source="",
        mezzanines=tuple(mezzanine for mezzanine, _ in prepared.mezzanines),
    )


def lazycrop(
    name: str, plan: Plan, kind: Kind, *, mezzanines: bool = True, env: dict[str, str] | None = None
) -> Contender:
    """lazycrop behind gunicorn, with a folder for a store, and by default a worker in the same process."""
    pristine = store(plan, kind, mezzanines)

    def serve(sources: Path, place: Path) -> Iterator[Site]:
        settings = {**serving(pristine, place), **(env or {})}
        if not mezzanines:  # Else they are made after the first request.
            settings["LAZYCROP_MEZZANINE_EDGES"] = "none"
        with gunicorn("images", place, settings) as (pid, base):
            yield Site(pid, lambda name, size, format: f"{base}/{image_id(name)}/{size}.{format}")

    return Contender(name, serve, ours=True)


def serving(pristine: Path, place: Path) -> dict[str, str]:
    """The environment of a lazycrop that has a copy of this store, below ``place``."""
    shutil.rmtree(place / "store", ignore_errors=True)
    shutil.copytree(pristine, place / "store")
    return {"LAZYCROP_STORE": str(place / "store"), "LAZYCROP_SIZES": "any"}
