"""Pictures in Starlette. Run it with ``uvicorn app:app``."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from lazycrop import LazyCrop, LazyCropError
from lazycrop.asgi import AsyncHelpers, AsyncImages, Middleware

PAGE = """<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
"""
images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
names: list[str] = []  # In a database, if it is to last.


async def page(request: Request) -> Response:
    helpers = AsyncHelpers(images, request.scope["root_path"] + images.config.prefix)
    return HTMLResponse(PAGE + "".join([await helpers.img(name, "300x200-cover", alt=name) for name in names]))


async def store(request: Request) -> Response:
    async with request.form() as form:
        name = f"picture-{len(names) + 1}"
        await AsyncImages(images).store_origin(name, form["picture"].file)
    names.append(name)
    return RedirectResponse("/", 303)


async def refused(request: Request, error: LazyCropError) -> Response:
    return PlainTextResponse(str(error), error.status)


routes = [Route("/", page), Route("/", store, methods=["POST"])]
app = Starlette(routes=routes, exception_handlers={LazyCropError: refused})
app.add_middleware(Middleware, images=images)
