"""The classic API: one object an image, configured step by step.

::

    from lazycrop import storage

    cat = storage.S3ImageStorage("cat", "jpg")
    cat.configure({"access_key": "…", "secret_key": "…"}, "bucket", "https://bucket.s3.amazonaws.com/", "/")
    cat.configure_webengine("flask")
    cat.configure_memcache(["127.0.0.1:11211"])
    cat.store_origin("https://example.com/cat.jpg", "4000x4000")        # → the URL of the stored origin
    cat.get_requested_image("https://example.com/page?size=200x100")    # → a response of Flask

A new size is stored by :func:`s3_store_image`. As it stands it is an actor of lazycrop's own broker
(``LAZYCROP_BROKER``, threads of this process by default); replace it by a Celery task or a Dramatiq actor of yours,
and that is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Unpack
from urllib.parse import parse_qs, urlsplit

from lazycrop import settings as config
from lazycrop.access.policy import ANY
from lazycrop.build import open_queue
from lazycrop.concurrency.forks import Lock
from lazycrop.errors import BadRequest, BadSize, ConfigurationError
from lazycrop.http.answers import STATUS_LINES, Answer
from lazycrop.images import LazyCrop
from lazycrop.library.jobs import STORE
from lazycrop.model.derivatives import AUTO, CONTENT_TYPES
from lazycrop.model.keys import ImageId, read_image_id
from lazycrop.model.sizes import DEFAULT_BOUND, Size
from lazycrop.queues.brokers import open_guard, spend
from lazycrop.queues.contract import Message, Queue, QueueSettings
from lazycrop.sources.given import Given
from lazycrop.wsgi import Stream

if TYPE_CHECKING:
    from lazycrop.keywords import Settings

_QUEUE_SETTINGS = {field.name for field in fields(QueueSettings)}

Requested = str | Size | tuple[int | None, int | None]
"""A URL (or query string) with ``size`` in its query, a Size, or (width, height)."""


def s3_store_image(message: Message) -> None:
    """Store one size of one image.

    ``message`` holds names only: the bucket and base path, the image id, the size and the format. Whoever does the work
    knows the bucket's credentials from its own configuration: :meth:`S3ImageStorage.configure` was called in that
    process too, or the environment says it (``LAZYCROP_STORE=s3://bucket/base``, ``LAZYCROP_S3_ACCESS_KEY`` and so on).
    """
    actors = _images_of(message.get("store")).jobs.actors
    actors.get(message.get("job", STORE), actors[STORE])(message)


_plain = s3_store_image


class S3ImageStorage:
    """One image in a bucket: ``image_id`` as your database knows it, ``ext`` the format of its sizes.

    Objects are at ``base_url + base_path + image_id + "/" + (size or "origin") + "." + format``.
    Raises :class:`~lazycrop.errors.BadImageId`, and :class:`~lazycrop.errors.BadRequest` for another format.
    """

    def __init__(self, image_id: ImageId, ext: str = "jpg") -> None:
        self.image_id = read_image_id(image_id)
        self.ext = _format(ext)
        self._settings: dict[str, Any] = {}
        self._respond: Callable[[Answer], Any] | None = None

    def configure(
        self,
        credentials: Mapping[str, str],
        bucket: str,
        base_url: str,
        base_path: str = "/",
        **settings: Unpack[Settings],
    ) -> None:
        """Say where objects are. ``credentials``: ``access_key`` and ``secret_key``; empty for boto3's own search.

        ``base_url``: where anybody can fetch the bucket's objects. ``base_path``: of all keys. ``settings``: any other
        setting of :class:`~lazycrop.images.LazyCrop`; by default any size may be asked for, up to ``max_edge``.
        """
        path = base_path.strip("/")
        self._settings |= {
            "store": f"s3://{bucket}/{path}",
            "public_url": "/".join(part for part in (base_url.rstrip("/"), path) if part) + "/",
            **{f"s3_{name}": credentials[name] for name in ("access_key", "secret_key") if credentials.get(name)},
            **settings,
        }
        self._announce()

    def configure_webengine(self, engine: str) -> None:
        """Say what :meth:`get_requested_image` returns: wheezy, flask, pyramid, bottle, webob or django."""
        if engine not in _ENGINES:
            raise ConfigurationError(f"The web engine {engine!r} is unknown; the engines are {', '.join(_ENGINES)}.")
        self._respond = _OWN.get(engine) or _adapter(engine)

    def configure_memcache(self, hosts: Sequence[str]) -> None:
        """Say where memcached is: ``host:port`` each."""
        self._settings["memcached"] = tuple(hosts)
        self._announce()

    def _announce(self) -> None:
        """Let jobs of this process find these settings by their store."""
        if "store" in self._settings:
            with _lock:
                _configured[self._settings["store"]] = self._settings

    @property
    def images(self) -> LazyCrop:
        """The LazyCrop behind all storages with these settings."""
        if "store" not in self._settings:
            raise ConfigurationError(
                "This storage does not know its bucket; call configure(credentials, bucket, …) first."
            )
        return _open_images(self._settings)

    def store_origin(self, source: Given, bound: str = DEFAULT_BOUND) -> str:
        """Store the image from a URL (a text), a Path, bytes or a file object; return the URL of the stored origin.

        Raises what :meth:`lazycrop.images.LazyCrop.store_origin` does.
        """
        return self.images.store_origin(self.image_id, source, bound).url

    def get_requested_image(self, requested: Requested, *, return_image: bool = False) -> Any:
        """The web engine's response: a permanent redirect to the stored size, or the picture while it is not stored.

        ``return_image``: the picture in any case. Raises :class:`~lazycrop.errors.BadSize` when there is no size in
        ``requested``, or it is malformed.
        """
        if self._respond is None:
            raise ConfigurationError(f"Say configure_webengine(…) first, with one of {', '.join(_ENGINES)}.")
        size = _size(requested)
        return self._respond(self.images.answer(f"/{self.image_id}/{size}.{self.ext}", redirect=not return_image))


def _format(ext: str) -> str:
    """The format that a file's extension stands for, however it is written."""
    name = ext.removeprefix(".").lower()
    name = "jpg" if name in ("jpeg", "jpe", "jfif") else name
    if name not in (*CONTENT_TYPES, AUTO):
        raise BadRequest(f"The extension {ext!r} is of no format; the formats are {', '.join([*CONTENT_TYPES, AUTO])}.")
    return name


def _size(requested: Requested) -> Size:
    if isinstance(requested, Size):
        return requested
    if not isinstance(requested, str):
        return Size(*requested)
    query = urlsplit(requested).query or requested
    sizes = parse_qs(query).get("size", [])
    if len(sizes) != 1:
        raise BadSize(f"The URL {requested[:80]!r} has not one size in its query; it is asked for as ?size=200x100.")
    return Size.parse(sizes[0])


_lock = Lock()
_configured: dict[str, dict[str, Any]] = {}
_opened: dict[str, LazyCrop] = {}


def _open_images(settings: Mapping[str, Any]) -> LazyCrop:
    """One LazyCrop for all storages with the same settings; what they do not say, the environment does."""
    settings = {"sizes": ANY, **config.from_env(), **settings}
    name = repr(sorted(settings.items(), key=str))
    with _lock:
        if name not in _opened:
            queue = _Dispatch(settings)
            queue.images = _opened[name] = LazyCrop(**settings | {"broker": queue})
        return _opened[name]


def _images_of(store: object) -> LazyCrop:
    """The LazyCrop of this store, as this process or its environment configures it; a message configures nothing."""
    settings = _configured.get(store) if isinstance(store, str) else None
    if settings is None:
        settings = config.from_env()
        if not isinstance(store, str) or str(settings.get("store", "")).rstrip("/") != store.rstrip("/"):
            raise ConfigurationError(
                f"This worker knows no store {store!r}; configure it here too, or set LAZYCROP_STORE to it."
            )
    return _open_images(settings)


class _Dispatch:
    """A queue to :func:`s3_store_image`, as whatever it is at that moment: the plain function, or somebody's task."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        # Of the settings, a broker of lazycrop's own needs these.
        self._settings = config.make_config({name: settings[name] for name in _QUEUE_SETTINGS & settings.keys()}).queue
        self._guard = open_guard(self._settings)
        self._lock = Lock()
        self._own: Queue | None = None
        self.images: LazyCrop

    @property
    def ready(self) -> bool:
        return self._guard.ready and (self._own is None or self._own.ready)

    def send(self, actor: str, message: Message) -> bool:
        task: Any = s3_store_image
        if task is _plain:
            return self._own_queue().send(actor, message)
        message = {**message, "store": self.images.config.store.store}
        if actor != STORE:
            message["job"] = actor
        for name in ("send", "delay"):  # Dramatiq's word, Celery's word.
            if hasattr(task, name):
                return spend(self._guard, partial(getattr(task, name), message))
        task(message)
        return True

    def ping(self) -> None:
        if s3_store_image is _plain:
            self._own_queue().ping()

    def close(self) -> None:
        self._guard.close()
        if self._own is not None:
            self._own.close()

    def _own_queue(self) -> Queue:
        with self._lock:
            if self._own is None:
                self._own = open_queue(self._settings, self.images.jobs.actors, self.images.jobs.hooks)
            return self._own


def _webob(answer: Answer) -> Any:
    from webob import Response

    class AsItIs(Response):
        """WebOb would make a Location absolute by what the Host header says."""

        def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
            start_response(self.status, self.headerlist)
            return self.app_iter

    blocks = [answer.body] if isinstance(answer.body, bytes) else Stream(answer.body)
    return AsItIs(status=STATUS_LINES[answer.status], headerlist=answer.headers, app_iter=blocks)


def _adapter(engine: str) -> Callable[[Answer], Any]:
    """How the adapter for this framework answers."""
    try:
        return import_module(f"{engine}_lazycrop").response  # type: ignore[no-any-return]
    except ImportError as error:
        raise ConfigurationError(
            f"The web engine {engine!r} is not installed ({error}): pip install 'lazycrop[{engine}]'."
        ) from None


_OWN: dict[str, Callable[[Answer], Any]] = {"webob": _webob}
"""The engine that has no adapter."""

_ENGINES = ("wheezy", "flask", "pyramid", "bottle", "django", *_OWN)
