"""ASGI: what is answered in the event loop, what in threads, and when a client leaves; all else: test_behaviour."""

from __future__ import annotations

import asyncio
import io
import shutil
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from PIL import Image

from lazycrop import ConfigurationError, LazyCrop, UnknownImage, asgi
from lazycrop.stores.contract import Opened
from lazycrop.stores.folder import FolderStore
from servers import eventually

SCOPE: dict[str, Any] = {"type": "http", "method": "GET", "query_string": b"", "headers": [], "root_path": ""}


class Gate(FolderStore):
    """A store whose reads wait until they may go on."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened: list[Opened] = []
        self.reading = threading.Semaphore(0)
        self.may = threading.Event()
        self.may.set()
        self.at_once = self.most = 0

    def get(self, key: str, limit: int | None = None) -> bytes:
        self.reading.release()
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        assert self.may.wait(20)
        self.at_once -= 1
        return super().get(key, limit)

    def open(self, key: str) -> Opened:
        self.opened.append(super().open(key))
        return self.opened[-1]


def picture(side: int) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((side, side), 100).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a cat of which one size is stored, and an image of some hundred kilobytes."""
    folder = tmp_path_factory.mktemp("originals")
    images = LazyCrop(store=folder, sizes=["200x100"], broker="inline")
    images.store_origin("cat", picture(200))
    images.store_origin("noise", picture(600))
    for name in ("Größe", "100%"):
        images.store_origin(name, picture(50))
    assert images.answer("/cat/200x100.jpg").status == 200
    return folder


@pytest.fixture
def store(originals: Path, tmp_path: Path) -> Gate:
    shutil.copytree(originals, tmp_path, dirs_exist_ok=True)
    return Gate(tmp_path)


@pytest.fixture
def images(store: Gate) -> LazyCrop:
    return LazyCrop(store=store, sizes=["200x100", "10x", "20x", "30x"], broker="inline", request_seconds=20)


class Client:
    """Asks an application; ``left`` is set when the client is to leave."""

    def __init__(self, app: asgi.Application, path: str, **scope: Any) -> None:
        self._app = app
        self._scope = {**SCOPE, "path": path, "raw_path": path.encode(), **scope}
        self.sent: list[Any] = []
        self.left = asyncio.Event()
        self.on_send: Callable[[Any], Awaitable[None]] | None = None

    async def run(self) -> Client:
        await self._app(self._scope, self._receive, self._send)
        return self

    async def _receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)
        if self.on_send is not None:
            await self.on_send(message)

    @property
    def status(self) -> int:
        return int(self.sent[0]["status"])

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.sent[1:])


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "reached", "scope": scope})


def test_what_is_at_hand_is_answered_while_all_threads_are_taken(images: LazyCrop, store: Gate) -> None:
    app = asgi.ImageApp(images, threads=1)

    async def run() -> None:
        for _ in range(2):
            assert (await Client(app, "/cat/200x100.jpg").run()).status == 200
        store.may.clear()
        slow = asyncio.ensure_future(Client(app, "/cat/10x.jpg").run())
        await asyncio.to_thread(store.reading.acquire)
        hit = await asyncio.wait_for(Client(app, "/cat/200x100.jpg").run(), 20)
        assert hit.body == (Path(store.path) / "cat/200x100.jpg").read_bytes()
        headers = dict(hit.sent[0]["headers"])
        assert headers[b"cache-status"] == b"lazycrop; hit; detail=stored"
        assert not slow.done()
        store.may.set()
        assert (await slow).status == 200

    asyncio.run(run())


def test_what_others_add_to_an_answer_is_of_that_answer_alone(images: LazyCrop) -> None:
    app = asgi.ImageApp(images)

    async def run() -> None:
        for _ in range(4):
            client = await Client(app, "/cat/200x100.jpg").run()
            client.sent[0]["headers"].append((b"x-mark", b"yes"))
            assert [name for name, _ in client.sent[0]["headers"]].count(b"x-mark") == 1

    asyncio.run(run())


def test_a_condition_is_heeded_for_what_is_at_hand_too(images: LazyCrop) -> None:
    app = asgi.ImageApp(images)

    async def run() -> None:
        for _ in range(2):
            first = await Client(app, "/cat/200x100.jpg").run()
        etag = dict(first.sent[0]["headers"])[b"etag"]
        assert (await Client(app, "/cat/200x100.jpg", headers=[(b"if-none-match", etag)]).run()).status == 304
        twice = [(b"if-none-match", b'"other"'), (b"if-none-match", etag)]
        assert (await Client(app, "/cat/200x100.jpg", headers=twice).run()).status == 304

    asyncio.run(run())


def test_no_more_threads_work_than_there_may_be(images: LazyCrop, store: Gate) -> None:
    app = asgi.ImageApp(images, threads=2)

    async def run() -> None:
        paths = [f"/{name}/{size}.jpg" for name in ("cat", "noise") for size in ("10x", "20x", "30x")]
        answers = await asyncio.gather(*(Client(app, path).run() for path in paths))
        assert [answer.status for answer in answers] == [200] * 6

    asyncio.run(run())
    named = [thread for thread in threading.enumerate() if thread.name == "lazycrop-asgi"]
    assert store.most <= 2 and len(named) <= 2 + len(_of_others(app, named))


def _of_others(app: asgi.ImageApp, named: list[threading.Thread]) -> list[threading.Thread]:
    """Threads of applications of other tests, which may end a moment later."""
    return named[: max(0, len(named) - app._threads._pool._started)]


def test_the_request_of_a_client_that_has_left_is_not_begun(images: LazyCrop, store: Gate) -> None:
    app = asgi.ImageApp(images, threads=1)

    async def run() -> None:
        store.may.clear()
        slow = asyncio.ensure_future(Client(app, "/cat/10x.jpg").run())
        await asyncio.to_thread(store.reading.acquire)
        gone, waits = Client(app, "/cat/20x.jpg"), Client(app, "/cat/30x.jpg")
        tasks = [asyncio.ensure_future(client.run()) for client in (gone, waits)]
        gone.left.set()
        await tasks[0]
        assert gone.sent == []
        store.may.set()
        assert (await slow).status == (await tasks[1]).status == 200

    asyncio.run(run())
    assert not (Path(store.path) / "cat/20x.jpg").exists()


def test_a_client_that_leaves_in_the_middle_is_sent_no_more_and_the_file_is_closed(
    images: LazyCrop, store: Gate
) -> None:
    app = asgi.ImageApp(images)
    length = (Path(store.path) / "noise/origin.png").stat().st_size

    async def run(fail: bool) -> None:
        client = Client(app, "/noise/origin.png")

        async def leave(message: Any) -> None:
            if len(client.sent) == 3:
                if fail:
                    raise OSError("the client is gone")
                client.left.set()
                await asyncio.sleep(0)
                await asyncio.sleep(0)

        client.on_send = leave
        await client.run()
        assert 0 < len(client.body) < length

    for fail in (False, True):
        asyncio.run(run(fail))
        eventually(lambda: all(opened.file.closed for opened in store.opened), what="the file is closed")
    assert len(store.opened) == 2


def test_a_picture_that_nobody_waits_for_any_more_is_closed(images: LazyCrop, store: Gate) -> None:
    app = asgi.ImageApp(images)

    async def run() -> None:
        for _ in range(20):
            task = asyncio.ensure_future(Client(app, "/noise/origin.png").run())
            await asyncio.sleep(0)
            await asyncio.sleep(0.001)
            task.cancel()
            await asyncio.wait([task])
        assert (await Client(app, "/cat/200x100.jpg").run()).status == 200

    asyncio.run(run())
    eventually(lambda: all(opened.file.closed for opened in store.opened), what="all files are closed")


def test_what_is_not_for_images_reaches_the_application_untouched(images: LazyCrop) -> None:
    app = asgi.Middleware(nothing, images)
    lifespan: dict[str, Any] = {"type": "lifespan"}
    socket = {"type": "websocket", "path": "/img/cat/200x100.jpg"}
    for scope in ({**SCOPE, "path": "/imgfoo/cat/200x100.jpg"}, {**SCOPE, "path": "/"}, lifespan, socket):
        sent: list[Any] = []

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        before = dict(scope)
        asyncio.run(app(scope, cast(asgi.Receive, None), send))
        assert sent[0]["scope"] is scope and scope == before


def test_images_alone_have_a_life_and_no_sockets(images: LazyCrop) -> None:
    app = asgi.ImageApp(images)
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> Any:
        return {"type": next(events)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(app({"type": "lifespan"}, receive, send))
    asyncio.run(app({"type": "websocket"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
    with pytest.raises(ValueError, match="not by 'telnet'"):
        asyncio.run(app({"type": "telnet"}, receive, send))


@pytest.mark.parametrize(
    ("scope", "location"),
    [
        ({"path": "/img/cat/190x.jpg"}, "/img"),
        ({"path": "/below/img/cat/190x.jpg", "root_path": "/below"}, "/below/img"),
        ({"path": "/below/img/cat/190x.jpg", "root_path": "/below/"}, "/below/img"),
        ({"path": "/img/cat/190x.jpg", "root_path": "/below"}, "/below/img"),
        ({"path": "/bär/img/cat/190x.jpg", "root_path": "/bär"}, "/b%C3%A4r/img"),
        ({"path": "/img/cat/190x.jpg", "root_path": "/im"}, "/im/img"),
    ],
)
def test_images_are_below_the_root_path_whether_or_not_the_path_has_it(
    store: Gate, scope: dict[str, str], location: str
) -> None:
    images = LazyCrop(store=store, sizes=["200x"], snap=True)

    async def run() -> None:
        client = await Client(asgi.Middleware(nothing, images), **scope).run()
        assert client.status == 302
        assert dict(client.sent[0]["headers"])[b"location"].decode() == f"{location}/cat/200x.jpg"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("path", "raw_path", "status"),
    [
        ("/Größe/10x.jpg", b"/Gr%C3%B6%C3%9Fe/10x.jpg", 200),
        ("/Größe/10x.jpg", None, 200),
        ("/Größe/10x.jpg", b"/elsewhere/Gr%C3%B6%C3%9Fe/10x.jpg", 200),
        ("/k\ufffdtzchen/10x.jpg", b"/k%E4tzchen/10x.jpg", 400),
        ("/100%25/10x.jpg", b"/100%2525/10x.jpg", 404),
        ("/100%/10x.jpg", b"/100%25/10x.jpg", 200),
    ],
)
def test_an_id_is_what_the_client_has_encoded(images: LazyCrop, path: str, raw_path: bytes | None, status: int) -> None:
    async def run() -> None:
        assert (await Client(asgi.ImageApp(images), path, raw_path=raw_path).run()).status == status

    asyncio.run(run())


def test_an_application_that_names_no_size_does_not_start(store: Gate) -> None:
    with pytest.raises(ConfigurationError, match="Nothing may be asked for yet"):
        asgi.Middleware(nothing, LazyCrop(store=store))


def test_the_verbs_and_the_helpers_are_awaited(images: LazyCrop) -> None:
    verbs, helpers = asgi.AsyncImages(images), asgi.AsyncHelpers(images, "/below/img")

    async def run() -> None:
        record = await verbs.store_origin("dog", picture(200))
        assert record == await verbs.record("dog")
        assert await verbs.url("dog", "200x100") == "/img/dog/200x100.jpg"
        assert await helpers.url("dog", "10x") == "/below/img/dog/10x.jpg"
        assert 'alt="A dog"' in await helpers.img("dog", "200x100", alt="A dog")
        assert "<picture>" in await helpers.picture("dog", "200x100")
        assert await helpers.srcset("dog", [10, "20x"], format="jpg") == (
            "/below/img/dog/10x.jpg 10w, /below/img/dog/20x.jpg 20w"
        )
        assert len(await verbs.warm("dog", ["10x"])) == 1
        assert await verbs.purge("dog") > 1
        with pytest.raises(UnknownImage):
            await verbs.record("dog")
        with pytest.raises(UnknownImage):
            await verbs.adopt("dog")

    asyncio.run(run())


def test_a_file_is_read_in_threads(images: LazyCrop) -> None:
    class File(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            assert threading.current_thread() is not threading.main_thread()
            return super().read(size)

    async def run() -> bytes:
        return b"".join([block async for block in app.blocks(file)])

    app, file = asgi.ImageApp(images), cast(BinaryIO, File(b"x" * 200_000))
    assert asyncio.run(run()) == b"x" * 200_000
