"""Pictures in plain WSGI. Run it with ``waitress-serve --listen=127.0.0.1:8080 app:application``.

Store one with ``curl -T cat.jpg http://127.0.0.1:8080/cat``.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from lazycrop import Helpers, LazyCrop, LazyCropError, Middleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
names: list[str] = []  # In a database, if it is to last.


def pages(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    status, text = "200 OK", "Stored."
    if environ["REQUEST_METHOD"] == "PUT":
        name = environ["PATH_INFO"].strip("/")
        try:
            images.store_origin(name, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            names.append(name)
        except LazyCropError as error:
            status, text = f"{error.status} Refused", str(error)
    else:
        markup = Helpers(images, environ["SCRIPT_NAME"] + "/img")
        pictures = "".join(markup.img(name, "300x200-cover", alt=name) for name in names)
        text = f"<!doctype html><title>Pictures</title>{pictures}"
    body = text.encode()
    start_response(status, [("Content-Type", "text/html; charset=utf-8"), ("Content-Length", str(len(body)))])
    return [body]


application = Middleware(pages, images, prefix="/img")
