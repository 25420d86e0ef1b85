"""Storing: ``store``, of one image, a folder or a list. [click]"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import click

from lazycrop.cli.bulk import (
    BEFORE,
    DONE,
    NO_IMAGE,
    Item,
    Outcome,
    changes,
    each,
    failed,
    for_many,
    is_named_as_image,
    jobs_option,
    not_done,
    outcome,
    read_lines,
)
from lazycrop.cli.editing import read_point
from lazycrop.cli.options import Settings, command
from lazycrop.errors import BadRequest
from lazycrop.images import LazyCrop
from lazycrop.model.keys import composed
from lazycrop.model.records import Focal
from lazycrop.model.sizes import DEFAULT_BOUND
from lazycrop.stores.folder import FolderStore

_LISTS = (".tsv", ".txt")

StoreOne = Callable[[str, str], str]
"""Stores the image of an id from a source; returns whether that was done or not needed."""


@command(shows=("store",))
@click.argument("arguments", nargs=-1, required=True, metavar="[IMAGE_ID] SOURCE")
@click.option("--bound", default=DEFAULT_BOUND, show_default=True, help="The box in pixels that an image is shrunk to.")
@click.option(
    "--focal",
    callback=read_point,
    metavar="X,Y|auto",
    help="Where the subject is, in per cent; or auto, to have it found.",
)
@jobs_option
@click.option("--again", is_flag=True, help="Store also what is there with the same content, as with another --bound.")
def store(settings: Settings, arguments: tuple[str, ...], bound: str, focal: Any, jobs: int, again: bool) -> None:
    """Store one image, or many.

    SOURCE is the URL or the path of an image. Or it is a folder, whose files' names, less their extensions, are the
    image ids; or a .tsv or .txt file, or - for standard input, in which each line is an image id, a tab, and a URL or
    a path. Of these, IMAGE_ID may be left out; where it is given, all ids are below it.

    Of many, what is there with the same content is left as it is, so that a run that was stopped goes on where it was.
    A file that is no image is counted. One that is named as an image and is broken, too large or cannot be read is
    named on stderr, and the exit status is 1.

    \b
    lazycrop store cat photos/cat.jpg
    lazycrop store holidays photos/ --jobs 2
    """
    images = for_many(settings, jobs)
    *ids, source = arguments
    if len(ids) > 1 or (not ids and not _is_many(source)):
        raise click.UsageError("Give an image id and a source.")
    if not _is_many(source):
        record = images.store_origin(ids[0], _url_or_path(source), bound, focal=focal)
        click.echo(f"{record.width}x{record.height} {record.format}, {record.length:,} bytes: {record.url}")
        return
    task = partial(_storing, below=f"{ids[0]}/" if ids else "", bound=bound, focal=focal, again=again)
    each("stored", _items(source, images.store), task, settings, jobs)


def _storing(images: LazyCrop, *, below: str, bound: str, focal: Focal, again: bool) -> StoreOne:
    kind = changes(images)

    def store_one(image_id: str, source: str) -> str:
        record = images.store_origin(below + image_id, _url_or_path(source), bound, focal=focal, again=again)
        return kind(record.image_id)

    return store_one


def _items(source: str, store: object) -> Iterator[Item]:
    if source == "-" or not os.path.isdir(source):
        return _of_list(read_lines(source, "an image id, a tab and a source"))
    own = store.path if isinstance(store, FolderStore) else None
    if own is not None and Path(os.path.realpath(source)).is_relative_to(own):
        raise BadRequest(f"The folder {source!r} is in that of the store, {own!r}, where images come and go.")
    return _of_folder(Path(source), own)


def _url_or_path(source: str) -> str | Path:
    return source if "://" in source else Path(source)


def _is_many(source: str) -> bool:
    """Is it a folder or a list?"""
    return source == "-" or os.path.isdir(source) or ("://" not in source and Path(source).suffix.lower() in _LISTS)


def _of_list(lines: Iterator[str]) -> Iterator[Item]:
    """An item a line, as it is read."""
    seen: set[str] = set()
    for line in lines:
        image_id, _, given = (part.strip() for part in line.partition("\t"))
        if not given:
            error = BadRequest("A line is an image id, a tab, and the URL or the path of an image.")
        elif composed(image_id) in seen:
            error = _replaces(given)
        else:
            seen.add(composed(image_id))
            yield Item(image_id, partial(_listed, image_id, given))
            continue
        yield not_done(image_id, error)


def _listed(image_id: str, source: str, store_one: StoreOne) -> list[Outcome]:
    made = outcome(source, lambda: store_one(image_id, source), of_any_kind=False)
    return [replace(made, name=image_id)]


def _replaces(source: str) -> BadRequest:
    return BadRequest(f"{source!r} would replace another image of the same id; give it an id of its own.")


def _of_folder(folder: Path, own: str | None, above: str = "") -> Iterator[Item]:
    """An item an image id, which several files may have, as cat.jpg and cat.xmp. Of names those of one folder are kept.

    ``own``: the store's folder, which is none of the images' even where it lies among them. Links to folders are left
    out: what they lead to has a name without them, or none here.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted((one for one in entries if not one.name.startswith(".")), key=lambda one: one.name)
    except OSError as error:
        sentence = f"The folder {str(folder)!r} cannot be read: {error.strerror}."
        yield not_done(above.rstrip("/") or str(folder), BadRequest(sentence))
        return
    files = sorted((one.name for one in found if not os.path.isdir(one.path)), key=_id_of)
    for image_id, names in groupby(files, _id_of):
        yield Item(above + image_id, partial(_of_one_id, above + image_id, [folder / name for name in names]))
    for one in found:
        if one.is_dir(follow_symlinks=False) and (own is None or os.path.realpath(one.path) != own):
            yield from _of_folder(folder / one.name, own, f"{above}{one.name}/")


def _id_of(name: str) -> str:
    return composed(Path(name).stem)


def _of_one_id(image_id: str, files: list[Path], store_one: StoreOne) -> list[Outcome]:
    """The first of the files that is an image is stored; another one that looks like an image has failed."""
    outcomes: list[Outcome] = []
    for file in files:
        if os.path.exists(file) and not os.path.isfile(file):  # A named pipe or a device is not even opened.
            outcomes.append(Outcome(NO_IMAGE, image_id))
        elif any(one.kind in (DONE, BEFORE) for one in outcomes):
            is_image = is_named_as_image(file.name)
            outcomes.append(failed(image_id, _replaces(str(file))) if is_image else Outcome(NO_IMAGE, image_id))
        else:
            made = outcome(file.name, partial(store_one, image_id, str(file)), of_any_kind=True)
            outcomes.append(replace(made, name=image_id))
    return outcomes
