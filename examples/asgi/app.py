"""Pictures in plain ASGI. Run it with ``granian --interface asgi app:application``.

Store one with ``curl -T cat.jpg http://127.0.0.1:8000/cat``.
"""

from lazycrop import LazyCrop
from lazycrop.asgi import AsyncHelpers, AsyncImages, Middleware

images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
verbs, helpers = AsyncImages(images), AsyncHelpers(images)
names: list[str] = []  # In a database, if it is to last.


async def application(scope, receive, send):
    if scope["type"] != "http":
        return
    text = "Stored."
    if scope["method"] == "PUT":
        name, body, more = scope["path"].strip("/"), b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        await verbs.store_origin(name, body)  # It waits for disks and networks.
        names.append(name)
    else:
        text = "<!doctype html><title>Pictures</title>"
        text += "".join([await helpers.img(name, "300x200-cover", alt=name) for name in names])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": text.encode()})


application = Middleware(application, images)
