"""Answers: status, headers and body of each outcome, for whatever framework sends them on."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from email.utils import format_datetime
from http import HTTPStatus
from typing import Any, BinaryIO
from urllib.parse import quote

from lazycrop.errors import ConfigurationError, LazyCropError, MethodNotAllowed, Unavailable
from lazycrop.model.derivatives import CONTENT_TYPES, IMMUTABLE
from lazycrop.options import option

METHODS = ("GET", "HEAD")
Headers = Sequence[tuple[str, str]]

# A picture is never a document: nothing may sniff, script or frame it.
_SECURITY = (
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; sandbox"),
)
# Until the small format or the last stage is stored, so that readers come back for it.
_SOON = 60
_MEANWHILE = 10  # Seconds after which what was asked for may be made.
_REASONS = {status.value: status.phrase for status in HTTPStatus}
STATUS_LINES = {status: f"{status} {reason}" for status, reason in _REASONS.items()}
_MAX_AGE = re.compile("max-age=([0-9]+)")
_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True, kw_only=True)
class AnswerSettings:
    redirect_status: int = option(301, "The status of a redirect to a stored size: 301, 302, 303, 307 or 308.")
    answer: str = option("redirect", "`redirect` to stored sizes where there is a public URL, or `stream` them.")
    private_answer: str = option(
        "stream",
        "What is answered for what is stored of a private image, or at a URL that expires: `stream` it, or `presign`: "
        "redirect to a URL of the store that is as short-lived. Stores that have none are streamed.",
    )
    max_age: int = option(86_400, "Seconds that a browser may keep the answer of a URL without a version.")
    auto_formats: tuple[str, ...] = option(
        ("avif", "webp"), "What `.auto` may choose when Accept names it, best first; else the origin's own kind."
    )
    slow_formats: tuple[str, ...] = option(
        ("avif",), "Formats too dear to encode on the request path of `.auto`: the worker makes them."
    )

    fallback_image: Any | None = option(
        None,
        "What is shown in place of an image that is missing: an image id, or the path of a file, absolute or beginning "
        "with `./`, which is stored when it is first needed.",
        given="str | PathLike[str] | None",
        spell=os.path.abspath,
    )
    fallback_status: int = option(404, "The status of that picture: 404 or 200; browsers show it with either.")
    fallback_max_age: int = option(60, "Seconds that anybody may keep it, in place of what may come soon.")

    def __post_init__(self) -> None:
        if self.fallback_status not in (200, 404):
            raise ConfigurationError(f"'fallback_status' is {self.fallback_status!r}; it is 200 or 404.")
        if not isinstance(self.fallback_image, str | None) or self.fallback_image == "":
            raise ConfigurationError(
                f"'fallback_image' is {self.fallback_image!r}; it is an image id, or the path of a file."
            )
        if self.answer not in ("redirect", "stream"):
            raise ConfigurationError(f"'answer' is {self.answer!r}; it is 'redirect' or 'stream'.")
        if self.private_answer not in ("stream", "presign"):
            raise ConfigurationError(f"'private_answer' is {self.private_answer!r}; it is 'stream' or 'presign'.")
        for name in ("auto_formats", "slow_formats"):
            for format in getattr(self, name):
                if format not in CONTENT_TYPES:
                    raise ConfigurationError(
                        f"{format!r} in {name!r} is no format; the formats are {', '.join(CONTENT_TYPES)}."
                    )
        if self.redirect_status not in _REDIRECTS:
            raise ConfigurationError(
                f"'redirect_status' is {self.redirect_status!r}; it is one of {', '.join(map(str, _REDIRECTS))}."
            )


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an answer came about.

    ``status``: as Cache-Status (RFC 9211) says it. ``key``: of the stored object that the answer leads to, or is.
    ``shared``: it is as good for any other client that asks for this URL. ``fresh_until``: when its record has to be
    looked at again, ``expires``: when its URL does; both in Unix time. ``asked``: the image id, size and format, where
    what is asked for is counted.
    """

    status: str = "fwd=bypass"
    key: str | None = None
    shared: bool = True
    fresh_until: float = 0.0
    expires: int | None = None
    asked: tuple[str, str, str] | None = None

    @property
    def header(self) -> tuple[str, str]:
        return "Cache-Status", f"lazycrop; {self.status}"


@dataclass(slots=True)
class Answer:
    """A response that no framework has seen yet.

    ``headers``: (name, value) pairs. ``body``: bytes, or an open binary file that whoever sends it closes;
    empty for HEAD, 304 and redirects.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes | BinaryIO = b""
    outcome: Outcome = Outcome()

    @property
    def reason(self) -> str:
        return _REASONS[self.status]

    def header(self, name: str) -> str | None:
        """The first value under ``name``, which is compared without regard to case."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def explain(self, seconds: Mapping[str, float]) -> None:
        """Say in its headers how it came about, and how many ``seconds`` each stage took."""
        timing = ", ".join(f"{name};dur={duration * 1000:.2f}" for name, duration in seconds.items())
        self.headers += [self.outcome.header, ("Server-Timing", timing or "lookup;dur=0.00")]

    def without_body(self) -> Answer:
        """The answer to a HEAD."""
        self.close()
        self.body = b""
        return self

    def close(self) -> None:
        """Close the body where it is a file; needed only where the body is not sent."""
        if not isinstance(self.body, bytes):
            self.body.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What every cacheable answer of one URL says of itself.

    ``etag``: quoted. ``varies``: the format was chosen by Accept. ``brief``: the answer will soon be another one,
    and has no date by which one could be taken for the other. ``private``: no cache that others use may keep it.
    ``expires``: when the URL does, in Unix time; nobody is to keep the answer for longer.
    """

    etag: str
    modified: datetime
    versioned: bool
    max_age: int
    varies: bool = False
    brief: bool = False
    private: bool = False
    expires: int | None = None

    @property
    def dated(self) -> datetime | None:
        """Its Last-Modified, if it has one."""
        return None if self.brief else self.modified

    @property
    def _seconds(self) -> int:
        """How long the client may keep it."""
        seconds = _SOON if self.brief else self.max_age
        return seconds if self.expires is None else max(0, min(seconds, self.expires - int(time.time())))

    def headers(self) -> list[tuple[str, str]]:
        if self.private or self.expires is not None:
            control = f"private, max-age={self._seconds}"
        elif self.versioned and not self.brief:
            control = IMMUTABLE
        else:
            control = f"public, max-age={self._seconds}"
        headers = [("Cache-Control", control), ("ETag", self.etag)]
        if self.dated is not None:
            headers.append(("Last-Modified", format_datetime(self.dated, usegmt=True)))
        return [*headers, ("Vary", "Accept")] if self.varies else headers


def picture(body: bytes | BinaryIO, length: int | None, format: str, freshness: Freshness, outcome: Outcome) -> Answer:
    """200 with a picture. ``length``: bytes of the whole picture; None (HEAD only) when it is not made yet."""
    headers = [("Content-Type", CONTENT_TYPES[format])]
    if length is not None:
        headers.append(("Content-Length", str(length)))
    return Answer(200, [*headers, *freshness.headers(), *_SECURITY], body, outcome)


def redirect(location: str, status: int, freshness: Freshness, outcome: Outcome) -> Answer:
    """To the stored object. ``location``: absolute."""
    headers = [("Location", location), ("Content-Length", "0"), *freshness.headers(), *_SECURITY]
    return Answer(status, headers, b"", outcome)


def elsewhere(location: str) -> Answer:
    """302 to another URL of ours. ``location``: an absolute path (RFC 9110, 10.2.2): no Host header has a say."""
    return Answer(302, [("Location", location), ("Content-Length", "0"), ("Cache-Control", "no-store"), *_SECURITY])


def meanwhile(location: str, freshness: Freshness) -> Answer:
    """302 to another size, for some seconds. ``location``: as in :func:`elsewhere`. ``freshness``: of what was asked
    for, as which it is private, and varies.
    """
    brief = replace(freshness, max_age=_MEANWHILE, versioned=False, brief=False)
    kept = [(name, value) for name, value in brief.headers() if name in ("Cache-Control", "Vary")]
    headers = [("Location", location), ("Content-Length", "0"), *kept, *_SECURITY]
    return Answer(302, headers, b"", Outcome("fwd=miss; detail=nearest"))


def moved(path: str, query: str) -> Answer:
    """301 to the one spelling of the same URL. ``path``: absolute, as in :func:`elsewhere`."""
    query = quote(query, "".join(map(chr, range(0x21, 0x7F))), "latin-1")  # What came unescaped is no ASCII, perhaps.
    headers = [("Location", f"{path}?{query}" if query else path), ("Content-Length", "0")]
    return Answer(301, [*headers, ("Cache-Control", "public, max-age=86400"), *_SECURITY])


def not_modified(freshness: Freshness, outcome: Outcome) -> Answer:
    return Answer(304, [*freshness.headers(), *_SECURITY], b"", outcome)


def encoded(headers: Headers) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def instead(answer: Answer, settings: AnswerSettings) -> Answer:
    """The fallback image, as the answer for an image that is missing: with no ETag, which would be that of another."""
    control = ("Cache-Control", f"public, max-age={settings.fallback_max_age}")
    headers = [(name, value) for name, value in answer.headers if name in ("Content-Type", "Content-Length", "Vary")]
    outcome = Outcome("fwd=bypass; detail=fallback")
    return Answer(settings.fallback_status, [*headers, control, *_SECURITY], answer.body, outcome)


def sooner(headers: list[tuple[str, str]], seconds: int) -> list[tuple[str, str]]:
    """Headers that can be sent for so many seconds more: without them, ``max-age`` would go beyond the URL's expiry."""

    def less(match: re.Match[str]) -> str:
        return f"max-age={max(0, int(match[1]) - seconds)}"

    return [(name, _MAX_AGE.sub(less, value) if name == "Cache-Control" else value) for name, value in headers]


def plain(status: int, content_type: str, body: bytes) -> Answer:
    """What is for those who watch, and kept by nobody."""
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body))), ("Cache-Control", "no-store")]
    return Answer(status, [*headers, *_SECURITY], body)


def error(error: LazyCropError, *, varies: bool = False) -> Answer:
    """The sentence of an error as ``text/plain``, never cached; but that of a fault may tell of the infrastructure."""
    sentence = "Something went wrong here; the log says what." if error.status == 500 else str(error)
    body = f"{sentence}\n".encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    if isinstance(error, MethodNotAllowed):
        headers.append(("Allow", ", ".join(METHODS)))
    if isinstance(error, Unavailable):
        headers.append(("Retry-After", str(error.retry_after)))
    if varies:
        headers.append(("Vary", "Accept"))
    return Answer(error.status, [*headers, *_SECURITY], body, Outcome(f"fwd=bypass; detail={error.code}"))
