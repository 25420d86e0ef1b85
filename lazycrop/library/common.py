"""Common: what those have in common who make, store and purge."""

from __future__ import annotations

from dataclasses import dataclass

from lazycrop.events import Events
from lazycrop.library.changes import Changes
from lazycrop.library.origins import Origins
from lazycrop.library.records import Records
from lazycrop.library.renders import Renders
from lazycrop.library.state import State
from lazycrop.stores.guarded import Guarded


@dataclass(frozen=True, slots=True)
class Common:
    """One of each for a LazyCrop."""

    store: Guarded
    state: State
    changes: Changes
    records: Records
    origins: Origins
    renders: Renders
    events: Events
