"""What clients send: URLs with their queries, headers, and whole requests, of which none ends in a 5xx."""

from __future__ import annotations

from functools import cache

from lazycrop import LazyCrop
from lazycrop.access.signing import Signer
from lazycrop.errors import LazyCropError
from lazycrop.http.negotiation import is_unchanged, named_formats
from lazycrop.http.requests import Request
from lazycrop.model import urls
from lazycrop.model.sizes import Size

PRESETS = {"card": Size.parse("40x30")}
SIGNER = Signer(["a key"])
FORMATS = ("avif", "webp", "jpg", "png", "gif")
# The smallest GIF that there is.
PIXEL = bytes.fromhex("47494638396101000100800000ffffff0000002c00000000010001000002024401003b")


def paths(data: bytes) -> None:
    path, _, query = data.decode("utf-8", "surrogateescape").partition("?")
    asked = urls.parse(path, query, PRESETS)
    assert urls.parse(asked.derivative.key, "", {}).derivative == asked.derivative
    SIGNER.verify(asked)


def headers(data: bytes) -> None:
    """Accept, If-None-Match and If-Modified-Since, a line each."""
    accept, tag, date, *_ = [*data.decode("latin-1").split("\n"), "", "", ""]
    assert set(named_formats(accept, FORMATS)) <= set(FORMATS)
    is_unchanged('"a tag"', None, tag, date)
    is_unchanged('"a tag"', None, None, date)


@cache
def images() -> LazyCrop:
    images = LazyCrop(store="memory:", broker="inline", sizes="any", max_edge=64, secret="a key", shortcuts=4)
    images.store_origin("cat", PIXEL)
    return images


def answers(data: bytes) -> None:
    """Method, path, query, Accept and If-None-Match, a line each."""
    method, path, query, accept, tag, *_ = [*data.decode("latin-1").split("\n"), "", "", "", "", ""]
    request = Request(path, query, method=method, accept=accept, if_none_match=tag or None)
    answer = images().answer(request)
    assert answer.status < 500, (answer.status, request)
    close = getattr(answer.body, "close", None)
    if close is not None:
        close()


TARGETS = {"paths": paths, "headers": headers, "answers": answers}
ALLOWED = LazyCropError
