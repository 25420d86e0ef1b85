"""Who asks with a condition, or from below another application, is answered by that, however the answer is found."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from doubles import RED, flat
from lazycrop import ImageApp, LazyCrop, Middleware, Size
from lazycrop.access.signing import Signer
from lazycrop.model.derivatives import Derivative
from lazycrop.stores.memory import MemoryStore


@pytest.fixture
def images() -> Iterator[LazyCrop]:
    images = LazyCrop(store=MemoryStore("https://cdn.example.com/"), sizes="90x60", snap=True, broker="inline")
    images.store_origin("cat", flat(RED))
    images.warm("cat", ["90x60"])
    yield images
    images.close()


def get(app: Any, path: str, **environ: str) -> tuple[int, dict[str, str]]:
    started: list[Any] = []
    given = {"REQUEST_METHOD": "GET", "PATH_INFO": path, **environ}
    b"".join(app(given, lambda *arguments: started.append(arguments)))
    return int(started[0][0][:3]), dict(started[0][1])


def test_what_a_client_has_is_304_also_where_a_redirect_is_at_hand(images: LazyCrop) -> None:
    app = ImageApp(images)
    status, headers = get(app, "/cat/90x60.jpg")
    assert (status, get(app, "/cat/90x60.jpg")[0]) == (301, 301)
    assert get(app, "/cat/90x60.jpg", HTTP_IF_NONE_MATCH=headers["ETag"])[0] == 304
    assert get(app, "/cat/90x60.jpg", HTTP_IF_MODIFIED_SINCE=headers["Last-Modified"])[0] == 304
    assert get(app, "/cat/90x60.jpg", HTTP_IF_NONE_MATCH='"another"')[0] == 301


def test_a_mount_is_in_a_location_as_it_was_in_the_url(images: LazyCrop) -> None:
    app = Middleware(lambda *_: [b""], images)
    mount = "/b\u00c3\u00a4r x/a;b=c,d"  # As WSGI has it: the bytes of UTF-8 as latin-1.
    status, headers = get(app, "/img/cat/80x50.jpg", SCRIPT_NAME=mount)
    assert (status, headers["Location"]) == (302, "/b%C3%A4r%20x/a;b=c,d/img/cat/90x60.jpg")


def test_signatures_are_what_they_have_always_been() -> None:
    # URLs live for years, in pages and in mails: whoever changes this breaks them.
    derivative = Derivative("cat", Size.parse("90x60"), "jpg")
    signer = Signer(["key"])
    assert signer.sign(derivative) == "s=JQfaQJ1zT0CK8MpGLSUrqmjth21KoDycn3Tv6RlJgUE"
    assert signer.sign(derivative, 2_000_000_000) == "s=bVsrsRVBm0n1E3hsNgARPuN9pMKzjWXfD9YKl_puj6M&e=2000000000"
    assert Signer(["new", "key"]).sign(derivative) != signer.sign(derivative)
