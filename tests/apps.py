"""Applications that real servers load in the tests; their LazyCrop is the environment's."""

from __future__ import annotations

import logging
from typing import Any

from lazycrop import LazyCrop, Middleware

logging.basicConfig(level=logging.INFO)


def page(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "4")])
    return [b"page"]


images = LazyCrop.from_env()
application = Middleware(page, images)
