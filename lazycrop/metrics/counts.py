"""Counts: what happens in this process, for Prometheus. [prometheus_client]

They are in the library's own registry, beside those of the application. Where several processes answer on one port,
each of them writes to the folder ``PROMETHEUS_MULTIPROC_DIR``, and any of them answers for all.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterator, Mapping

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    generate_latest,
)
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from lazycrop.concurrency import faults
from lazycrop.concurrency.forks import renew
from lazycrop.events import Answered, Dead, Events, Failed, Purged, Queued, Rendered, Rendering, Stored, Worked

IS_SHARED = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # as the library finds it when it is loaded

_FLUSH = 1.0  # Seconds between two looks at what is counted without being told.
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

_all: weakref.WeakSet[Counts] = weakref.WeakSet()


class _Untold(Collector):
    """What is counted and not told: it is added when somebody asks, for all who ask this registry."""

    def collect(self) -> Iterator[Metric]:
        for counts in list(_all):
            counts.flush()
        return iter(())

    def describe(self) -> Iterator[Metric]:
        return iter(())


_untold = _Untold()
REGISTRY.register(_untold)  # before all others, whose numbers it changes

QUEUE = {
    "up": "Whether the broker says how many jobs there are.",
    "waiting": "Jobs that wait for a worker.",
    "later": "Jobs that wait to be tried again.",
    "dead": "Jobs that were given up, and are kept for a while.",
    "oldest": "Seconds since the job was sent that has waited for longest.",
}

REQUESTS = Counter(
    "lazycrop_requests",
    "Requests, by what the cache was good for, how they were answered, and the status.",
    ["cache", "outcome", "status"],
)
REQUEST_SECONDS = Histogram(
    "lazycrop_request_seconds",
    "Seconds of a request, without those that a shortcut answered in microseconds.",
    ["cache"],
    buckets=_BUCKETS,
)
STAGE_SECONDS = Histogram(
    "lazycrop_stage_seconds", "Seconds of one stage of a request or a job.", ["stage", "of"], buckets=_BUCKETS
)
RENDERED = Counter("lazycrop_renders", "Renders, by the code of the error; empty where there was none.", ["code"])
RENDERED_BYTES = Counter("lazycrop_rendered_bytes", "Bytes of all that was rendered.")
UNDER_WAY = Gauge("lazycrop_renders_under_way", "Renders under way.", multiprocess_mode="livesum")
WAITING = Gauge("lazycrop_renders_waiting", "Renders that wait for a slot.", multiprocess_mode="livesum")
STORED = Counter("lazycrop_stored", "Objects that were stored: origins and sizes.", ["kind"])
STORED_BYTES = Counter("lazycrop_stored_bytes", "Bytes of these.", ["kind"])
PURGED = Counter("lazycrop_purged", "Objects that were purged.")
JOBS = Counter("lazycrop_jobs", "Jobs that were queued, refused, done, failed (each try), dead.", ["actor", "state"])
JOB_SECONDS = Histogram("lazycrop_job_seconds", "Seconds of one try of a job.", ["actor"], buckets=_BUCKETS)
FAULTS = Counter("lazycrop_faults", "Faults that have begun, by the part that is at fault.", ["part"])
RESTS = Counter("lazycrop_rests", "How often a part that failed was left alone for a while.", ["part"])
FAULTY = Gauge(
    "lazycrop_faulty", "Whether a part is at fault, in how many places.", ["part"], multiprocess_mode="livesum"
)


class Counts:
    """A listener of one LazyCrop's events."""

    def __init__(self, events: Events) -> None:
        self._events = events
        for kind in (Stored, Rendered, Purged, Failed, Answered, Rendering, Queued, Worked, Dead):
            name = kind.__name__.lower()
            events.on(name, getattr(self, f"_{name}"))
        events.on("replaced", self._stored)
        faults.listen(_fault)
        _all.add(self)
        renew(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()

    def flush(self) -> None:
        """Count what was not told: requests that shortcuts have answered."""
        with self._lock:
            for status, count in self._events.tally().items():
                if count:
                    REQUESTS.labels("hit", "shortcut", status).inc(count)

    def _answered(self, event: Answered) -> None:
        cache, outcome = _outcome(event.outcome)
        REQUESTS.labels(cache, outcome, event.status).inc()
        REQUEST_SECONDS.labels(cache).observe(event.seconds)
        _stages(event.stages, "request")
        _flusher.begin()

    def _rendered(self, event: Rendered) -> None:
        RENDERED.labels("").inc()
        RENDERED_BYTES.inc(event.length)

    def _failed(self, event: Failed) -> None:
        RENDERED.labels(event.code).inc()

    def _rendering(self, event: Rendering) -> None:
        UNDER_WAY.inc(event.under_way)
        WAITING.inc(event.waiting)

    def _stored(self, event: Stored) -> None:
        kind = "origin" if (event.key or "").rpartition("/")[2].startswith("origin.") else "size"
        STORED.labels(kind).inc()
        STORED_BYTES.labels(kind).inc(event.length)

    def _purged(self, event: Purged) -> None:
        PURGED.inc(event.objects)

    def _queued(self, event: Queued) -> None:
        JOBS.labels(event.actor, "queued" if event.taken else "refused").inc()

    def _worked(self, event: Worked) -> None:
        JOBS.labels(event.actor, "failed" if event.code else "done").inc()
        JOB_SECONDS.labels(event.actor).observe(event.seconds)
        _stages(event.stages, "job")

    def _dead(self, event: Dead) -> None:
        JOBS.labels(event.actor, "dead").inc()


class _Flusher:
    """Where processes write to a common folder, another one may be asked, and cannot look in here: so what is counted
    without being told is written down once a second, from the first request on, which no shortcut answers.
    """

    def __init__(self) -> None:
        renew(self)

    def after_fork(self) -> None:
        """What a child does is its own, and it does nothing yet."""
        self._lock = threading.Lock()
        self._has_begun = not IS_SHARED
        for gauge in (UNDER_WAY, WAITING):
            gauge.set(0)
        if not IS_SHARED:  # There the library begins anew in each process, and warns of a clear.
            FAULTY.clear()

    def begin(self) -> None:
        if self._has_begun:
            return
        with self._lock:
            begins, self._has_begun = not self._has_begun, True
        if begins:
            atexit.register(_untold.collect)
            threading.Thread(target=self._run, args=(self._lock,), name="lazycrop-metrics", daemon=True).start()

    def _run(self, lock: threading.Lock) -> None:
        wait = threading.Event().wait
        while lock is self._lock:  # gevent has not patched this process since.
            wait(_FLUSH)
            _untold.collect()


_flusher = _Flusher()


def page(gauges: Mapping[str, float]) -> tuple[str, bytes]:
    """Type and body of what Prometheus reads: what all processes have counted, and ``gauges`` of the queue by name."""
    _untold.collect()
    registry: CollectorRegistry = REGISTRY
    if IS_SHARED:
        MultiProcessCollector(registry := CollectorRegistry())  # type: ignore[no-untyped-call]
    body = generate_latest(registry)
    return CONTENT_TYPE_LATEST, body + generate_latest(_Queue(gauges))


class _Queue(Collector):
    """What the broker says of the queue at this moment, which is the same for all processes."""

    def __init__(self, gauges: Mapping[str, float]) -> None:
        self._gauges = gauges

    def collect(self) -> Iterator[Metric]:
        for name, value in self._gauges.items():
            yield GaugeMetricFamily(f"lazycrop_queue_{name}", QUEUE[name], value=value)


def _fault(part: str, what: str) -> None:
    if what == faults.REST:
        RESTS.labels(part).inc()
        return
    if what == faults.BEGUN:
        FAULTS.labels(part).inc()
    FAULTY.labels(part).inc(1 if what == faults.BEGUN else -1)


def _stages(stages: Mapping[str, float], of: str) -> None:
    for stage, seconds in stages.items():
        STAGE_SECONDS.labels(stage, of).observe(seconds)


def _outcome(text: str) -> tuple[str, str]:
    """("hit", "stored") of what Cache-Status says: ``hit; detail=stored``."""
    cache, _, detail = text.removeprefix("fwd=").partition("; ")
    return cache, detail.removeprefix("detail=") or {"miss": "promised", "bypass": "moved"}.get(cache, "")
