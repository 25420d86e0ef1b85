"""Pages: records for the helpers of templates, of which a page has many, and waits for none of them for long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from functools import partial

from lazycrop.concurrency.forks import renew
from lazycrop.concurrency.pool import Pool
from lazycrop.library.making import Maker
from lazycrop.library.origins import Origins
from lazycrop.library.records import Records
from lazycrop.model.records import Record, unseen
from lazycrop.settings import Config

_PAUSE = 1.0  # Seconds: what a thread asks for after such a pause is for another page.


class Pages:
    """The records of images that sources may have.

    All that a page asks for is looked up at the same time, and all of its waits together take ``page_seconds``: what is
    not known by then is said to be unseen, and will be known to the next page.
    """

    def __init__(self, records: Records, origins: Origins, maker: Maker, config: Config) -> None:
        self._records, self._origins, self._maker = records, origins, maker
        self._seconds = config.sources.page_seconds
        self._pool = Pool("lazycrop-page", config.sources.source_reads)
        renew(self)

    def after_fork(self) -> None:
        self._page = threading.local()
        self._under_way: dict[tuple[str, int | None], Future[Record]] = {}

    def record(self, image_id: str, version: int | None = None) -> Record:
        """What :meth:`Records.recent` says of an image; of one that a source may have, within the time of a page."""
        if self._origins.place(image_id) is None or self._records.at_hand(image_id, version):
            return self._records.recent(image_id, version)
        began = time.monotonic()
        wait = self._left(began)
        try:
            return self._begin(image_id, version).result(wait)
        except TimeoutError:
            return unseen(image_id, version, self._origins.private)
        finally:
            self._page.at = time.monotonic()
            self._page.left = wait - (self._page.at - began)

    def close(self) -> None:
        self._pool.close()

    def _left(self, now: float) -> float:
        """How long this thread's page may still wait."""
        is_another = now - getattr(self._page, "at", 0.0) > _PAUSE
        left: float = self._seconds if is_another else self._page.left
        return max(0.0, left)

    def _begin(self, image_id: str, version: int | None) -> Future[Record]:
        asked = (image_id, version)
        future = self._under_way.get(asked)
        if future is None:
            future = self._under_way[asked] = Future()
            self._pool.submit(partial(self._look_up, asked, future))
        return future

    def _look_up(self, asked: tuple[str, int | None], future: Future[Record]) -> None:
        try:
            record = self._records.recent(*asked)
        except Exception as error:
            future.set_exception(error)
            return
        finally:
            self._under_way.pop(asked, None)
        future.set_result(record)
        if record.is_provisional:
            self._maker.order_adoption(record)
