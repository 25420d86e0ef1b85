"""Files that a source has: answered at once, adopted by an actor, followed from then on."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image

from doubles import BLUE, GREEN, RED, Dictionary, flat, open_adopting
from lazycrop import LazyCrop, UnknownImage
from lazycrop.http.answers import Answer
from lazycrop.sources.contract import Seen
from lazycrop.stores.memory import MemoryStore


def body(answer: Answer) -> bytes:
    return answer.body if isinstance(answer.body, bytes) else answer.body.read()


def colour(answer: Answer) -> tuple[int, int, int]:
    assert answer.status == 200, body(answer)
    pixel = Image.open(io.BytesIO(body(answer))).convert("RGB").getpixel((5, 5))
    return min((RED, GREEN, BLUE), key=lambda one: sum(abs(a - b) for a, b in zip(one, pixel, strict=True)))  # type: ignore[arg-type]


def look_again(images: LazyCrop, image_id: str) -> None:
    """What the actor does that a request has look again after ``source_seconds``."""
    images.jobs.actors["look"]({"image_id": image_id, "size": None, "format": "jpg", "version": 1})


def test_a_file_is_answered_in_any_size_and_adopted_without_its_origin() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source)
    answer = images.answer("/cat.jpg/90x60.jpg")
    assert colour(answer) == RED
    assert Image.open(io.BytesIO(body(answer))).size == (90, 60)
    record = images.record("cat.jpg")
    assert (record.width, record.height, record.at_source) == (900, 600, True)
    assert record.made_from == hashlib.sha256(source.files["cat.jpg"]).hexdigest()
    assert record.placeholder
    kept = set(images.store.list("cat.jpg/"))
    assert {"cat.jpg/image.json", "cat.jpg/origin.source", "cat.jpg/90x60.jpg"} <= kept
    assert "cat.jpg/origin.jpg" not in kept


def test_from_the_second_size_on_the_source_is_left_alone() -> None:
    source = Dictionary(cat__jpg=flat(RED, size=(2000, 1500)))
    images = open_adopting(source)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    assert images.answer("/cat.jpg/90x60.jpg").status in (200, 301)
    source.calls.clear()
    assert colour(images.answer("/cat.jpg/100x.jpg")) == RED
    assert source.calls["read"] == 0
    assert colour(images.answer("/cat.jpg/1900x.jpg")) == RED  # larger than every copy
    assert source.calls["read"] == 2  # in each of its stages


def test_the_first_answer_and_the_later_ones_have_one_etag() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)), broker="redis://127.0.0.1:1/0")  # nobody stores anything
    first = images.answer("/cat.jpg/90x60.jpg")
    images.adopt("cat.jpg")
    second = images.answer("/cat.jpg/90x60.jpg")
    assert dict(first.headers)["ETag"] == dict(second.headers)["ETag"]
    assert body(first) == body(second)


def test_an_origin_is_made_upright_and_without_metadata_and_the_file_never_leaves() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "where I live"
    data = flat(RED, exif=exif)
    images = open_adopting(Dictionary(cat__jpg=data))
    answer = images.answer("/cat.jpg/origin.jpg")
    assert answer.status == 200
    origin = body(answer)
    assert b"where I live" not in origin
    assert Image.open(io.BytesIO(origin)).size == (600, 900)
    assert body(images.answer("/cat.jpg/origin.jpg")) == origin


def test_copy_origins_keeps_a_copy() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)), copy_origins=True)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    assert images.store.exists("cat.jpg/origin.jpg")
    assert not images.record("cat.jpg").at_source


def test_what_no_source_has_is_not_found_and_what_is_no_image_is_said_to_be_none() -> None:
    images = open_adopting(Dictionary(text__jpg=b"some text", cut__jpg=flat(RED, size=(3000, 3000))[:9000]))
    assert images.answer("/none.jpg/90x60.jpg").status == 404
    assert images.answer("/text.jpg/90x60.jpg").status == 415
    assert images.answer("/cut.jpg/90x60.jpg").status == 422
    assert list(images.store.list("")) == []


def test_a_source_that_is_down_is_a_503_and_stored_sizes_are_answered() -> None:
    source = Dictionary(cat__jpg=flat(RED), dog__jpg=flat(RED))
    images = open_adopting(source)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    source.down = True
    answer = images.answer("/dog.jpg/90x60.jpg")
    assert answer.status == 503
    assert dict(answer.headers)["Retry-After"]
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED


def test_a_file_that_was_replaced_is_the_next_version() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    source.files["cat.jpg"] = flat(GREEN)
    look_again(images, "cat.jpg")
    assert images.record("cat.jpg").version == 2
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == GREEN


def test_a_file_that_was_touched_stays_the_version_that_it_is() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    source.touches += 1
    look_again(images, "cat.jpg")
    record = images.record("cat.jpg")
    assert (record.version, record.validator[-2:]) == (1, " 1")
    assert colour(images.answer("/cat.jpg/800x.jpg")) == RED


def test_a_file_that_went_takes_its_sizes_along_and_may_come_back() -> None:
    data = flat(RED)
    source = Dictionary(cat__jpg=data)
    images = open_adopting(source)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    del source.files["cat.jpg"]
    look_again(images, "cat.jpg")
    assert images.answer("/cat.jpg/90x60.jpg").status == 404
    assert list(images.store.list("cat.jpg/")) == ["cat.jpg/image.json"]
    source.files["cat.jpg"] = data
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    assert images.record("cat.jpg").version == 2


def test_a_file_that_is_no_image_any_more_is_not_answered_as_the_old_one() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    source.files["cat.jpg"] = b"some text"
    with pytest.raises(Exception, match="no image"):
        look_again(images, "cat.jpg")
    assert images.answer("/cat.jpg/90x60.jpg").status == 415


def test_a_size_is_never_made_of_another_file_than_its_record_speaks_of() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source, record_seconds=100)
    first = images.answer("/cat.jpg/90x60.jpg")
    source.files["cat.jpg"] = flat(GREEN)
    second = images.answer("/cat.jpg/890x.jpg")  # too large for the copies, so of the file itself
    assert colour(first) == RED
    assert colour(second) == GREEN
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == GREEN


def test_an_image_that_was_stored_stays_what_it_is() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)))
    images.store_origin("cat.jpg", flat(BLUE))
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == BLUE
    look_again(images, "cat.jpg")
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == BLUE


def test_what_was_purged_is_adopted_again_with_other_urls() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)))
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    images.purge("cat.jpg")
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    assert images.url("cat.jpg", "90x60").endswith("/cat.jpg/v2/90x60.jpg")


def test_a_private_image_stays_private_when_its_file_changes() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source, secret="a key of thirty-two characters, ok")
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    images.set_private("cat.jpg", True)
    assert images.answer("/cat.jpg/90x60.jpg").status == 403
    source.files["cat.jpg"] = flat(GREEN)
    look_again(images, "cat.jpg")
    assert images.answer("/cat.jpg/90x60.jpg").status == 403
    images.purge("cat.jpg")
    assert images.answer("/cat.jpg/90x60.jpg").status == 403


def test_many_who_ask_at_once_have_the_file_read_once() -> None:
    source = Dictionary(cat__jpg=flat(RED, size=(3000, 2000)))
    images = open_adopting(source, broker="embedded", record_seconds=100)
    rendered: Counter[tuple[str, int]] = Counter()
    images.on("rendered", lambda event: rendered.update([(event.key, event.stage)]))
    barrier = threading.Barrier(32)

    def ask(_: int) -> tuple[int, int, int]:
        barrier.wait()
        return colour(images.answer("/cat.jpg/90x60.jpg"))

    with ThreadPoolExecutor(32) as pool:
        assert set(pool.map(ask, range(32))) == {RED}
    images.close()
    assert rendered == {("cat.jpg/90x60.jpg", 1): 1, ("cat.jpg/90x60.jpg", 2): 1}
    assert source.calls["read"] == 2  # for the answer, and for the copies


def test_two_that_adopt_at_once_without_a_common_cache_make_one_version() -> None:
    source, store = Dictionary(cat__jpg=flat(RED)), MemoryStore()
    both = [open_adopting(source, store=store) for _ in range(2)]
    barrier = threading.Barrier(2)

    def adopt(images: LazyCrop) -> int:
        barrier.wait()
        return images.adopt("cat.jpg").version

    for _ in range(20):
        with ThreadPoolExecutor(2) as pool:
            versions = set(pool.map(adopt, both))
        assert len(versions) == 1
        both[0].purge("cat.jpg")


@pytest.mark.parametrize(
    "name", ["2024/800x600.jpg", "a/origin.jpg", "v2", "Größe 1.JPG", "a/image.json", "100% #1+2.jpeg"]
)
def test_a_file_may_be_named_as_an_object_of_an_image_is(name: str) -> None:
    source = Dictionary()
    source.files[name] = flat(RED)
    images = open_adopting(source)
    for _ in range(2):
        answer = images.answer(f"/{name}/90x60.jpg")
        assert colour(answer) == RED
    assert images.record(name).width == 900
    assert images.purge(name)


def test_a_version_that_nobody_has_stored_yet_is_not_kept_for_ever() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source)
    images.adopt("cat.jpg")
    images.purge("cat.jpg")
    asking = open_adopting(source, store=images.store, broker="redis://127.0.0.1:1/0")
    before = asking.answer("/cat.jpg/v2/90x60.jpg")
    source.files["cat.jpg"] = flat(GREEN)  # before anybody has adopted what was answered
    images.adopt("cat.jpg")
    after = asking.answer("/cat.jpg/v2/90x60.jpg")
    assert (colour(before), colour(after)) == (RED, GREEN)
    assert dict(before.headers)["Cache-Control"] == "public, max-age=60"
    assert dict(after.headers)["ETag"] != dict(before.headers)["ETag"]
    images.warm("cat.jpg", ["90x60"])
    stored = open_adopting(source, store=images.store).answer("/cat.jpg/v2/90x60.jpg")
    assert "immutable" in dict(stored.headers)["Cache-Control"]


def test_a_file_that_changes_before_it_is_adopted_does_not_use_up_a_version() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source, broker="redis://127.0.0.1:1/0", record_seconds=100)
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    source.files["cat.jpg"] = flat(GREEN)
    assert colour(images.answer("/cat.jpg/800x.jpg")) == GREEN
    assert images.record("cat.jpg").version == 1  # as it will be adopted, so that its URLs stay right
    assert images.adopt("cat.jpg").version == 1


def test_what_another_process_has_adopted_meanwhile_is_taken_as_it_is() -> None:
    source, store = Dictionary(cat__jpg=flat(RED)), MemoryStore()
    one, other = (open_adopting(source, store=store, record_seconds=100) for _ in range(2))
    assert colour(one.answer("/cat.jpg/90x60.jpg")) == RED
    source.files["cat.jpg"] = flat(GREEN)
    assert other.adopt("cat.jpg").version == 2
    source.calls.clear()
    assert colour(one.answer("/cat.jpg/890x.jpg")) == GREEN
    assert (one.record("cat.jpg").version, one.record("cat.jpg").placeholder is None) == (2, False)


class Restless(Dictionary):
    """Its file is another one at each read."""

    def read(self, name: str, limit: int) -> Seen | None:
        self.touches += 1
        return super().read(name, limit)


def test_a_file_that_is_being_written_is_asked_for_again_and_not_missing() -> None:
    answer = open_adopting(Restless(cat__jpg=flat(RED))).answer("/cat.jpg/90x60.jpg")
    assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")


def test_a_former_version_of_which_a_size_was_not_made_in_time_is_not_found() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source, keep_versions=2)
    images.adopt("cat.jpg")
    for one in (GREEN, BLUE):
        source.files["cat.jpg"] = flat(one)
        look_again(images, "cat.jpg")
    assert images.answer("/cat.jpg/v2/890x.jpg").status == 404
    assert colour(images.answer("/cat.jpg/v3/890x.jpg")) == BLUE


def test_a_page_names_a_version_that_is_answered_before_it_is_adopted() -> None:
    source, store = Dictionary(cat__jpg=flat(RED)), MemoryStore()
    open_adopting(source, store=store).adopt("cat.jpg")
    source.files["cat.jpg"] = flat(GREEN)
    page, asked = (
        open_adopting(source, store=store, broker="redis://127.0.0.1:1/0", record_seconds=100) for _ in range(2)
    )
    assert colour(page.answer("/cat.jpg/890x.jpg")) == GREEN
    assert colour(asked.answer("/cat.jpg/v2/90x60.jpg")) == GREEN
    assert asked.answer("/cat.jpg/v3/90x60.jpg").status == 404
    page.purge("cat.jpg")
    assert colour(page.answer("/cat.jpg/90x60.jpg")) == GREEN
    assert page.url("cat.jpg", "90x60").endswith("/cat.jpg/v2/90x60.jpg")
    assert colour(open_adopting(source, store=store).answer("/cat.jpg/v2/90x60.jpg")) == GREEN


def test_a_version_that_is_not_the_next_one_is_not_there() -> None:
    source = Dictionary(cat__jpg=flat(RED))
    images = open_adopting(source)
    assert images.answer("/cat.jpg/v2/90x60.jpg").status == 404
    images.adopt("cat.jpg")
    assert images.answer("/cat.jpg/v2/90x60.jpg").status == 404  # its file is that of the first
    images.store_origin("cat.jpg", flat(BLUE))
    assert images.answer("/cat.jpg/v3/90x60.jpg").status == 404  # it does not follow a file any more


def test_what_was_purged_is_there_again_at_once() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)), record_seconds=100)
    for _ in range(2):
        assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
        images.purge("cat.jpg")


def test_a_file_that_nobody_has_asked_for_can_be_made_private() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED)), secret="a key of thirty-two characters, ok")
    assert images.set_private("cat.jpg", True).private
    assert images.answer("/cat.jpg/90x60.jpg").status == 403
    with pytest.raises(UnknownImage, match=r"There is no image 'dog.jpg'"):
        images.set_private("dog.jpg", True)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_every_size_is_upright_before_and_after_it_is_adopted(orientation: int, format: str) -> None:
    turned = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what a viewer undoes: the operations of Image.Transpose
    picture = Image.new("RGB", (900, 600), RED)
    picture.paste(GREEN, (450, 0, 900, 300))
    picture.paste(BLUE, (0, 300, 450, 600))
    stored = picture.transpose(Image.Transpose(turned[orientation])) if orientation > 1 else picture
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    stored.save(file, format, exif=exif)
    source = Dictionary(cat=file.getvalue())
    images = open_adopting(source, broker="redis://127.0.0.1:1/0", input_formats=["jpg", "png", "webp", "tiff"])

    def corners() -> list[list[tuple[int, int, int]]]:
        return [[nearest(answered, at) for at in (0.25, 0.75)] for answered in map(opened_picture, ("90x60", "600x"))]

    def opened_picture(size: str) -> Image.Image:
        return Image.open(io.BytesIO(body(images.answer(f"/cat/{size}.jpg")))).convert("RGB")

    def nearest(answered: Image.Image, at: float) -> tuple[int, int, int]:
        pixel = answered.getpixel((int(answered.width * at), answered.height // 4))
        return min((RED, GREEN, BLUE), key=lambda one: sum(abs(a - b) for a, b in zip(one, pixel, strict=True)))  # type: ignore[arg-type]

    assert corners() == [[RED, GREEN]] * 2
    seen = images.record("cat")
    adopted = images.adopt("cat")
    assert corners() == [[RED, GREEN]] * 2
    assert (seen.width, seen.height) == (adopted.width, adopted.height) == (900, 600)


def test_what_is_larger_than_an_origin_may_be_has_one_size_before_and_after() -> None:
    images = open_adopting(Dictionary(cat__jpg=flat(RED, size=(6000, 4000))), broker="redis://127.0.0.1:1/0")
    assert colour(images.answer("/cat.jpg/90x60.jpg")) == RED
    seen, adopted = images.record("cat.jpg"), images.adopt("cat.jpg")
    assert (seen.width, seen.height) == (adopted.width, adopted.height) == (4000, 2667)
    assert images.answer("/cat.jpg/5000x.jpg").status == 404


class Overtaken(Dictionary):
    """While somebody reads a file of it, the file becomes another one, which somebody else adopts."""

    def __init__(self, **files: bytes) -> None:
        super().__init__(**files)
        self.later: list[bytes] = []
        self.adopt: Callable[[], object] = lambda: None

    def read(self, name: str, limit: int) -> Seen | None:
        seen = super().read(name, limit)
        if self.later:
            self.files[name] = self.later.pop()
            self.adopt()
        return seen


def test_who_was_slow_with_a_file_puts_nothing_over_what_is_newer() -> None:
    store, source = MemoryStore(), Overtaken(cat__jpg=flat(RED))
    one, other = open_adopting(source, store=store), open_adopting(source, store=store)
    source.adopt = lambda: other.adopt("cat.jpg")
    source.later = [flat(GREEN)]
    assert one.adopt("cat.jpg").version == 1
    assert colour(one.answer("/cat.jpg/90x60.jpg")) == GREEN
    source.files["cat.jpg"] = flat(BLUE)
    source.later = [flat(RED)]
    look_again(one, "cat.jpg")
    assert one.record("cat.jpg").version == 2, "that of the other"
    assert colour(open_adopting(source, store=store).answer("/cat.jpg/91x60.jpg")) == RED
