"""Checking: ``check``, which tries the store, sources, memcached and the broker as they are used. [click]"""

from __future__ import annotations

import re
import secrets
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial

import click

from lazycrop.access.policy import PolicySettings
from lazycrop.caches.layered import ping
from lazycrop.caches.memcached import Memcached
from lazycrop.cli.options import Settings, command
from lazycrop.errors import LazyCropError
from lazycrop.events import loaded
from lazycrop.images import LazyCrop
from lazycrop.model.keys import PRIVATE
from lazycrop.queues.contract import EMBEDDED, INLINE
from lazycrop.stores.contract import Store
from lazycrop.stores.s3 import S3Store

_MEMORY = "memory:"
_NOWHERE = "lazycrop-check"  # What no file is named: that it is not there is an answer.
_BINARY = "application/octet-stream"
# It asks whether somebody answers at all; how long it took is beside its ticks.
_PATIENCE = 5.0
_LOOKS = 9


@command(shows=("store", "source", "memcached", "broker"))
def check(settings: Settings) -> None:
    """See whether the store, sources, memcached and the broker work, and how long each takes."""
    images = LazyCrop(**{**settings, "broker_seconds": _PATIENCE, "memcached_seconds": _PATIENCE})
    checklist = _Checklist()
    _check_store(images, checklist)
    for name, source in images.sources.names.items():
        place = images.sources.place(f"{name}/{_NOWHERE}" if name else _NOWHERE)
        assert place is not None
        checklist.check(
            f"the source {_without_secrets(f'{name} {source!r}'.strip())} answers",
            place.look,
            "Correct 'source' or 'sources'; until then what is adopted is answered, and nothing new.",
        )
    for server in images.config.cache.memcached:
        checklist.check(
            f"memcached {server} gives a lease to one owner only",
            partial(_ping, server),
            "Start it, or correct 'memcached'; until then each process has a cache of its own.",
        )
    checklist.check(
        f"broker {_without_secrets(str(images.config.queue.broker))} answers",
        lambda: images.jobs.queue.ping(),
        "Start it, or correct 'broker'; until then pictures are answered, and not stored.",
    )
    named = images.config.events
    if isinstance(named, str):
        checklist.check(f"events {named} is there", partial(loaded, *named.split(":")), "Correct 'events'.")
    if images.config.catalogue.catalogue is not None:
        checklist.check(
            f"the catalogue {images.catalogue.database!r} answers",
            images.catalogue.database.ping,
            "Start it, correct 'catalogue', or run 'lazycrop catalogue create'; until then it is not kept.",
        )
    for warning in [*_warnings(images), *_dead(images), *_quarantined(images)]:
        click.echo(f"! {warning}")
    images.close()
    sys.exit(checklist.failed)


def _ping(server: str) -> None:
    with closing(Memcached([server], seconds=_PATIENCE)) as cache:
        ping(cache)


class _Checklist:
    """Prints a line for each check; ``failed`` when one of them did."""

    def __init__(self) -> None:
        self.failed = False
        try:
            "✓✗".encode(sys.stdout.encoding)
            self._yes, self._no = "✓", "✗"
        except UnicodeEncodeError:
            self._yes, self._no = "ok", "FAILED"

    def check(self, what: str, do: Callable[[], object], advice: str, *, is_vital: bool = True) -> bool:
        """``do`` raises when it is not so; ``advice`` is what to do then. What is not vital is a warning."""
        start = time.perf_counter()
        try:
            do()
        except Exception as error:  # Each library has its own.
            reason = error.__cause__ or error  # Our own errors are sentences for clients, and tell them no reasons.
            shown = _without_secrets(str(reason)).rstrip(".") or type(reason).__name__
            click.echo(f"{self._no if is_vital else '!'} {what}: {shown}. {advice}")
            self.failed |= is_vital
            return False
        click.echo(f"{self._yes} {what} ({1000 * (time.perf_counter() - start):.0f} ms)")
        return True


def _check_store(images: LazyCrop, checklist: _Checklist) -> None:
    store, data = images.store, secrets.token_bytes(100)
    key = f"lazycrop-check-{secrets.token_hex(8)}/check.bin"
    advice = "Correct 'store' and its keys, which must permit to put, get and delete objects."
    if not checklist.check(f"{store!r} takes an object", lambda: store.put(key, data, _BINARY), advice):
        return
    checklist.check(
        "it leaves an object alone that must be new",
        lambda: _expect(_leaves_alone(store, key, data), True, "the condition is refused or ignored"),
        "So a size that two workers make at once is written twice.",
        is_vital=False,
    )
    checklist.check("it gives the object back", lambda: _expect(store.get(key, limit=len(data)), data), advice)
    checklist.check(
        "it gives what was put last",
        lambda: _expect(_replaced(store, f"{key}.again"), b"second"),
        "Ask the store itself, with no cache between; else what was replaced comes back.",
    )
    _tell_latency(images, key)
    address = store.url(key) if images.config.answers.answer == "redirect" else None
    if address is not None:
        checklist.check(
            f"anybody can read {address}",
            lambda: _expect(_fetch(address), data),
            "Permit everybody to read, correct 'public_url', or set answer=stream.",
        )
    if images.config.policy.secret and store.public_url is not None:
        _check_private(images, checklist, key, data)
    checklist.check("it deletes the object", lambda: store.delete(key), advice)
    checklist.check("the object is gone", lambda: _expect(store.exists(key), False), advice)


def _replaced(store: Store, key: str) -> bytes:
    """What is read of an object that was put, read and put again."""
    try:
        for data in (b"first", b"second"):
            store.put(key, data, _BINARY)
            found = store.get(key, limit=100)
        return found
    finally:
        store.delete(key)


def _tell_latency(images: LazyCrop, key: str) -> None:
    """How long one round trip takes, once connections are made: a new image takes five of them to store."""
    if vars(type(images.store)).get("bounded", False):  # It is on this machine, and has none.
        return
    with suppress(LazyCropError):  # The other checks say what is wrong.
        seconds = sorted(_seconds(lambda: images.store.exists(key)) for _ in range(_LOOKS))
        click.echo(f"  A round trip to the store takes {1000 * seconds[_LOOKS // 2]:.1f} ms, the median of {_LOOKS}.")


def _seconds(do: Callable[[], object]) -> float:
    start = time.perf_counter()
    do()
    return time.perf_counter() - start


def _leaves_alone(store: Store, key: str, data: bytes) -> bool:
    """Does it leave the object alone that is there, when another is put that must be new?"""
    if isinstance(store, S3Store):  # It does so for its server, where that one cannot.
        return store.probe_conditional_puts(f"{key}.new")
    return not store.put(key, data, _BINARY, new=True)


def _check_private(images: LazyCrop, checklist: _Checklist, key: str, data: bytes) -> None:
    """What is put as private, where private images are, is to be read by nobody else."""
    store, key = images.store, f"{PRIVATE}{key}"
    store.put(key, data, _BINARY, private=True)
    try:
        checklist.check(
            f"nobody reads what is private, below {PRIVATE}",
            lambda: _expect(_is_readable(str(store.url(key))), False, "anybody can read it"),
            f"Take {PRIVATE}* out of what the bucket's policy, or the web server, lets everybody read.",
            is_vital=images.config.policy.private,
        )
    finally:
        store.delete(key)


def _is_readable(address: str) -> bool:
    try:
        _fetch(address)
    except OSError:  # refused, or not even there
        return False
    return True


def _without_secrets(text: str) -> str:
    """Without what may be a password in a URL: what is before its @, and its query."""
    return re.sub(r"(\w://)[^\s'\"]*@|\?[^\s'\"]*", r"\1", text)


def _expect(found: object, wanted: object, otherwise: str = "what came is not what was put") -> None:
    if found != wanted:
        raise ValueError(otherwise)


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=_PATIENCE) as answer:
        return bytes(answer.read(1_000))


def _dead(images: LazyCrop) -> Iterator[str]:
    try:
        backlog = images.watch.backlog()
    except Exception:  # The broker's own line says so.
        return
    if backlog is not None and backlog.dead:
        jobs = "1 job has" if backlog.dead == 1 else f"{backlog.dead} jobs have"
        yield f"{jobs} failed for good: lazycrop queue --dead 10 shows them, and --requeue tries them again."


def _quarantined(images: LazyCrop) -> Iterator[str]:
    """The images that no visitor can see in a new size."""
    try:
        found = images.watch.quarantined()
    except LazyCropError:  # The store's own line says so.
        return
    for one in sorted(found, key=lambda one: one.image_id):
        until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.until))
        what = f"{one.image_id!r} cannot be rendered ({one.code})"
        yield f"{what}; it is tried again at {until}, or once it is stored anew."


def _any(policy: PolicySettings) -> str:
    if policy.max_sizes:
        return f"sizes=any: anybody can have {policy.max_sizes} sizes of each image stored ('max_sizes')."
    return (
        f"sizes=any: anybody can fill the store with sizes of up to {policy.max_edge} pixels; "
        "'max_sizes' and 'store_after' bound that."
    )


def _warnings(images: LazyCrop) -> Iterator[str]:
    """What works, and may not be meant."""
    settings = images.config
    if images.closed:
        yield "Nothing may be asked for: set 'sizes', 'presets' or 'secret'."
    if images.policy.any:
        yield _any(settings.policy)
    if settings.queue.broker not in (EMBEDDED, INLINE):
        if settings.store.store == _MEMORY:
            yield f"store={_MEMORY} is each process's own: what a worker stores there nobody finds."
        if not settings.cache.memcached:
            yield "There is a broker and no memcached: workers render again what a request has rendered."
