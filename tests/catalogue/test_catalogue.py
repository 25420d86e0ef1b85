"""The catalogue is what the store is: by itself when nothing fails, and after a sync whatever failed."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, select, update

from catalogue.scene import COLOURS, DATABASES, check_equal, in_folder, in_tables, open_images, url_of, warm
from lazycrop import ConfigurationError, LazyCrop, StoreUnavailable, Unavailable
from lazycrop.catalogue import Demand, Derivative, Image, metadata
from lazycrop.catalogue.syncing import SyncUnderWay
from lazycrop.catalogue.tables import VERSION, Schema
from lazycrop.stores.folder import FolderStore
from servers import ROOT, PostgreSQL, eventually

SIZES = ("8x8", "x5", "9x", "12x12-cover-ne@2x")


@pytest.fixture(params=DATABASES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return url_of(request.param, tmp_path, lambda: request.getfixturevalue("postgresql"))


def do_anything(images: LazyCrop, count: int, seed: int = 1) -> None:
    """Store, replace, warm and purge images, nested ones and private ones too."""
    choice = random.Random(seed)
    ids = ["a", "a/b", "a/b/c", "b", "ß/日本", *(f"many/{number}" for number in range(count // 6))]
    for _ in range(count):
        image_id = choice.choice(ids)
        match choice.choice(["store", "store", "warm", "warm", "warm", "purge", "version", "private"]):
            case "store":
                images.store_origin(image_id, choice.choice(COLOURS), focal=choice.choice([None, (30, 40)]))
            case "purge":
                images.purge(image_id, forget=choice.random() < 0.3)
            case kind if images._records.read_now(image_id) is not None:
                record = images._records.read_now(image_id)
                assert record is not None
                if kind == "warm":
                    warm(images, image_id, choice.choice(SIZES))
                elif kind == "version" and record.version > 1:
                    images.purge(image_id, record.version - 1)
                elif kind == "private":
                    images.set_private(image_id, not record.private)


def status(images: LazyCrop, path: str) -> int:
    answer = images.answer(path)
    answer.close()
    return answer.status


def test_without_a_failure_the_tables_are_the_store_at_every_moment(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images:
        for seed in range(6):
            do_anything(images, 20, seed)
            check_equal(images, tmp_path)
        done = images.catalogue.sync()
        assert (done.changed, done.removed, done.unreadable) == (0, 0, [])
        check_equal(images, tmp_path)


def test_a_sync_makes_the_tables_of_a_store_that_had_none(tmp_path: Path, url: str) -> None:
    before = LazyCrop(store=tmp_path / "images", broker="inline", sizes="any", secret="key", mezzanine_edges=())
    do_anything(before, 80)
    with open_images(tmp_path, url) as images:
        done = images.catalogue.sync()
        check_equal(images, tmp_path)
        rows, sizes = in_tables(images)
        assert done.images == sum("purged_at" not in row for row in rows.values()) and done.sizes == len(sizes)
        assert images.catalogue.sync().changed == 0


def test_a_sync_mends_whatever_is_wrong_and_only_that(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images:
        for number in range(8):
            images.store_origin(f"cat-{number}", COLOURS[number % 3])
            warm(images, f"cat-{number}", "8x8", "9x")
        images.purge("cat-7")
        with images.catalogue.engine.begin() as connection:
            connection.execute(update(Image).where(Image.id == "cat-0").values(version=9, width=1))
            connection.execute(update(Image).where(Image.id == "cat-7").values(purged_at=None, format="png"))
            connection.execute(delete(Image).where(Image.id == "cat-1"))
            connection.execute(insert(Image).values(id="nobody", version=1, private=False))
            connection.execute(update(Derivative).where(Derivative.image == "cat-2").values(bytes=1))
            connection.execute(delete(Derivative).where(Derivative.image == "cat-3"))
            lost = {"version": 1, "size": "77x", "format": "jpg", "bytes": 1}
            connection.execute(insert(Derivative), [{**lost, "image": name} for name in ("cat-4", "nowhere")])
            kept = connection.execute(select(Derivative.stored_at).where(Derivative.image == "cat-5")).all()
        done = images.catalogue.sync()
        assert (done.changed, done.removed) == (6, 2)
        check_equal(images, tmp_path)
        with images.catalogue.engine.begin() as connection:
            again = connection.execute(select(Derivative.stored_at).where(Derivative.image == "cat-5")).all()
        assert kept == again and None not in kept


def test_a_database_that_is_killed_costs_two_lines_and_no_picture(
    tmp_path: Path, postgresql: PostgreSQL, caplog: pytest.LogCaptureFixture
) -> None:
    with open_images(tmp_path, postgresql.url, catalogue_seconds=1) as images:
        do_anything(images, 20)
        postgresql.kill()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            for number in range(5):
                images.store_origin(f"cat-{number}", COLOURS[0])
                warm(images, f"cat-{number}", "8x8")
            images.purge("cat-0")
            assert [status(images, path) for path in ("/cat-1/8x8.jpg", "/cat-2/9x.jpg")] == [200, 200]
            assert [line.levelno for line in caplog.records] == [logging.WARNING]
            assert "catalogue" in caplog.text and "lazycrop@" in caplog.text
            with pytest.raises(Unavailable, match="database"):
                images.catalogue.sync()
            postgresql.start()
            eventually(lambda: images.store_origin("later", COLOURS[1]) and "later" in in_tables(images)[0])
            assert [line.levelno for line in caplog.records] == [logging.WARNING] * 2
        assert in_tables(images)[0].keys() != in_folder(tmp_path / "images")[0].keys()
        assert images.catalogue.sync().changed > 0
        check_equal(images, tmp_path)


def test_a_request_does_not_wait_for_a_database_that_hangs(tmp_path: Path, postgresql: PostgreSQL) -> None:
    with open_images(tmp_path, postgresql.url, catalogue_seconds=30) as images:
        images.store_origin("cat", COLOURS[0])
        with postgresql.connect() as other:
            other.autocommit = False
            other.execute("LOCK TABLE lazycrop_derivative, lazycrop_image")
            for size in ("8x8", "9x", "x5"):  # which the queue stores within the request
                assert status(images, f"/cat/{size}.jpg") == 200
            assert "8x8.jpg" in {path.name for path in (tmp_path / "images/cat").iterdir()}
        eventually(lambda: len(in_tables(images)[1]) == 3)
        check_equal(images, tmp_path)


def test_a_sync_beside_traffic_ends_with_what_the_store_says(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images:
        do_anything(images, 30)
        with images.catalogue.engine.begin() as connection:
            connection.execute(delete(Image))
        with ThreadPoolExecutor(3) as pool:
            traffic = [pool.submit(do_anything, images, 25, seed) for seed in (2, 3)]
            while not all(one.done() for one in traffic):
                images.catalogue.sync()
            for one in traffic:
                one.exception()  # Two who purge and warm one image at once may fail.
        assert images.catalogue.sync().unreadable == []
        check_equal(images, tmp_path)


def test_of_two_syncs_at_once_the_second_says_so(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images, open_images(tmp_path, url) as other:
        images.store_origin("cat", COLOURS[0])

        def meanwhile(done: object) -> None:
            with pytest.raises(SyncUnderWay, match="under way"):
                other.catalogue.sync()

        images.catalogue.sync(meanwhile)
        assert other.catalogue.sync().images == 1


def test_a_record_that_cannot_be_read_is_named_and_left(tmp_path: Path) -> None:
    with open_images(tmp_path, f"sqlite:///{tmp_path}/lazycrop.db") as images:
        for name in ("cat", "dog"):
            images.store_origin(name, COLOURS[0])
        (tmp_path / "images/cat/image.json").write_text("{")
        assert images.catalogue.sync().unreadable == ["cat"]
        assert set(in_tables(images)[0]) == {"cat", "dog"}


def test_where_the_store_does_not_answer_no_row_goes(tmp_path: Path) -> None:
    class Gone(FolderStore):
        def list(self, folder: str) -> Any:
            raise StoreUnavailable("gone")

    url = f"sqlite:///{tmp_path}/lazycrop.db"
    with open_images(tmp_path, url) as images:
        images.store_origin("cat", COLOURS[0])
    with open_images(tmp_path, url, store=Gone(tmp_path / "images")) as images:
        with pytest.raises(StoreUnavailable):
            images.catalogue.sync()
        assert set(in_tables(images)[0]) == {"cat"}


def test_the_tables_are_those_of_the_metadata_beside_others(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images:
        images.catalogue.create()
        with images.catalogue.engine.begin() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
            assert all(name.startswith("lazycrop_") for name in metadata.tables)


def test_tables_that_an_applications_migrations_made_will_do(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images:
        with images.catalogue.engine.begin() as connection:
            connection.execute(delete(Schema))
        images.store_origin("cat", COLOURS[0])
        images.catalogue.sync()
        check_equal(images, tmp_path)


def test_a_catalogue_of_a_newer_release_is_refused(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url) as images:
        with images.catalogue.engine.begin() as connection:
            connection.execute(update(Schema).values(version=VERSION + 1))
        newer = LazyCrop(store=tmp_path / "images", catalogue=url)
        for do in (newer.catalogue.sync, newer.catalogue.create):
            with pytest.raises(ConfigurationError, match=f"schema {VERSION + 1}.*Install"):
                do()
        newer.store_origin("cat", COLOURS[0])
        assert in_tables(newer)[0] == {}
        newer.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "no URL"),
        ("postgresql+psycopg://user:hidden@host:port/name", "no URL"),
        ("sqlite://", "in memory"),
        ("sqlite+aiosqlite:///x.db", "asyncio"),
        ("oracle+cx_oracle://user:hidden@host/name", "not installed"),
        ("nosuch://host/name", "not installed"),
    ],
)
def test_a_url_that_is_none_is_refused_with_a_sentence_without_its_password(url: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        LazyCrop(catalogue=url)
    assert "hidden" not in str(refused.value)


def test_without_the_setting_nothing_of_it_is_loaded_and_who_asks_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set 'catalogue'"):
        LazyCrop(store=tmp_path).catalogue
    with pytest.raises(ConfigurationError, match="warm_on_store"):
        LazyCrop(warm_on_store=3)
    code = "import sys, lazycrop; lazycrop.LazyCrop(store='x'); sys.exit('sqlalchemy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})


@pytest.mark.parametrize("junk", [None, [], {}, {"day": "x", "asked": [], "refused": []}, {"day": 1}])
def test_junk_in_the_queue_is_refused(tmp_path: Path, junk: Any) -> None:
    with open_images(tmp_path, f"sqlite:///{tmp_path}/lazycrop.db") as images:
        actors: dict[str, Callable[[Any], None]] = images.jobs.actors
        for name in ("demand", "loose", "warm"):
            with pytest.raises(ValueError):
                actors[name](junk)


def test_the_most_wanted_sizes_are_made_of_a_new_image(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url, warm_on_store=2, sizes=["8x8", "9x", "x5"], max_edge=100) as images:
        demand = [["other", "8x8", "jpg", 5], ["other", "9x", "webp", 9], ["other", "x5", "jpg", 1]]
        images.jobs.actors["demand"]({"day": _today(), "asked": demand, "refused": [["77x", "jpg", 99]]})
        images.store_origin("cat", COLOURS[0])
        assert {path.name for path in (tmp_path / "images/cat").iterdir()} >= {"8x8.jpg", "9x.webp"}
        assert not (tmp_path / "images/cat/x5.jpg").exists()
        assert len(in_tables(images)[1]) == 2


def test_what_is_stored_in_a_forked_child_is_written_too(tmp_path: Path, url: str) -> None:
    import os

    with open_images(tmp_path, url) as images:
        images.store_origin("cat", COLOURS[0])
        child = os.fork()
        if not child:
            try:
                images.store_origin("dog", COLOURS[1])
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        images.store_origin("cow", COLOURS[2])
        check_equal(images, tmp_path)


def test_a_size_that_nobody_wants_goes_where_it_was_counted_for_as_long(tmp_path: Path, url: str) -> None:
    with open_images(tmp_path, url, marker_seconds=60) as images:
        images.store_origin("cat", COLOURS[0])
        kept, unwanted = (images.warm("cat", [size])[0].key for size in ("8x8", "9x"))
        images.jobs.close()
        month_ago = time.time() - 30 * 86_400
        for key in (kept, unwanted):
            os.utime(tmp_path / "images" / key, (month_ago, month_ago))

        def cleaned() -> set[str]:
            return {one.key for one in images.cleaning.clean(reasons=["unasked"], days=3)}

        with pytest.raises(ValueError, match="never"):
            cleaned()
        with images.catalogue.engine.begin() as connection:
            row = {"format": "jpg", "refused": False, "count": 1, "image": "cat"}
            connection.execute(insert(Demand).values(size="9x", day=_day(-10), **row))
            connection.execute(insert(Demand).values(size="8x8", day=_day(-1), **row))
        assert cleaned() == {unwanted}
        check_equal(images, tmp_path)


def _day(offset: int) -> Any:
    from datetime import UTC, datetime, timedelta

    return datetime.now(UTC).date() + timedelta(days=offset)


def _today() -> str:
    return str(_day(0))
