"""Locations: the text of a URL, as a person types it or a server sends it, and its parts. [urllib3]"""

from __future__ import annotations

import re
from contextlib import suppress
from unicodedata import normalize
from urllib.parse import quote, urljoin

from urllib3.exceptions import HTTPError
from urllib3.util import Url, parse_url

from lazycrop.errors import FetchError

_LONGEST = 8_000  # characters; what RFC 9110, 4.1 asks every party to support at least
_PARTS = re.compile(r"(https?://)([^/?#:\[]*)([^\x00-\x1f\x7f\ud800-\udfff]*)", re.ASCII | re.IGNORECASE)
_NO_HOST = re.compile(r"[^!-~]|[/?#\\:\[]", re.ASCII)

_MALFORMED = (
    "The source URL is malformed; a text is taken for a URL, which is http:// or https://, a host and a path, on one"
    f" line and at most {_LONGEST:,} characters long. Give a Path for a file."
)
_MALFORMED_REDIRECT = (
    "The source URL's server redirects to a malformed URL, or to one that is neither http nor https; give the final"
    " URL."
)


def parsed(url: str) -> Url:
    """The parts of a URL, in ASCII, as a browser would ask for them. Raises FetchError."""
    return _parsed(_slashed(url.strip(" ")), _MALFORMED)


def redirected(source: Url, location: str) -> Url:
    """Where the ``Location`` of an answer leads, which http.client has read as Latin-1. Raises FetchError.

    Servers send it raw, in UTF-8 or whatever their file names are in; what is no UTF-8 goes back byte by byte.
    """
    data = re.sub("[\t\r\n]", "", location).strip(" ").encode("latin-1")  # as the URL Standard has it
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = quote(data, safe="".join(map(chr, range(128))))
    joined = ""
    with suppress(ValueError):  # http://[::1
        joined = urljoin(source.url, _slashed(text))
    return _parsed(joined, _MALFORMED_REDIRECT)


def describe(url: str) -> str:
    """The URL without credentials, query and fragment, fit to be kept and shown. Raises FetchError if malformed."""
    return parsed(url)._replace(auth=None, query=None, fragment=None).url


def _parsed(url: str, malformed: str) -> Url:
    """What urllib3 makes of it, which percent-encodes path and query; its host is in ASCII before."""
    found = Url()
    parts = _PARTS.fullmatch(url)
    if len(url) <= _LONGEST and parts and not _NO_HOST.search(host := _ascii(parts[2])):
        with suppress(HTTPError, ValueError):
            # One % that encodes nothing would have urllib3 encode all of them.
            rest = re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", parts[3])
            found = parse_url(f"{parts[1]}{host}{rest}")
    # A % would be the zone of an IPv6 address, or an encoded host: neither is a public name.
    if not found.host or "%" in found.host:
        raise FetchError(malformed)
    return found


def _ascii(host: str) -> str:
    """A host in the form that names are resolved in (RFC 3492).

    Browsers' way (UTS 46, non-transitional) but for a few letters, whose names are then not found. Not the codec of
    the standard library: to it straße.de is strasse.de, which is somebody else's.
    """
    if host.isascii():
        return host
    labels = re.split(r"[.\u3002]", normalize("NFKC", host.lower()))
    return ".".join(one if one.isascii() else f"xn--{one.encode('punycode').decode()}" for one in labels)


def _slashed(url: str) -> str:
    """To browsers a backslash before the query is a slash."""
    path, *query = re.split(r"(?=[?#])", url, maxsplit=1)
    return "".join([path.replace("\\", "/"), *query])
