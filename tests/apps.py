"""Applications that real servers load in the tests; their LazyCrop is the environment's."""

from __future__ import annotations

import logging
from typing import Any

from lazycrop import ImageApp, LazyCrop, Middleware

logging.basicConfig(level=logging.INFO)


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"page"]


images = LazyCrop.from_env()
application = Middleware(page, images)


def under_sub_path(environ: dict[str, Any], start_response: Any) -> Any:
    """``application`` mounted under /sub/path, as a front-end or a URL map does it."""
    if not environ["PATH_INFO"].startswith("/sub/path/"):
        return page(environ, start_response)
    environ["SCRIPT_NAME"] += "/sub/path"
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/sub/path")
    return application(environ, start_response)


standalone = ImageApp(images)
