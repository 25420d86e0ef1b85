"""Checks: what has to be true of an image when all that is done in a schedule is done."""

from __future__ import annotations

from contextlib import suppress

from schedules import Schedule, version_of
from world import FOR_EVER, MINUTE, PATH, RECORD, colour_of, colours, picture, read

from lazycrop import LazyCrop, LazyCropError
from lazycrop.http.requests import Request
from lazycrop.model import keys
from lazycrop.model.keys import Key
from lazycrop.model.records import Record, Tombstone

JOBS = {"job", "mezzanines", "request", "look"}  # Who is killed in one of these leaves nothing: it is done again.


def check(schedule: Schedule) -> None:
    """What has to be true when all are quiet, when all jobs are done, and after the next store and purge."""
    assert not schedule.broken, schedule.broken
    check_stored(schedule)
    check_mixed(schedule)
    check_seen(schedule)
    images = schedule.process()
    for job in 2 * schedule.messages:
        with suppress(LazyCropError):
            images.jobs.actors[job[0]](job[1])
    schedule.messages.clear()
    check_mixed(schedule)
    if is_clean(schedule):
        check_orphans(schedule)
        check_followed(schedule)
    assert not schedule.broken, schedule.broken
    schedule.clock.now += 3600  # By then nobody writes any more who has a claim.
    check_next(schedule, images)


def is_clean(schedule: Schedule) -> bool:
    """Is nothing left for a later store or purge to sweep?"""
    is_swept = any(record.version > schedule.past for record, *_ in schedule.stored) or any(
        end and end < FOR_EVER for _, end in schedule.purges
    )
    return (
        (is_swept or not schedule.dead)
        and schedule.trouble in ("none", "put", "late", "kill")
        and set(schedule.killed) <= JOBS
        and all(end is not None for _, end in schedule.purges)
    )


def check_followed(schedule: Schedule) -> None:
    """An image that was adopted is what its file is, and is adopted once only."""
    if schedule.files is None:
        return
    images = schedule.process()
    for file in [data for data in schedule.files.files.values() for _ in range(2)]:
        before = schedule.current()
        record = images.adopt("cat")
        what_is = schedule.current()
        assert isinstance(what_is, Record) and what_is.tag == record.tag, "what was adopted is not what the image is"
        if record.is_adopted:
            assert colours()[record.made_from] == colour_of(file), f"{record.version} is not the picture of the file"
            assert record.private or not schedule.hidden, f"{record.version} was private, and is not"
        if isinstance(before, Record) and (not record.is_adopted or before.made_from == record.made_from):
            assert record.version == before.version, "one file was adopted twice"
    if schedule.files.files:
        check_mixed(schedule)
        check_orphans(schedule)


def check_stored(schedule: Schedule) -> None:
    """No store that was acknowledged is lost, unless a purge ended after it began."""
    lasting = [record for record, begun, _ in schedule.stored if not schedule.may_be_purged(begun)]
    what_is = schedule.current()
    if lasting:
        last = max(lasting, key=lambda record: record.version)
        assert isinstance(what_is, Record), f"{last.version} was stored after the last purge, and is gone"
        assert what_is.version >= last.version, f"{last.version} was stored, and is not current"
        is_stored = any(not record.is_adopted for record in lasting) and schedule.trouble in ("none", "put", "kill")
        assert not (is_stored and what_is.is_adopted), f"{what_is.version} is of a file, though one was stored"
        has_all = schedule.trouble in ("none", "put") and not schedule.dead and schedule.files is None
        if has_all and colours()[what_is.made_from] not in schedule.refused:
            later = {record.made_from for record, _, _ in schedule.stored if record.version >= last.version}
            assert what_is.made_from in later, f"{what_is.version} is the picture of an older one than {last.version}"
    if schedule.trouble in ("none", "put", "late", "expired") and not schedule.forgets:
        number = what_is.version if what_is else 0
        assert number >= schedule.latest, f"the image had the number {schedule.latest}, and has {number}"
        for colour in schedule.refused:
            assert schedule.trouble != "put" or colour not in schedule.shown.values(), "what was refused was shown"
    if isinstance(what_is, Record) and schedule.trouble != "many":
        assert what_is.origin_key in schedule.objects, f"the image is version {what_is.version}, which is not there"


def check_seen(schedule: Schedule) -> None:
    """After a minute each process has seen what the image is, though nobody has told it."""
    schedule.clock.now += MINUTE
    what_is = schedule.current()
    for images in schedule.alive if schedule.files is None else ():
        images.store.heal()  # type: ignore[attr-defined]
        answer = images.answer(Request(PATH))
        if not isinstance(what_is, Record):
            assert answer.status == 404, f"what was purged is {answer.status} after a minute"
        elif what_is.private:
            assert answer.status == 403, f"what was made private is {answer.status} after a minute"
        elif what_is.origin_key in schedule.objects:
            assert answer.status == 200, f"what was stored is {answer.status} after a minute"
            body = answer.body if isinstance(answer.body, bytes) else answer.body.read()
            assert colour_of(body) == colours()[what_is.made_from], "what was replaced is shown after a minute"


def check_mixed(schedule: Schedule) -> None:
    """All objects of one version are of one picture."""
    colours: dict[int, set[tuple[int, ...]]] = {}
    for name, data in schedule.objects.items():
        key = Key.parse(name)
        assert key is not None, name
        if key.kind in ("origin", "size", "mezzanine") and not name.endswith(".source"):
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
    of = {key.version for key in map(Key.parse, names) if key and key.kind == "origin"}
    expected = {what_is.origin_key, *(what_is.mezzanine_key(one) for one in what_is.mezzanines)}
    if what_is.version > 1:
        expected.add(keys.record("cat", what_is.version))
    if what_is.private:
        expected.add(keys.record("cat", what_is.version, private=True))
    expected |= {key for key in schedule.sizes if version_of(key) in of and not schedule.forgets and not schedule.files}
    assert expected <= names, f"of version {what_is.version} lacks {sorted(expected - names)}"
    hidden = schedule.hidden if schedule.trouble != "late" else []  # Who is late may store a former version.
    open_since = max((record.version for record in hidden), default=1)  # What was private before may have stayed.
    oldest = 1
    if schedule.trouble != "late" and not schedule.forgets:
        oldest = max(oldest, schedule.gone + 1)
    if schedule.trouble == "none" and schedule.stored and not schedule.dead:
        oldest = max(oldest, what_is.version + 1 - schedule.keep)
    if schedule.trouble == "none" and not (schedule.purges or schedule.hidden or schedule.purged):
        lost = [one for one in schedule.shown if one > what_is.version - schedule.keep and one not in of]
        assert not lost, f"of the versions {lost} the origin is gone"
    for name in sorted(names - expected):
        key = Key.parse(name)
        assert key and key.kind != "claim", f"{name} is left"
        assert oldest <= key.version <= what_is.version, f"{name} is left"
        assert key.private or open_since <= key.version, f"{name} is left"
        assert not what_is.private or key.private or key.version < what_is.version, f"{name} is open to all"
        if key.kind != "origin":
            assert key.version in of, f"{name} is left"
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
