"""Pictures of models: none is lost that a row names, and none is left that no row names, whatever becomes of all."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, ForeignKey, create_engine, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, scoped_session, sessionmaker

from catalogue.scene import COLOURS, DATABASES, check_equal, open_images, url_of
from lazycrop import ConfigurationError, ImageError, LazyCrop, StoreUnavailable, UnknownImage
from lazycrop.catalogue import ImageRef, Pictures
from lazycrop.catalogue.tables import Loose
from servers import ROOT, PostgreSQL, Valkey, eventually, running


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "user"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str | None] = mapped_column(unique=True)
    avatar: Mapped[ImageRef | None]
    posts: Mapped[list[Post]] = relationship(back_populates="user", cascade="all, delete-orphan")


class Post(Base):
    __tablename__ = "post"

    id: Mapped[int] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("user.id"))
    picture: Mapped[ImageRef]
    user: Mapped[User] = relationship(back_populates="posts")


class World:
    """The images, the models' database and the pictures in both."""

    def __init__(self, images: LazyCrop, url: str, folder: Path) -> None:
        self.images, self.url, self.folder = images, url, folder
        self.base = type("Own", (), {})
        self.pictures = Pictures(images, Base)
        self.engine: Engine = create_engine(url)
        Base.metadata.create_all(self.engine)

    def session(self) -> Session:
        return Session(self.engine)

    def stored(self) -> set[str]:
        """The ids of the images that are there."""
        found = (path.parent.relative_to(self.folder / "images") for path in self.folder.rglob("image.json"))
        return {str(image_id) for image_id in found if self.images._records.read_now(str(image_id))}

    def named(self) -> set[str]:
        with self.session() as session:
            columns = (User.avatar, Post.picture)
            return {name for column in columns for name in session.scalars(select(column)) if name}

    def check(self, *ids: str) -> None:
        """These are named and there, no others are, and nothing is loose."""
        assert self.named() == set(ids)
        assert self.stored() == set(ids)
        with self.session() as session:
            assert session.scalars(select(Loose.image)).all() == []
        check_equal(self.images, self.folder)


@pytest.fixture(params=DATABASES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    url = url_of(request.param, tmp_path, lambda: request.getfixturevalue("postgresql"))
    with open_images(tmp_path, url) as images:
        world = World(images, url, tmp_path)
        yield world
        world.engine.dispose()
        _unlisten(world.pictures)


def _unlisten(pictures: Pictures) -> None:
    from sqlalchemy import event

    for name, call in (("insert", pictures._inserted), ("update", pictures._updated), ("delete", pictures._deleted)):
        event.remove(Base, f"before_{name}", call)


def test_what_is_committed_stays(world: World) -> None:
    with world.session() as session, session.begin():
        user = User(avatar=world.pictures.store(session, COLOURS[0], below="users/1"))
        session.add(user)
        session.flush()
        user.posts.append(Post(picture=world.pictures.store(session, COLOURS[1])))
        ids = [user.avatar, user.posts[0].picture]
    assert ids[0] and ids[0].startswith("users/1/")
    world.check(*filter(None, ids))


@pytest.mark.parametrize("how", ["rollback", "close", "error", "without a row"])
def test_what_does_not_end_well_leaves_nothing(world: World, how: str) -> None:
    session = world.session()
    picture = world.pictures.store(session, COLOURS[0])
    if how != "without a row":
        session.add(User(avatar=picture))
        session.flush()
    if how == "error":
        session.add_all([User(name="a"), User(name="a")])
        with pytest.raises(IntegrityError):
            session.commit()
    if how == "without a row":
        session.commit()
    elif how != "close":
        session.rollback()
    session.close()
    world.check()


def test_what_is_replaced_goes_after_the_commit_and_not_before(world: World) -> None:
    with world.session() as session:
        session.add(User(id=1, avatar=world.pictures.store(session, COLOURS[0])))
        session.commit()
    with world.session() as session:
        user = session.get_one(User, 1)
        former = user.avatar
        session.commit()  # so that what it was is not loaded when it is replaced
        user.avatar = world.pictures.store(session, COLOURS[1])
        session.flush()
        assert former in world.stored()
        session.rollback()
    assert former
    world.check(former)
    with world.session() as session:
        session.get_one(User, 1).avatar = later = world.pictures.store(session, COLOURS[1])
        session.commit()
    world.check(later)
    with world.session() as session:
        session.get_one(User, 1).avatar = None
        session.commit()
    world.check()


def test_what_is_deleted_goes_by_cascades_too(world: World) -> None:
    def posts(session: Session) -> list[Post]:
        return [Post(picture=world.pictures.store(session, COLOURS[number])) for number in range(3)]

    with world.session() as session:
        user = User(id=1, avatar=world.pictures.store(session, COLOURS[0]), posts=posts(session))
        session.add(user)
        session.commit()
        del user.posts[0]
        session.delete(user.posts[-1])
        session.commit()
        [kept] = session.scalars(select(Post.picture))
        assert user.avatar
        world.check(user.avatar, kept)
        session.delete(user)
        session.rollback()
        world.check(*world.named()) if len(world.named()) == 2 else pytest.fail("the rollback lost a row")
        session.delete(user)
        session.commit()
    world.check()


def test_a_savepoint_that_is_rolled_back_takes_its_pictures_and_no_others(world: World) -> None:
    with world.session() as session:
        session.add(User(id=1, avatar=(outer := world.pictures.store(session, COLOURS[0]))))
        session.flush()
        with session.begin_nested() as savepoint:
            session.add(User(id=2, avatar=world.pictures.store(session, COLOURS[1])))
            session.get_one(User, 1).avatar = world.pictures.store(session, COLOURS[2])
            session.flush()
            savepoint.rollback()
        with session.begin_nested():
            session.add(User(id=3, avatar=(inner := world.pictures.store(session, COLOURS[1]))))
        session.commit()
    world.check(outer, inner)


def test_a_picture_that_two_rows_name_goes_with_the_second(world: World) -> None:
    with world.session() as session:
        shared = world.pictures.store(session, COLOURS[0])
        session.add_all([User(id=1, avatar=shared), User(id=2, posts=[Post(picture=shared)])])
        session.commit()
        session.delete(session.get_one(User, 1))
        session.commit()
        world.check(shared)
        session.execute(update(Post).values(picture="another"))  # which nobody sees
        session.commit()
        session.delete(session.get_one(User, 2))
        session.commit()
    assert world.named() == set()


def test_a_row_that_a_statement_has_made_keeps_its_picture(world: World) -> None:
    with world.session() as session:
        picture = world.pictures.store(session, COLOURS[0])
        session.add(User(id=1))
        session.flush()
        session.execute(update(User).values(avatar=picture))
        session.commit()
    world.check(picture)


def test_what_is_no_picture_leaves_nothing(world: World) -> None:
    with world.session() as session:
        with pytest.raises(ImageError):
            world.pictures.store(session, b"nothing")
        session.add(User(id=1))
        session.commit()
    world.check()


def test_sessions_of_any_kind_are_seen(world: World) -> None:
    scoped = scoped_session(sessionmaker(world.engine))
    scoped.add(User(id=1, avatar=world.pictures.store(scoped, COLOURS[0])))
    scoped.commit()
    scoped.remove()
    with sessionmaker(world.engine).begin() as session:
        user = session.get_one(User, 1)
        user.avatar = kept = world.pictures.store(session, COLOURS[1])
    world.check(kept)


def test_with_asyncio_it_is_the_same(world: World) -> None:
    asynchronous = world.url.replace("sqlite", "sqlite+aiosqlite")

    async def run() -> str:
        engine = create_async_engine(asynchronous)
        sessions = async_sessionmaker(engine)
        async with sessions() as session:
            session.add(User(id=1, avatar=await world.pictures.store_async(session, COLOURS[0])))
            await session.commit()
        async with sessions() as session:
            user = await session.get_one(User, 1)
            await session.commit()
            user.avatar = await world.pictures.store_async(session, COLOURS[1])
            await session.rollback()
            session.add(User(id=2, avatar=await world.pictures.store_async(session, COLOURS[1])))
            await session.flush()
        async with sessions() as session, session.begin():
            user = await session.get_one(User, 1)
            user.avatar = kept = await world.pictures.store_async(session, COLOURS[2])
            async with session.begin_nested() as savepoint:
                session.add(User(id=3, avatar=await world.pictures.store_async(session, COLOURS[1])))
                await session.flush()
                await savepoint.rollback()
        async with sessions() as session:
            session.add(User(id=4, avatar=await world.pictures.store_async(session, COLOURS[1])))
            await session.commit()
            await session.delete(await session.get_one(User, 4))
            await session.commit()
        await engine.dispose()
        return kept

    world.check(asyncio.run(run()))


def test_a_job_that_fails_is_made_up_for_by_a_later_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*arguments: object, **options: object) -> None:
        raise StoreUnavailable("gone")

    with world.session() as session:
        session.add(User(avatar=world.pictures.store(session, COLOURS[0])))
        with monkeypatch.context() as context:
            for name in ("delete", "delete_many"):
                context.setattr(world.images._store, name, gone)
            session.rollback()
        assert len(world.stored()) <= 1
        with world.images.catalogue.engine.begin() as connection:
            loose = connection.execute(select(Loose.image)).scalars().all()
            assert len(loose) == 1
            connection.execute(update(Loose).values(since=datetime.now(UTC) - timedelta(hours=2)))
        session.add(User(id=1, avatar=(kept := world.pictures.store(session, COLOURS[1]))))
        session.commit()
    world.check(kept)


def test_a_transaction_that_is_slower_than_hours_is_told(world: World) -> None:
    with world.session() as session:
        user = User(avatar=world.pictures.store(session, COLOURS[0]))
        with world.images.catalogue.engine.begin() as connection:
            connection.execute(update(Loose).values(since=datetime.now(UTC) - timedelta(hours=2)))
        world.images.jobs.actors["loose"]({"ids": []})
        session.add(user)
        with pytest.raises(UnknownImage, match="store it again"):
            session.commit()
    world.check()


def test_without_a_catalogue_there_are_no_pictures_of_models(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="set 'catalogue'"):
        Pictures(LazyCrop(store=tmp_path), Base)


STORING = """
import os, sys
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from lazycrop import LazyCrop
from lazycrop.catalogue import ImageRef, Pictures

class Base(DeclarativeBase):
    pass

class User(Base):
    __tablename__ = "user"
    id: Mapped[int] = mapped_column(primary_key=True)
    avatar: Mapped[ImageRef | None]

images = LazyCrop.from_env()
pictures = Pictures(images, Base)
engine = create_engine(sys.argv[1])
Base.metadata.create_all(engine)
moment, data = sys.argv[2], sys.stdin.buffer.read()
if moment == "after the commit":  # and before anybody is told
    images.jobs.hand_over = lambda *arguments: os._exit(9)
with Session(engine) as session:
    user = session.get(User, 1)
    if user is None:
        user = User(id=1)
        session.add(user)
    user.avatar = pictures.store(session, data)
    session.flush()
    if moment == "before the commit":
        os._exit(9)
    session.commit()
images.close()
"""


def test_killed_anywhere_no_picture_is_lost_and_none_is_left(
    tmp_path: Path, postgresql: PostgreSQL, valkey: Valkey
) -> None:
    """The process that stores, before and after its commit; the worker, again and again while it works."""
    settings = {"store": str(tmp_path / "images"), "broker": valkey.url, "catalogue": postgresql.url}
    env = {f"LAZYCROP_{name.upper()}": value for name, value in settings.items()}
    env |= {"LAZYCROP_SIZES": "any", "LAZYCROP_MEZZANINE_EDGES": "none"}
    images = LazyCrop(**{**settings, "sizes": "any"})
    images.catalogue.create()

    def store(moment: str, colour: int) -> int:
        command = [sys.executable, "-c", textwrap.dedent(STORING), postgresql.url, moment]
        environment = {**os.environ, **env, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, input=COLOURS[colour % 3], env=environment, cwd=tmp_path).returncode

    for number, moment in enumerate(["", "before the commit", "", "after the commit", "", ""]):
        assert store(moment, number) == (9 if moment else 0)
    with images.catalogue.engine.begin() as connection:
        connection.execute(update(Loose).values(since=datetime.now(UTC) - timedelta(hours=2)))
    command = [sys.executable, "-m", "dramatiq", "lazycrop.worker", "--processes", "1", "--threads", "2"]
    for _ in range(2):
        with running(command, ready=lambda: True, folder=tmp_path, env=env) as worker:
            eventually(lambda: len(_stored(images, tmp_path)) < 6 or True)
            os.killpg(worker.pid, signal.SIGKILL)
    with running(command, ready=lambda: True, folder=tmp_path, env=env):
        assert store("", 1) == 0
        with postgresql.connect() as connection:
            [kept] = connection.execute('SELECT avatar FROM "user"').fetchone()
        eventually(lambda: _stored(images, tmp_path) == {kept}, 60, "what no row names is purged")
        eventually(lambda: not _loose(images), 60, "nothing is loose")
    images.close()


def _stored(images: LazyCrop, folder: Path) -> set[str]:
    ids = (path.parent.name for path in (folder / "images").glob("*/image.json"))
    return {image_id for image_id in ids if images._records.read_now(image_id)}


def _loose(images: LazyCrop) -> list[str]:
    with images.catalogue.engine.connect() as connection:
        return list(connection.execute(select(Loose.image)).scalars())
