"""Schedules: three processes that share nothing but a store, and make one call to it at a time, as a seed decides.

Here is what they do, and what they are told and see meanwhile; ``scenes.py`` has what is tried, and in what order, and
``checks.py`` what has to be true in the end.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from greenlet import getcurrent
from world import (
    FOR_EVER,
    MINUTE,
    PATH,
    RECORD,
    Clock,
    Colour,
    Files,
    Killed,
    Mailbox,
    Stepped,
    Trouble,
    colour_of,
    colours,
    kind_of,
    picture,
    read,
)

from lazycrop import LazyCrop, LazyCropError
from lazycrop.caches.process import ProcessCache
from lazycrop.errors import BadRequest, UnknownImage
from lazycrop.http.requests import Request
from lazycrop.model import keys
from lazycrop.model.keys import Key
from lazycrop.model.records import Pointer, Record, Tombstone


@dataclass(repr=False)
class Schedule:
    """What happened in one schedule. Times are steps.

    ``stored``: of each store that returned, its record, and when it began and ended. ``refused``: the pictures of those
    that raised. ``purges``: when each began that takes the current picture, and when it ended; None where it failed.
    ``hidden``: what was made private. ``shown``: of each version that was the current one, its picture. ``latest``: the
    highest number that the image had; ``past``: before the play, which began when it ``ended``, in Unix time; ``gone``:
    the highest of those that were purged. ``killed``: the operations during which a process was; ``dead``: those so
    long ago that nobody reckons with it. ``adopted``: which version was made of a file. ``words``: of changes.
    ``cache``: that all processes share. ``alive``: the processes that are there in the end, with what they have seen.
    ``changed``: called when what the image is may have.
    """

    clock: Clock
    random: random.Random
    trouble: str = "none"
    keep: int = 2
    files: Files | None = None
    cache: ProcessCache | None = None
    objects: dict[str, bytes] = field(default_factory=dict)
    words: dict[str, bytes] = field(default_factory=dict)
    alive: list[LazyCrop] = field(default_factory=list)
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    stored: list[tuple[Record, int, int]] = field(default_factory=list)
    refused: list[Colour] = field(default_factory=list)
    purges: list[tuple[int, int | None]] = field(default_factory=list)
    hidden: list[Record] = field(default_factory=list)
    shown: dict[int, Colour] = field(default_factory=dict)
    latest: int = 0
    past: int = 0
    gone: int = 0
    forgets: bool = False
    sizes: set[str] = field(default_factory=set)
    put_by: dict[str, Any] = field(default_factory=dict)
    purged: set[int] = field(default_factory=set)
    killed: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    adopted: dict[tuple[str, bool], int] = field(default_factory=dict)
    colours: int = 0
    edits: int = 0
    step: int = 0
    ended: float = 0.0
    changed: Callable[[], None] = lambda: None

    def again(self, random_: random.Random) -> Schedule:
        """The same once more, for others to go on with."""
        own = {name: copy(value) for name, value in vars(self).items() if isinstance(value, dict | list | set)}
        return replace(self, **own, files=deepcopy(self.files), random=random_)

    def process(self, fault: Trouble = lambda name, key: "") -> LazyCrop:
        return LazyCrop(
            store=Stepped(self, fault),
            broker=Mailbox(self.messages),
            sizes="any",
            mezzanine_edges=(),
            renders=1,
            shortcuts=0,
            secret="a key",
            keep_versions=self.keep,
            source=self.files,
            cache=self.cache,
        )

    def current(self) -> Record | Tombstone | None:
        """What the image is, by whatever lies in the store."""
        said = read(self.objects[RECORD]) if RECORD in self.objects else None
        if isinstance(said, Pointer):
            private = self.objects.get(keys.record("cat", said.version, private=True))
            assert private, f"the record of the private version {said.version} is not there"
            said = read(private)
        assert not isinstance(said, Pointer)
        return said

    def is_former(self, key: str) -> bool:
        """Is this of a version that the image is not any more?"""
        what_is = self.current()
        return isinstance(what_is, Record) and what_is.version != version_of(key)

    def notice(self, name: str, key: str) -> None:
        """What has to be true after each call."""
        kind = kind_of(key)
        if name in ("put", "delete") and kind == "current":
            self.notice_current()
        elif (name, kind) == ("put", "size"):
            self.sizes.add(key)
            self.put_by[key] = getcurrent()
        elif (name, kind) == ("delete", "size") and self.is_former(key) and self.put_by.get(key) is getcurrent():
            self.sizes.discard(key)  # by a job that was overtaken: it cannot know whether it was a purge
        elif (name, kind) == ("delete", "origin") and self.trouble in ("none", "put", "kill"):
            what_is = self.current()
            assert not isinstance(what_is, Record) or what_is.origin_key != key, "it is what is current"

    def notice_current(self) -> None:
        """What the image is has changed: a number is never that of two pictures."""
        self.changed()
        if RECORD not in self.objects:
            return
        said = read(self.objects[RECORD])
        self.latest = max(self.latest, said.version)
        if isinstance(said, Tombstone):
            self.gone = max(self.gone, said.version)
        if isinstance(said, Pointer) and (key := keys.record("cat", said.version, private=True)) in self.objects:
            said = read(self.objects[key])
        if isinstance(said, Record) and not self.forgets:
            colour, number = colours()[said.made_from], said.version
            assert self.shown.setdefault(number, colour) == colour, f"{number} is of two pictures"
            is_late = self.trouble in ("late", "expired", "ages")
            if said.is_adopted and not self.edits and not self.purges and not is_late:
                first = self.adopted.setdefault((said.made_from, said.private), number)
                assert first == number, f"one file is {first} and {number}"

    def do(self, images: LazyCrop, name: str) -> None:
        getattr(self, f"_{name}")(images)

    def _store(self, images: LazyCrop, private: bool = False) -> None:
        self.colours += 1
        data, begun = picture(self.colours), self.step
        try:
            record = images.store_origin("cat", data, private=private)
        except LazyCropError:
            self.refused.append(colour_of(data))
            raise
        self.acknowledge(record, begun)

    def acknowledge(self, record: Record, begun: int) -> None:
        """Whoever was told that an image is stored finds it, unless it was purged or replaced meanwhile."""
        self.stored.append((record, begun, self.step))
        if self.forgets or self.trouble in ("expired", "ages"):
            return
        assert self.latest >= record.version and max(self.shown, default=0) >= record.version, (
            f"{record.version} was acknowledged and never shown"
        )
        if not self.may_be_purged(begun) and self.trouble != "late":
            what_is = self.current()
            assert isinstance(what_is, Record) and what_is.version >= record.version, f"{record.version} is not current"
            assert what_is.origin_key in self.objects, f"{what_is.version} has no origin"

    def may_be_purged(self, begun: int) -> bool:
        """Has any purge been under way since?"""
        return any(end is None or end >= begun for _, end in self.purges)

    def _adopt(self, images: LazyCrop) -> None:
        begun = self.step
        with suppress(UnknownImage):
            self.acknowledge(images.adopt("cat"), begun)

    def _change(self, images: LazyCrop) -> None:
        """The file is another one."""
        self.colours += 1
        self._files.files["cat"] = picture(self.colours)

    def _touch(self, images: LazyCrop) -> None:
        self._files.touches += 1

    def _remove(self, images: LazyCrop) -> None:
        """Whoever looks at it from now on purges the image."""
        self._files.files.clear()
        self.purges.append((self.step, FOR_EVER))

    @property
    def _files(self) -> Files:
        assert self.files is not None
        return self.files

    def _private(self, images: LazyCrop) -> None:
        self._store(images, private=True)

    def _set_private(self, images: LazyCrop) -> None:
        self.hidden.append(images.set_private("cat", True))

    def _focal(self, images: LazyCrop) -> None:
        """Say another focal point each time: a version of the same picture."""
        self.edits += 1
        begun = self.step
        self.acknowledge(images.set_focal("cat", (self.edits, self.edits)), begun)
        self.stored.pop()  # It is no picture of its own: what somebody stored meanwhile counts.

    def _tidy(self, images: LazyCrop) -> None:
        images._versions.tidy("cat")

    def _purge(self, images: LazyCrop, forget: bool = False) -> None:
        entry = len(self.purges)
        begun = self.step
        self.purges.append((begun, None))
        images.purge("cat", forget=forget)
        self.purges[entry] = (begun, self.step)

    def _forget(self, images: LazyCrop) -> None:
        self._purge(images, forget=True)

    def _purge_version(self, images: LazyCrop) -> None:
        """Of any version but the current one; also of one that somebody is about to store."""
        version = self.random.choice([1, 2, 2, self.latest + 1])
        self.purged.add(version)
        try:
            images.purge("cat", version=version)
        except BadRequest:  # It is the current one.
            return

    def _request(self, images: LazyCrop) -> None:
        self.ask(images, PATH)
        for version in [version for version in self.shown if version > 1][-1:]:
            self.ask(images, f"/cat/v{version}/4x3.png", version)

    def ask(self, images: LazyCrop, path: str, version: int | None = None) -> int:
        answer = images.answer(Request(path))
        body = answer.body if isinstance(answer.body, bytes) else answer.body.read()
        assert answer.status in (200, 403, 404, 503), body
        if answer.status == 200 and not self.forgets:
            seen = colour_of(body)
            if self.files is None:  # Else it may be that of the file, which nobody has adopted yet.
                assert seen in self.shown.values(), f"{path} was a picture that never was"
                assert version is None or seen == self.shown[version], f"{path} was another picture"
        return answer.status

    def _look(self, images: LazyCrop) -> None:
        """Whoever asks for the first time finds what was acknowledged before."""
        begun = self.step
        sure = [record for record, _, _ in self.stored if not record.private]
        status = self.ask(images, PATH)
        if (
            sure
            and not self.purges
            and not self.hidden
            and status != 503
            and self.trouble not in ("late", "expired", "ages")
        ):
            assert status == 200, f"what was stored before {begun} is {status}"

    def _minute(self, images: LazyCrop) -> None:
        """It goes by."""
        self.clock.now += MINUTE

    def _job(self, images: LazyCrop) -> None:
        if self.messages:
            self.deliver(images, self.messages.pop(0))

    def _job_again(self, images: LazyCrop) -> None:
        """It is given out once more, though it is done."""
        self.messages += self.messages[:1]
        self._job(images)

    def _mezzanines(self, images: LazyCrop) -> None:
        for version in self.random.sample(sorted(self.shown)[-2:], k=min(1, len(self.shown))):
            self.deliver(images, ("mezzanines", {"image_id": "cat", "size": None, "format": "png", "version": version}))

    def deliver(self, images: LazyCrop, job: tuple[str, dict[str, Any]]) -> None:
        try:
            images.jobs.actors[job[0]](job[1])
        except (LazyCropError, Killed):
            self.messages.append(job)  # It is given out again.
            raise


def version_of(name: str) -> int:
    key = Key.parse(name)
    return key.version if key else 0
