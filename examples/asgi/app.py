"""Pictures in plain ASGI. Run it with ``granian --interface asgi app:application``.

Store one with ``curl -T cat.jpg http://127.0.0.1:8000/cat``. A framework mounts the images in one line; in Starlette
and FastAPI it is ``app.mount("/img", WSGIMiddleware(ImageApp(images)))``.
"""

import asyncio

from a2wsgi import WSGIMiddleware

from lazycrop import Helpers, ImageApp, LazyCrop

images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
pictures = WSGIMiddleware(ImageApp(images))
names: list[str] = []  # In a database, if it is to last.


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"].startswith("/img/"):
        await pictures({**scope, "root_path": "/img"}, receive, send)
        return
    text = "Stored."
    if scope["method"] == "PUT":
        name, body, more = scope["path"].strip("/"), b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await asyncio.to_thread(images.store_origin, name, body)  # It waits for disks and networks.
        names.append(name)
    else:
        text = "<!doctype html><title>Pictures</title>"
        text += "".join(Helpers(images, "/img").img(name, "300x200-cover", alt=name) for name in names)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": text.encode()})
