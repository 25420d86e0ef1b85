"""Buckets as sources, on SeaweedFS: keys that may read are enough, and even those that may not list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from urllib.parse import quote

import pytest

from conftest import Base
from lazycrop.errors import ConfigurationError, ImageTooLarge, SourceUnavailable
from lazycrop.sources.bucket import BucketSource
from lazycrop.sources.download import DownloadSettings
from lazycrop.sources.places import Sources
from lazycrop.sources.settings import SourceSettings
from lazycrop.stores.contract import StoreSettings
from servers import S3

Make = Callable[..., BucketSource]


@pytest.fixture
def make(s3: S3, s3_base: Base) -> Iterator[Make]:
    client = s3.client()

    def made(files: dict[str, bytes], keys: tuple[str, str] = s3.reader) -> BucketSource:
        for name, data in files.items():
            client.put_object(Bucket=s3_base.bucket, Key=s3_base.prefix + name, Body=data)
        access_key, secret_key = keys
        return BucketSource(
            s3_base.bucket,
            s3_base.prefix,
            endpoint_url=s3.endpoint,
            access_key=access_key,
            secret_key=secret_key,
            region=s3.region,
        )

    yield made
    client.close()


@pytest.mark.parametrize("name", ["cat.jpg", "2024/Größe 1.jpg", "日本/写真 #1?.png", "100%25 + 'a';,&=.jpg", "😀.gif"])
def test_an_object_is_found_by_its_name(make: Make, name: str) -> None:
    source = make({name: b"0123456789"})
    seen = source.read(name, 10)
    assert seen and (seen.data, seen.length) == (b"0123456789", 10)
    for first in (0, 1, 5, 100):
        part = source.look(name, first)
        assert part and (part.data, part.length, part.validator) == (seen.data[:first], 10, seen.validator)
    with pytest.raises(ImageTooLarge):
        source.read(name, 9)
    assert [*source.walk()] == [name]


def test_another_object_has_another_validator_and_an_empty_one_is_there(make: Make) -> None:
    source = make({"cat.jpg": b"one", "empty.jpg": b""})
    first = source.look("cat.jpg")
    make({"cat.jpg": b"two"})
    second = source.look("cat.jpg")
    assert first and second and first.validator != second.validator
    assert source.look("empty.jpg", 5) == source.read("empty.jpg", 5)


def test_a_walk_goes_through_all_pages_below_a_folder(make: Make) -> None:
    names = [f"2024/{number}.jpg" for number in range(1005)]
    source = make({**dict.fromkeys(names, b""), "2025/a.jpg": b"", "2024/.hidden": b"", "cat.jpg": b""})
    assert sorted(source.walk("2024/")) == sorted(names)
    assert len([*source.walk()]) == 1007


@pytest.mark.parametrize("name", ["", "none.jpg", "2024", "2024/", "../cat.jpg", "cat.jpg/below"])
def test_what_is_not_there_is_not_there(make: Make, name: str) -> None:
    source = make({"2024/cat.jpg": b"cat", "cat.jpg": b"cat"})
    assert source.look(name, 10) is source.read(name, 10) is None


def test_keys_that_may_not_list_find_what_is_there(make: Make, s3: S3) -> None:
    source = make({"cat.jpg": b"cat"}, s3.reader_of_objects)
    assert source.look("cat.jpg", 3)
    assert source.look("none.jpg") is None
    with pytest.raises(SourceUnavailable, match="cannot be listed"):
        [*source.walk()]


def test_wrong_keys_are_an_error_and_no_missing_image(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    source = make({"cat.jpg": b"cat"}, ("nobody", "pa55"))
    with pytest.raises(OSError, match="did not answer"):
        source.look("cat.jpg")
    assert "pa55" not in f"{source!r}{caplog.text}"


def sources(text: str, **store: str) -> Sources:
    return Sources(SourceSettings(sources={"shots": text}), DownloadSettings(), StoreSettings(**store))


def test_a_text_has_the_servers_keys_or_those_of_the_store(make: Make, s3: S3, s3_base: Base) -> None:
    make({"cat.jpg": b"cat"})
    access_key, secret_key = s3.reader
    own = f"?endpoint_url={quote(s3.endpoint, safe='')}&region={s3.region}&access_key={access_key}&secret_key="
    of_store = {"s3_endpoint_url": s3.endpoint, "s3_access_key": access_key, "s3_secret_key": secret_key}
    for given in (
        sources(f"{s3_base.store}{own}{secret_key}"),
        sources(s3_base.store, **of_store, s3_region=s3.region),
    ):
        place = given.place("shots/cat.jpg")
        assert place and place.read(10)
        assert place.described == f"{s3_base.store}cat.jpg"
        assert secret_key not in repr(given.names)
        given.close()


@pytest.mark.parametrize("query", ["?key=pa55", "?secret_key=pa55", "?pa55", "#pa55", "?region=-pa55"])
def test_a_text_that_is_no_bucket_is_refused_without_its_keys(query: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        sources(f"s3://bucket/prefix/{query}")
    assert "secret_key=pa55" not in str(caught.value)


def test_the_keys_of_the_store_go_to_its_own_server_only() -> None:
    given = sources(
        "s3://bucket/?endpoint_url=http://127.0.0.1:1",
        s3_endpoint_url="http://127.0.0.1:2",
        s3_access_key="a",
        s3_secret_key="b",
    )
    [source] = given.names.values()
    assert isinstance(source, BucketSource)
    assert "aws_access_key_id" not in source.objects._client_arguments


def test_a_server_that_is_not_there_cannot_tell(caplog: pytest.LogCaptureFixture) -> None:
    given = sources("s3://bucket/?endpoint_url=http://127.0.0.1:1&access_key=a&secret_key=pa55&region=us-east-1")
    place = given.place("shots/cat.jpg")
    for _ in range(3):
        with pytest.raises(SourceUnavailable) as caught:
            assert place and place.look()
    assert [record.levelno for record in caplog.records].count(logging.WARNING) == 1
    assert "127.0.0.1" not in str(caught.value) and "pa55" not in caplog.text
    given.close()
