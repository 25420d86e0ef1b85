"""Stores, purges, requests and jobs of three processes that share nothing but the store, step by step in every order.

``TEST_SCHEDULES`` says how many schedules are run, ``TEST_SEED`` which is the first; a failure names its seed.
``test_fences.py`` has what of the code this is known to notice the lack of.
"""

from __future__ import annotations

import os

import pytest
from checks import check
from scenes import run
from world import open_clock

SCHEDULES = int(os.environ.get("TEST_SCHEDULES", "800"))


def test_no_order_of_calls_and_faults_mixes_loses_or_leaves_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = open_clock(monkeypatch)
    first = int(os.environ.get("TEST_SEED", "0"))
    for seed in range(first, first + SCHEDULES):
        try:
            check(run(seed, clock))
        except Exception as error:
            raise AssertionError(f"The schedule of seed {seed} ended wrongly: {error!r}") from error
