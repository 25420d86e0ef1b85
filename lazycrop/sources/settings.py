"""Settings of sources, and how a text names several of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lazycrop.errors import BadImageId, ConfigurationError
from lazycrop.model.keys import check_image_id, composed
from lazycrop.options import option, shown

_METHODS = ("look", "read", "walk")
# A blank or comma parts two sources where the next name and its = follow; a folder's name may have some of its own.
_APART = re.compile(r"[\s,]+(?=[^\s,=/:?&]+=)")


def read_sources(text: str) -> dict[str, str]:
    """The places of a text by name: ``name=place``, one a line, or apart by blanks. Raises ValueError."""
    text = text.strip()
    items = text.splitlines() if "\n" in text else _APART.split(text)
    pairs = [item.strip().partition("=") for item in items if item.strip()]
    if not all(separator for _, separator, _ in pairs):
        raise ValueError("a list of name=place pairs")
    named = {name.strip(): place.strip() for name, _, place in pairs}
    if len(named) < len(pairs):
        raise ValueError("a list of name=place pairs in which each name stands once")
    return named


@dataclass(frozen=True, kw_only=True)
class SourceSettings:
    """Where images already are, which are adopted when they are first asked for, and how long to wait for them."""

    source: Any | None = option(
        None,
        "Where images already are, which nothing is ever written to: a folder, `https://host/path/`, "
        "`s3://bucket/prefix/`, or a Source object. The names of its files are their image ids.",
        given="str | PathLike[str] | Source | None",
    )
    sources: Mapping[str, Any] = option(
        {},
        "Several such places by name, as `media=/srv/media old=https://old.example.com/images/`; the name is the first "
        "segment of their image ids. A bucket with a server or keys of its own is "
        "`s3://bucket/prefix/?endpoint_url=…&region=…&access_key=…&secret_key=…`.",
        given="Mapping[str, str | PathLike[str] | Source]",
        read=read_sources,
    )
    source_seconds: int = option(300, "After how many seconds the file of an adopted image is looked at again.")
    source_read_seconds: float = option(5.0, "Longest wait for one look into a source, or for one file of it.")
    source_reads: int = option(8, "Looks and reads at once in one process, for each source.", least=1)
    source_rest_seconds: float = option(1.0, "How long a source that did not answer is left alone.", rare=True)
    copy_origins: bool = option(
        False, "Whether the store gets a copy of each adopted image's origin, which is else read from its source again."
    )
    page_seconds: float = option(
        0.1, "How long the helpers of one page may wait in all for sizes of images that nobody has asked for before."
    )

    def __post_init__(self) -> None:
        if self.source is not None and self.sources:
            raise ConfigurationError(
                "Both 'source' and 'sources' are given; name them all in 'sources', or give the only one as 'source'."
            )
        for place in [self.source, *self.sources.values()]:
            _check_place(place)
        _check_names(self.sources)
        texts = {name: place for name, place in self.sources.items() if isinstance(place, str)}
        if not _are_read_again(texts):
            raise ConfigurationError(
                f"'sources' is {shown(self.sources)}, which is not one line for each place; give such a folder as a "
                "file URL, or another name."
            )


def _are_read_again(texts: dict[str, str]) -> bool:
    """Does the text that stands for them in the environment of another process say the same?"""
    try:
        return read_sources("\n".join(map("=".join, texts.items()))) == texts
    except ValueError:
        return False


def _check_place(place: Any) -> None:
    is_source = all(callable(getattr(place, method, None)) for method in _METHODS)
    if not (place is None or isinstance(place, str) or is_source):
        raise ConfigurationError(
            f"A source is {shown(place)}; it is a text, a path, or an object that keeps Source's contract."
        )


def _check_names(names: Iterable[Any]) -> None:
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or "/" in name:
            raise ConfigurationError(f"{shown(name)} in 'sources' is no name; one is the first segment of image ids.")
        try:
            check_image_id(composed(name))
        except BadImageId as error:
            raise ConfigurationError(f"{shown(name)} in 'sources' cannot begin an image id: {error}") from None
        if composed(name) in seen:
            raise ConfigurationError(f"{shown(name)} in 'sources' is the name of two; give each another one.")
        seen.add(composed(name))
