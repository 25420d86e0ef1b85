"""Faults: a line when one begins and one when it is over."""

from __future__ import annotations

import logging

import pytest

from lazycrop.concurrency import faults
from lazycrop.concurrency.faults import Fault


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.levelno >= logging.INFO]


def test_a_fault_that_lasts_has_a_line_and_its_end_has_one(caplog: pytest.LogCaptureFixture) -> None:
    fault = Fault(logging.getLogger("faulty"))
    fault.over("it is over")
    for number in range(100):
        fault.tell("it failed: %d", number)
    for _ in range(100):
        fault.over("it is over")
    assert lines(caplog) == ["it failed: 0", "it is over"]


def test_what_fails_every_other_time_has_some_lines_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(logging.getLogger("faulty"))
    for _ in range(100):
        fault.tell("it failed")
        fault.over("it is over")
    assert lines(caplog) == ["it failed", "it is over"] * 5
    fault.tell("it failed")
    monkeypatch.setattr(faults, "_MINUTE", 0.0)
    fault.tell("it lasts")
    assert lines(caplog)[10:] == ["it lasts"]


def test_a_traceback_is_shown_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fault = Fault(logging.getLogger("faulty"))
    for _ in range(5):
        try:
            1 / 0
        except ZeroDivisionError:
            fault.tell("it failed", trace=True)
    assert caplog.text.count("Traceback") == 1
