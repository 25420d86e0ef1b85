"""The pages as they are sent: each one document with its style and script in it, and a policy that permits those."""

from __future__ import annotations

import base64
import hashlib
import re
from html import escape
from importlib import resources

from lazycrop.http.answers import Answer

# One script, in this order: what the last of them does at once uses all the others.
_SCRIPTS = ("url.js", "page.js", "wanted.js", "asking.js", "image.js", "copies.js", "compare.js", "start.js")
_INLINE = re.compile(r"<(style|script)>(.*?)</\1>", re.DOTALL)


def resource(name: str) -> bytes:
    """A file of this package."""
    return resources.files(__name__.rpartition(".")[0]).joinpath(name).read_bytes()


def document(name: str, status: int = 200, **said: str) -> Answer:
    """The page of this name. ``said``: what stands in it as ``{{name}}``, escaped here."""
    text = resource(name).decode()
    for key, value in said.items():
        text = text.replace(f"{{{{{key}}}}}", escape(value))
    scripts = "".join(resource(script).decode() for script in _SCRIPTS)
    text = text.replace("<style></style>", f"<style>{resource('page.css').decode()}</style>")
    text = text.replace("<script></script>", f"<script>{scripts}</script>")
    body = text.encode()
    headers = [
        ("Content-Type", "text/html; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-cache" if status == 200 else "no-store"),
        ("Content-Security-Policy", _content_security_policy(text)),
        ("Referrer-Policy", "no-referrer"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    return Answer(status, headers, body)


def _content_security_policy(page: str) -> str:
    """Nothing but this page's own style and script runs, and it talks to nobody but this server."""
    hashes = {
        kind: f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
        for kind, content in _INLINE.findall(page)
    }
    script = hashes.get("script", "'none'")
    return (
        f"default-src 'none'; style-src {hashes['style']}; script-src {script}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
