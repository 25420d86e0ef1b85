"""The contract of sources, to be run: whether a source of your own keeps what lazycrop relies on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from unicodedata import normalize

from lazycrop.errors import BadRequest, ImageTooLarge
from lazycrop.sources.contract import Seen, Source
from lazycrop.testing.contracts import error_of, expect

MakeSource = Callable[[Mapping[str, bytes]], Source]
"""Makes a source with just these files, by their names."""

_FILES = {
    "cat.jpg": bytes(range(256)) * 300,
    "2024/Größe 1.jpg": b"with a blank and an umlaut",
    "2024/日本/写真 #1.png": b"with signs of Japanese",
    "2024/100%25.jpg": b"with a per cent sign, and what looks encoded",
    "2025/empty.jpg": b"",
}
_MISSING = ("none.jpg", "2024", "2024/", "2024/none/cat.jpg", "cat.jpg/below", "", "../cat.jpg", "2024/../cat.jpg")
_LIMIT = 1_000_000


def check_source(make: MakeSource, *, seconds: float = 60) -> None:
    """Raise an AssertionError that names the first promise of :class:`lazycrop.sources.contract.Source` that is broken.

    ``make``: makes a source with just the files that it is given, bytes by name; it is called a few times, and what was
    there before may be gone by then. ``seconds``: how long the validator of a new file may take to settle.
    """
    source = make(_FILES)
    _its_repr_names_its_place(source)
    for name, data in _FILES.items():
        _a_file_is_there(source, name, data, seconds)
    _what_is_missing_is_none(source)
    _read_has_a_limit(source)
    _many_may_read_at_once(source)
    _a_walk_names_all(source)
    _another_file_has_another_validator(make, seconds)


def _its_repr_names_its_place(source: Source) -> None:
    expect(type(source).__repr__ is not object.__repr__, "repr(source) names its place, by a __repr__ of its class")


def _a_file_is_there(source: Source, name: str, data: bytes, seconds: float) -> None:
    seen = _settled(source, name, seconds)
    expect(seen.data == data, f"read returns all bytes of {name!r}")
    expect(seen.length in (len(data), None), f"read says how long {name!r} is, or None")
    for first in (0, 1, 20, len(data) + 1000):
        part = source.look(name, first)
        expect(isinstance(part, Seen), f"look finds {name!r}")
        assert part is not None
        expect(part.data == data[:first], "look returns as many of the first bytes as were asked for, and no more")
        expect(part.length in (len(data), None), "look says how long the whole file is, or None")
        expect(part.validator == seen.validator, "look and read say the same validator, as long as a file is the same")
    expect(normalize("NFC", name) == name, "names are in NFC")


def _settled(source: Source, name: str, seconds: float) -> Seen:
    """What is read, once it is the same twice: a validator may say that the file is too new to tell."""
    deadline = time.monotonic() + seconds
    while True:
        first, second = source.read(name, _LIMIT), source.read(name, _LIMIT)
        expect(isinstance(first, Seen) and isinstance(second, Seen), f"read finds {name!r}")
        assert first is not None and second is not None
        expect(bool(first.validator) and isinstance(first.validator, str), "a validator is a text that is not empty")
        if first == second:
            return first
        expect(time.monotonic() < deadline, "the validator of a file stays the same as long as the file does")
        time.sleep(0.05)


def _what_is_missing_is_none(source: Source) -> None:
    for name in _MISSING:
        for ask in (partial(source.look, name, 10), partial(source.read, name, 10)):
            error = error_of(ask)
            expect(error is None, f"look and read answer for what is missing, and do not raise ({name!r}: {error!r})")
            expect(ask() is None, f"look and read answer None for what is missing or outside, as {name!r} is")


def _read_has_a_limit(source: Source) -> None:
    length = len(_FILES["cat.jpg"])
    error = error_of(lambda: source.read("cat.jpg", length - 1))
    expect(isinstance(error, ImageTooLarge), "read raises ImageTooLarge for a file of more bytes than the limit")
    expect(source.read("cat.jpg", length) is not None, "read returns a file of just as many bytes as the limit")


def _many_may_read_at_once(source: Source) -> None:
    names = [*_FILES] * 10
    with ThreadPoolExecutor(8) as pool:
        found = [*pool.map(lambda name: source.read(name, _LIMIT), names)]
    expect(
        [seen and seen.data for seen in found] == [_FILES[name] for name in names],
        "several threads may read at the same time",
    )


def _a_walk_names_all(source: Source) -> None:
    """A source that cannot list says so by a BadRequest, which is what a command shows."""
    try:
        found = [*source.walk()]
    except BadRequest:
        return
    expect(sorted(found) == sorted(_FILES), "walk names every file once, in NFC, and nothing else")
    below = [name for name in _FILES if name.startswith("2024/")]
    expect(sorted(source.walk("2024/")) == sorted(below), "walk names what is below a folder, however deep")
    expect([*source.walk("20/")] == [], "walk names nothing below a folder that is not there")


def _another_file_has_another_validator(make: MakeSource, seconds: float) -> None:
    validators = [_settled(make({"cat.jpg": data}), "cat.jpg", seconds).validator for data in (b"one", b"two")]
    expect(len({*validators}) == 2, "a validator is another one when the file is, also if it has the same length")
