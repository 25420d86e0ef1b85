"""Warming: of each new image the sizes that are most asked for are made, by a worker, before anybody asks for them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from lazycrop.access.policy import Policy
from lazycrop.errors import NotAllowed
from lazycrop.events import Events, Replaced, Stored
from lazycrop.library.common import Common
from lazycrop.library.jobs import STORE, WARM, Jobs
from lazycrop.library.together import in_jobs
from lazycrop.model.derivatives import Derivative
from lazycrop.model.keys import Key
from lazycrop.model.sizes import Size

Wanted = Callable[[int], list[tuple[str, str]]]
"""The so many sizes and formats that are most asked for."""


class Warming:
    """``count``: how many sizes of each image."""

    def __init__(self, common: Common, policy: Policy, jobs: Jobs, wanted: Wanted, count: int) -> None:
        self._records = common.records
        self._policy = policy
        self._jobs = jobs
        self._wanted = wanted
        self._count = count

    def listen(self, events: Events) -> None:
        for kind in (Stored, Replaced):
            events.listen(kind, self._stored)

    def warm(self, message: Any) -> None:
        """Have the sizes made of the image that a message names; what an actor does. It may be done again."""
        image_id = Derivative.from_message(message).image_id
        record = self._records.read_now(image_id)
        if record is None:
            return
        wanted = [
            Derivative(image_id, Size.parse(size), format, record.version) for size, format in self._wanted(self._count)
        ]
        for job in in_jobs(record, filter(self._is_worth_it, wanted)):
            self._jobs.send_together(STORE, job)

    def _is_worth_it(self, derivative: Derivative) -> bool:
        with suppress(NotAllowed):  # What was asked for once need not be listed any more.
            self._policy.check(derivative)
            return self._policy.closed or self._policy.lists(derivative)
        return False

    def _stored(self, event: Stored) -> None:
        key = Key.parse(event.key or "")
        if key is not None and key.kind == "origin":
            self._jobs.send(WARM, Derivative(event.image_id, None, "jpg", event.version))
