"""Timing: each stage adds to what is collected, wherever its call is made."""

from __future__ import annotations

import pytest

from lazycrop.concurrency.pool import Pool
from lazycrop.concurrency.timing import measure, recorded


def test_the_stages_of_a_block_are_collected_on_any_thread_and_when_they_fail() -> None:
    pool = Pool("timed", 1)

    def work() -> None:
        with measure("decode"):
            pass

    with recorded() as spans:
        pool.submit(work).result(20)
        once = spans["decode"]
        pool.submit(work).result(20)
        with pytest.raises(ZeroDivisionError), measure("encode"):
            1 // 0
    pool.close()
    assert set(spans) == {"decode", "encode"}
    assert spans["decode"] > once > 0


def test_outside_of_a_block_nothing_is_collected_and_blocks_do_not_mix() -> None:
    with recorded() as outer:
        with recorded() as inner, measure("lookup"):
            pass
        with measure("fetch"):
            pass
    with measure("decode"):
        pass
    assert (set(outer), set(inner)) == ({"fetch"}, {"lookup"})
