"""Editing: a focal point, a crop or another id is a version of the same picture, whose origin nobody reads or sends."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from doubles import BLUE, GREEN, RED, Dictionary, flat, open_adopting
from lazycrop import LazyCrop
from lazycrop.errors import BadRequest, UnknownImage
from lazycrop.model.records import Record
from lazycrop.stores.s3 import S3Store
from servers import S3

if TYPE_CHECKING:
    from conftest import Base


def four(size: tuple[int, int] = (800, 600)) -> bytes:
    """Red and green above, blue and white below."""
    image = Image.new("RGB", size, RED)
    half = (size[0] // 2, size[1] // 2)
    image.paste(GREEN, (half[0], 0, size[0], half[1]))
    image.paste(BLUE, (0, half[1], half[0], size[1]))
    image.paste((255, 255, 255), (*half, *size))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def open_images(store: object = "memory:", **settings: Any) -> LazyCrop:
    settings = {"sizes": "any", "broker": "inline", "presets": {"card": "400x300-cover"}, **settings}
    return LazyCrop(store=store, **settings)  # type: ignore[arg-type]


def shown(images: LazyCrop, image_id: str, size: str) -> Image.Image:
    answer = images.answer(images.url(image_id, size, format="png", mount=""))
    assert answer.status == 200, answer.body
    data = answer.body if isinstance(answer.body, bytes) else answer.body.read()
    return Image.open(io.BytesIO(data)).convert("RGB")


def colours(image: Image.Image) -> set[Any]:
    """Which of the four are in its corners."""
    width, height = image.size
    corners = {image.getpixel((x, y)) for x in (2, width - 3) for y in (2, height - 3)}
    return {min((RED, GREEN, BLUE, (255, 255, 255)), key=lambda one: distance(one, corner)) for corner in corners}


def distance(one: Any, other: Any) -> int:
    return sum(abs(a - b) for a, b in zip(one, other, strict=True))


def test_a_focal_point_gives_sizes_new_urls_and_another_part() -> None:
    images = open_images()
    images.store_origin("cat", four())
    before = images.url("cat", "100x300-cover")
    told: list[Any] = []
    images.on("replaced", told.append)
    record = images.set_focal("cat", (0, 50))
    assert (record.version, record.focal) == (2, (0, 50)) and images.record("cat") == record
    assert images.url("cat", "100x300-cover") != before
    assert colours(shown(images, "cat", "100x300-cover")) == {RED, BLUE}
    assert [event.version for event in told] == [2]
    images.set_focal("cat", (100, 50))
    assert colours(shown(images, "cat", "100x300-cover")) == {GREEN, (255, 255, 255)}
    assert images.set_focal("cat", None).focal is None


def test_what_is_as_it_was_said_to_be_is_no_new_version() -> None:
    images = open_images()
    images.store_origin("cat", four(), focal=(10, 10))
    assert images.set_focal("cat", (10, 10)).version == 1
    assert images.set_crop("cat", "card", None).version == 1
    assert images.set_crop("cat", "card", (0, 0, 50, 50)).version == 2
    assert images.set_crop("cat", (4, 3), (0, 0, 50, 50)).version == 2


def test_the_focal_point_is_found_when_it_is_looked_for() -> None:
    picture = Image.new("RGB", (900, 600), (128, 128, 128))
    for x in range(700, 860, 8):
        picture.paste((0, 0, 0), (x, 400, x + 4, 560))
    file = io.BytesIO()
    picture.save(file, "PNG")
    images = open_images()
    auto = images.store_origin("one", file.getvalue(), focal="auto").focal
    images.store_origin("two", file.getvalue())
    found = images.set_focal("two", "auto").focal
    assert auto and found and max(abs(a - b) for a, b in zip(auto, found, strict=True)) <= 3


def test_a_crop_is_shown_by_every_size_of_its_shape_and_no_other() -> None:
    images = open_images()
    images.store_origin("cat", four(), focal=(0, 0))
    record = images.set_crop("cat", "card", (50, 0, 50, 50))
    assert record.version == 2
    for size in ("card", "80x60-cover", "133x100-cover", "100x75-cover@2x"):
        assert colours(shown(images, "cat", size)) == {GREEN}, size
    assert colours(shown(images, "cat", "100x100-cover")) == {RED, BLUE, GREEN, (255, 255, 255)}
    assert colours(shown(images, "cat", "80x60-cover-sw")) == {RED, GREEN, BLUE, (255, 255, 255)}
    assert colours(shown(images, "cat", "80x60")) == {RED, GREEN, BLUE, (255, 255, 255)}
    images.set_crop("cat", "1x1", (0, 50, 50, 50))
    assert colours(shown(images, "cat", "50x50-cover")) == {BLUE}
    assert colours(shown(images, "cat", "card")) == {GREEN}
    images.set_crop("cat", "card", None)
    assert colours(shown(images, "cat", "card")) == {RED, GREEN, BLUE, (255, 255, 255)}
    assert [crop.shape for crop in images.record("cat").crops] == [(1, 1)]


def test_a_crop_is_not_enlarged_and_its_helpers_say_so() -> None:
    images = open_images(sizes="any")
    images.store_origin("cat", four())
    images.set_crop("cat", "card", (0, 0, 25, 25))
    assert shown(images, "cat", "card").size == (200, 150)
    record = images.record("cat")
    size = images.size("card")
    assert size is not None and size.dimensions(*record.pixels_for(size)) == (200, 150)
    assert shown(images, "cat", "800x600-cover-up").size == (800, 600)


def test_of_a_part_of_other_proportions_the_middle_is_shown() -> None:
    images = open_images()
    images.store_origin("cat", four())
    images.set_crop("cat", "1x1", (0, 0, 100, 50))
    square = shown(images, "cat", "100x100-cover")
    assert square.size == (100, 100) and square.getpixel((5, 50)) == RED and square.getpixel((95, 50)) == GREEN


@pytest.mark.parametrize("part", [(0, 0, 0, 10), (-1, 0, 10, 10), (50, 50, 51, 10), (1, 2, 3), "card", (True, 0, 9, 9)])
def test_a_crop_that_is_none_is_a_sentence(part: Any) -> None:
    images = open_images()
    images.store_origin("cat", four())
    with pytest.raises(BadRequest, match=r"The crop .* is malformed"):
        images.set_crop("cat", "card", part)


@pytest.mark.parametrize("shape", ["800x", "4x3-contain", "4x3-cover-n", "origin"])
def test_what_has_no_shape_cannot_be_cropped(shape: str) -> None:
    images = open_images()
    images.store_origin("cat", four())
    with pytest.raises(BadRequest):
        images.set_crop("cat", shape, (0, 0, 50, 50))
    with pytest.raises(UnknownImage, match="There is no image 'dog'"):
        images.set_crop("dog", "4x3", (0, 0, 50, 50))


def test_a_crop_lasts_in_its_record_and_in_a_private_copy() -> None:
    images = open_images(secret="a key")
    images.store_origin("cat", four())
    record = images.set_crop("cat", "card", (12.5, 0, 50, 50))
    assert Record.from_json(record.to_json()).crops == record.crops
    assert images.set_private("cat", True).crops == record.crops
    assert images.set_focal("cat", (1, 1)).private
    assert images.store_origin("cat", flat(RED)).crops == ()  # That is another picture.


def test_in_a_folder_the_copies_are_links(tmp_path: Path) -> None:
    images = open_images(tmp_path)
    images.store_origin("cat", flat(RED))
    images.set_focal("cat", (0, 0))
    names = [name for name in os.listdir(tmp_path / "cat/v2") if name != "image.json"]
    assert len(names) > 1
    for name in names:
        assert os.path.samefile(tmp_path / "cat" / name, tmp_path / "cat/v2" / name)
    images.purge("cat", 1)
    assert shown(images, "cat", "100x").size == (100, 67)


def test_a_bucket_copies_by_itself(s3: S3, s3_base: Base) -> None:
    keys = {"s3_access_key": s3.access_key, "s3_secret_key": s3.secret_key, "s3_region": s3.region}
    images = open_images(s3_base.store, s3_endpoint_url=s3.endpoint, secret="a key", **keys)
    images.store_origin("cat", flat(RED))
    calls: list[str] = []
    assert isinstance(images.store, S3Store)
    client = images.store._patient_client()
    client.meta.events.register("before-call.s3", lambda model, **_: calls.append(model.name))
    record = images.set_focal("cat", (0, 0))
    assert calls.count("CopyObject") == 1 + len(record.mezzanines)
    assert "PutObject" in calls  # claim and records
    head = client.head_object(Bucket=s3_base.bucket, Key=f"{s3_base.prefix}cat/v2/origin.jpg")
    assert (head["ContentType"], head["CacheControl"]) == ("image/jpeg", "public, max-age=31536000, immutable")
    assert images.info("cat").record.focal == (0, 0)
    images.set_private("cat", True)
    images.set_focal("cat", (1, 1))
    head = client.head_object(Bucket=s3_base.bucket, Key=f"{s3_base.prefix}-private/cat/v4/origin.jpg")
    assert head["CacheControl"] == "private, no-store"
    images.close()


def test_a_file_of_a_source_is_edited_where_it_is() -> None:
    images = open_adopting(Dictionary(cat__png=four()), presets={"card": "400x300-cover"})
    record = images.set_crop("cat.png", "card", (0, 0, 50, 50))
    assert record.at_source and record.is_adopted
    assert colours(shown(images, "cat.png", "card")) == {RED}
    assert images.adopt("cat.png").crops == record.crops
    with pytest.raises(BadRequest, match="is a file of a source"):
        images.rename("cat.png", "dog.png")


def test_an_image_gets_another_id() -> None:
    images = open_images(secret="a key")
    images.store_origin("cat", four(), focal=(5, 5))
    images.warm("cat", ["100x"])
    images.store_origin("dog", flat(RED))
    events: list[str] = []
    for name in ("stored", "purged"):
        images.on(name, lambda event: events.append(event.image_id))
    record = images.rename("cat", "pets/cat")
    assert (record.image_id, record.focal, record.version) == ("pets/cat", (5, 5), 1)
    assert not images.exists("cat") and events == ["pets/cat", "cat"]
    assert shown(images, "pets/cat", "100x").size == (100, 75)
    with pytest.raises(BadRequest, match="There is an image 'dog' already"):
        images.rename("pets/cat", "dog")
    with pytest.raises(UnknownImage):
        images.rename("cat", "fox")
    assert images.exists("pets/cat") and not images.exists("fox")
    images.purge("dog")
    assert images.rename("pets/cat", "dog").version == 2  # Numbers are never used twice.
