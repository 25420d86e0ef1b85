"""Several sizes of an image that are made ahead are one job, which decodes what they are made from once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from doubles import GREEN, RED, Letters, flat
from lazycrop import BadRequest, LazyCrop, Request, Unavailable
from lazycrop.concurrency.timing import recorded
from lazycrop.library.jobs import ALSO, STORE
from lazycrop.library.together import in_jobs
from lazycrop.model.derivatives import Derivative
from lazycrop.model.sizes import Size
from lazycrop.stores import MemoryStore
from servers import photo

TWENTY = [f"{20 + 10 * number}x" for number in range(20)]


def open_images(**settings: Any) -> LazyCrop:
    return LazyCrop(**{"store": MemoryStore(), "sizes": "any", "broker": "inline", **settings})


def small(edge: int = 600, **options: Any) -> bytes:
    """A photograph of so many pixels."""
    file = BytesIO()
    with Image.open(photo("Fossa")) as image:
        image.thumbnail((edge, edge))
        image.convert("RGB").save(file, **{"format": "JPEG", "quality": 95, **options})
    return file.getvalue()


def stored(images: LazyCrop, size: str, format: str = "jpg") -> bytes:
    return images.store.get(f"cat/{size}.{format}", 10_000_000)


def opened(images: LazyCrop, size: str, format: str = "jpg") -> Image.Image:
    return Image.open(BytesIO(stored(images, size, format)))


def stages_of(do: Callable[[], object], at: Callable[[str], object] = lambda stage: None) -> Counter[str]:
    """How often each stage of the work was gone through; ``at`` is called when one begins."""
    counted: Counter[str] = Counter()

    @contextmanager
    def around(stage: str) -> Iterator[Any]:
        counted[stage] += 1
        at(stage)
        yield lambda said: None

    with recorded(around):
        do()
    return counted


def test_twenty_sizes_decode_the_origin_once() -> None:
    images = open_images(mezzanine_edges=())
    images.store_origin("cat", small())
    done = stages_of(lambda: images.warm("cat", TWENTY))
    assert (done["decode"], done["fetch"], done["encode"]) == (1, 1, 20)
    assert [opened(images, size).width for size in TWENTY] == [20 + 10 * number for number in range(20)]


def test_twenty_sizes_decode_each_copy_that_they_are_made_from_once() -> None:
    images = open_images(mezzanine_edges=(64, 256))
    record = images.store_origin("cat", small(1600))
    assert [mezzanine.edge for mezzanine in record.mezzanines] == [64, 256]
    assert stages_of(lambda: images.warm("cat", TWENTY, ["jpg", "webp"]))["decode"] == 3
    assert opened(images, "200x", "webp").width == 200


@pytest.mark.parametrize("format", ["PNG", "JPEG"])
def test_sizes_made_together_are_what_each_is_by_itself(format: str) -> None:
    sizes = ["300x", "90x90-cover-nw", "60x120-contain", "50x40-fill", "400x200-cover"]
    alone, together = (open_images(mezzanine_edges=()) for _ in range(2))
    for images in (alone, together):
        images.store_origin("cat", small(format=format), focal=(20, 30))
    for size in sizes:
        alone.warm("cat", [size], ["jpg", "webp"])
    together.warm("cat", sizes, ["jpg", "webp"])
    for size in sizes:
        a, b = (np.asarray(opened(images, size).convert("RGB"), float) for images in (alone, together))
        assert a.shape == b.shape
        if format == "PNG":
            assert stored(alone, size, "webp") == stored(together, size, "webp")
        else:  # A JPEG is decoded as the largest of them needs it.
            assert np.abs(a - b).mean() < 3


def test_a_first_stage_made_ahead_is_what_a_request_is_answered_with() -> None:
    given: dict[str, Any] = {"mezzanine_edges": (), "stages": 1}
    ahead, asked = open_images(**given), open_images(**given, store=MemoryStore())
    for images in (ahead, asked):
        images.store_origin("cat", small(2000))
    ahead.warm("cat", ["20x", "90x", "900x"])
    for size in ("20x", "90x", "900x"):
        assert asked.answer(Request(f"/cat/{size}.jpg")).body == stored(ahead, size)


def test_a_size_that_cannot_be_made_leaves_no_other_undone() -> None:
    images = open_images(max_pixels=300_000, max_edge=5_000)
    images.store_origin("cat", small())
    with pytest.raises(Unavailable, match=r"100x\.jpg' and 2 more"):
        images.warm("cat", ["100x", "2000x2000-contain", "200x"])
    assert [opened(images, size).width for size in ("100x", "200x")] == [100, 200]
    assert images.answer(Request("/cat/100x.jpg")).status in (200, 301)


def test_a_source_that_cannot_be_read_is_one_failure_however_many_sizes_it_was_for() -> None:
    images = open_images(mezzanine_edges=())
    key = images.store_origin("cat", small()).origin_key
    images.store.delete(key)
    images.store.put(key, small()[:3000], "image/jpeg")
    failed: list[Any] = []
    images.on("failed", failed.append)
    with pytest.raises(Unavailable):
        images.warm("cat", ["100x", "200x", "300x"])
    assert len(failed) == 1


def test_what_is_there_already_is_not_made_again() -> None:
    images = open_images()
    images.store_origin("cat", small())
    images.warm("cat", ["100x"])
    images.store.delete("cat/100x.jpg")
    images.store.put("cat/100x.jpg", b"as it was", "image/jpeg")
    assert stages_of(lambda: images.warm("cat", ["100x", "200x", "200x"]))["encode"] == 1
    assert stored(images, "100x") == b"as it was"


def test_an_animation_stays_one_beside_its_first_frame() -> None:
    file = BytesIO()
    frames = [Image.new("RGB", (90, 60), colour) for colour in (RED, GREEN)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=200)
    images = open_images()
    images.store_origin("cat", file.getvalue())
    images.warm("cat", ["30x", "45x"], ["webp", "jpg", "png"])
    for size in ("30x", "45x"):
        kinds = {format: getattr(opened(images, size, format), "n_frames", 1) for format in ("webp", "jpg", "png")}
        assert kinds == {"webp": 2, "jpg": 1, "png": 1}


def test_nothing_but_the_sizes_is_held_in_memory_while_they_are_encoded() -> None:
    images = open_images(mezzanine_edges=())
    images.store_origin("cat", small())
    held: dict[str, int] = {}
    memory = images._renders.memory
    stages_of(lambda: images.warm("cat", ["100x", "200x"]), lambda stage: held.update({stage: memory._used}))
    assert held["decode"] > 0 == held["encode"]


def test_an_image_that_is_purged_meanwhile_keeps_none_of_the_sizes() -> None:
    store = MemoryStore()
    images = open_images(store=store)
    images.store_origin("cat", small())
    put = store.put

    def purged_first(key: str, *arguments: Any, **options: Any) -> bool:
        if key == "cat/200x.jpg":
            images.purge("cat")
        return put(key, *arguments, **options)

    store.put = purged_first  # type: ignore[method-assign]
    images.warm("cat", ["100x", "200x", "300x"])
    assert [*store.list("cat/")] == ["cat/image.json"]


def test_an_old_job_of_several_sizes_leaves_nothing_of_an_image_that_is_gone() -> None:
    images = open_images(broker=Letters())
    images.store_origin("cat", small())
    images.warm("cat", ["100x", "200x"])
    [(actor, message)] = images.jobs.queue.sent  # type: ignore[attr-defined]
    images.purge("cat")
    images.store.put("cat/200x.jpg", b"of a job that was killed", "image/jpeg")
    images.jobs.actors[actor](message)
    assert [*images.store.list("cat/")] == ["cat/image.json"]


@pytest.mark.parametrize(
    "junk", ["20x", [["20x"]], [5], [["20x", 5]], [[None, "jpg"]], [["20x", "auto"]], [["0x", "jpg"]]]
)
def test_junk_among_the_sizes_of_a_job_is_refused(junk: Any) -> None:
    images = open_images()
    record = images.store_origin("cat", small())
    message = Derivative("cat", Size.parse("320x"), "jpg", record.version).to_message() | {ALSO: junk}
    with pytest.raises(BadRequest):
        images.jobs.actors[STORE](message)


def test_what_takes_long_is_several_jobs() -> None:
    record = open_images().store_origin("cat", flat(RED, size=(4000, 3000)))

    def jobs(*sizes: str) -> list[int]:
        return [len(job) for job in in_jobs(record, [Derivative("cat", Size.parse(size), "jpg", 1) for size in sizes])]

    assert jobs() == []
    assert jobs(*(f"{100 + 40 * number}x" for number in range(20))) == [20]
    assert jobs("2000x", "2001x", "2002x", "4000x", "4001x", "5x") == [2, 1, 1, 1, 1]
    assert jobs(*(f"{number + 1}x" for number in range(250))) == [100, 100, 50]


def test_a_job_of_one_flat_size_is_as_it_always_was() -> None:
    images = open_images(broker=Letters())
    images.store_origin("cat", flat(RED))
    [derivative] = images.warm("cat", ["100x"])
    assert images.jobs.queue.sent == [(STORE, derivative.to_message())]  # type: ignore[attr-defined]
