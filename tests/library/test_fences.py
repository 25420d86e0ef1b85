"""Fences: each line that keeps stores, purges and jobs apart is needed, for without it some schedule goes wrong.

``TEST_FENCES=1000`` takes out one after the other, and runs so many schedules of ``test_interleavings.py`` on what is
left; that takes some minutes. Else it is only seen to that each of them is still there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCHEDULES = os.environ.get("TEST_FENCES", "")

# What it is for: where it is, its text, and what is there without it.
FENCES = {
    "a number is nobody else's": ("claims", ", *(of for name, of in found.items() if name != key)", ""),
    "a number is higher than that of a purge since": ("claims", "what_is.version if what_is else 0, ", "0, "),
    "a store waits for who came before": (
        "versions",
        "self._claims.wait(claim))\n            self._current.put_own",
        "self._claims.wait(replace(claim, earlier=frozenset())))\n            self._current.put_own",
    ),
    "what is made private is what is current until it is": (
        "versions",
        "left = self._claims.wait(claim)  # What",
        "left = self._claims.wait(replace(claim, earlier=frozenset()))  #",
    ),
    "mezzanines wait for who came before": (
        "versions",
        "            self._claims.wait(claim)\n            latest",
        "            latest",
    ),
    "mezzanines of what was purged go": (
        "versions",
        "if latest is None or latest.tag != record.tag:",
        "if latest is None:\n                latest = record\n            if False:",
    ),
    "a purge waits for who came before": (
        "purging",
        "left = self._claims.wait(claim)\n            what_is",
        "left = Left(frozenset(), frozenset())\n            what_is",
    ),
    "a purge of a version waits for who came before": (
        "purging",
        "            self._claims.wait(claim)\n            current",
        "            current",
    ),
    "a purge leaves who comes after": ("purging", " if number < claim.number}", "}"),
    "a purge leaves who is late": ("purging", "if number < claim.number} - late", "if number < claim.number}"),
    "a purge of a version leaves who comes after": (
        "purging",
        "if current is None or version > current.version:",
        "if False:",
    ),
    "a purge takes the claims of the dead": (
        "purging",
        "number in sorted(numbers))\n            self.delete(left.dead)",
        "number in sorted(numbers))",
    ),
    "a number that was purged stays used": ("purging", "            if left.late:  # They", "            if False:  #"),
    "a purge that forgets sees who comes after": (
        "purging",
        "if forget and self._contents.numbers(image_id) == {claim.number}:",
        "if forget:",
    ),
    "the current version is not purged alone": (
        "purging",
        "if isinstance(current, Record) and version == current.version:",
        "if False:",
    ),
    "a sweep leaves who is late": (
        "purging",
        "in claim.found - left.late:\n            if number <= last",
        "in claim.found:\n            if number <= last",
    ),
    "a sweep takes what was purged": (
        "purging",
        "            if number <= last:\n                self.delete_version(image_id, number)",
        "            pass",
    ),
    "a sweep leaves what was stored": ("purging", " and self._records.read_now(image_id, number) is None:", ":"),
    "a sweep leaves the first version, which has no record then": (
        "purging",
        "(number > 1 or claim.what_is is None) and ",
        "",
    ),
    "a claim is dead some time": ("contents", "return time.time() - int(claim) < _CLAIM_SECONDS", "return True"),
    "a tombstone counts": (
        "current",
        "if isinstance(what_is, Tombstone) and what_is.version >= mine.version:",
        "if False:",
    ),
    "a later version counts": (
        "current",
        "            if number <= mine.version:\n                break",
        "            break",
    ),
    "whoever has put what is current looks again": (
        "current",
        "            self.put(keys.record(mine.image_id), right)\n",
        "            self.put(keys.record(mine.image_id), right)\n            return right\n",
    ),
    "nothing is current whose origin is gone": (
        "current",
        "if isinstance(mine, Record) and not self._store.exists(mine.origin_key):",
        "if False:",
    ),
    "a store that finds a tombstone is undone": (
        "versions",
        "        if isinstance(current, Tombstone):  # purged",
        "        if False:  #",
    ),
    "mezzanines that a job left before a purge go": (
        "versions",
        "self._purging.delete(self._contents.lost_mezzanines(image_id, version))",
        "pass",
    ),
    "a put that failed is undone": ("versions", "            self._purging.delete(reversed(tried))\n", ""),
    "a record that failed is undone": (
        "versions",
        "                    self._purging.delete_version(record.image_id, record.version)\n            raise",
        "                    pass\n            raise",
    ),
    "a record whose answer was lost stays": (
        "versions",
        "                return record\n            if what_is != record:",
        "                pass\n            if True:",
    ),
    "nothing of what was public stays": (
        "versions",
        "            for number in claim.found - left.late:\n",
        "            for number in ():\n",
    ),
    "a job reads the record again": ("storing", "if now is None or now.tag != record.tag:", "if False:"),
    "a job that is repeated clears up": (
        "storing",
        "            self._clear(derivative)\n            return",
        "            return",
    ),
    "a job clears nothing of former versions": (
        "storing",
        "if not self._origins.exists(derivative.image_id, version, private):",
        "if True:",
    ),
}


def module(name: str) -> Path:
    return Path("lazycrop/library") / f"{name}.py"


@pytest.mark.parametrize("fence", FENCES)
def test_a_fence_is_where_the_table_says(fence: str) -> None:
    name, text, _ = FENCES[fence]
    assert (ROOT / module(name)).read_text().count(text) == 1, (
        f"{module(name)} has no such line any more: {text!r}. Say in {Path(__file__).name} what keeps the promise that "
        f"{fence}, or take it from the table."
    )


if SCHEDULES:

    @pytest.mark.parametrize("fence", FENCES)
    def test_without_a_fence_some_schedule_goes_wrong(fence: str, tmp_path: Path) -> None:
        name, text, without = FENCES[fence]
        for part in ("lazycrop", "tests"):
            shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__", "photos"))
        shutil.copy(ROOT / "pyproject.toml", tmp_path)
        path = tmp_path / module(name)
        path.write_text(path.read_text().replace(text, without))
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "tests/library/test_interleavings.py"]
        environ = os.environ | {"TEST_SCHEDULES": SCHEDULES, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600)
        found = re.search(
            r"^E +AssertionError: (The schedule of seed \d+ ended wrongly: .{,150})", done.stdout, re.MULTILINE
        )
        print(f"{fence}: {found[1] if found else 'NOT FOUND'}")
        assert found, f"{SCHEDULES} schedules need no line that sees to it that {fence}.\n{done.stdout[-1000:]}"
