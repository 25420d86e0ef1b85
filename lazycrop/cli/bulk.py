"""Bulk: the same done to many images, several at once, told of as it goes on, and ended in order. [click]"""

from __future__ import annotations

import io
import mimetypes
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any, TextIO

import click

from lazycrop.cli.children import Ended, can_have, children, heed_no_signals, signals_later
from lazycrop.cli.options import Settings
from lazycrop.errors import BadImageId, BadRequest, FetchError, ImageError, LazyCropError, Unavailable, UnsupportedImage
from lazycrop.images import LazyCrop

# Items for each job that are looked up ahead, so that one which takes long holds up nobody. Of all others nothing is
# kept, however many there are.
_AHEAD = 32
# Bytes of pixels for each job where the setting says nothing: a photograph of 12 to 24 megapixels takes 110 to 200 MB.
# With what a server is given all of them would take turns, and two jobs be no quicker than one.
_PIXELS = 256_000_000
# So many are done by this process: another one takes half a second to start, in which that is done as well.
_FEW = 4
_RENEWED = 0.1  # seconds between two looks of the line on a terminal

DONE, BEFORE, NO_IMAGE, FAILED = "done", "as before", "no image", "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file. ``kind``: DONE, BEFORE, NO_IMAGE or FAILED; ``reason``: why it failed."""

    kind: str
    name: str
    reason: str = ""


Task = Callable[[LazyCrop], Any]
"""Makes, of the LazyCrop that is worked with, what each item is handed to do its work with. It can be pickled."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something to be done. ``work``: does it, with what the task made; it can be pickled, as it has names alone."""

    name: str
    work: Callable[[Any], list[Outcome]]


def jobs_option(command: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--jobs",
        type=click.IntRange(1, 256),
        default=os.cpu_count() or 1,
        show_default="one for each CPU",
        help="Images at once, each in a process of its own, which takes some 200 MB for photographs.",
    )(command)


def for_many(settings: Settings, jobs: int) -> LazyCrop:
    """A LazyCrop with so much memory for pixels that as many images can be worked on at once."""
    return LazyCrop(**{"pixel_memory": jobs * _PIXELS, **settings})


def each(done: str, items: Iterable[Item], task: Task, settings: Settings, jobs: int) -> None:
    """Do all of it; exit with status 1 where some of it failed, and orderly when the process is told to end.

    ``done``: what one that is done is called.
    """
    tally = _Tally(done)
    window: deque[Future[list[Outcome]]] = deque()

    def count_first() -> None:
        window[0].result()
        with signals_later():  # Else it might be counted, and still be among those that are under way.
            tally.add(window.popleft().result())

    with _hands(task, settings, jobs) as do, ThreadPoolExecutor(jobs, "lazycrop-bulk", heed_no_signals) as pool:
        try:
            for item in items:
                window.append(pool.submit(do, item))
                if len(window) == jobs * _AHEAD:
                    count_first()
            while window:
                count_first()
        except (KeyboardInterrupt, SystemExit, LazyCropError) as end:  # What is under way is ended, and nothing begun.
            pool.shutdown(cancel_futures=True)
            for future in window:
                if not future.cancelled() and future.exception() is None:
                    tally.add(future.result())
            tally.clear()
            click.echo(f"Stopped: {tally.summary()} Run it again to go on.")
            if isinstance(end, KeyboardInterrupt):
                sys.exit(130)  # 128 and the number of its signal, as shells have it
            raise
    tally.clear()
    click.echo(tally.summary())
    if tally.counts[FAILED]:
        sys.exit(1)


@contextmanager
def _hands(task: Task, settings: Settings, jobs: int) -> Iterator[Callable[[Item], list[Outcome]]]:
    """What does an item, on as many threads as there are jobs: by itself, or by a process of the thread's own."""
    here = partial(_done, task(for_many(settings, jobs)))
    if jobs == 1 or not can_have(settings):
        yield here
        return
    numbers = count()
    with children(partial(_make, task, settings)) as do_there:

        def do(item: Item) -> list[Outcome]:
            if next(numbers) < _FEW:
                return here(item)
            try:
                outcomes: list[Outcome] = do_there(item)
            except Ended as error:
                return [failed(item.name, error)]
            return outcomes

        yield do


def _make(task: Task, settings: Settings) -> Callable[[Item], list[Outcome]]:
    return partial(_done, task(for_many(settings, 1)))


def _done(hand: Any, item: Item) -> list[Outcome]:
    return item.work(hand)


class _Tally:
    """Counts outcomes, names each failure on stderr, and says on a terminal how far it is.

    By sys.stderr: click writes UTF-8 where the locale is ASCII.
    """

    def __init__(self, done: str) -> None:
        self.counts: Counter[str] = Counter()
        self._done = done
        self._began = self._shown = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def add(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.counts[outcome.kind] += 1
            if outcome.kind == FAILED:
                self.clear()
                click.echo(f"{shown(outcome.name)}: {outcome.reason}", file=sys.stderr)
        if self._is_terminal and time.monotonic() >= self._shown + _RENEWED:
            self._shown = time.monotonic()
            click.echo(f"\r\x1b[K{self.summary()}", file=sys.stderr, nl=False)

    def clear(self) -> None:
        if self._is_terminal:
            click.echo("\r\x1b[K", file=sys.stderr, nl=False)

    def summary(self) -> str:
        count = self.counts
        images = "no image" if count[NO_IMAGE] == 1 else "no images"
        seconds = time.monotonic() - self._began
        took = f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.1f}"
        return (
            f"{count[DONE]:,} {self._done}, {count[BEFORE]:,} as before, {count[NO_IMAGE]:,} {images}, "
            f"{count[FAILED]:,} failed in {took} s."
        )


def outcome(name: str, do: Callable[[], str], *, of_any_kind: bool) -> Outcome:
    """What became of one file by what ``do()`` returns, DONE or BEFORE, or raises.

    ``of_any_kind``: nobody has said that it is an image; then it may be none, unless its name says that it is.
    """
    try:
        return Outcome(_patiently(do), name)
    except Exception as error:  # Whatever is wrong with one is no reason to leave the others.
        if _is_no_image(name, error, of_any_kind):
            return Outcome(NO_IMAGE, name)
        return failed(name, error)


def failed(name: str, error: Exception) -> Outcome:
    return Outcome(FAILED, name, str(error) if isinstance(error, LazyCropError) else repr(error))


def not_done(name: str, error: LazyCropError) -> Item:
    """What cannot even be begun."""
    return Item(name, partial(_not_done, [failed(name, error)]))


def _not_done(outcomes: list[Outcome], hand: object) -> list[Outcome]:
    return outcomes


def _patiently(do: Callable[[], str]) -> str:
    """A server that is started anew is no reason to fail for those whose turn it was at that moment."""
    try:
        return do()
    except Unavailable as error:
        time.sleep(error.retry_after)
        return do()


def _is_no_image(name: str, error: Exception, of_any_kind: bool) -> bool:
    """A text, a film of any length, a file of a kind that nobody knows."""
    kind, _ = mimetypes.guess_type(name, strict=False)
    if is_named_as_image(name):
        return False
    if isinstance(error, UnsupportedImage):
        return of_any_kind or kind is not None
    return of_any_kind and kind is not None and isinstance(error, ImageError | FetchError | BadImageId)


def is_named_as_image(name: str) -> bool:
    kind, _ = mimetypes.guess_type(name, strict=False)
    return kind is not None and kind.startswith("image/")


def changes(images: LazyCrop) -> Callable[[str], str]:
    """Says DONE of an image id of which anything was stored from now on, and BEFORE of another."""
    stored: set[str] = set()

    def note(told: Any) -> None:
        stored.add(told.image_id)

    def kind(image_id: str) -> str:
        if image_id not in stored:
            return BEFORE
        stored.discard(image_id)
        return DONE

    images.on("stored", note)
    images.on("replaced", note)
    return kind


def read_lines(source: str, what: str) -> Iterator[str]:
    """The lines of a file, or of standard input for ``-``, that are not blank, as they are wanted.

    ``what``: what a line is. Raises BadRequest.
    """
    try:
        file = sys.stdin.buffer if source == "-" else open(source, "rb")  # noqa: SIM115 - closed by _lines
    except OSError as error:
        raise _unreadable(source, error) from None
    return _lines(io.TextIOWrapper(file, "utf-8-sig"), source, what)


def _lines(file: TextIO, source: str, what: str) -> Iterator[str]:
    with file:
        try:
            yield from (line.rstrip("\n") for line in file if line.strip())
        except UnicodeDecodeError:
            raise BadRequest(f"The file {source!r} is not UTF-8 text; a line is {what}.") from None
        except OSError as error:
            raise _unreadable(source, error) from None


def _unreadable(source: str, error: OSError) -> BadRequest:
    return BadRequest(f"The file {source!r} cannot be read: {error.strerror}.")


def shown(name: str) -> str:
    """A name as it can be printed; those of files may be no text, and may be commands to a terminal."""
    text = name if name.isprintable() else repr(name)
    return text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)
