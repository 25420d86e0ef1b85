"""What the document of the catalogue shows is run as it stands."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

from servers import ROOT, photo


def test_the_document_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    shutil.copy(photo("Fossa"), tmp_path / "photos/cat.jpg")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs/catalogue.rst").read_text("utf-8")
    blocks = re.findall(r"\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", text)
    module = ModuleType("document")  # SQLAlchemy looks up in it what annotations say
    monkeypatch.setitem(sys.modules, "document", module)
    space: dict[str, Any] = vars(module)
    for block in blocks:
        exec(dedent(block), space)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("users/42 ") and printed[1].startswith("/img/users/1/")
    space["images"].close()
    assert len(list(tmp_path.glob("images/users/1/*/origin.*"))) == 1
    space["engine"].dispose()
