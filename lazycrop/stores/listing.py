"""Listing: what is directly below a prefix of a bucket, whichever way of listing its server knows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def pages(client: Any, bucket: str, prefix: str, delimiter: str = "/") -> Iterator[list[str]]:
    """What is directly below, page by page; all that is below, without a ``delimiter``.

    A server without the second version of listing refuses it, or answers as to the first one, which has no token
    to go on with: boto3's paginator would take the first page for all.
    """
    more: dict[str, str] = {}
    ask = client.list_objects_v2
    while True:
        arguments = {"Bucket": bucket, "Prefix": prefix, "Delimiter": delimiter, **more}
        try:
            page = ask(**arguments)
        except Exception as error:
            if ask == client.list_objects or more or status_of(error) not in (400, 405, 501):
                raise
            ask = client.list_objects
            continue
        found = [entry["Key"] for entry in page.get("Contents", ())]
        found += [entry["Prefix"] for entry in page.get("CommonPrefixes", ())]
        yield found
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
    """The status of the answer that boto3 has made an error of."""
    status: int | None = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
    return status
