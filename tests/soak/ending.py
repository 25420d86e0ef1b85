"""Ending: all faults are over; what is there now, and is it right?"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from prometheus_client.parser import text_string_to_metric_families

from client import get
from lazycrop import LazyCrop
from lazycrop.model.keys import Key
from soak import pictures
from soak.clients import FILES, PRIVATE, PUBLIC, Asked, Client, plain
from soak.ledger import Ledger
from soak.site import SECONDS, Canary, Site

_SOON = 4 * SECONDS["lease_seconds"]
_TRIES = 90.0  # Seconds for all jobs that wait, three more tries of each included.
_LOST = 30  # Redirects by shortcuts that a process which was killed had not yet written down, in the second before.
_ROUNDS = 4  # How often a size is asked for: once, once more after a job that died, and after one more lease of each.


def _within(seconds: float, ask: Callable[[], bool]) -> bool:
    until = time.monotonic() + seconds
    while not (done := ask()) and time.monotonic() < until:
        time.sleep(0.2)
    return done


class Ending:
    """``found``: figures for the report; what is wrong goes to what the clients saw."""

    def __init__(self, site: Site, ledger: Ledger, client: Client, canary: Canary) -> None:
        self._site, self._ledger, self._client, self._canary = site, ledger, client, canary
        self._wrong = client.seen.add_wrong
        self.found: dict[str, Any] = {}

    def go(self) -> None:
        self._client.webs = self._site.direct
        self._store_is_whole()
        with closing(LazyCrop(**self._site.settings)) as images:
            self._images_are_right()
            self._sizes_are_stored(images)
            self._queue_is_empty(images)
            self._letters(images)
            self._objects_are_right(images)
            self._counts_are_right()

    def _store_is_whole(self) -> None:
        """What the store itself loses is nothing that lazycrop could have kept."""
        lost = self._canary.lost()
        self.found["changes by the canary, and objects"] = self._canary.changes, len(self._canary.held)
        for name in lost:
            self._wrong("lost by the store", name)

    def _images_are_right(self) -> None:
        """Each image is what it was made, by both processes; ``current``: its number, or None."""
        self.current: dict[str, int | None] = {}
        for image_id in [*PUBLIC, *PRIVATE, *FILES]:
            possible = {change.number for change in self._ledger.possible(image_id)}
            if not _within(_SOON, partial(self._is_right, image_id, possible)):
                said = f"{image_id} is {self.current.get(image_id, 'no answer')}, none of {possible}: "
                said += self._ledger.history(image_id)
                self._wrong("zombies" if possible == {None} else "bytes lost", said)

    def _is_right(self, image_id: str, possible: set[int | None]) -> bool:
        numbers = set()
        for _ in range(6):  # of both processes
            reply = self._client.ask(self._asked(image_id, "210x.jpg"))
            if reply is None or reply.status not in (200, 301, 404):
                return False
            data = get(reply.headers["Location"]).body if reply.status == 301 else reply.data
            try:
                numbers.add(None if reply.status == 404 else pictures.read(data)[2])
            except pictures.Wrong:
                return False
        self.current[image_id] = next(iter(numbers))
        return len(numbers) == 1 and numbers <= possible

    def _asked(self, image_id: str, name: str) -> Asked:
        return self._client.signed(image_id, name) if image_id in PRIVATE else plain(image_id, name)

    def _sizes_are_stored(self, images: LazyCrop) -> None:
        """Whoever asks again for what was asked for is soon redirected to it, or streamed what is stored."""
        asked = [
            self._asked(*one)
            for one, numbers in self._ledger.asked.items()
            if self.current.get(one[0]) in numbers and not one[1].endswith("auto")
        ]
        late, rounds = asked, 0
        with ThreadPoolExecutor(4) as pool:
            while late and rounds < _ROUNDS:
                late = [one for one in pool.map(self._unless_stored, late) if one]
                rounds += 1
                if late:
                    self._queue_is_empty(images)
                    time.sleep(SECONDS["lease_seconds"])  # that the jobs before had
        for one in late:
            self._wrong("sizes not stored", one.url)
        self.found["sizes asked for, of what is current"] = f"{len(asked)}, all stored when asked for {rounds} times"

    def _unless_stored(self, asked: Asked) -> Asked | None:
        reply = self._client.ask(asked)
        return None if reply is not None and "detail=stored" in reply.headers.get("Cache-Status", "") else asked

    def _queue_is_empty(self, images: LazyCrop) -> None:
        """No job waits, and none is tried again and again: three tries take a minute at most."""
        if not _within(_TRIES, lambda: self._jobs(images) == 0):
            self._wrong("retries stuck", repr(images.watch.backlog()))

    def _letters(self, images: LazyCrop) -> None:
        backlog = images.watch.backlog()
        self.found["dead jobs"] = backlog and backlog.dead
        self.found["of them"] = dict(Counter(f"{one.actor}: {one.error[:60]}" for one in images.watch.letters()))

    def _jobs(self, images: LazyCrop) -> int:
        try:
            backlog = images.watch.backlog()
        except Exception:  # A broker that is slow at this moment says nothing of its queue.
            return -1
        assert backlog is not None
        if not str(self._site.settings["broker"]).startswith("redis"):
            return backlog.waiting + backlog.later
        import redis

        with redis.Redis.from_url(self._site.settings["broker"]) as client:  # Those that a worker has taken, too.
            return sum(int(client.hlen(f"lazycrop:lazycrop:lazycrop{kind}.msgs")) for kind in ("", ".DQ"))

    def _objects_are_right(self, images: LazyCrop) -> None:
        """Every object is whole, a picture of its image, and of its version; nothing of a purged image can be seen."""
        checked: Counter[str] = Counter()
        left: Counter[str] = Counter()
        numbers: dict[tuple[str, int], set[int]] = {}
        bucket = self._site.store.client()
        pages = bucket.get_paginator("list_objects_v2").paginate(Bucket=self._site.store.bucket, Prefix="soak/")
        for name in [one["Key"].removeprefix("soak/") for page in pages for one in page.get("Contents", ())]:
            key = Key.parse(name)
            if name.startswith("-changes/"):
                left["words of changes"] += 1
            elif key is None or key.kind == "claim":
                left["claim" if key else f"unknown: {name}"] += 1
            elif key.kind != "record" and not name.endswith(".source"):
                checked[key.kind] += 1
                try:
                    data = bucket.get_object(Bucket=self._site.store.bucket, Key=f"soak/{name}")["Body"].read()
                except ClientError as error:  # SeaweedFS lists it, and has lost it when it was killed.
                    left[f"unreadable: {error.response['Error']['Code']}"] += 1
                    continue
                if (number := self._number_of(name, key, data)) is not None:
                    numbers.setdefault((key.image_id, key.version), set()).add(number)
        bucket.close()
        for (image_id, version), found in numbers.items():
            if len(found) > 1 or not found <= {self._ledger.versions(image_id).get(version, *found)}:
                self._wrong("wrong pictures", f"{image_id} v{version} has objects of {found}")
        for verified in images.verifying.verify():
            for damage in verified.damages:
                left[damage.kind] += 1
                if damage.kind != "left":
                    self._wrong("broken objects", f"{damage.key}: {damage.what}")
        self.found["objects checked"] = dict(checked)
        self.found["left behind"] = dict(left)
        self.found["that cleanup takes now"] = sum(1 for _ in images.cleaning.clean(dry_run=True))

    def _number_of(self, name: str, key: Key, data: bytes) -> int | None:
        try:
            number = pictures.read(data)[2]
        except pictures.Wrong as error:
            self._wrong("broken objects", f"{name}: {error}")
            return None
        if self._ledger.owners.get(number) != key.image_id:
            self._wrong("wrong pictures", f"{name} is of {self._ledger.owners.get(number)}")
        is_purged = self.current.get(key.image_id, 0) is None
        if is_purged and key.version in self._ledger.versions(key.image_id):  # Else it is what a failed store has left.
            self._wrong("zombies", f"{name} of an image that is purged")
        return number

    def _counts_are_right(self) -> None:
        """What the processes counted is what the clients did; those that were killed, or whose answers were cut, may
        differ by these.
        """
        seen, torn = self._client.seen.answers, sum(self._client.seen.torn.values())
        counted = _settled(self._site.direct[0], sum(seen.values()))
        self.found["requests by the clients' and by the processes' count"] = sum(seen.values()), sum(counted.values())
        self.found["answers that broke"] = torn
        before = Counter(seen)
        for _ in range(20):
            for image_id in (PUBLIC[0], "nobody", FILES[0]):
                self._client.ask(replace(plain(image_id, "210x.jpg"), exact=-1 if image_id == "nobody" else None))
        after = _settled(self._site.direct[0], sum(counted.values()) + 60)
        if (told := after - counted) != (asked := seen - before):
            self._wrong("counts that differ", f"{dict(told)} of the processes, {dict(asked)} of the clients")
        kills = sum(one.part == "web 2" and one.kind == "kill" for one in self._client.breaking.windows)
        if not -_LOST * kills <= sum(counted.values()) - sum(before.values()) <= torn:
            said = (
                f"{sum(counted.values())} of the processes, {sum(before.values())} and {torn} that broke of the clients"
            )
            self._wrong("counts that differ", said)


# A shortcut is called by what it repeats, and what has no word in Cache-Status by what there is.
_AS_CLIENTS_SAY = {"shortcut": "stored", "moved": "fwd=bypass", "promised": "fwd=miss"}


def _settled(web: str, least: int) -> Counter[tuple[str, str]]:
    """Requests by status and outcome, as /metrics has them, once each process has written down what it counted."""

    def read() -> Counter[tuple[str, str]]:
        found: Counter[tuple[str, str]] = Counter()
        for family in text_string_to_metric_families(get(f"{web}/metrics").body.decode()):
            for sample in family.samples:
                if sample.name == "lazycrop_requests_total":
                    outcome = sample.labels["outcome"]
                    found[sample.labels["status"], _AS_CLIENTS_SAY.get(outcome, outcome)] += int(sample.value)
        return found

    _within(3, lambda: sum(read().values()) >= least)
    time.sleep(1.2)  # Shortcuts are written down once a second.
    return read()
