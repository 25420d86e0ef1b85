"""What lies in stores, caches and queues, where anybody may have put it."""

from __future__ import annotations

import json
from functools import cache

from lazycrop import LazyCrop
from lazycrop.caches.sealed import Sealed
from lazycrop.errors import LazyCropError
from lazycrop.library import state
from lazycrop.library.jobs import MEZZANINES, STORE
from lazycrop.library.quarantine import Failures, Quarantine
from lazycrop.model import records
from lazycrop.model.records import Record
from lazycrop.model.sizes import Size


def stored_records(data: bytes) -> None:
    record = records.read(data)
    assert records.read(record.to_json()) == record
    if isinstance(record, Record):
        size = Size(40, 30)
        record.tag, record.modified, record.origin_key, record.part_of(size), record.pixels_for(size)


@cache
def images() -> LazyCrop:
    return LazyCrop(store="memory:", broker="inline", sizes="any", max_edge=64)


def messages(data: bytes) -> None:
    """The name of an actor is that of the first byte; the rest is what it is sent."""
    try:
        message = json.loads(data[1:])
    except (ValueError, RecursionError):  # Dramatiq's own message, which is no text of JSON.
        return
    images().jobs.actors[MEZZANINES if data[:1] == b"m" else STORE](message)


def cached(data: bytes) -> None:
    state._read_record(data), state._read_hot(data, "tag")
    Failures.read(data, "tag").again(600.0)
    Quarantine.read(state._read_json(data))
    Sealed(None, "")._unseal("key", data)  # type: ignore[arg-type]


TARGETS = {"records": stored_records, "messages": messages, "cached": cached}
ALLOWED = LazyCropError
