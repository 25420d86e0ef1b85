"""A client of HTTP servers, or of a LazyCrop in this process, that follows no redirect, and looks at what comes."""

from __future__ import annotations

import io
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from PIL import Image, ImageChops, ImageStat

from lazycrop import LazyCrop
from lazycrop.http.answers import Answer
from lazycrop.http.requests import Request


class Unredirected(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


_opener = urllib.request.build_opener(Unredirected)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        return self.headers.get("cache-status", "").removeprefix("lazycrop; ")


def ask(images: LazyCrop, url: str, **request: Any) -> Answer:
    """The answer to a URL, with or without its prefix, and with its whole body."""
    path, _, query = url.removeprefix("/img").partition("?")
    answer = images.answer(Request(path, query, **request))
    if not isinstance(answer.body, bytes):
        with answer.body as file:
            answer.body = file.read()
    return answer


def get(url: str, **headers: str) -> Reply:
    """The reply as it comes, redirects not followed."""
    try:
        with _opener.open(urllib.request.Request(url, headers=headers), timeout=30) as response:
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, response.read())
    except urllib.error.HTTPError as error:
        with error:
            return Reply(error.code, {k.lower(): v for k, v in error.headers.items()}, error.read())


def alike(one: bytes, other: bytes) -> bool:
    """Do two files show one picture, as two encodings of it do?"""
    with Image.open(io.BytesIO(one)) as first, Image.open(io.BytesIO(other)) as second:
        if (first.format, first.size) != (second.format, second.size):
            return False
        difference = ImageChops.difference(first.convert("RGBA"), second.convert("RGBA"))
    return max(ImageStat.Stat(difference).rms) < 8


def pixels(data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size
