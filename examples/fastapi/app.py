"""Pictures in FastAPI. Run it with ``uvicorn app:app``."""

from fastapi import FastAPI, Request, Response, UploadFile
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse

from lazycrop import LazyCrop, LazyCropError
from lazycrop.asgi import AsyncHelpers, AsyncImages, Middleware

PAGE = """<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
"""
images = LazyCrop(store="images", sizes=["300x200-cover", "300x200-cover@2x"])
verbs, helpers = AsyncImages(images), AsyncHelpers(images)
names: list[str] = []  # In a database, if it is to last.

app = FastAPI()
app.add_middleware(Middleware, images=images)


@app.get("/", response_class=HTMLResponse)
async def page() -> str:
    return PAGE + "".join([await helpers.img(name, "300x200-cover", alt=name) for name in names])


@app.post("/")
async def store(picture: UploadFile) -> Response:
    name = f"picture-{len(names) + 1}"
    await verbs.store_origin(name, picture.file)
    names.append(name)
    return RedirectResponse("/", 303)


@app.exception_handler(LazyCropError)
async def refused(request: Request, error: LazyCropError) -> Response:
    return PlainTextResponse(str(error), error.status)
