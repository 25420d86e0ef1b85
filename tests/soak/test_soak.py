"""A short soak. A long one is ``make soak``."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing, nullcontext
from pathlib import Path

import pytest

from servers import MEMCACHED, ROOT, S3, VALKEY, WEED
from soak.clients import ACTIONS, Seen
from soak.faults import KINDS, Breaking, Window, plan
from soak.ledger import Ledger
from soak.pictures import COUNT, Wrong, make, read
from soak.site import Canary


def test_pictures_are_right_and_nothing_is_lost_while_all_servers_fail_now_and_then(tmp_path: Path) -> None:
    for program in (MEMCACHED, VALKEY, WEED):
        program.require()
    env = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests'}{os.pathsep}{ROOT}", "TMPDIR": str(tmp_path)}
    env |= {"SOAK_SECONDS": "30", "SOAK_SEED": "7", "SOAK_CLIENTS": "4"}
    done = subprocess.run([sys.executable, "-m", "soak"], env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pictures looked at" in done.stdout


def test_a_seed_repeats_the_plan_which_has_every_kind_of_fault() -> None:
    assert plan(1, 600) == plan(1, 600) != plan(2, 600)
    found = {(fault.part, fault.kind) for fault in plan(1, 600)}
    assert found == {(part, kind) for part, kinds in KINDS.items() for kind in kinds}
    assert not [
        fault for fault in plan(1, 600) if fault.part in ("web 2", "worker") and fault.kind == "kill" and fault.at > 200
    ]
    assert all(f"_{action}" in dir(__import__("soak.clients").clients.Client) for action in ACTIONS)


def test_a_picture_says_its_number_and_half_of_it_or_another_one_does_not() -> None:
    data = make(0xABC)
    assert read(data) == ("JPEG", (900, 600), 0xABC)
    assert read(make(COUNT - 1))[2] == COUNT - 1
    with pytest.raises(Wrong):
        read(data[: len(data) // 2])


def test_a_ledger_knows_what_may_be_seen_at_a_moment() -> None:
    ledger = Ledger(lambda moment: moment + 3)
    first, second = ledger.number("cat"), ledger.number("cat")
    ledger.end(ledger.begin("cat", first, 0), 1, said=True, version=1)
    ledger.end(ledger.begin("cat", second, 10), 11, said=True, version=2)

    def numbers(*moments: float) -> list[int | None]:
        return [change.number for change in ledger.possible("cat", *moments)]

    assert (numbers(5, 6), numbers(12, 13), numbers(15, 16)) == ([first], [first, second], [second])
    purge = ledger.begin("cat", None, 20)
    assert numbers(21, 22) == numbers() == [second, None]
    ledger.end(purge, 23, said=False, is_sure=False)
    assert numbers(100, 101) == [second, None]
    assert ledger.versions("cat") == {1: first, 2: second}


def test_calm_begins_when_a_part_was_without_a_fault_for_a_while() -> None:
    breaking = Breaking([], {})
    breaking.windows += [
        Window("store", "kill", 10, 12),
        Window("store", "cut", 14, 15),
        Window("web 1", "cut", 16, 99),
    ]
    assert breaking.calm_since(1, ("store",), 3) == 4
    assert breaking.calm_since(8, ("store",), 3) == 18
    assert breaking.calm_since(20, ("store",), 3) == 23
    assert breaking.during(("store",), 12.5, 13, 1) and not breaking.during(("store",), 12.5, 13)


def test_an_interrupted_soak_has_no_more_faults() -> None:
    breaking = Breaking(plan(1, 6000), dict.fromkeys(KINDS, lambda fault: nullcontext()))
    with pytest.raises(KeyboardInterrupt), breaking:
        raise KeyboardInterrupt
    assert not breaking.windows


def test_what_is_suspected_is_judged_by_what_is_known_in_the_end() -> None:
    seen, breaking = Seen(), Breaking([], {})
    for moment in (1, 20):
        seen.suspect("5xx", f"at {moment}", lambda moment=moment: breaking.during(("store",), moment, moment))  # type: ignore[misc]
    breaking.windows.append(Window("store", "by itself", 0, 2))
    seen.judge()
    assert [said.split(" ", 1)[1] for said in seen.wrong["5xx"]] == ["at 20"]


def test_a_canary_knows_what_the_store_has_lost_and_when_it_was_at_fault(s3: S3) -> None:
    windows: list[Window] = []
    canary = Canary(s3, windows)
    try:
        assert all(canary.is_well() for _ in range(30))
        assert len(canary.held) > 5 and not canary.lost()
        with closing(s3.client()) as client:
            client.put_object(Bucket=s3.bucket, Key=(name := next(iter(canary.held))), Body=b"of yesterday")
        assert canary.lost() == [name]
    finally:
        canary.close()
    for began, ended in ((1, 2), (2, 3), (5, 6)):
        canary.tell("by itself", began, ended)
    assert [(one.began, one.ended) for one in windows] == [(1, 3), (5, 6)]
