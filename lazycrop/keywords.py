"""Keywords: every setting with the type that a person gives it, for type checkers and editors (PEP 692).

Made by docs/make_keywords.py from the settings themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from lazycrop.caches.contract import KeyValue
    from lazycrop.model.sizes import Asks
    from lazycrop.queues.contract import Broker, Queue
    from lazycrop.sources.contract import Source
    from lazycrop.stores.contract import Store


class Settings(TypedDict, total=False):
    """The keywords of :class:`lazycrop.LazyCrop`, and of everything that makes one."""

    prefix: str
    """The path below which images are mounted."""

    format: str
    """The format of URLs that the application makes without naming one; may be ``auto``."""

    fallback_url: str | None
    """What pages show in place of an image that is missing; without it their helpers raise an error."""

    events: str | Callable[[Any], object]
    """A function, as ``package.module:function``, that is called with each event: with what was stored, replaced,
    rendered or purged, and what failed."""

    request_seconds: float
    """How long a request may wait for stores, slots and other requests, in all."""

    waiting_requests: int
    """How many requests of one process may wait for a store, cache or broker that is slow (0.5 s a call or more); one
    more is answered 503 with Retry-After at once, so that the server's other threads are free for the application. 0 is
    half of the threads that bring requests, and 2 at least; give a server of two threads 1, and one that only answers
    for images all of its threads. Greenlets of gevent are not bounded."""

    follow_seconds: float
    """How long to wait for bytes that another process is making, before making them here."""

    store_after: int
    """How often a size has to be asked for, within ``marker_seconds``, before it is stored; until then it is rendered,
    and answered again while it is hot. With 2, a scan of thousands of sizes writes nothing."""

    renders: int
    """Renders at once in one process; 0 is the number of CPUs."""

    metrics: bool
    """Whether this process counts what it does, for Prometheus; needs ``[metrics]``."""

    traces: bool
    """Whether this process makes spans, with OpenTelemetry; needs ``[otel]``."""

    render_wait_seconds: float
    """Longest wait for one of these; then the answer is 503 with Retry-After."""

    sizes: Sequence[Asks]
    """The sizes that may be asked for, or the one word ``any``. A size may have a quality of its own, as ``1600x
    quality=60``: that of a JPEG, from which each format takes the one that looks alike."""

    presets: Mapping[str, Asks]
    """Names for sizes that may be asked for: ``card=400x300-cover`` or ``card=400x300-cover quality=70``."""

    formats: Sequence[str]
    """The formats that may be asked for."""

    max_edge: int
    """The longest side of any size, in device pixels."""

    max_sizes: int
    """How many sizes of one image visitors may have stored where ``sizes`` is ``any``, besides those of ``presets``;
    one more is rendered and not stored. 0 sets no bound."""

    snap: bool
    """Redirect a size off the list to the smallest one on it that covers it with the same fit, instead of 404."""

    private: bool
    """Whether images are stored so that only signed URLs show anything of them."""

    secret: Sequence[str]
    """Keys that sign URLs, one a line: the first signs, all are accepted."""

    redirect_status: int
    """The status of a redirect to a stored size: 301, 302, 303, 307 or 308."""

    answer: str
    """``redirect`` to stored sizes where there is a public URL, or ``stream`` them."""

    private_answer: str
    """What is answered for what is stored of a private image, or at a URL that expires: ``stream`` it, or ``presign``:
    redirect to a URL of the store that is as short-lived. Stores that have none are streamed."""

    max_age: int
    """Seconds that a browser may keep the answer of a URL without a version."""

    auto_formats: Sequence[str]
    """What ``.auto`` may choose when Accept names it, best first; else the origin's own kind."""

    slow_formats: Sequence[str]
    """Formats too dear to encode on the request path of ``.auto``: the worker makes them."""

    fallback_image: str | PathLike[str] | None
    """What is shown in place of an image that is missing: an image id, or the path of a file, absolute or beginning
    with ``./``, which is stored when it is first needed."""

    fallback_status: int
    """The status of that picture: 404 or 200; browsers show it with either."""

    fallback_max_age: int
    """Seconds that anybody may keep it, in place of what may come soon."""

    shortcut_seconds: float
    """How long a process answers for a stored size without asking the cache again."""

    shortcuts: int
    """For how many URLs it may do so; each takes about a kilobyte."""

    shortcut_bytes: int
    """Bytes of pictures that it keeps for that where it streams them: of those that have 64 KB at most."""

    store: str | PathLike[str] | Store
    """Where images are kept: a folder, ``s3://bucket/base/path``, ``memory:``, or a Store object."""

    public_url: str | None
    """Where anybody can fetch the store's objects. S3 derives it; a folder without it is streamed."""

    s3_endpoint_url: str | None
    """The address of an S3 server that is not Amazon's; boto3's own settings count too."""

    s3_access_key: str | None
    """The S3 access key; without it boto3 looks where it always does."""

    s3_secret_key: str | None
    """The S3 secret key."""

    s3_region: str | None
    """The S3 region."""

    s3_acl: str | None
    """The ACL sent with each S3 object, such as ``public-read``."""

    keep_versions: int
    """How many versions of an image are kept: the current one, and those before it."""

    store_connect_seconds: float
    """How long connecting to one address of the store may take."""

    store_read_seconds: float
    """How long the store may be silent while an object is read or looked up."""

    store_write_seconds: float
    """How long the store may be silent while objects are put or deleted."""

    store_seconds: float
    """How long reading or looking up one object in the store may take, in all."""

    store_rest_seconds: float
    """How long a store that did not answer is left alone by reads."""

    store_attempts: int
    """How often a request to the store is tried."""

    store_connections: int
    """How many objects one process reads from the store at the same time."""

    cache: KeyValue | None
    """A cache of your own that processes share, in place of memcached; it keeps KeyValue's contract."""

    memcached: Sequence[str]
    """Addresses of memcached servers, ``host:port``; none keeps all in-process."""

    memcached_seconds: float
    """Longest wait for one memcached operation, connecting included."""

    memcached_rest_seconds: float
    """How long a memcached server that failed is left alone."""

    cache_bytes: int
    """Memory of the in-process cache, in bytes."""

    record_seconds: int
    """How long a record is trusted before the store is asked again; also the memo of unknown ids."""

    trust_seconds: int
    """How long a record is trusted while the store's list of changes, which is looked at every ``record_seconds``, does
    not name its image; 3600 at most, 0 asks for each record again."""

    marker_seconds: int
    """How long a size is known to be stored before the store is asked again."""

    hot_seconds: int
    """How long the bytes of a new size are kept for other requests, processes and the worker."""

    lease_seconds: int
    """How long one process has the sole right to make a size."""

    quarantine_seconds: int
    """How long an image that failed twice is not tried again; each time that it fails after that it is twice as long,
    up to a day."""

    broker: str | Broker | Queue
    """``embedded`` (threads of this process), ``inline``, ``redis://…``, ``amqp://…``, a Dramatiq broker or a Queue."""

    queue: str
    """The queue's name; applications that share a broker need one each."""

    broker_seconds: float
    """Longest wait for the broker to take a message."""

    broker_rest_seconds: float
    """How long a broker that failed is left alone."""

    backlog_seconds: int
    """How long a size that somebody asks for may wait for a worker that encodes it small; after that it is stored as it
    was answered."""

    worker_threads: int
    """Threads of the embedded worker."""

    quality: Mapping[str, int]
    """Quality of each lossy format, 0 to 100; those not named keep their default, by which all look alike:
    ``jpg=78,webp=83,avif=61``."""

    effort: Mapping[str, int]
    """Time that a request spends for fewer bytes: jpg 0, 1 (progressive) or 2 (and shrunk), png 0 to 9 or 10 (shrunk),
    webp 0 to 6, avif 0 to 10; those not named keep their default: ``jpg=0,png=3,webp=1,avif=1``."""

    store_effort: Mapping[str, int]
    """The same for what is stored, which nobody waits for; those not named keep their default:
    ``jpg=2,png=10,webp=6,avif=5``. What is shrunk needs ``lazycrop[small]``; without it Pillow does its best."""

    stages: int
    """2: a size is answered by ``effort``, and stored by ``store_effort``; 1: it is stored as it was answered."""

    jpeg_subsampling: str
    """Colour resolution of JPEG: ``4:2:0``, or ``4:4:4`` for sharp coloured edges."""

    background: str
    """What shows through where a format has no transparency, as ``rrggbb``."""

    input_formats: Sequence[str]
    """The formats that are accepted; ``tiff``, ``bmp`` and ``heic`` may be added."""

    max_pixels: int
    """Most pixels of a source, times its frames."""

    max_pixels_webp: int
    """The same of WebP, AVIF and HEIC, which need up to 16 bytes a pixel."""

    max_side: int
    """Longest side of a source, in pixels."""

    max_frames: int
    """Most frames of an animation."""

    max_scans: int
    """Most scans of a progressive JPEG; each one costs a pass over the picture."""

    decode_seconds: float
    """Most CPU time that reading one source may take."""

    pixel_memory: int
    """Bytes of pixels that one process works on at the same time; an image that needs more takes turns."""

    mezzanine_edges: Sequence[int]
    """Longer sides of the working copies made of each image, or ``none``."""

    mezzanine_quality: int
    """JPEG quality of the working copies, 0 to 100."""

    download_bytes: int
    """The most bytes that the file behind a source URL may have."""

    download_seconds: float
    """The seconds within which a download is complete, redirects included."""

    download_connect_seconds: float
    """The most seconds to connect to an address of the source's host."""

    download_read_seconds: float
    """The most seconds that the source's server may be silent."""

    download_redirects: int
    """The most redirects that are followed from a source URL."""

    download_ports: Sequence[str]
    """The ports that a source URL may have."""

    allow_networks: Sequence[str]
    """Networks, as 10.1.0.0/16, that may be fetched from although they are not public."""

    deny_networks: Sequence[str]
    """Networks that are never fetched from, although public or in allow_networks."""

    source: str | PathLike[str] | Source | None
    """Where images already are, which nothing is ever written to: a folder, ``https://host/path/``,
    ``s3://bucket/prefix/``, or a Source object. The names of its files are their image ids."""

    sources: Mapping[str, str | PathLike[str] | Source]
    """Several such places by name, as ``media=/srv/media old=https://old.example.com/images/``; the name is the first
    segment of their image ids. A bucket with a server or keys of its own is
    ``s3://bucket/prefix/?endpoint_url=…&region=…&access_key=…&secret_key=…``."""

    source_seconds: int
    """After how many seconds the file of an adopted image is looked at again."""

    source_read_seconds: float
    """Longest wait for one look into a source, or for one file of it."""

    source_reads: int
    """Looks and reads at once in one process, for each source."""

    source_rest_seconds: float
    """How long a source that did not answer is left alone."""

    copy_origins: bool
    """Whether the store gets a copy of each adopted image's origin, which is else read from its source again."""

    page_seconds: float
    """How long the helpers of one page may wait in all for sizes of images that nobody has asked for before."""

    catalogue: str | None
    """The database that what the store knows is written to, and what is asked for is counted in:
    ``sqlite:///lazycrop.db``, ``postgresql+psycopg://…``."""

    catalogue_seconds: float
    """How long whoever stores or purges waits for the catalogue's database."""

    demand_days: int
    """How many days the catalogue keeps what was asked for."""

    warm_on_store: int
    """How many of the sizes that are most asked for are made of each new image, by the worker."""
