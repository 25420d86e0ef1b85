"""What people write: sizes, bounds, ids, and the keys that are made of them. What is no such thing is an error."""

from __future__ import annotations

from lazycrop.errors import LazyCropError
from lazycrop.model import keys
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import Key, check_image_id, read_image_id
from lazycrop.model.sizes import Size, read_bound


def sizes(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    size = Size.parse(text)
    assert Size.parse(str(size)) == size, f"{text!r} is {size!r}, and that is another one"
    size.scaled(3000, 2000), size.dimensions(1, 50_000)


def bounds(data: bytes) -> None:
    read_bound(data.decode("utf-8", "surrogateescape"))


def ids(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    image_id = check_image_id(text)
    assert read_image_id(image_id) == image_id
    for private in (False, True):
        found = Key.parse(keys.origin(image_id, 2, "jpg", private))
        assert found and (found.image_id, found.version, found.kind) == (image_id, 2, "origin"), found


def stored_keys(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    keys.claimed(text), keys.changed(text)
    key = Key.parse(text)
    derivative = Derivative.of_key(key) if key else None
    if derivative is not None:
        assert Derivative.of_key(Key.parse(derivative.key)) == derivative  # type: ignore[arg-type]


TARGETS = {"sizes": sizes, "bounds": bounds, "ids": ids, "keys": stored_keys}
ALLOWED = LazyCropError
