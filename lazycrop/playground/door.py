"""The door of the demo: who may come in, by the name that is asked for and by a token.

Whoever reaches the demo may store images.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode

from lazycrop.errors import Forbidden
from lazycrop.http import answers
from lazycrop.http.answers import Answer
from lazycrop.playground.page import document
from lazycrop.wsgi import send

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_ALL = ("0.0.0.0", "::")
_TOKEN = "token"


def addressed(app: WSGIApplication, host: str, port: int | None) -> WSGIApplication:
    """``app`` for those who mean it: a page of another site can have its own name lead here (DNS rebinding)."""
    name = f"[{host}]" if ":" in host else host
    names = {"localhost", "127.0.0.1", "[::1]", name.lower()}

    def addressed(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        found = re.fullmatch(r"(\[[^\]]*\]|[^:]*)(?::([0-9]{1,5}))?", environ.get("HTTP_HOST", "").lower())
        # Listening on all addresses, it is reached by any; what is no name cannot be made to lead here.
        known = found and (found[1] in names or (host in _ALL and _is_address(found[1])))
        if not found or not known or (port is not None and int(found[2] or 80) != port):
            where = f"localhost:{port}" if port else "localhost"
            refusal = Forbidden(f"This is the demo of {where}; ask for it there.")
            return send(answers.error(refusal), environ, start_response)
        return app(environ, start_response)

    return addressed


def is_open(host: str) -> bool:
    """Can others than this machine reach what listens on ``host``?"""
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host.lower() != "localhost"


def _is_address(name: str) -> bool:
    try:
        return bool(ip_address(name.strip("[]")))
    except ValueError:
        return False


def locked(app: WSGIApplication, token: str, port: int | None) -> WSGIApplication:
    """``app`` for who has the token: it is asked for on a page, or stands in the link, and a cookie keeps it."""
    cookie = f"lazycrop-demo-{port or 0}"  # Cookies are of a host, whichever its port (RFC 6265, 8.5).

    def locked(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if _is(token, _cookie(environ, cookie)):
            return app(environ, start_response)
        query = parse_qsl(environ.get("QUERY_STRING", ""), errors="replace")
        given = dict(query).get(_TOKEN)
        if _is(token, given):
            return send(_let_in(f"{cookie}={token}", query), environ, start_response)
        if environ["REQUEST_METHOD"] == "GET" and environ.get("PATH_INFO", "") == "/":
            return send(_asking(given, query), environ, start_response)
        refusal = Forbidden("This demo wants the token that it printed when it was started; open / and give it.")
        return send(answers.error(refusal), environ, start_response)

    return locked


def _is(token: str, given: str | None) -> bool:
    return secrets.compare_digest(token.encode(), (given or "").encode(errors="replace"))


def _cookie(environ: WSGIEnvironment, name: str) -> str | None:
    try:
        found = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(name)
    except CookieError:
        return None
    return found.value if found else None


def _let_in(cookie: str, query: list[tuple[str, str]]) -> Answer:
    """To the page itself, so that the token stands in no history, and in no link that is shared."""
    answer = answers.elsewhere(f"/?{urlencode([(name, value) for name, value in query if name != _TOKEN])}".rstrip("?"))
    # Lax: who comes by a link in a mail is let in at once.
    answer.headers.append(("Set-Cookie", f"{cookie}; Path=/; HttpOnly; SameSite=Lax"))
    return answer


def _asking(given: str | None, query: list[tuple[str, str]]) -> Answer:
    rest = dict(query)
    error = "" if given is None else "That is not the token. It stands where the demo was started, behind token=."
    return document("door.html", 403, error=error, show=rest.get("show", ""))
