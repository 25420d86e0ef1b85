"""Round trips: how often one after the other a store that is a network away is asked, and how long that takes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from io import BytesIO
from typing import Any

from PIL import Image

from benchmarks import BUILD
from benchmarks.measure import median
from benchmarks.report import Check, Row, Table
from benchmarks.sources import Plan
from doubles import Taking
from servers import S3, FaultProxy

ADDED = 0.03  # Seconds, to each piece of an answer.
TIMES = 3
MANY = 1000
WARMED = [f"{100 + 40 * number}x" for number in range(20)]
STORE, PURGE = 5, 1.0
BARE = f"what the server takes of that: delete_objects of {MANY:,} keys, by boto3"


def row(plan: Plan) -> Row:
    place = BUILD / "roundtrips"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with ExitStack() as stack:
        s3 = S3(place)
        stack.callback(s3.stop)
        s3.start()
        proxy = stack.enter_context(FaultProxy(s3.port))
        near, far = (_times(plan, s3, proxy, added) for added in (0.0, ADDED))
    trips = {name: (far[name] - near[name]) / ADDED for name in far}
    rows = {name: [1000 * near[name], 1000 * far[name], trips[name]] for name in far}
    columns = ["no latency, ms", f"{1000 * ADDED:.0f} ms of latency, ms", "round trips one after the other"]
    checks = [
        Check(
            "store_origin of a new image: round trips one after the other", trips["store_origin, a new image"], STORE
        ),
        Check(f"purge of {MANY:,} sizes: seconds", far[f"purge, {MANY:,} sizes"], PURGE),
        Check(f"the same ÷ boto3's own delete_objects of {MANY:,} keys", far[f"purge, {MANY:,} sizes"] / far[BARE], 2),
    ]
    notes = [
        "SeaweedFS. The round trips are what the latency adds, divided by it: an answer in two pieces counts twice."
    ]
    return Row("Round trips to the store", checks, [Table("Wall time, medians", columns, rows)], notes=notes)


def _times(plan: Plan, s3: S3, proxy: FaultProxy, added: float) -> dict[str, float]:
    from lazycrop import LazyCrop

    def images(**given: Any) -> Any:
        return LazyCrop(
            store=f"s3://{s3.bucket}/trips",
            s3_endpoint_url=f"http://{proxy.address}",
            s3_region=s3.region,
            s3_access_key=s3.access_key,
            s3_secret_key=s3.secret_key,
            sizes="any",
            **{"broker": Taking(), **given},
        )

    def time_of(before: Callable[[Any], object], do: Callable[[Any], object], **given: Any) -> float:
        samples = []
        for _ in range(TIMES):
            proxy.set("pass")
            one = images(**given)
            one.store.exists("nothing")
            one.store.delete("nothing")  # Both clients are made, and have a connection.
            one.purge("one", forget=True)
            before(one)
            proxy.set(*(("latency", added) if added else ("pass",)))
            start = time.perf_counter()
            do(one)
            samples.append(time.perf_counter() - start)
        return median(samples)

    picture = BytesIO()
    Image.open(plan.photos[0]).convert("RGB").resize((2000, 1500)).save(picture, "JPEG", quality=85)

    def store(one: Any) -> None:
        one.store_origin("one", picture.getvalue())

    def with_sizes(count: int) -> Callable[[Any], None]:
        def put(one: Any) -> None:
            store(one)
            with ThreadPoolExecutor(16) as pool:
                for number in range(count):
                    pool.submit(one.store.put, f"one/{number + 1}x.jpg", b"size", "image/jpeg")

        return put

    def bare(one: Any) -> None:
        objects = [{"Key": f"trips/one/{number + 1}x.jpg"} for number in range(MANY)]
        one.store._patient_client().delete_objects(Bucket=s3.bucket, Delete={"Objects": objects, "Quiet": True})

    def asked(one: Any) -> None:
        store(one)
        one.record("one")
        one.answer("/one/90x.jpg")

    return {
        "store_origin, a new image": time_of(lambda one: None, store),
        "store_origin, a second version": time_of(store, store),
        "purge, 15 objects": time_of(with_sizes(11), lambda one: one.purge("one")),
        f"purge, {MANY:,} sizes": time_of(with_sizes(MANY), lambda one: one.purge("one")),
        BARE: time_of(with_sizes(MANY), bare),
        "a cold miss": time_of(asked, lambda one: one.answer("/one/300x200.jpg")),
        f"warm of {len(WARMED)} sizes": time_of(store, lambda one: one.warm("one", WARMED), broker="inline"),
    }
