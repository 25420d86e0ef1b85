"""Places: a text for a store is the place that it looks like, or an error at the start that shows no password."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lazycrop.errors import ConfigurationError
from lazycrop.stores.contract import StoreSettings
from lazycrop.stores.folder import FolderStore
from lazycrop.stores.places import open_store
from lazycrop.stores.s3 import S3Store


@pytest.mark.parametrize(
    ("place", "folder"),
    [
        ("~/images", "{home}/images"),
        ("~", "{home}"),
        (Path("~/images"), "{home}/images"),
        ("./~/images", "{here}/~/images"),
        ("file:///srv/my%20images", "/srv/my images"),
        ("file://localhost/srv/a%23b", "/srv/a#b"),
        ("/srv/my%20images", "/srv/my%20images"),
        ("/srv/a#b?c", "/srv/a#b?c"),
        ("file:///srv/a%20%23b", "/srv/a #b"),
        ("it's", "{here}/it's"),
    ],
)
def test_a_folder_is_expanded_and_a_url_decoded(
    place: Any, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", f"{tmp_path}/home")
    monkeypatch.chdir(tmp_path)
    store = open_store(StoreSettings(store=place)).unguarded
    assert isinstance(store, FolderStore)
    assert store.path == folder.format(home=f"{tmp_path}/home", here=tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        "",
        "file://",
        "file://server/share",
        "file:///srv/images?x=1",
        "file:///srv/images#1",
        "~nobody-of-this-name/images",
        "/srv/a\0b",
        "https://example.com/images",
        "s3://",
        "s3:///path",
        "s3://bucket:9000/path",
        "s3://bucket:port/path",
        "s3://[bucket/path",
        "s3://key:hunter2@bucket/path",
        "s3://bucket/path?versionId=1",
        "s3://bucket/path#1",
        "s3://buc ket/path",
        '"./images"',
        "'images'",
        "./images ; beside the application",
        "/srv/images\t# of all sites",
    ],
)
def test_what_is_no_place_is_refused_at_the_start(place: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        open_store(StoreSettings(store=place))
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://my_minio:9000",
        "http://-minio:9000",
        "http://minio..local",
        "http://minio:abc",
        "http://minio:99999",
        "http://minio:0",
        "http://[::1:9000",
        f"http://{'a' * 64}.example.com",
        "http://key:hunter2@minio:9000",
    ],
)
def test_an_endpoint_that_boto3_refuses_is_refused_at_the_start(endpoint: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        S3Store("pics", endpoint_url=endpoint)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "endpoint", ["http://minio:9000", "https://s3.example.com/", "http://10.0.0.1:9000", "http://[::1]:9000"]
)
def test_an_endpoint_that_is_taken_boto3_takes_too(endpoint: str) -> None:
    assert S3Store("pics", endpoint_url=endpoint, region="us-east-1").public_url.startswith(endpoint.rstrip("/"))


@pytest.mark.parametrize("region", ["eu central", "eu_central", "-a", "eu/central"])
def test_a_region_that_boto3_refuses_is_refused_at_the_start(region: str) -> None:
    with pytest.raises(ConfigurationError, match="region"):
        S3Store("pics", region=region)
