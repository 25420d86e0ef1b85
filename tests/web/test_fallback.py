"""The fallback image: what is missing is answered with another picture, in the size that was asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lazycrop import Answer, ConfigurationError, Helpers, LazyCrop, UnknownImage
from lazycrop.stores.memory import MemoryStore

Make = Callable[..., LazyCrop]


def picture(size: tuple[int, int] = (400, 300)) -> bytes:
    file = io.BytesIO()
    Image.effect_noise(size, 50).save(file, "PNG")
    return file.getvalue()


def size(answer: Answer) -> tuple[int, int]:
    assert isinstance(answer.body, bytes) or answer.body is not None
    body = answer.body if isinstance(answer.body, bytes) else answer.body.read()
    answer.close()
    assert answer.header("Content-Length") == str(len(body))
    return Image.open(io.BytesIO(body)).size


@pytest.fixture
def make() -> Make:
    def make(**settings: Any) -> LazyCrop:
        given = {"store": MemoryStore(), "fallback_image": "nobody", **settings}
        images = LazyCrop(sizes=["100x", "50x50-cover"], broker="inline", **given)
        images.store_origin("nobody", picture())
        images.store_origin("cat", picture())
        return images

    return make


@pytest.mark.parametrize(("path", "shown"), [("100x.jpg", (100, 75)), ("50x50-cover.webp", (50, 50))])
def test_what_is_missing_is_the_fallback_in_the_size_that_was_asked_for(
    make: Make, path: str, shown: tuple[int, int], tmp_path: Path
) -> None:
    images = make(store=tmp_path, public_url="https://cdn.example.com/")
    for _ in range(3):
        answer = images.answer(f"/gone/{path}")
        assert answer.status == 404 and size(answer) == shown
        assert answer.header("Cache-Control") == "public, max-age=60"
        assert answer.header("ETag") is answer.header("Last-Modified") is None
        assert "detail=fallback" in (answer.header("Cache-Status") or "")
    head = images.answer(f"/gone/{path}", method="HEAD")
    assert (head.status, head.body) == (404, b"")
    for gone in ("/gone/v3/100x.jpg", "/cat/v7/100x.jpg"):
        assert size(images.answer(gone)) == (100, 75)


def test_status_and_time_are_as_the_settings_say(make: Make) -> None:
    answer = make(fallback_status=200, fallback_max_age=5).answer("/gone/100x.jpg", if_none_match="*")
    assert (answer.status, answer.header("Cache-Control")) == (200, "public, max-age=5")
    with pytest.raises(ConfigurationError, match="'fallback_status' is 500; it is 200 or 404"):
        make(fallback_status=500)
    with pytest.raises(ConfigurationError, match="'fallback_image' is 7"):
        make(fallback_image=7)


def test_what_comes_later_is_shown_at_once(make: Make) -> None:
    images = make()
    for _ in range(2):
        assert images.answer("/new/100x.jpg").status == 404
    images.store_origin("new", picture((300, 300)))
    assert size(images.answer("/new/100x.jpg")) == (100, 100)


def test_nothing_else_is_answered_with_a_picture(make: Make) -> None:
    images = make(secret="a key", snap=False)
    for path, status in (("/gone/0x.jpg", 400), ("/gone/300x.jpg", 403), ("/v2/100x.jpg", 400)):
        answer = images.answer(path)
        assert (answer.status, answer.header("Content-Type")) == (status, "text/plain; charset=utf-8")
    assert images.answer("/gone/100x.jpg", method="POST").status == 405
    images.store_origin("secret", picture(), private=True)
    assert images.answer("/secret/100x.jpg").status == 403


def test_a_private_or_missing_fallback_is_a_sentence(make: Make) -> None:
    images = make(secret="a key")
    images.set_private("nobody", True)
    assert images.answer("/gone/100x.jpg").header("Content-Type") == "text/plain; charset=utf-8"
    assert make(fallback_image="nowhere").answer("/gone/100x.jpg").body == b"There is no image 'gone'.\n"


@pytest.mark.parametrize("spelled", [str, Path, os.path.relpath])
def test_the_fallback_may_be_a_file(
    make: Make, spelled: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "nobody.png"
    file.write_bytes(picture((200, 100)))
    named = spelled(str(file))
    images = make(fallback_image=f"./{named}" if named == "nobody.png" else named)
    assert size(images.answer("/gone/100x.jpg")) == (100, 50)
    record = images.fallback()
    assert record is not None
    images.purge(record.image_id)
    images.answer("/gone/100x.jpg")
    assert size(images.answer("/gone/100x.jpg")) == (100, 50), "It is stored anew."


def test_a_relative_path_is_one_of_the_folder_that_the_settings_were_made_in(make: Make) -> None:
    assert make(fallback_image=Path("nobody.png")).config.answers.fallback_image == str(Path("nobody.png").absolute())


def test_a_file_that_cannot_be_read_is_a_line_in_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    assert make(fallback_image="/nowhere/nobody.png").answer("/gone/100x.jpg").status == 404
    assert "the fallback image '/nowhere/nobody.png' cannot be stored" in caplog.text


def test_helpers_show_the_fallback_image_in_full(make: Make) -> None:
    images = make()
    for image_id in ("gone", None):
        assert 'src="/img/nobody/100x.auto" width="100" height="75"' in Helpers(images).img(image_id, "100x")
        assert Helpers(images).url(image_id, "100x") == "/img/nobody/100x.jpg"
    assert "/none.png" in Helpers(make(fallback_url="/none.png")).img("gone", "100x")
    with pytest.raises(UnknownImage):
        Helpers(make(fallback_image="nowhere")).img("gone", "100x")
