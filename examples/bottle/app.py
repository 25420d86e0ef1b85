"""Pictures in Bottle. Run it with ``python -m bottle app:app``."""

from bottle import Bottle, HTTPResponse, redirect, request, template

from bottle_lazycrop import LazyCropPlugin
from lazycrop import LazyCrop, LazyCropError

PAGE = """<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
% for name in names:
{{!lazycrop_img(name, "300x200-cover", alt=name)}}
% end
"""

app = Bottle()
app.install(LazyCropPlugin(store="images", sizes=["300x200-cover", "300x200-cover@2x"]))
names: list[str] = []  # In a database, if it is to last.


@app.get("/")
def page() -> str:
    return str(template(PAGE, names=names))


@app.post("/")
def store(lazycrop: LazyCrop) -> None:
    name = f"picture-{len(names) + 1}"
    try:
        lazycrop.store_origin(name, request.files.picture.file)
    except LazyCropError as error:
        raise HTTPResponse(str(error), error.status) from None
    names.append(name)
    redirect("/")
