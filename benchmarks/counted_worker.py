"""``dramatiq benchmarks.counted_worker``: lazycrop's worker, counted."""

from benchmarks import counting

counting.start()

from lazycrop.worker import broker, images  # noqa: E402, F401
