"""Which source an image id is of, what may be a source, and that no answer of one is waited for too long."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lazycrop import ConfigurationError, ImageTooLarge, LazyCrop, Seen, SourceUnavailable
from lazycrop.settings import make_config
from lazycrop.sources.places import Sources
from lazycrop.stores.places import open_store


def sources(**settings: Any) -> Sources:
    config = make_config(settings)
    return Sources(config.sources, config.download, config.store, open_store(config.store).unguarded)


class Given:
    """A source of somebody's own, which does what it is told to."""

    def __init__(self, does: Any) -> None:
        self.does = does
        self.calls = 0

    def __repr__(self) -> str:
        return "Given('https://user:pa55@host/')"

    def look(self, name: str, first: int = 0) -> Seen | None:
        self.calls += 1
        found: Seen | None = self.does(name)
        return found

    def read(self, name: str, limit: int) -> Seen | None:
        return self.look(name)

    def walk(self, below: str = "") -> Iterator[str]:
        return iter(["cat.jpg", "v2", ".hidden", "a/b.png"])


def test_an_unnamed_source_covers_all_ids(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"cat")
    all = sources(source=tmp_path)
    place = all.place("cat.jpg")
    assert place and place.look() and place.read(3) and place.begin_look(3)()
    assert (place.name, place.described) == ("cat.jpg", "cat.jpg")
    assert [*all.walk()] == ["cat.jpg"]
    assert all and not sources() and sources().place("cat.jpg") is None
    all.close()


def test_the_first_segment_names_the_source() -> None:
    one, two = Given(lambda name: Seen("1", name.encode())), Given(lambda name: None)
    all = sources(sources={"media": one, "old": two})
    place = all.place("media/2024/cat.jpg")
    assert place and place.look() == Seen("1", b"2024/cat.jpg")
    for image_id in ("media", "med/cat.jpg", "cat.jpg", "media/"):
        assert all.place(image_id) is None
    other = all.place("old/cat.jpg")
    assert other and other.look() is None
    names = ["media/cat.jpg", "media/v2", "media/.hidden", "media/a/b.png"]  # Whoever walks says which are no ids.
    assert [*all.walk("media/")] == names
    assert [*all.names] == ["media", "old"]
    all.close()


@pytest.mark.parametrize(
    "settings",
    [
        {"source": "a", "sources": {"b": "c"}},
        {"sources": "media=a\nmedia=b"},
        {"sources": {"media/a": "a"}},
        {"sources": {"v2": "a"}},
        {"sources": {"": "a"}},
        {"sources": {"200x100.jpg": "a"}},
        {"source": 7},
        {"source": object()},
        {"source": "ftp://user:pa55@host/"},
        {"source": "https://user:pa55@host/"},
        {"source": "https://host/?key=pa55"},
        {"source": "http://["},
        {"source": "file://host/srv"},
        {"source": "~nobody-at-all/media"},
        {"source": "s3://"},
        {"source": "s3://user:pa55@bucket/"},
        {"source": "s3://bucket/?secret=pa55"},
    ],
)
def test_what_is_no_source_is_a_sentence_without_passwords(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sources(**settings)
    assert "pa55" not in str(caught.value)
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    ("source", "store"),
    [("media", "media"), ("media", "media/sizes"), ("media/in", "media"), ("link", "media/sizes"), ("media", "link/s")],
)
def test_a_source_and_a_store_in_one_folder_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, store: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "media").mkdir()
    (tmp_path / "link").symlink_to("media")
    with pytest.raises(ConfigurationError, match="overlap"):
        LazyCrop(source=source, store=store, sizes="any")
    LazyCrop(source="media", store="media-sizes", sizes="any").close()


@pytest.mark.parametrize(
    ("source", "store"), [("s3://b/", "s3://b/sizes"), ("s3://b/media/", "s3://b/media"), ("s3://b/a/b", "s3://b/a/")]
)
def test_a_source_and_a_store_in_one_bucket_are_refused(source: str, store: str) -> None:
    with pytest.raises(ConfigurationError, match="overlap"):
        sources(source=source, store=store)
    assert sources(source=source, store="s3://other/")
    assert sources(source="s3://b/media", store="s3://b/media2")
    assert sources(source=f"{source}?endpoint_url=http://127.0.0.1:1", store=store)


def test_a_source_that_hangs_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    end = threading.Event()
    given = Given(lambda name: end.wait(10) and None)
    all = sources(source=given, source_read_seconds=0.1, source_rest_seconds=60)
    place = all.place("cat.jpg")
    for _ in range(5):
        with pytest.raises(SourceUnavailable):
            assert place and place.look()
    assert given.calls == 1
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    end.set()
    all.close()


@pytest.mark.parametrize("error", [OSError("secret"), ValueError(), KeyError(), LookupError(), RecursionError()])
def test_whatever_a_source_raises_is_that_it_cannot_tell(error: Exception) -> None:
    def fail(name: str) -> None:
        raise error

    all = sources(source=Given(fail), source_rest_seconds=0)
    place = all.place("cat.jpg")
    assert place
    for ask in (place.look, lambda: place.read(10), lambda: place.begin_look()()):
        with pytest.raises(SourceUnavailable) as caught:
            ask()
        assert "secret" not in str(caught.value)
    all.close()


def test_one_file_does_not_keep_others_from_being_looked_at() -> None:
    def does(name: str) -> Seen:
        if name == "large.jpg":
            raise ImageTooLarge("It is too large.")
        if name == "busy.jpg":
            raise SourceUnavailable("It is being written.")
        return Seen("1", b"")

    all = sources(source=Given(does), source_rest_seconds=60)
    for image_id, error in {"large.jpg": ImageTooLarge, "busy.jpg": SourceUnavailable}.items():
        with pytest.raises(error):
            all.place(image_id).look()  # type: ignore[union-attr]
        place = all.place("cat.jpg")
        assert place and place.look()
    all.close()


def test_a_bucket_and_a_site_load_nothing_before_the_first_look() -> None:
    program = (
        "import sys; from lazycrop import LazyCrop;"
        "LazyCrop(sources={'a': 's3://b/', 'c': 'https://host.invalid/'}, store='memory:', sizes='any').close();"
        "assert not {'boto3', 'botocore'} & {*sys.modules}, sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
