"""Pictures in Flask. Run it with ``flask --app app run``."""

from flask import Flask, redirect, render_template_string, request, url_for
from werkzeug.wrappers import Response

from flask_lazycrop import LazyCrop
from lazycrop import LazyCropError

PAGE = """<!doctype html><title>Pictures</title>
<form method="post" enctype="multipart/form-data"><input type="file" name="picture"><button>Store</button></form>
{% for name in names %}{{ lazycrop_img(name, "300x200-cover", alt=name) }}{% endfor %}
"""

app = Flask(__name__)
app.config.update(LAZYCROP_STORE="images", LAZYCROP_SIZES=["300x200-cover", "300x200-cover@2x"])
lazycrop = LazyCrop(app)
names: list[str] = []  # In a database, if it is to last.


@app.get("/")
def page() -> str:
    return render_template_string(PAGE, names=names)


@app.post("/")
def store() -> Response:
    name = f"picture-{len(names) + 1}"
    lazycrop.store_origin(name, request.files["picture"])
    names.append(name)
    return redirect(url_for("page"))


@app.errorhandler(LazyCropError)
def refused(error: LazyCropError) -> tuple[str, int]:
    return str(error), error.status
