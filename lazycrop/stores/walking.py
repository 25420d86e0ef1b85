"""Walking: all objects below a prefix of a store that lists one folder at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from lazycrop.stores.contract import Listed


def walk(
    names_in: Callable[[str], Iterable[str]],
    measured: Callable[[str], Listed | None],
    prefix: str,
    after: str,
    deep: bool,
    folder: str | None = None,
) -> Iterator[Listed]:
    """The objects whose keys begin with ``prefix``, in the order of keys; those after the key ``after``.

    ``names_in``: what is directly in a folder, as of :meth:`~lazycrop.stores.contract.Store.list`; kept are the names
    of the folders on the way. ``measured``: the object of a key; None where it is gone. Not ``deep``: what is directly
    in the folder alone.
    """
    folder = prefix[: prefix.rfind("/") + 1] if folder is None else folder
    for key in sorted(names_in(folder)):
        is_done = key <= after and not (key.endswith("/") and after.startswith(key))
        if is_done or not key.startswith(prefix):
            continue
        if not key.endswith("/"):
            if (found := measured(key)) is not None:
                yield found
        elif deep:
            yield from walk(names_in, measured, prefix, after, deep, key)
