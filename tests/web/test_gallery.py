"""The gallery of examples, as a person uses it: pictures are uploaded, shown, and deleted with all that was of them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from servers import HOST, ROOT, eventually, free_ports, photo, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

APP = ROOT / "examples/gallery/app.py"
SHOWN = "Array.from(document.images).every(image => image.complete && image.naturalWidth)"


def test_the_gallery_is_short() -> None:
    assert len(APP.read_text("utf-8").splitlines()) < 80


def test_pictures_are_uploaded_shown_and_deleted(tmp_path: Path, chromium: Browser) -> None:
    shutil.copy(APP, tmp_path)
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}/"
    command = [Path(sys.executable).with_name("flask"), "--app", "app", "run", "--port", str(port)]
    (tmp_path / "notes.txt").write_text("no picture")
    with running(command, ready=url, folder=tmp_path), chromium.new_context() as context:
        page = context.new_page()
        page.goto(url)
        for title, file in (("A fossa", photo("Fossa")), ("Friends", photo("friends")), ("Wine", photo("Wine"))):
            page.fill("input[name=title]", title)
            page.set_input_files("input[name=picture]", file)
            page.click("text=Store")
        eventually(lambda: page.evaluate(SHOWN), what="all pictures are shown")
        assert page.locator("figure").count() == 3 and "3 pictures" in page.content()
        assert page.locator("img[style*='data:image']").count() == 3  # placeholders, from the first moment on
        page.screenshot(path=tmp_path / "gallery.png", full_page=True)

        page.click("figure:first-child >> text=Delete")
        assert page.locator("figure").count() == 2
        left = {path.parent.name for path in tmp_path.glob("images/photos/*/origin.*")}
        eventually(lambda: len(list(tmp_path.glob("images/photos/*/origin.*"))) == 2, what=f"{left} are two")

        page.fill("input[name=title]", "Notes")
        page.set_input_files("input[name=picture]", tmp_path / "notes.txt")
        page.click("text=Store")
        assert page.content().count("image") and "figure" not in page.content()
        page.goto(url)
        assert page.locator("figure").count() == 2
