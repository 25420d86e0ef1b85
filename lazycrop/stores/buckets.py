"""Buckets: which names boto3 takes for them, their servers and regions; others it refuses at each request."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from lazycrop.errors import ConfigurationError
from lazycrop.options import shown
from lazycrop.stores.contract import checked_url

# As botocore asks of them (validate_bucket_name, is_valid_endpoint_url, validate_region_name).
_LABEL = r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)"
_BUCKET = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:[A-Za-z0-9:/_.-]+")
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?|[0-9A-Fa-f:.]+")
_REGION = re.compile(_LABEL)


def checked_bucket(name: str) -> str:
    if not _BUCKET.fullmatch(name):
        raise ConfigurationError(f"The bucket is {shown(name)}; it has letters, digits, '.', '-' and '_' only.")
    return name


def checked_region(name: str | None) -> str | None:
    if name and not _REGION.fullmatch(name):
        raise ConfigurationError(f"The region is {name!r}; it is a name such as eu-central-1.")
    return name


def checked_endpoint(url: str | None) -> str | None:
    """The URL with a slash at its end."""
    checked = checked_url("endpoint_url", url)
    if checked and not _HOST.fullmatch(urlsplit(checked).hostname or ""):
        raise ConfigurationError(
            f"endpoint_url is {shown(checked)}; boto3 takes hosts of letters, digits, '-' and '.' only: "
            "give the server another name, or its address."
        )
    return checked
