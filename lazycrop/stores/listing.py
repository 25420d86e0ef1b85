"""Listing: what is below a prefix of a bucket, whichever way of listing its server knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lazycrop.stores.contract import Listed


def pages(client: Any, bucket: str, prefix: str) -> Iterator[list[str]]:
    """The objects and folders that are directly below, page by page."""
    return (_names(page) for page in _pages(client, bucket, prefix, "/"))


def objects(client: Any, bucket: str, prefix: str, after: str = "", delimiter: str = "") -> Iterator[Listed]:
    """The objects below; with a ``delimiter`` those directly below. ``after``: those that are listed after this key.

    (An object that is named as a folder was made by a console.)
    """
    for page in _pages(client, bucket, prefix, delimiter, after):
        for entry in page.get("Contents", ()):
            if not entry["Key"].endswith("/"):
                yield Listed(entry["Key"], entry["Size"], entry["LastModified"].timestamp())


def _names(page: dict[str, Any]) -> list[str]:
    found = [entry["Key"] for entry in page.get("Contents", ())]
    return found + [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]


def _pages(client: Any, bucket: str, prefix: str, delimiter: str, after: str = "") -> Iterator[dict[str, Any]]:
    """The answers, one after the other.

    A server without the second version of listing refuses it, or answers as to the first one, which has no token
    to go on with: boto3's paginator would take the first page for all.
    """
    first = {"StartAfter": after} if after else {}
    more = first
    ask = client.list_objects_v2
    while True:
        arguments = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter, **more}
        try:
            page = ask(**arguments)
        except Exception as error:
            if ask == client.list_objects or more != first or status_of(error) not in (400, 405, 501):
                raise
            ask, more = client.list_objects, {"Marker": after} if after else {}
            continue
        found = _names(page)
        yield page
        if not page.get("IsTruncated"):
            return
        before, more = more, {}
        if token := page.get("NextContinuationToken"):
            more["ContinuationToken"] = token
        else:
            ask = client.list_objects
            more["Marker"] = page.get("NextMarker") or max(found, default="")
        if more == before:
            raise OSError("the server lists the same page again and again")


def status_of(error: Exception) -> int | None:
    """The status of the answer that boto3 has made an error of; its errors of a connection say that they have none."""
    answer = getattr(error, "response", None) or {}
    status: int | None = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
