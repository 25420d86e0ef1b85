"""Signing: whatever stands where a signature or its time should be is a wrong one."""

from __future__ import annotations

import pytest

from lazycrop import LazyCrop
from lazycrop.http.requests import Request


@pytest.mark.parametrize("query", ["s=\udcff", "s=x&e=\udcff", "s=%ED%A0%80", "s=%00&e=%FF", "s=ä"])
def test_a_signature_of_any_text_at_all_is_refused(query: str) -> None:
    images = LazyCrop(store="memory:", broker="inline", secret="a key")
    assert images.answer(Request("/cat/4x3.jpg", query)).status == 403
