"""Claims: those who change one image do so in the order of their numbers; see :mod:`lazycrop.library.versions`."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lazycrop.errors import StoreUnavailable
from lazycrop.library.changes import Changes
from lazycrop.library.contents import Contents, is_object
from lazycrop.model import keys
from lazycrop.model.records import Record, Tombstone
from lazycrop.stores.contract import unavailable
from lazycrop.stores.guarded import Guarded

logger = logging.getLogger(__name__)

_SETTLE_SECONDS = 5.0  # For each of those who were there before.
_POLL = 0.05
_TRIES = 100  # More than there are others who change the same image at once.


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to a number.

    ``what_is``: what the image was when it was claimed. ``found``: the versions of which anything was there then, be it
    a claim; ``objects``: those of the first one. ``earlier``: the claims to lower numbers. ``began``: when it was put,
    in Unix time and by the clock that is never set.
    """

    number: int
    what_is: Record | Tombstone | None
    found: frozenset[int]
    objects: frozenset[str]
    earlier: frozenset[str]
    began: tuple[float, float]

    def holds(self) -> bool:
        """Is the image still what it was when it was claimed, but for what the claim's holder has done?

        Nobody was there before, and whoever came after has found the claim, and waits for some seconds from then on.
        (Of two clocks one may have stood still, with the machine.)
        """
        unix, steady = self.began
        return not self.earlier and max(time.time() - unix, time.monotonic() - steady) < 0.8 * _SETTLE_SECONDS


@dataclass(frozen=True, slots=True)
class Left:
    """Who has not gone though it was waited for: the numbers of the ``late``, and the claims of the ``dead``."""

    late: frozenset[int]
    dead: frozenset[str]


class Claims:
    """The claims to the images of one store."""

    def __init__(self, store: Guarded, contents: Contents, changes: Changes) -> None:
        self._store = store
        self._changes = changes
        self._contents = contents

    @contextmanager
    def next(self, image_id: str, guess: int | None = None) -> Iterator[Claim]:
        """A number that is higher than all of the image, and nobody else's until the end of the block.

        Of two who put a claim to one number at once, at most one finds no other: both list after they have put. So none
        lower comes afterwards, and who is ``earlier`` is known. That holds whatever the server does with conditional
        puts, and wherever the number is from. ``guess``: which it may be; it spares a look where it is right.
        """
        number = guess or self._contents.look(image_id).next
        for _ in range(_TRIES):
            key = keys.claim(image_id, number, secrets.token_hex(8))
            began = time.time(), time.monotonic()
            try:
                claimed = self._store.begin_put(key, str(int(began[0])).encode(), "text/plain")
                told = [self._changes.begin_telling(image_id)] if number > 1 else []  # Of a first one nobody knows.
                self._store.together(claimed, *told)
                look = self._contents.look(image_id)
                found, what_is = look.found, look.what_is
                used = max(what_is.version if what_is else 0, *(of for name, of in found.items() if name != key), 0)
                if used < number and found.pop(key, False):
                    earlier = frozenset(name for name in found if keys.claimed(name))
                    objects = frozenset(filter(is_object, found))
                    yield Claim(number, what_is, frozenset(found.values()), objects, earlier, began)
                    return
            finally:
                self._take_back(key)
            number = max(used, number) + 1
        raise unavailable("claim a version of", image_id, "what is put into the store is not listed alone")

    def wait(self, claim: Claim) -> Left:
        """Until all who came before are done, or for as long as that should take. Blocks.

        Who is not done then was killed, or stands still; it looks again when it goes on. The last of those before may
        only wait himself, for all the others: so for each of them there is a time of its own.
        """
        began = time.monotonic()
        while (left := self.left(claim)).late and time.monotonic() < began + _SETTLE_SECONDS * len(left.late):
            time.sleep(_POLL)
        return left

    def left(self, claim: Claim) -> Left:
        """Who of those that came before is not done at this moment."""
        fresh = self._contents.fresh(claim.earlier)
        late = frozenset(keys.claimed(name) or 0 for name in fresh if fresh[name])
        return Left(late, frozenset(name for name in fresh if not fresh[name]))

    def _take_back(self, key: str) -> None:
        try:
            self._store.delete(key)
        except StoreUnavailable:
            said = "the claim %r is left; nobody waits for it after some minutes"
            # The store's fault has a warning of its own; this is what it left, by the dozen.
            logger.info(said, key, extra={"event": "left", "key": key})
