"""What ``make fuzz`` has found worth keeping, once more: each input is read, or is an error of ours."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GROUPS = [import_module(path.stem) for path in sorted(HERE.glob("fuzz_*.py"))]
TARGETS = {name: (run, group.ALLOWED) for group in GROUPS for name, run in group.TARGETS.items()}


@pytest.mark.parametrize("target", TARGETS)
def test_whatever_is_read_ends_in_an_error_of_ours_at_worst(target: str) -> None:
    run, allowed = TARGETS[target]
    inputs = sorted((HERE / "corpus" / target).iterdir())
    assert inputs, f"tests/fuzz/corpus/{target} is empty: FUZZ_TARGET={target} make fuzz fills it."
    for path in inputs:
        with suppress(allowed):
            run(path.read_bytes())
