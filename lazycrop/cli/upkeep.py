"""Upkeep: ``cleanup`` and ``verify``, which go through all images of the store. [click]"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import click

from lazycrop.cli.bulk import jobs_option, shown
from lazycrop.cli.options import Settings, command
from lazycrop.cli.output import Output, Progress, ask, count_of, output_options, size_of, yes_option
from lazycrop.errors import BadRequest
from lazycrop.images import LazyCrop
from lazycrop.library.cleaning import LEFTOVERS, SIZES, UNASKED, VERSIONS, Removed
from lazycrop.library.verifying import Damage, Verified

_WORDS = {
    VERSIONS: ("object of a former version", "objects of former versions"),
    SIZES: ("size off the list", "sizes off the list"),
    UNASKED: ("size not asked for", "sizes not asked for"),
    LEFTOVERS: ("leftover", "leftovers"),
}
_KEPT = 1.0  # seconds after which is written down how far it is


@command(shows=("store", "sizes", "presets", "keep_versions"))
@click.argument("prefix", default="")
@click.option("--versions", is_flag=True, help="Versions older than those that 'keep_versions' keeps.")
@click.option("--sizes-off-list", "sizes", is_flag=True, help="Sizes that may not be asked for any more.")
@click.option("--leftovers", is_flag=True, help="What stores, purges and jobs that failed have left.")
@click.option("--unasked", type=click.IntRange(1), metavar="DAYS", help="Sizes that nobody asked for in so many days.")
@click.option("--dry-run", is_flag=True, help="Only say what would be deleted.")
@yes_option
@output_options
def cleanup(
    settings: Settings,
    prefix: str,
    versions: bool,
    sizes: bool,
    leftovers: bool,
    unasked: int | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Delete what the store could do without.

    Where nothing is named: versions, sizes off the list, and leftovers. PREFIX is what the ids of the images begin
    with. It may be run beside traffic, stopped, and run again. Where there is a 'secret', a size off the list may be
    asked for by a signed URL, and stays.
    """
    output, images = Output(as_json, quiet), LazyCrop(**settings)
    named = {VERSIONS: versions, SIZES: sizes, LEFTOVERS: leftovers, UNASKED: unasked is not None}
    reasons = [reason for reason, is_named in named.items() if is_named]
    if not reasons:
        reasons = [VERSIONS, LEFTOVERS, *([] if images.closed else [SIZES])]
        if images.closed:
            output.remark("Sizes are left out: no setting says which may be asked for.")

    def removed(*, dry: bool) -> Iterator[Removed]:
        return images.cleaning.clean(prefix, reasons, days=unasked, dry_run=dry)

    if not dry_run and not yes:
        planned = _Sum(output)
        for one in removed(dry=True):
            planned.add(one)
        planned.clear()
        if planned.objects:
            ask(f"{planned.text()} would be deleted. Delete them?", yes)
    total = _Sum(output)
    with _summed(total.clear, lambda: f"{total.text()} {'would be' if dry_run else 'were'} deleted.", output):
        for one in removed(dry=dry_run):
            total.add(one)
            output.item(asdict(one), f"{_WORDS[one.reason][0]}\t{shown(one.key)}\t{one.length}")


class _Sum:
    """What is deleted in all, as it goes on."""

    def __init__(self, output: Output) -> None:
        self.objects: Counter[str] = Counter()
        self._length = 0
        self._progress = Progress(output)
        self.clear = self._progress.clear

    def add(self, one: Removed) -> None:
        self.objects[one.reason] += 1
        self._length += one.length
        self._progress.show(self.text())

    def text(self) -> str:
        kinds = ", ".join(f"{number:,} {_WORDS[reason][number > 1]}" for reason, number in self.objects.items())
        of = f" ({kinds})" if kinds else ""
        return f"{count_of(self.objects.total(), 'object')}{of}, {size_of(self._length)},"


@contextmanager
def _summed(clear: Any, summary: Any, output: Output) -> Iterator[None]:
    """Say in the end how far it came, whatever ends it."""
    try:
        yield
    except KeyboardInterrupt:
        clear()
        click.echo(f"Stopped: {summary()} Run it again to go on.", file=sys.stderr)
        sys.exit(130)  # 128 and the number of its signal, as shells have it
    except BaseException:
        clear()
        click.echo(f"Stopped: {summary()} Run it again to go on.", file=sys.stderr)
        raise
    clear()
    click.echo(summary(), file=sys.stderr if output.as_json else sys.stdout)


@dataclass(slots=True)
class _State:
    """How far a run is: the ``folder`` of the last image that is done, and what was found until there."""

    after: str = ""
    images: int = 0
    objects: int = 0
    damages: int = 0
    mended: int = 0

    def text(self) -> str:
        found = count_of(self.damages, "fault")
        mended = f", {self.mended:,} mended" if self.mended else ""
        return f"{count_of(self.images, 'image')}, {count_of(self.objects, 'object')}: {found}{mended}."


@command(shows=("store",))
@click.argument("prefix", default="")
@click.option("--repair", is_flag=True, help="Make again what can be made again.")
@click.option("--state", metavar="FILE", help="Keep here how far it is; run again with it, it goes on there.")
@jobs_option
@output_options
def verify(
    settings: Settings, prefix: str, repair: bool, state: str | None, jobs: int, as_json: bool, quiet: bool
) -> None:
    """See whether all is there that the records speak of, and whole.

    Of each image its record is read, its origin is compared with the SHA-256 that was recorded, and its mezzanines and
    sizes are decoded and compared with what they should show. PREFIX is what the ids of the images begin with. The exit
    status is 1 where something is wrong and was not mended.
    """
    output, images = Output(as_json, quiet), LazyCrop(**{**settings, "broker": "inline"})
    run, progress, kept = _read_state(state), Progress(output), time.monotonic()
    with _kept(state, run), _summed(progress.clear, run.text, output):
        for verified in images.verifying.verify(prefix, after=run.after, jobs=jobs):
            _tell(images, verified, repair, run, output, progress)
            if state is not None and time.monotonic() > kept + _KEPT:
                kept = time.monotonic()
                _write_state(state, run)
    images.close()
    if run.damages > run.mended:
        sys.exit(1)


def _tell(images: LazyCrop, verified: Verified, repair: bool, run: _State, output: Output, progress: Progress) -> None:
    damages = verified.damages
    left = {*images.mending.mend(verified)} if repair and damages else {*damages}
    if damages:
        progress.clear()
    for damage in damages:
        content = {**asdict(damage), "mended": damage not in left}
        output.item(content, _line(damage, mended=damage not in left))
    run.after = verified.folder
    run.images += 1
    run.objects += verified.objects
    run.damages += len(damages)
    run.mended += len(damages) - len(left)
    progress.show(run.text())


def _line(damage: Damage, *, mended: bool) -> str:
    return f"{damage.kind}\t{shown(damage.key)}\t{damage.what}{'; it is mended' if mended else ''}"


@contextmanager
def _kept(path: str | None, run: _State) -> Iterator[None]:
    """Write down how far it is when it ends before its end; then nothing is to be gone on with."""
    try:
        yield
    except BaseException:
        if path is not None:
            _write_state(path, run)
        raise
    if path is not None and os.path.exists(path):
        os.unlink(path)


def _read_state(path: str | None) -> _State:
    if path is None or not os.path.exists(path):
        return _State()
    try:
        with open(path, encoding="utf-8") as file:
            return _State(**json.load(file))
    except (OSError, ValueError, TypeError):
        raise BadRequest(f"The file {path!r} does not say how far a run was; delete it, or name another.") from None


def _write_state(path: str, run: _State) -> None:
    temporary = f"{path}.new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(asdict(run), file)
    os.replace(temporary, path)
