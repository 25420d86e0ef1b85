"""Clients: boto3's, with the time-outs of the settings, for whatever server speaks S3's protocol."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from lazycrop.stores.batches import add_digest
from lazycrop.stores.contract import StoreSettings

# Their answers say in XML what there is, or has been done, each with one element at least.
_TELLING = ("ListObjects", "ListObjectsV2", "DeleteObjects", "CopyObject")


def build_client(settings: StoreSettings, read_seconds: float, arguments: Mapping[str, str]) -> Any:
    """A client of its own session. ``read_seconds``: that one read may take. ``arguments``: where, and as whom."""
    # Imported here: it takes 0.3 s, and only some need it.
    import botocore.session
    from boto3.session import Session
    from botocore.config import Config

    config = Config(
        signature_version="s3v4",
        connect_timeout=settings.store_connect_seconds,
        read_timeout=read_seconds,
        retries={"mode": "standard", "total_max_attempts": settings.store_attempts},
        max_pool_connections=settings.store_connections,
        # Other servers choke on the checksums that are otherwise added; TLS guards the way already.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    session = botocore.session.get_session()  # boto3's own is the application's
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=_time_of)
    client = Session(botocore_session=session).client("s3", config=config, **arguments)
    client.meta.events.register("before-sign.s3.DeleteObjects", add_digest)
    for name in _TELLING:
        client.meta.events.register(f"after-call.s3.{name}", _refuse_nothing)
    return client


def _refuse_nothing(http_response: Any, model: Any, **event: Any) -> None:
    """What is cut before its body has a status, but boto3 takes it for a list of nothing, or all for deleted."""
    if http_response.status_code == 200 and not http_response.content:
        raise OSError(f"the answer to {model.name} has no body")


def _time_of(value: Any) -> datetime:
    """A time in an answer; to find out how it is written, boto3 takes most of the CPU of a list."""
    try:
        found = datetime.fromisoformat(value)
        return found if found.tzinfo else _slow_time_of(value)
    except (TypeError, ValueError):  # Headers, and some servers, have other ways to write it.
        return _slow_time_of(value)


def _slow_time_of(value: Any) -> datetime:
    from botocore.utils import parse_timestamp

    found: datetime = parse_timestamp(value)
    return found
