"""The contract of sources, kept by those of this package, and what is said of those that break it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from conftest import Base
from lazycrop import BucketSource, FolderSource, ImageTooLarge, Seen, SiteSource, Source
from lazycrop.sources.download import DownloadSettings
from lazycrop.testing import check_source
from servers import S3


def test_a_folder_keeps_the_contract(tmp_path: Path) -> None:
    def make(files: Mapping[str, bytes]) -> Source:
        shutil.rmtree(tmp_path / "media", ignore_errors=True)
        for name, data in files.items():
            path = tmp_path / "media" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return FolderSource(tmp_path / "media")

    check_source(make)


def test_a_bucket_keeps_the_contract(s3: S3, s3_base: Base) -> None:
    client, numbers = s3.client(), count()

    def make(files: Mapping[str, bytes]) -> Source:
        prefix = f"{s3_base.prefix}{next(numbers)}/"
        for name, data in files.items():
            client.put_object(Bucket=s3.bucket, Key=prefix + name, Body=data)
        access_key, secret_key = s3.reader
        keys = {"access_key": access_key, "secret_key": secret_key, "region": s3.region}
        return BucketSource(s3.bucket, prefix, endpoint_url=s3.endpoint, **keys)

    check_source(make)
    client.close()


def test_a_site_keeps_the_contract(s3: S3, s3_base: Base) -> None:
    """Of objects that anybody may read, by their URLs."""
    client, numbers = s3.client(), count()

    def make(files: Mapping[str, bytes]) -> Source:
        prefix = f"{s3_base.prefix}{next(numbers)}/"
        for name, data in files.items():
            client.put_object(Bucket=s3.bucket, Key=prefix + name, Body=data)
        settings = DownloadSettings(allow_networks=("127.0.0.0/8",))
        return SiteSource(f"{s3.endpoint}/{s3.bucket}/{quote(prefix)}", settings=settings)

    check_source(make)
    client.close()


class Memory:
    """A source that keeps the contract; those below break one promise each."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def __repr__(self) -> str:
        return "Memory()"

    def validator(self, data: bytes) -> str:
        return str(hash(data))

    def look(self, name: str, first: int = 0) -> Seen | None:
        data = self.files.get(name)
        return None if data is None else Seen(self.validator(data), data[:first], len(data))

    def read(self, name: str, limit: int) -> Seen | None:
        data = self.files.get(name)
        if data is not None and len(data) > limit:
            raise ImageTooLarge("too large")
        return None if data is None else Seen(self.validator(data), data, len(data))

    def walk(self, below: str = "") -> Iterator[str]:
        return (name for name in self.files if name.startswith(below))


def test_a_source_of_ones_own_may_keep_the_contract() -> None:
    check_source(Memory)


NUMBERS = count()
BREAKS: dict[str, dict[str, Callable[..., Any]]] = {
    "names its place": {"__repr__": object.__repr__},
    "a text that is not empty": {"validator": lambda source, data: ""},
    "another one when the file is": {"validator": lambda source, data: str(len(data))},
    "stays the same as long as": {"validator": lambda source, data: str(next(NUMBERS))},
    "as many of the first bytes": {"look": lambda source, name, first=0: source.read(name, 10**9)},
    "do not raise": {"look": lambda source, name, first=0: Seen("v", source.files[name])},
    "raises ImageTooLarge": {"read": lambda source, name, limit: source.look(name, 10**9)},
    "walk names every file": {"walk": lambda source, below="": iter(["cat.jpg"])},
    "below a folder": {"walk": lambda source, below="": iter(source.files)},
}


@pytest.mark.parametrize("said", BREAKS)
def test_what_a_source_breaks_is_said_in_a_sentence(said: str) -> None:
    methods = BREAKS[said]
    if said == "do not raise":
        methods = {"read": lambda source, name, limit: Memory.read(source, name, limit) if name else 1 / 0}
    broken = type("Broken", (Memory,), methods)
    with pytest.raises(AssertionError, match=f"This promise is broken: .*{said}"):
        check_source(broken, seconds=0.2)
