"""Folder hits: sizes that lazycrop streams from its folder, against WhiteNoise on the same files."""

from __future__ import annotations

from benchmarks import BUILD, ROOT, measure, sources
from benchmarks.peers import WHITENOISE
from benchmarks.report import Check, Row, Table
from benchmarks.rows.hot import SERVERS
from benchmarks.sources import JPEG, SIZES, Plan

LEAST = 1.0


def row(plan: Plan) -> Row:
    if not WHITENOISE.exists():
        return Row("Folder hits", [Check("÷ WhiteNoise (missing: pip install failed)", None, LEAST, True)])
    rates = {(server, size): _rates(plan, server, size) for server in SERVERS for size in (SIZES[0], SIZES[2])}
    checks = [
        Check(f"{size} under {server}: requests/s ÷ WhiteNoise's", found["images"] / found["whitenoise"], LEAST, True)
        for (server, size), found in rates.items()
    ]
    rows = {
        f"{size} under {server}": [found["images"], found["whitenoise"], found["images"] / found["whitenoise"]]
        for (server, size), found in rates.items()
    }
    return Row("Folder hits", checks, [Table("Requests per second", ["lazycrop", "WhiteNoise", "ratio"], rows)])


def _rates(plan: Plan, server: str, size: str) -> dict[str, float]:
    from lazycrop import LazyCrop

    place = BUILD / "run"
    env = sources.serving(sources.store(plan, JPEG), place)
    paths = [f"/{sources.image_id(name)}/{size}.jpg" for name in sources.names(plan, JPEG)]
    images = LazyCrop(store=env["LAZYCROP_STORE"], sizes="any", broker="inline")
    assert all(images.answer(path).status == 200 for path in paths)
    env["PYTHONPATH"] = f"{ROOT}:{WHITENOISE}"
    rates: dict[str, list[float]] = {"images": [], "whitenoise": []}
    for _ in range(plan.runs):
        for app, found in rates.items():
            with SERVERS[server](app, place, env) as (_, base):
                urls = [base + path for path in paths]
                for url in urls:
                    measure.fetch(url)
                found.append(measure.requests_per_second(urls, plan.seconds, place))
    return {app: measure.median(found) for app, found in rates.items()}
