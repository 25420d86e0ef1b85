"""Stores, purges, requests and jobs of three processes that share nothing but the store, step by step in every order.

``TEST_SCHEDULES`` says how many schedules are run, ``TEST_SEED`` which is the first; a failure names its seed.
``test_fences.py`` has what of the code this is known to notice the lack of.
"""

from __future__ import annotations

import os
from contextlib import suppress

import pytest
from schedules import PATH, RECORD, Clock, Schedule, colour_of, picture, run

from lazycrop import LazyCrop, LazyCropError
from lazycrop.library import versions
from lazycrop.library.renders import Renders
from lazycrop.model import keys
from lazycrop.model.keys import Key
from lazycrop.model.records import Mezzanine, Record, Tombstone, read
from lazycrop.stores.guarded import Guarded

SCHEDULES = int(os.environ.get("TEST_SCHEDULES", "1500"))
JOBS = {"job", "mezzanines", "request", "look"}  # Who is killed in one of these leaves nothing: it is done again.


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Time, and pictures that cost nothing: each is made once, on the thread of whoever needs it."""
    clock = Clock()
    for module in ("claims", "contents", "purging"):
        monkeypatch.setattr(f"lazycrop.library.{module}.time", clock, raising=False)
    monkeypatch.setattr("lazycrop.build.open_store", lambda settings: Guarded(settings.store, settings, threads=0))
    prepared, sizes, size = {}, {}, Renders.size
    prepare = versions.prepare

    def once(data: bytes, *arguments: object, **options: object) -> object:
        if data not in prepared:
            prepared[data] = prepare(data, *arguments, **options)  # type: ignore[arg-type]
        return prepared[data]

    def size_once(self: Renders, derivative: object, record: object, data: bytes, wait: float) -> bytes:
        if data not in sizes:
            sizes[data] = size(self, derivative, record, data, wait)  # type: ignore[arg-type]
        return sizes[data]

    def mezzanines(data: bytes, *arguments: object) -> object:
        return ((Mezzanine(4, 4, 3, "png", len(data)), data),)

    monkeypatch.setattr(versions, "prepare", once)
    monkeypatch.setattr(versions, "mezzanines", mezzanines)
    monkeypatch.setattr(versions, "lacks_mezzanines", lambda record, ingest: not record.mezzanines)
    monkeypatch.setattr(Renders, "size", size_once)
    monkeypatch.setattr(Renders, "run", lambda self, do, wait: do())
    return clock


def check(schedule: Schedule) -> None:
    """What has to be true when all are quiet, when all jobs are done, and after the next store and purge."""
    check_stored(schedule)
    check_mixed(schedule)
    images = schedule.process()
    for job in 2 * schedule.messages:
        with suppress(LazyCropError):
            images.jobs.actors[job[0]](job[1])
    schedule.messages.clear()
    check_mixed(schedule)
    is_clean = schedule.trouble in ("none", "put", "late") or (
        schedule.trouble == "kill" and set(schedule.killed) <= JOBS
    )
    if is_clean and all(end is not None for _, end in schedule.purges):
        check_orphans(schedule)
    schedule.clock.now += 3600  # By then nobody writes any more who has a claim.
    check_next(schedule, images)


def check_stored(schedule: Schedule) -> None:
    """No store that was acknowledged is lost, unless a purge ended after it began."""
    lasting = [record for record, begun, _ in schedule.stored if not schedule.may_be_purged(begun)]
    what_is = schedule.current()
    if lasting:
        last = max(lasting, key=lambda record: record.version)
        assert isinstance(what_is, Record), f"{last.version} was stored after the last purge, and is gone"
        assert what_is.version >= last.version, f"{last.version} was stored, and is not current"
        if schedule.trouble in ("none", "put") and colour_of(picture_of(schedule, what_is)) not in schedule.refused:
            later = {record.sha256 for record, _, _ in schedule.stored if record.version >= last.version}
            assert what_is.sha256 in later, f"{what_is.version} is the picture of an older one than {last.version}"
    if schedule.trouble in ("none", "put") and not schedule.forgets:
        number = what_is.version if what_is else 0
        assert number >= schedule.latest, f"the image had the number {schedule.latest}, and has {number}"
        for colour in schedule.refused:
            assert schedule.trouble != "put" or colour not in schedule.shown.values(), "what was refused was shown"
    if isinstance(what_is, Record) and schedule.trouble != "many":
        assert what_is.origin_key in schedule.objects, f"the image is version {what_is.version}, which is not there"


def picture_of(schedule: Schedule, record: Record) -> bytes:
    return schedule.objects.get(record.origin_key, picture(0))


def check_mixed(schedule: Schedule) -> None:
    """All objects of one version are of one picture."""
    colours: dict[int, set[tuple[int, ...]]] = {}
    for name, data in schedule.objects.items():
        key = Key.parse(name)
        assert key is not None, name
        if key.kind in ("origin", "size", "mezzanine"):
            colours.setdefault(key.version, set()).add(colour_of(data))
            if key.version in schedule.shown and not schedule.forgets:
                colours[key.version].add(schedule.shown[key.version])
    assert all(len(found) == 1 for found in colours.values()), colours


def check_orphans(schedule: Schedule) -> None:
    """Nothing is there but what the image is now, and former versions that are whole and were not purged.

    And what is swept later: the claim of who was killed, and what a purge leaves for who is late.
    """
    what_is, names = schedule.current(), set(schedule.objects) - {RECORD}
    if schedule.killed or schedule.trouble == "late":
        names -= {name for name in names if is_swept_later(name, schedule.objects[name])}
    if not isinstance(what_is, Record):
        assert not names, f"the image is {what_is}, and there is {sorted(names)}"
        return
    expected = {what_is.origin_key, *(what_is.mezzanine_key(one) for one in what_is.mezzanines)}
    if what_is.version > 1:
        expected.add(keys.record("cat", what_is.version))
    if what_is.private:
        expected.add(keys.record("cat", what_is.version, private=True))
    assert expected <= names, f"of version {what_is.version} lacks {sorted(expected - names)}"
    hidden = schedule.hidden if schedule.trouble != "late" else []  # Who is late may store a former version.
    oldest = max((record.version for record in hidden), default=1)
    for name in sorted(names - expected):
        key = Key.parse(name)
        assert key and key.kind != "claim", f"{name} is left"
        assert oldest <= key.version <= what_is.version, f"{name} is left"
        assert not what_is.private or key.private or key.version < what_is.version, f"{name} is open to all"
        if key.kind != "origin":
            assert any(keys.origin("cat", key.version, "png", private) in names for private in (False, True)), name
        if key.kind == "mezzanine":
            assert key.version < what_is.version, f"{name} is left"


def is_swept_later(name: str, data: bytes) -> bool:
    return keys.claimed(name) is not None or (name.endswith("image.json") and isinstance(read(data), Tombstone))


def check_next(schedule: Schedule, images: LazyCrop) -> None:
    """A store has a number of its own, and after a purge nothing is left."""
    if schedule.step % 2:
        images.purge("cat")
        assert set(schedule.objects) <= {RECORD}, "of what was purged something is left"
    used = max(schedule.shown, default=0)
    record = images.store_origin("cat", picture(7))
    assert schedule.forgets or record.version > used, f"{record.version} is a number that was used"
    check_mixed(schedule)
    answer = images.answer(PATH)
    assert colour_of(answer.body) == colour_of(picture(7))  # type: ignore[arg-type]
    schedule.purges.append((schedule.step, schedule.step))
    images.purge("cat")
    assert list(schedule.objects) == [RECORD]
    assert isinstance(schedule.current(), Tombstone)


def test_no_order_of_calls_and_faults_mixes_loses_or_leaves_anything(clock: Clock) -> None:
    first = int(os.environ.get("TEST_SEED", "0"))
    for seed in range(first, first + SCHEDULES):
        try:
            check(run(seed, clock))
        except Exception as error:
            raise AssertionError(f"The schedule of seed {seed} ended wrongly: {error!r}") from error
