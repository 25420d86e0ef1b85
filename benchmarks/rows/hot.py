"""Hot: what a foreign request costs, and one that was answered with a redirect before."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import BUILD, apps, measure, peers, sources
from benchmarks.peers import Contender, Site
from benchmarks.report import Check, Row, Table
from benchmarks.sources import JPEG, Plan

SIZE = "800x600"
FOREIGN, IN_PROCESS, SERVED = 0.5, 5.0, 0.9  # µs, µs, share of the constant's requests per second
PUBLIC = "https://cdn.example.com/images/"
SERVERS = {"gunicorn": peers.gunicorn, "granian": peers.granian}


def row(plan: Plan) -> Row:
    foreign, hot = _in_process(plan)
    rates = {name: served(plan, name) for name in SERVERS}
    shares = {name: by_app["images"] / by_app["bare"] for name, by_app in rates.items()}
    checks = [
        Check("a foreign request over the bare app, µs", foreign, FOREIGN),
        Check("a hot redirect in-process, µs", hot, IN_PROCESS),
        *(Check(f"hot redirects under {name} ÷ a constant's", share, SERVED, True) for name, share in shares.items()),
    ]
    columns = ["a constant", "a constant with a redirect's headers", "hot redirect", "÷ constant"]
    ours = {
        name: [by_app["bare"], by_app["same_headers"], by_app["images"], shares[name]] for name, by_app in rates.items()
    }
    best = max(by_app["images"] for by_app in rates.values())
    others: dict[str, list[float] | str] = {
        f"lazycrop's redirect, under {name}": [by_app["images"], by_app["images"] / best]
        for name, by_app in rates.items()
    }
    for name, rate in _peers(plan).items():
        others[name] = rate if isinstance(rate, str) else [rate, rate / best]
    return Row(
        "Hot requests",
        checks,
        [
            Table("Requests per second", columns, ours),
            Table(f"Requests per second of {SIZE} that is stored", ["requests/s", "÷ lazycrop's best"], others),
        ],
    )


def _environ(path: str) -> dict[str, Any]:
    return {"PATH_INFO": path, "REQUEST_METHOD": "GET", "QUERY_STRING": "", "SCRIPT_NAME": "", "HTTP_ACCEPT": "*/*"}


def _in_process(plan: Plan) -> tuple[float, float]:
    """µs that a foreign request takes over the bare application, and that a hot redirect takes."""
    from lazycrop import LazyCrop, Middleware

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        pass

    def call(application: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> Callable[[], object]:
        return lambda: application(environ, start_response)

    env = stored(plan, BUILD / "run")
    bare = apps.bare()
    images = LazyCrop(store=env["LAZYCROP_STORE"], sizes="any", public_url=PUBLIC)
    middleware = Middleware(bare, images)
    foreign, hot = _environ("/account/42"), _environ(f"/img{env['BENCH_PATH']}")
    assert images.answer(env["BENCH_PATH"]).status == 301
    rounds = [
        [measure.nanoseconds(call(*what)) for what in ((bare, foreign), (middleware, foreign), (middleware, hot))]
        for _ in range(max(3, plan.runs))
    ]
    alone, wrapped, redirect = (min(times) / 1000 for times in zip(*rounds, strict=True))
    return wrapped - alone, redirect


def stored(plan: Plan, place: Path) -> dict[str, str]:
    """The environment of a lazycrop that has one size of one image stored already; its path is ``BENCH_PATH``."""
    from lazycrop import LazyCrop

    env = sources.serving(sources.store(plan, JPEG), place)
    path = f"/{sources.image_id(sources.names(plan, JPEG)[0])}/{SIZE}.jpg"
    images = LazyCrop(store=env["LAZYCROP_STORE"], sizes="any", broker="inline")
    assert images.answer(path).status == 200
    return {**env, "BENCH_PATH": path, "LAZYCROP_PUBLIC_URL": PUBLIC}


def served(plan: Plan, server: str) -> dict[str, float]:
    """Requests per second of each application under this server, which take turns."""
    rates: dict[str, list[float]] = {"bare": [], "same_headers": [], "images": []}
    place = BUILD / "run"
    env = stored(plan, place)
    for _ in range(plan.runs):
        for app, found in rates.items():
            with SERVERS[server](app, place, env) as (_, base):
                found.append(measure.requests_per_second([base + env["BENCH_PATH"]], plan.seconds, place))
    return {app: measure.median(found) for app, found in rates.items()}


def _peers(plan: Plan) -> dict[str, float | str]:
    """Requests per second for a size that each peer has stored, or why there are none."""

    def thumbor(source: Path, folder: Path) -> Any:
        return peers.thumbor(source, folder, results=True)

    missing = {contender.serve: contender for contender in peers.peers()}
    files = None if peers.nginx_program() else missing[peers.nginx].missing
    contenders = [
        Contender(f"{missing[peers.thumbor].name}, its result storage", thumbor, missing[peers.thumbor].missing),
        Contender("nginx, the file itself", _files, files),
        Contender(f"{missing[peers.ipx].name}, which keeps nothing", peers.ipx, missing[peers.ipx].missing),
    ]
    return {contender.name: contender.missing or _rate(plan, contender) for contender in contenders}


def _rate(plan: Plan, contender: Contender) -> float:
    name = sources.names(plan, JPEG)[0]
    with contender.serving(sources.folder(plan, JPEG), BUILD / "run") as site:
        url = site.url(name, SIZE, "jpg")
        measure.fetch(url)
        return measure.median(measure.requests_per_second([url], plan.seconds, BUILD / "run") for _ in range(plan.runs))


def _files(source: Path, folder: Path) -> Any:
    """nginx in front of files of the same size as lazycrop's."""
    from lazycrop import LazyCrop

    place = folder / "files"
    images = LazyCrop(store=str(folder / "store"), sizes="any", broker="inline")
    place.mkdir()
    first = min(source.iterdir())
    images.store_origin("one", first)
    answer = images.answer(f"/one/{SIZE}.jpg")
    assert isinstance(answer.body, bytes)
    (place / first.name).write_bytes(answer.body)
    with contextmanager(peers.nginx)(place, folder) as site:
        yield Site(site.pid, lambda name, size, format: site.url(name, "files", format))
