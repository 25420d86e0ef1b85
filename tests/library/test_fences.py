"""Fences: each line that keeps stores, purges and jobs apart is needed, for without it some schedule goes wrong.

Each has a scene in which that is likely. ``TEST_FENCES`` says how many schedules of it are tried without the fence, and
``pytest -rP`` at which one it was noticed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from inspect import unwrap
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest
from checks import check
from scenes import Scene, run
from world import open_clock

SCHEDULES = int(os.environ.get("TEST_FENCES", "300"))
GOOD = 12  # Schedules of each scene that go well with all fences.

# What it is for: where it is, its text, what is there without it, and the scene in which that is noticed.
FENCES = {
    "a number is nobody else's": (
        "claims",
        ", *(of for name, of in found.items() if name != key)",
        "",
        Scene("store", "store, store"),
    ),
    "a number is higher than that of a purge since": (
        "claims",
        "what_is.version if what_is else 0, ",
        "0, ",
        Scene("store", "*store, store purge", "put claim"),
    ),
    "a store waits for who came before": (
        "versions",
        "left or self._claims.wait(claim)",
        "left or self._claims.left(claim)",
        Scene("store", "*store, store", "put current", "kill current lost"),
    ),
    "what is made private is what is current until it is": (
        "versions",
        "left = self._claims.wait(claim)  # What is made private",
        "left = self._claims.wait(replace(claim, earlier=frozenset()))  #",
        Scene("store", "*store, set_private", "put current"),
    ),
    "what is edited is what is current until it is": (
        "versions",
        "left = self._claims.wait(claim)  # What is edited",
        "left = self._claims.wait(replace(claim, earlier=frozenset()))  #",
        Scene("store", "*store, focal", "put current"),
    ),
    "a copy that failed is undone": (
        "versions",
        "                self._purging.delete(self._contents.objects(to, claim.number))\n",
        "",
        Scene("store", "focal, request", trouble="put origin lost"),
    ),
    "what is tidied up is not what is late": (
        "purging",
        "claim.found - left.late - {what_is.version}",
        "claim.found - {what_is.version}",
        Scene("store", "*store, tidy", "put own", "late"),
    ),
    "what is tidied up is no version": (
        "purging",
        "                    if self._is_lost(image_id, number):\n",
        "                    if True:\n",
        Scene("store store", "tidy, request", trouble="none"),
    ),
    "mezzanines wait for who came before": (
        "versions",
        "            self._claims.wait(claim)\n            latest",
        "            latest",
        Scene("store", "*purge, mezzanines", "delete origin 1", "none"),
    ),
    "mezzanines of what was purged go": (
        "versions",
        "                self._purging.delete(record.mezzanine_key(mezzanine) for mezzanine, _ in made)\n",
        "",
        Scene("store", "*mezzanines, purge", "put mezzanine"),
    ),
    "a purge waits for who came before": (
        "purging",
        "left = self._claims.wait(claim)\n            what_is",
        "left = Left(frozenset(), frozenset())\n            what_is",
        Scene("store", "*store, purge", "put own"),
    ),
    "a purge of a version waits for who came before": (
        "purging",
        "            self._claims.wait(claim)\n            current",
        "            current",
        Scene("store store store", "*purge_version, *mezzanines", "delete origin 1, put own 1", "none", keep=9),
    ),
    "a purge leaves who comes after": (
        "purging",
        "if number < claim.number} - late",
        "} - late",
        Scene("store", "*purge, store", "no call"),
    ),
    "a purge leaves what came after and did not wait": (
        "purging",
        " if what_is and what_is.version < claim.number else 0",
        " if what_is else 0",
        Scene("store", "*store, *purge, store", "put current, get claim", "late"),
    ),
    "a tombstone stays for others who are late": (
        "versions",
        "self._current.put(keys.record(record.image_id, current.version), current)",
        "pass",
        Scene("store", "*store, *store, purge", "put current, get current 4", "late"),
    ),
    "mezzanines look again": (
        "versions",
        "elif not self._store.exists(record.origin_key):",
        "elif False:",
        Scene("store store store", "*mezzanines, purge_version", "put own", "late", keep=9),
    ),
    "a purge leaves who is late": (
        "purging",
        "if number < claim.number} - late",
        "if number < claim.number}",
        Scene("store", "*store, purge", "put own", "late"),
    ),
    "a purge of a version leaves who comes after": (
        "purging",
        "if current is None or version > current.version:",
        "if False:",
        Scene("store", "*store, purge_version", "put own"),
    ),
    "a purge takes the claims of the dead": (
        "purging",
        "            self.delete(left.dead)\n            if left.late",
        "            if left.late",
        Scene("store store! old", "purge, request"),
    ),
    "a number that was purged stays used": (
        "purging",
        "            if left.late:  # They",
        "            if False:  #",
        Scene("store", "*store, store purge", "put current", "late"),
    ),
    "a purge that forgets sees who comes after": (
        "purging",
        "if forget and self._is_alone(image_id, claim):",
        "if forget:",
        Scene("store", "*forget, store", "delete origin", "late"),
    ),
    "the current version is not purged alone": (
        "purging",
        "if isinstance(current, Record) and version == current.version:",
        "if False:",
        Scene("store store", "purge_version, request"),
    ),
    "a sweep leaves who is late": (
        "purging",
        "in claim.found - left.late if number <= last",
        "in claim.found if number <= last",
        Scene("store", "*store, store purge store", "put own", "late", keep=9),
    ),
    "a sweep takes what was purged": (
        "purging",
        "self.delete_versions(image_id, {number for number in claim.found - left.late if number <= last})",
        "pass",
        Scene("store store purge! old", "store, request", trouble="none", keep=9),
    ),
    "a sweep leaves what was stored": (
        "purging",
        " and self._records.read_now(image_id, number) is None:",
        ":",
        Scene("store store! old", "store, request", trouble="put own failed", keep=9),
    ),
    "a sweep leaves the first version, which has no record then": (
        "purging",
        "(number > 1 or claim.what_is is None) and ",
        "",
        Scene("store! store old", "store, request", trouble="none", keep=9),
    ),
    "a claim is dead some time": (
        "contents",
        "return time.time() - int(claim) < _CLAIM_SECONDS",
        "return True",
        Scene("store store! old", "purge, request"),
    ),
    "a tombstone counts": (
        "current",
        "if isinstance(what_is, Tombstone) and what_is.version >= mine.version:",
        "if False:",
        Scene("store", "*store, store purge", "put own", "expired"),
    ),
    "a later version counts": (
        "current",
        "            if number <= mine.version:\n                break",
        "            break",
        Scene("store", "*store, store", "put current", "late"),
    ),
    "whoever has put what is current looks again": (
        "current",
        "            self.put(keys.record(mine.image_id), right)\n        raise",
        "            self.put(keys.record(mine.image_id), right)\n            return right\n        raise",
        Scene("store", "*store, store", "put current", "late"),
    ),
    "a store that finds a tombstone is undone": (
        "versions",
        "        if isinstance(current, Tombstone):  # purged",
        "        if False:  #",
        Scene("store", "*store, store purge", "put own", "late"),
    ),
    "mezzanines that a job left before a purge go": (
        "versions",
        "self._purging.delete(self._contents.lost_mezzanines(image_id, version))",
        "pass",
        Scene("store", "*mezzanines, purge", "put mezzanine", "kill mezzanine lost"),
    ),
    "a put that failed is undone": (
        "versions",
        "            self._purging.delete(objects)\n",
        "",
        Scene("store", "store, request", trouble="put origin lost"),
    ),
    "a record that failed is undone": (
        "versions",
        "                    self._purging.delete_versions(record.image_id, [record.version])\n            raise",
        "                    pass\n            raise",
        Scene("store", "store, request", trouble="put own lost"),
    ),
    "a record whose answer was lost stays": (
        "versions",
        "                return record\n            if what_is != record:",
        "                pass\n            if True:",
        Scene("store", "store, request", trouble="put current lost"),
    ),
    "nothing of what was public stays": (
        "versions",
        "            self._purging.delete_versions(image_id, claim.found - left.late)\n",
        "",
        Scene("store store", "set_private, request", keep=9),
    ),
    "a job reads the record again": (
        "storing",
        "if now is None or now.tag != record.tag:",
        "if False:",
        Scene("store request", "*job, purge", "put size"),
    ),
    "a job that is repeated clears up": (
        "storing",
        "                self._clear(derivative)\n",
        "                pass\n",
        Scene("store request", "*job, purge", "put size", "kill size lost"),
    ),
    "a job clears nothing of former versions": (
        "storing",
        "if not self._origins.exists(derivative.image_id, version, private):",
        "if True:",
        Scene("store request job_again store", "job, request", trouble="none"),
    ),
    "adoption waits for who came before": (
        "versions",
        "left = self._claims.wait(claim)\n            what_is = self._records",
        "left = None\n            what_is = self._records",
        Scene("", "*adopt, adopt", "put current", "none"),
    ),
    "a file is adopted once": (
        "versions",
        "if before is None or what_is.tag != before.tag:",
        "if False:",
        Scene("", "adopt, adopt", trouble="none"),
    ),
    "a file that is touched is adopted once": (
        "versions",
        "if before is None or what_is.tag != before.tag:",
        "if False:",
        Scene("", "adopt, *touch adopt", "look file", "none"),
    ),
    "what was stored is not adopted": (
        "versions",
        "if before is None or what_is.tag != before.tag:",
        "if before and what_is.tag != before.tag:",
        Scene("", "store, *adopt", "put claim", "none"),
    ),
    "what is adopted anew stays private": (
        "versions",
        "                provenance = replace(provenance, private=what_is.private)\n",
        "",
        Scene("adopt", "*change adopt, set_private", "look file 2", "none"),
    ),
    "a touch waits for who came before": (
        "versions",
        "            self._claims.wait(claim)\n            current = self._records.read_now(record.image_id)",
        "            current = self._records.read_now(record.image_id)",
        Scene("adopt", "*purge, touch adopt", "put current", "none"),
    ),
    "a touch is of what is still current": (
        "versions",
        "if current is None or current.tag != record.tag:\n                return current",
        "current = current or record",
        Scene("adopt change adopt", "*touch adopt, purge", "put claim", "none"),
    ),
    "a claim holds for as long as others wait": (
        "claims",
        " and max(time.time() - unix, time.monotonic() - steady) < 0.8 * _SETTLE_SECONDS",
        "",
        Scene("store", "*store, store", "put current", "late"),
    ),
    "a claim holds for who came first": (
        "claims",
        "return not self.earlier and max(",
        "return max(",
        Scene("adopt", "*set_private, purge adopt", "put current", "none"),
    ),
    "who does not hold a claim any more looks again": (
        "current",
        "            if claim.holds():\n                return mine",
        "            return mine",
        Scene("store", "*store, store", "put current", "late"),
    ),
    "a purge looks again where its claim does not hold": (
        "purging",
        "        if claim.holds():\n            return",
        "        if True:\n            return",
        Scene("adopt", "*set_private, purge adopt", "put current", "none"),
    ),
    "who waits is waited for": (
        "claims",
        "_SETTLE_SECONDS * len(left.late)",
        "_SETTLE_SECONDS",
        Scene("store store! old", "purge, mezzanines, *mezzanines", "put current", "kill current failed"),
    ),
    "a change is told": (
        "claims",
        "[self._changes.begin_telling(image_id)] if number > 1 else []",
        "[]",
        Scene("store", "request, store", trouble="none"),
    ),
    "a change is told before, for who is killed": (
        "claims",
        "                self._store.together(claimed, *told)\n",
        "                claimed()\n",
        Scene("store", "request, store", trouble="kill current lost"),
    ),
    "a change that comes late is told again": (
        "current",
        "            self._changes.begin_telling(mine.image_id)()",
        "            pass",
        Scene("store", "*store, request minute request", "put current", "ages"),
    ),
    "a word stays for longer than a record is trusted": (
        "changes",
        "ended = time.time() - _KEPT",
        "ended = time.time()",
        Scene("store", "request, *store, request", "put current", "expired"),
    ),
    "an image that is named is not trusted": (
        "changes",
        " and _digest(image_id) not in listing.names",
        "",
        Scene("store", "request, store", trouble="none"),
    ),
    "versions that are not kept go": (
        "purging",
        "if number <= claim.number - self._keep_versions}",
        "if False}",
        Scene("store store", "store, request", trouble="none", keep=1),
    ),
    "versions that are kept stay": (
        "purging",
        "if number <= claim.number - self._keep_versions}",
        "if number < claim.number}",
        Scene("store store", "store, request", trouble="none", keep=2),
    ),
    "what is not kept, but not done, stays": (
        "purging",
        "former - self._claims.left(claim).late if former else ()",
        "former",
        Scene("store", "*store, store", "put own", "late", keep=1),
    ),
}


def take_out(fence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give all functions of its module the code that they have without the fence."""
    name, text, without, *_ = FENCES[fence]
    module = import_module(f"lazycrop.library.{name}")
    source = Path(str(module.__file__)).read_text()
    assert source.count(text) == 1, (
        f"{name}.py has no such line any more: {text!r}. Say in {Path(__file__).name} what keeps the promise that "
        f"{fence}, or take it from the table."
    )
    rest = {"__name__": module.__name__}
    exec(compile(source.replace(text, without), f"{name}.py", "exec"), rest)
    codes = functions(rest, module.__name__)
    for qualname, function in functions(vars(module), module.__name__).items():
        monkeypatch.setattr(function, "__code__", codes[qualname].__code__)


def functions(names: Mapping[str, Any], module: str) -> dict[str, FunctionType]:
    """All that are defined in a module, those of its classes too; without what decorates them."""
    found = {}
    for one in names.values():
        if isinstance(one, type) and one.__module__ == module:
            found |= functions(vars(one), module)
        elif isinstance(one := unwrap(one) if callable(one) else one, FunctionType) and one.__module__ == module:
            found[one.__qualname__] = one
    return found


@pytest.mark.parametrize("fence", FENCES)
def test_without_a_fence_some_schedule_of_its_scene_goes_wrong(fence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, scene = FENCES[fence]
    clock = open_clock(monkeypatch)
    for seed in range(GOOD):
        check(run(seed, clock, scene))
    take_out(fence, monkeypatch)
    clock.pasts.clear()
    for seed in range(SCHEDULES):
        try:
            check(run(seed, clock, scene))
        except Exception as error:
            print(f"{fence}: noticed by schedule {seed}: {error!r}"[:200])
            return
    pytest.fail(f"{SCHEDULES} schedules of {scene} need no line that sees to it that {fence}.")
