"""The application: images, what watches them, and a way to change them. Its LazyCrop is the environment's."""

from __future__ import annotations

import json
import logging
from typing import Any

from lazycrop import HealthApp, LazyCrop, LazyCropError, MetricsApp, Middleware, logs

logs.write_json(logging.WARNING)
images = LazyCrop.from_env()
_health = HealthApp(images)
_beside: dict[str, Any] = {"/healthz": _health, "/healthz/live": _health, "/metrics": MetricsApp(images)}


def _change(method: str, image_id: str, environ: dict[str, Any]) -> dict[str, object]:
    if method == "DELETE":
        return {"objects": images.purge(image_id)}
    data = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    return {"version": images.store_origin(image_id, data, private="private" in environ["QUERY_STRING"]).version}


def _rest(environ: dict[str, Any], start_response: Any) -> Any:
    path = environ["PATH_INFO"]
    if not path.startswith("/origins/"):
        return _beside[path](environ, start_response)
    try:
        status, said = 200, _change(environ["REQUEST_METHOD"], path.removeprefix("/origins/"), environ)
    except LazyCropError as error:
        status, said = error.status, {"code": error.code}
    start_response(f"{status} -", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]


application = Middleware(_rest, images)
