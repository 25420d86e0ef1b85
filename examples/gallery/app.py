"""A gallery in Flask and SQLAlchemy, whose pictures belong to its rows. Run it with ``flask --app app run``."""

from flask import Flask, redirect, render_template_string, request, url_for
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from werkzeug.wrappers import Response

from flask_lazycrop import LazyCrop
from lazycrop import LazyCropError
from lazycrop.catalogue import Image, ImageRef, Pictures

PAGE = """<!doctype html><title>Gallery</title>
<style>
body { font: 16px sans-serif; margin: 2em auto; max-width: 960px }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1em }
figure { margin: 0 } figure form { display: inline }
</style>
<h1>Gallery</h1>
<form method="post" enctype="multipart/form-data">
  <input name="title" placeholder="Title" required> <input type="file" name="picture" required> <button>Store</button>
</form>
<p>{{ photos|length }} pictures, {{ "%.1f"|format(photos|sum(attribute=1) / 1e6) }} MB of originals</p>
<main>{% for photo, length, width, height in photos %}
  <figure>{{ lazycrop_img(photo.picture, "300x200-cover", alt=photo.title) }}
    <figcaption>{{ photo.title }}, {{ width }} × {{ height }}
      <form method="post" action="{{ url_for('remove', photo_id=photo.id) }}"><button>Delete</button></form>
    </figcaption>
  </figure>{% endfor %}
</main>
"""
DATABASE = "sqlite:///gallery.db"


class Base(DeclarativeBase):
    pass


class Photo(Base):
    __tablename__ = "photo"

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str]
    picture: Mapped[ImageRef]


app = Flask(__name__)
lazycrop = LazyCrop(app, store="images", catalogue=DATABASE, sizes=["300x200-cover", "300x200-cover@2x"])
images = app.extensions["lazycrop"]
images.catalogue.create()
pictures = Pictures(images, Base)
engine = create_engine(DATABASE)
Base.metadata.create_all(engine)


@app.get("/")
def page() -> str:
    with Session(engine) as session:
        query = select(Photo, Image.bytes, Image.width, Image.height).join(Image, Image.id == Photo.picture)
        return render_template_string(PAGE, photos=session.execute(query.order_by(Image.stored_at.desc())).all())


@app.post("/")
def store() -> Response:
    with Session(engine) as session, session.begin():
        picture = pictures.store(session, request.files["picture"].stream, below="photos")
        session.add(Photo(title=request.form["title"], picture=picture))
    return redirect(url_for("page"))


@app.post("/<int:photo_id>/delete")
def remove(photo_id: int) -> Response:
    with Session(engine) as session, session.begin():
        session.delete(session.get_one(Photo, photo_id))
    return redirect(url_for("page"))


@app.errorhandler(LazyCropError)
def refused(error: LazyCropError) -> tuple[str, int]:
    return str(error), error.status
