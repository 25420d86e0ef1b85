"""Clients: each does one thing after the other, as its seed says, and looks at what comes back."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import urllib3

from lazycrop import LazyCrop, Size
from soak import pictures
from soak.faults import Breaking
from soak.ledger import Ledger
from soak.site import REQUEST_SECONDS, SECONDS, SECRET, Site

PUBLIC = [f"cat/{number}" for number in range(16)]
PRIVATE = [f"secret/{number}" for number in range(4)]
FILES = [f"files/{number}.jpg" for number in range(6)]
KNOWN = ["200x", "300x200-cover", "150x150-cover", "x120", "400x300-fill", "450x300@2x", "64x64-cover-n"]
FORMATS = ["jpg", "jpg", "jpg", "webp", "png", "auto"]
TYPES = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "AVIF": "image/avif"}
BACKS = ("store", "memcached", "broker")
# After a fault of these, and after a change, it may take so long until every process shows the same.
SEEN_SECONDS = SECONDS["record_seconds"] + SECONDS["shortcut_seconds"] + 2.0
# A store that was at fault is left alone for a second, and who waited for it is answered by then.
EXCUSED_SECONDS = 3.0
# What clients do, and how often.
ACTIONS: dict[str, float] = {
    "known": 45,
    "new": 14,
    "conditional": 10,
    "head": 5,
    "version": 6,
    "file": 6,
    "nonsense": 1,
}
ACTIONS |= {"private": 7, "unsigned": 2, "expired": 1, "store": 2, "purge": 0.3, "change": 0.7}


@dataclass
class Seen:
    """What all clients saw. ``wrong``: sentences, by what is wrong; none of them may be there in the end.

    ``suspected``: the same, of what may turn out to be excused: that the store was at fault is known a moment later.
    """

    actions: Counter[str] = field(default_factory=Counter)
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: list[tuple[str, Callable[[], bool]]] = field(default_factory=list)
    torn: Counter[str] = field(default_factory=Counter)
    wrong: dict[str, list[str]] = field(default_factory=dict)
    suspected: list[tuple[str, str, Callable[[], bool]]] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    pictures: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_wrong(self, what: str, said: str) -> None:
        with self.lock:
            self.wrong.setdefault(what, []).append(f"{time.strftime('%X')} {said}")

    def suspect(self, what: str, said: str, is_excused: Callable[[], bool]) -> None:
        with self.lock:
            self.suspected.append((what, f"{time.strftime('%X')} {said}", is_excused))

    def judge(self) -> None:
        """In the end: what is not excused by now is wrong."""
        for what, said, is_excused in self.suspected:
            if not is_excused():
                self.wrong.setdefault(what, []).append(said)


@dataclass(frozen=True)
class Asked:
    """``name``: of the size, with its extension. ``exact``: the number of the only right picture, of a version."""

    image_id: str
    name: str
    url: str
    accept: str = ""
    exact: int | None = None


def _is_cut(method: str, reply: Any) -> bool:
    """http.client takes headers for whole that end with the connection, and what follows for nothing."""
    has_end = "Content-Length" in reply.headers or "Transfer-Encoding" in reply.headers
    return not (has_end or method == "HEAD" or reply.status == 304)


def plain(image_id: str, name: str, accept: str = "") -> Asked:
    return Asked(image_id, name, f"/img/{image_id}/{name}", accept)


class Client:
    def __init__(self, site: Site, breaking: Breaking, ledger: Ledger, seen: Seen, seed: str) -> None:
        self._site, self.breaking, self._ledger, self.seen = site, breaking, ledger, seen
        self.webs = site.webs
        self._random = random.Random(seed)
        self._http = urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(2 * REQUEST_SECONDS), maxsize=1)
        self._etags: dict[Asked, tuple[str, int]] = {}
        # Signs URLs; it knows no image, so that all of them are signed.
        self._signing = LazyCrop(
            store="memory:", broker="inline", sizes="any", secret=SECRET, sources={"files": site.sources}
        )

    def run(self, ended: threading.Event) -> None:
        while not ended.is_set():
            action = self._random.choices([*ACTIONS], [*ACTIONS.values()])[0]
            self.seen.actions[action] += 1
            getattr(self, f"_{action}")()
            time.sleep(self._random.uniform(0, 0.1))

    def _known(self, size: str = "") -> None:
        size, format = size or self._random.choice(KNOWN), self._random.choice(FORMATS)
        accept = self._random.choice(["image/webp", "image/webp", "image/avif,image/webp"]) if format == "auto" else ""
        self.ask(plain(self._random.choice(PUBLIC), f"{size}.{format}", accept))

    def _new(self) -> None:
        self._known(f"{self._random.randrange(40, 500)}x{self._random.choice(['', '90-cover'])}")

    def _conditional(self) -> None:
        if self._etags:
            asked = self._random.choice([*self._etags])
            etag, number = self._etags.pop(asked)
            self.ask(asked, etag=etag, number=number)

    def _head(self) -> None:
        self.ask(plain(self._random.choice(PUBLIC), f"{self._random.choice(KNOWN)}.jpg"), "HEAD")

    def _version(self) -> None:
        image_id = self._random.choice(PUBLIC)
        if versions := self._ledger.versions(image_id):
            version = max(versions)
            name = f"{self._random.choice(KNOWN)}.jpg"
            path = f"/img/{image_id}/v{version}/{name}" if version > 1 else f"/img/{image_id}/{name}"
            self.ask(Asked(image_id, name, path, exact=versions[version] if version > 1 else None))

    def _private(self) -> None:
        self.ask(self.signed(self._random.choice(PRIVATE), f"{self._random.choice(KNOWN)}.jpg"))

    def _unsigned(self) -> None:
        path = f"/img/{self._random.choice(PRIVATE)}/{self._random.choice(KNOWN)}.jpg"
        self._expect(path, (403, 404))

    def _expired(self) -> None:
        self._expect(self.signed(self._random.choice(PRIVATE), "200x.jpg", -5).url, (403, 404))

    def _file(self) -> None:
        self.ask(plain(self._random.choice(FILES), f"{self._random.choice(KNOWN)}.jpg"))

    def _nonsense(self) -> None:
        self._expect(self._random.choice(["/img/cat/0/0x0.jpg", "/img/..%2f/1x1.jpg", "/img/dog/200x.jpg"]), (400, 404))

    def _store(self) -> None:
        self._put(self._random.choice([*PUBLIC, *PRIVATE]))

    def _purge(self) -> None:
        self._do("DELETE", self._random.choice(PUBLIC), None)

    def _change(self) -> None:
        self._write(self._random.choice(FILES))

    def _write(self, image_id: str) -> None:
        """A file of the source is another one now."""
        number = self._ledger.number(image_id)
        change = self._ledger.begin(image_id, number, time.monotonic())
        path = self._site.sources / image_id.removeprefix("files/")
        new = path.with_suffix(f".{number}")  # Two clients may change one file at once.
        new.write_bytes(pictures.make(number))
        new.replace(path)
        self._ledger.end(change, time.monotonic(), said=True)

    def fill(self) -> None:
        """Store all images for the first time."""
        for image_id in [*PUBLIC, *PRIVATE]:
            self._put(image_id)
        for image_id in FILES:
            self._write(image_id)

    def _put(self, image_id: str) -> None:
        number = self._ledger.number(image_id)
        self._do("POST", image_id, number, pictures.make(number))

    def _do(self, method: str, image_id: str, number: int | None, data: bytes = b"") -> None:
        path = f"/origins/{image_id}{'?private' if image_id in PRIVATE else ''}"
        change = self._ledger.begin(image_id, number, time.monotonic())
        reply = self._send(method, path, {}, data, counts=False)
        now = time.monotonic()
        if reply is None:
            self._ledger.end(change, now, said=False, is_sure=False)
        elif reply.status == 200:
            version = json.loads(reply.data).get("version")
            if version is not None and version in self._ledger.versions(image_id):
                self.seen.add_wrong("versions given twice", f"{image_id} v{version}")
            self._ledger.end(change, now, said=True, version=version)
        else:
            self._ledger.end(change, now, said=False)
            if reply.status != 503:
                self.seen.add_wrong("unexpected answers", f"{method} {path}: {reply.status} {reply.data!r}")

    def signed(self, image_id: str, name: str, expires: int = 600) -> Asked:
        size, _, format = name.partition(".")
        return Asked(image_id, name, self._signing.url(image_id, size, format=format, expires=expires))

    def _expect(self, url: str, statuses: tuple[int, ...]) -> None:
        reply = self._send("GET", url, {})
        if reply is not None and reply.status not in (*statuses, 503):
            self.seen.add_wrong("unexpected answers", f"{url}: {reply.status}")

    def ask(self, asked: Asked, method: str = "GET", etag: str = "", number: int | None = None) -> Any:
        """The answer, after it was looked at; None where none came."""
        began = time.monotonic()
        headers = {"Accept": asked.accept} if asked.accept else {}
        if etag:
            headers["If-None-Match"] = etag
        reply = self._send(method, asked.url, headers)
        if reply is None or reply.status == 503:
            return reply
        if reply.status == 200 and method == "GET":
            self._look(asked, reply, began)
        elif reply.status == 301 and method == "GET":
            self._follow(asked, reply.headers["Location"], began)
        elif reply.status == 304 and etag and number is not None:
            self._judge(asked, number, began, "304")
        elif reply.status == 404:
            self._missing(asked, began)
        elif reply.status not in (200, 301, 302):
            self.seen.add_wrong("unexpected answers", f"{method} {asked.url}: {reply.status} {reply.data[:200]!r}")
        return reply

    def _look(self, asked: Asked, reply: Any, began: float) -> None:
        try:
            format, size, number = pictures.read(reply.data)
        except pictures.Wrong as error:
            return self.seen.add_wrong("wrong pictures", f"{asked.url} is {error}")
        expected = Size.parse(asked.name.partition(".")[0]).dimensions(pictures.WIDTH, pictures.HEIGHT)
        if size != expected or TYPES[format] != reply.headers["Content-Type"]:
            said = f"{asked.url} is a {format} of {size}, {reply.headers['Content-Type']}"
            self.seen.add_wrong("wrong pictures", said)
        self.seen.pictures += 1
        self._judge(asked, number, began, "200")
        self._ledger.asked[asked.image_id, asked.name].add(number)
        if etag := reply.headers.get("ETag"):
            self._etags[asked] = etag, number

    def _follow(self, asked: Asked, location: str, began: float) -> None:
        if not location.startswith(self._site.public_url) or asked.image_id in PRIVATE:
            return self.seen.add_wrong("wrong pictures", f"{asked.url} leads to {location}")
        if self._random.random() < 0.5:
            return
        try:
            reply = self._http.request("GET", location, redirect=False)
        except urllib3.exceptions.HTTPError:
            reply = None
        now = time.monotonic()
        if reply is not None and reply.status == 200:
            return self._look(asked, reply, began)
        if len(self._ledger.possible(asked.image_id, began, now)) == 1:
            said = f"{asked.url} leads to {location}, which is {reply and reply.status}"
            self.seen.suspect("broken objects", said, self._at_fault(began))

    def _at_fault(self, began: float, *parts: str) -> Callable[[], bool]:
        """Was the store, or one of the parts, at fault since then, as far as will be known?"""
        return partial(self.breaking.during, ("store", *parts), began, time.monotonic(), EXCUSED_SECONDS)

    def _judge(self, asked: Asked, number: int, began: float, how: str) -> None:
        """May this picture be shown?"""
        if self._ledger.owners.get(number) != asked.image_id:
            return self.seen.add_wrong("wrong pictures", f"{asked.url} ({how}) is of {self._ledger.owners.get(number)}")
        if asked.exact is not None and number != asked.exact:
            return self.seen.add_wrong("wrong pictures", f"{asked.url} ({how}) is {number}, not {asked.exact}")
        if asked.exact is None and asked.image_id not in FILES:
            self._suspect_unless_possible("stale pictures", number, f"{asked.url} ({how}) is {number}", asked, began)

    def _missing(self, asked: Asked, began: float) -> None:
        if asked.exact is None:
            self._suspect_unless_possible("missing pictures", None, f"{asked.url} is 404", asked, began)

    def _suspect_unless_possible(self, what: str, number: int | None, said: str, asked: Asked, began: float) -> None:
        now = time.monotonic()

        def possible() -> set[int | None]:
            return {change.number for change in self._ledger.possible(asked.image_id, began, now)}

        if number not in (known := possible()):
            self.seen.suspect(what, f"{said}, none of {known}", lambda: number in possible())

    def _send(self, method: str, path: str, headers: dict[str, str], data: bytes = b"", counts: bool = True) -> Any:
        web = self._random.randrange(2)
        began = time.monotonic()
        try:
            url = self.webs[web] + path
            reply = self._http.request(method, url, headers=headers, body=data or None, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return self._torn(f"web {web + 1}", f"{method} {path}: {error!r}", type(error).__name__, began)
        if _is_cut(method, reply):
            return self._torn(
                f"web {web + 1}", f"{method} {path}: {reply.status} without headers", "cut headers", began
            )
        seconds = time.monotonic() - began
        at_web = self.breaking.during((f"web {web + 1}",), began, time.monotonic(), 1.0)
        with self.seen.lock:
            if counts:
                detail = reply.headers.get("Cache-Status", "").removeprefix("lazycrop; ")
                self.seen.answers[str(reply.status), detail.rpartition("; ")[2].removeprefix("detail=")] += 1
                if not at_web:
                    self.seen.slowest = max(self.seen.slowest, (seconds, f"{method} {path}: {reply.status}"))
        if reply.status >= 500:
            self._failed(method, path, reply, began)
        return reply

    def _failed(self, method: str, path: str, reply: Any, began: float) -> None:
        detail = reply.headers.get("Cache-Status", "").rpartition("=")[2] or reply.data.decode(errors="replace")[:40]
        is_excused = self._at_fault(began)
        self.seen.failed.append((f"{reply.status} {detail}", is_excused))
        parts = {window.part for window in self.breaking.windows if window.ended > began - EXCUSED_SECONDS}
        said = f"{method} {path}: {reply.status} {detail}; at fault: {parts}"
        is_503 = reply.status == 503
        self.seen.suspect("5xx outside of store faults", said, lambda: is_503 and is_excused())

    def _torn(self, web: str, said: str, kind: str, began: float) -> None:
        """A connection broke: by its proxy or a kill, or because what was streamed of a private image ended."""
        with self.seen.lock:
            self.seen.torn[kind] += 1
        self.seen.suspect("broken answers", said, self._at_fault(began, web))
