"""Contracts that can be run: whether a store or a cache of your own keeps what lazycrop relies on.

In a test::

    def test_my_store_keeps_its_promises():
        check_store(MyStore())

    def test_my_cache_keeps_its_promises():
        check_key_value(MyCache())
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial

from lazycrop.caches.contract import KeyValue
from lazycrop.concurrency.pool import Pool
from lazycrop.errors import MissingObject, StoreUnavailable
from lazycrop.stores.contract import Deleting, Store

_TEXT = "text/plain"
_LIMIT = 1_000_000


def check_store(store: Store, *, seconds: float = 60) -> None:
    """Raise an AssertionError that names the first promise of :class:`lazycrop.stores.contract.Store` that is not kept.

    What it writes is below a new folder ``lazycrop-check-…``, which it removes. ``seconds``: how long each promise may
    take. One of them is not kept by every server: "exactly one of 16 simultaneous" (see the docstring of ``put``).
    """
    root = f"lazycrop-check-{secrets.token_hex(8)}/"
    pool = Pool("lazycrop-check", 2)

    def in_time(promise: Callable[[Store, str], None]) -> None:
        call = pool.submit(lambda: promise(store, f"{root}{promise.__name__.strip('_')}/"))
        ends = call.wait(seconds)
        expect(ends, f"each call ends; this was not kept within {seconds:g} s by {promise.__name__[1:]}")
        call.result()

    def _what_is_deleted_is_listed_no_more(store: Store, folder: str) -> None:
        for key in _all_below(store, root):
            store.delete(key)
        expect(not [*_all_below(store, root)], "what is deleted is listed no more")

    try:
        for promise in _STORE_PROMISES:
            in_time(promise)
    except BaseException:
        with suppress(Exception):
            in_time(_what_is_deleted_is_listed_no_more)
        raise
    in_time(_what_is_deleted_is_listed_no_more)
    pool.close()


def _its_repr_names_its_place(store: Store, folder: str) -> None:
    before = repr(store)
    expect(type(store).__repr__ is not object.__repr__, "repr(store) names its place, by a __repr__ of its class")
    store.put(f"{folder}200x100.jpg", b"data", _TEXT)
    expect(repr(store) == before, "repr(store) stays the same, whatever is put into it")


def _what_is_put_is_there(store: Store, folder: str) -> None:
    for name, data in {"200x100@2x.jpg": bytes(range(256)), "v2/origin.jpg": secrets.token_bytes(300_000)}.items():
        key = folder + name
        expect(store.put(key, data, _TEXT), "put answers True when it wrote")
        expect(store.exists(key), "what is put exists")
        expect(store.get(key, limit=len(data)) == data, "get returns the bytes that were put")
        with closing(store.open(key).file) as file:
            expect(file.read(100) == data[:100], "open returns the bytes that were put")
            expect(file.read() == data[100:], "open reads on until the end")
        opened = store.open(key)
        opened.file.close()
        expect(opened.length == len(data), "open knows the object's length")


def _put_replaces_unless_it_must_be_new(store: Store, folder: str) -> None:
    key = f"{folder}image.json"
    expect(store.put(key, b"first", _TEXT, new=True), "put(new=True) answers True when there was nothing")
    expect(not store.put(key, b"second", _TEXT, new=True), "put(new=True) answers False when the object exists")
    expect(store.get(key, _LIMIT) == b"first", "put(new=True) leaves an object that exists alone")
    expect(store.put(key, b"third", _TEXT), "put answers True when it wrote")
    expect(store.get(key, _LIMIT) == b"third", "put replaces an object that exists")


def _one_of_many_is_new(store: Store, folder: str) -> None:
    def put(data: bytes) -> bool:
        return store.put(f"{folder}image.json", data, _TEXT, new=True)

    candidates = [b"%d" % number * 1000 for number in range(16)]
    with ThreadPoolExecutor(len(candidates)) as pool:
        written = [data for data, new in zip(candidates, pool.map(put, candidates), strict=True) if new]
    expect(len(written) == 1, "exactly one of 16 simultaneous put(new=True) answers True")
    expect(store.get(f"{folder}image.json", _LIMIT) == written[0], "the object is that of the put that answered True")


def _missing_is_missing(store: Store, folder: str) -> None:
    store.put(f"{folder}there/origin.jpg", b"data", _TEXT)
    for key in (f"{folder}none.jpg", f"{folder}none/origin.jpg", f"{folder}there", f"{folder}there/origin.jpg/below"):
        expect(error_of(partial(store.exists, key)) is None, "exists answers for a missing object")
        expect(not store.exists(key), "a missing object does not exist")
        for read in (partial(store.get, key, _LIMIT), partial(store.open, key)):
            expect(isinstance(error_of(read), MissingObject), "get and open raise MissingObject for a missing object")
        expect(error_of(partial(store.delete, key)) is None, "to delete what is missing is fine")
    expect(store.exists(f"{folder}there/origin.jpg"), "to delete what is missing leaves other objects alone")


def _get_has_a_limit(store: Store, folder: str) -> None:
    store.put(f"{folder}origin.jpg", bytes(1001), _TEXT)
    try:
        store.get(f"{folder}origin.jpg", limit=1000)
    except StoreUnavailable:
        return
    expect(False, "get raises StoreUnavailable for an object of more bytes than the limit")


def _list_shows_one_level(store: Store, folder: str) -> None:
    for name in ("cat/image.json", "cat/200x.jpg", "cat/v2/200x.jpg", "cat/v2/300x.jpg", "category/image.json"):
        store.put(folder + name, b"data", _TEXT)
    for below, expected in {
        "": ["cat/", "category/"],
        "cat/": ["cat/200x.jpg", "cat/image.json", "cat/v2/"],
        "cat/v2/": ["cat/v2/200x.jpg", "cat/v2/300x.jpg"],
        "dog/": [],
    }.items():
        listed = sorted(store.list(folder + below))
        expect(listed == [folder + name for name in expected], "list gives what is directly below, and nothing else")


def _what_is_deleted_is_gone(store: Store, folder: str) -> None:
    for name in ("image.json", "200x.jpg"):
        store.put(folder + name, b"data", _TEXT)
    store.delete(f"{folder}200x.jpg")
    expect(not store.exists(f"{folder}200x.jpg"), "what is deleted does not exist")
    expect([*store.list(folder)] == [f"{folder}image.json"], "what is deleted is not listed, and the rest is")
    expect(store.put(f"{folder}200x.jpg", b"again", _TEXT, new=True), "what is deleted can be put again")


def _many_are_deleted_at_once(store: Store, folder: str) -> None:
    if not isinstance(store, Deleting):
        return
    names = [f"{folder}{number}x.jpg" for number in range(1, 6)]
    for name in [*names, f"{folder}v2/200x.jpg"]:
        store.put(name, b"data", _TEXT)
    answer = store.delete_many([*names[:4], f"{folder}none.jpg"])
    expect(answer in (True, False), "delete_many answers True or False")
    if answer:
        expect(
            sorted(store.list(folder)) == [names[4], f"{folder}v2/"],
            "delete_many removes what it is given, and nothing else",
        )


def _url_is_below_the_public_url(store: Store, folder: str) -> None:
    if store.public_url is None:
        expect(store.url(f"{folder}200x.jpg") is None, "url is None without a public_url")
        return
    expect(store.public_url.startswith(("https://", "http://")), "public_url is absolute")
    expect(store.public_url.endswith("/"), "public_url ends in '/'")
    expect(store.url(f"{folder}200x.jpg") == f"{store.public_url}{folder}200x.jpg", "url is public_url and the key")
    for key, quoted in {"a b?.jpg": "a%20b%3F.jpg", "é%,+.jpg": "%C3%A9%25%2C%2B.jpg"}.items():
        expect(store.url(key) == f"{store.public_url}{quoted}", "url is percent-quoted")


def _keys_are_text_of_any_language(store: Store, folder: str) -> None:
    for name in ("Größe 1", "猫", "🐈", "100% #1+", "a;b,c&d?"):
        key, promise = f"{folder}{name}/200x.jpg", f"a key is text of any language, such as {name!r}"
        store.put(key, name.encode(), _TEXT)
        expect(f"{folder}{name}/" in [*store.list(folder)] and [*store.list(f"{folder}{name}/")] == [key], promise)
        expect(store.exists(key) and store.get(key, _LIMIT) == name.encode(), promise)


def error_of(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


_STORE_PROMISES = (
    _its_repr_names_its_place,
    _what_is_put_is_there,
    _put_replaces_unless_it_must_be_new,
    _one_of_many_is_new,
    _missing_is_missing,
    _get_has_a_limit,
    _list_shows_one_level,
    _what_is_deleted_is_gone,
    _many_are_deleted_at_once,
    _url_is_below_the_public_url,
    _keys_are_text_of_any_language,
)


def _all_below(store: Store, folder: str) -> Iterator[str]:
    for name in [*store.list(folder)]:
        if name.endswith("/"):
            yield from _all_below(store, name)
        else:
            yield name


def check_key_value(cache: KeyValue) -> None:
    """Raise an AssertionError that names the first promise of :class:`lazycrop.caches.layered.KeyValue` that is not
    kept.
    """
    group, key, other = (secrets.token_hex(16) for _ in range(3))
    expect(not cache.get_many(group, [key, other]), "what was never set is not there")
    cache.set(group, key, bytes(range(256)), 60)
    expect(dict(cache.get_many(group, [key, other])) == {key: bytes(range(256))}, "get_many returns what is there")
    cache.set(group, key, b"new", 60)
    expect(cache.get_many(group, [key])[key] == b"new", "set replaces")
    expect(not cache.add(group, key, b"added", 60), "add answers False when there is a value")
    expect(cache.get_many(group, [key])[key] == b"new", "add leaves a value that is there alone")
    cache.delete(group, key)
    cache.delete(group, key)
    expect(not cache.get_many(group, [key]), "what is deleted is gone")
    with ThreadPoolExecutor(16) as pool:
        added = list(pool.map(lambda number: cache.add(group, other, b"%d" % number, 60), range(16)))
    expect(added.count(True) == 1, "exactly one of 16 simultaneous add answers True")
    expect(
        cache.get_many(group, [other])[other] == b"%d" % added.index(True), "the value is that of the add that answered"
    )
    cache.delete(group, other)
    large = bytes(1_000_000)
    cache.set(group, key, large, 60)
    expect(cache.get_many(group, [key]).get(key) == large, "a value may have 1,000,000 bytes")
    cache.set(group, key, b"short", 1)
    deadline = time.monotonic() + 5
    while cache.get_many(group, [key]) and time.monotonic() < deadline:
        time.sleep(0.05)
    expect(not cache.get_many(group, [key]), "a value goes when its time is over")


def expect(kept: bool, promise: str) -> None:
    # Not an assert statement: python -O would drop it.
    if not kept:
        raise AssertionError(f"This promise is broken: {promise}.")
