"""What pages say of images."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape
from PIL import Image

from lazycrop import Helpers, LazyCrop, UnknownImage
from lazycrop.errors import BadImageId, BadRequest, BadSize, NotAllowed, StoreUnavailable
from lazycrop.http.requests import Request
from lazycrop.stores.memory import MemoryStore
from servers import Memcached, eventually

PUBLIC_URL = "https://cdn.example.com/"
Make = Callable[..., LazyCrop]


def picture(width: int, height: int, mode: str = "RGB", format: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert(mode).save(file, format)
    return file.getvalue()


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes a LazyCrop in memory that has a cat of 800x600."""
    made: list[LazyCrop] = []

    def make_images(**settings: Any) -> LazyCrop:
        images = LazyCrop(**{"store": MemoryStore(PUBLIC_URL), "sizes": "any", "broker": "inline"} | settings)
        images.store_origin("cat", picture(800, 600, format="JPEG"))
        made.append(images)
        return images

    yield make_images
    for images in made:
        images.close()


class Tags(HTMLParser):
    """The tags of some HTML, with their attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), "an attribute stands twice"
        self.found.append((tag, dict(attrs)))


def img(html: str) -> dict[str, str | None]:
    [(tag, attributes)] = Tags(html).found
    assert tag == "img"
    return attributes


def test_an_img_has_all_that_a_page_needs(make: Make) -> None:
    images = make()
    attributes = img(Helpers(images).img("cat", "300x300", alt="A cat"))
    style = attributes.pop("style")
    assert style and style.startswith("background:#") and images.record("cat").placeholder in style  # type: ignore[operator]
    assert attributes == {
        "src": "/img/cat/300x300.auto",
        "srcset": "/img/cat/300x300.auto 1x, /img/cat/300x300@2x.auto 2x",
        "width": "300",
        "height": "225",
        "alt": "A cat",
        "loading": "lazy",
        "decoding": "async",
    }


def test_what_is_said_by_the_page_is_escaped(make: Make) -> None:
    nasty = """"><script>alert('1')</script>&amp;"""
    html = Helpers(make()).img("cat", "300x", alt=nasty, title=nasty, class_=nasty, sizes=nasty, widths=[300])
    attributes = img(html)
    assert [attributes[name] for name in ("alt", "title", "class", "sizes")] == [nasty] * 4
    for name in ("on click", "a=b", "a>", 'a"', "", "1a", "ä"):
        with pytest.raises(BadRequest, match="attribute"):
            Helpers(make()).img("cat", "300x", **{name: "x"})


def test_attributes_are_spelled_as_in_python(make: Make) -> None:
    options = {"class_": "photo", "data_id": 5, "hidden": True, "ismap": False, "decoding": None, "loading": "eager"}
    attributes = img(Helpers(make()).img("cat", "300x", **options))
    assert attributes["class"] == "photo" and attributes["data-id"] == "5" and attributes["loading"] == "eager"
    assert attributes["hidden"] is None and not {"ismap", "decoding", "class_"} & set(attributes)


def test_templates_that_escape_leave_it_as_it_is(make: Make) -> None:
    html = Helpers(make()).img("cat", "300x")
    assert escape(html) == html
    assert str(escape(Helpers(make(secret=["key"], sizes=[])).url("cat", "300x", expires=9))).count("&amp;") == 1
    assert not hasattr(html + "<b>", "__html__")


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ("300x300", (300, 225)),
        ("x300", (400, 300)),
        ("300x300-cover", (300, 300)),
        ("300x300-contain", (300, 300)),
        ("1200x", (800, 600)),
        ("1200x-up", (1200, 900)),
        ("300x300-cover@2x", (300, 300)),
        ("origin", (800, 600)),
        ((200, None), (200, 150)),
        ("card", (320, 240)),
    ],
)
def test_width_and_height_are_those_of_the_picture_that_is_answered(
    make: Make, size: Any, shown: tuple[int, int]
) -> None:
    images = make(presets={"card": "320x"})
    attributes = img(Helpers(images).img("cat", size))
    assert (attributes["width"], attributes["height"]) == tuple(map(str, shown))
    path = str(attributes["src"]).removeprefix("/img")
    body = images.answer(Request(path)).body
    if isinstance(body, bytes) and body:
        width, height = Image.open(io.BytesIO(body)).size
        dpr = 2 if "@2x" in path else 1
        assert (width / dpr, height / dpr) == shown


def test_a_candidate_says_how_dense_it_really_is(make: Make) -> None:
    """Else a browser takes a small origin for a smaller picture than it is."""
    markup = Helpers(make())
    assert str(img(markup.img("cat", "500x"))["srcset"]).endswith("/500x@2x.auto 1.6x")
    assert "srcset" not in img(markup.img("cat", "800x"))
    assert "srcset" not in img(markup.img("cat", "origin"))


def test_a_dense_candidate_is_offered_where_policy_allows_it(make: Make) -> None:
    markup = Helpers(make(sizes=["300x", "200x", "200x@2x"]))
    assert "srcset" not in img(markup.img("cat", "300x"))
    assert "200x@2x" in str(img(markup.img("cat", "200x"))["srcset"])
    assert "&e=" not in str(img(Helpers(make(sizes=[], secret=["key"])).img("cat", "300x"))["srcset"])
    for helper in (markup.img, markup.url, markup.picture):
        with pytest.raises(NotAllowed):
            helper("cat", "301x")
    with pytest.raises(NotAllowed):
        markup.srcset("cat", [200, 301])


def test_every_url_is_answered(make: Make) -> None:
    images = make(sizes=["200x"], secret=["key"])
    markup = Helpers(images)
    html = markup.picture("cat", "300x200-cover", widths=[150, 300, 600])
    urls = [
        str(attributes[name]) for _, attributes in Tags(html).found for name in ("src", "srcset") if name in attributes
    ]
    candidates = [candidate.split() for url in urls for candidate in url.split(", ")]
    assert len(candidates) == 10
    for url, *descriptor in candidates:
        path, _, query = url.removeprefix("/img").partition("?")
        answer = images.answer(Request(path, query=query))
        assert answer.status in (200, 301)
        if descriptor and isinstance(answer.body, bytes) and answer.body:
            width, height = Image.open(io.BytesIO(answer.body)).size
            assert descriptor == [f"{width}w"] and height == round(width * 2 / 3)


def test_a_srcset_of_widths_says_the_width_of_each_picture_once(make: Make) -> None:
    markup = Helpers(make())
    assert markup.srcset("cat", [200, "400x400", (None, 450), 900, 1000, "origin"], "webp") == (
        "/img/cat/200x.webp 200w, /img/cat/400x400.webp 400w, /img/cat/x450.webp 600w, /img/cat/900x.webp 800w"
    )
    assert markup.srcset("cat", [200]) == "/img/cat/200x.auto 200w"


def test_widths_keep_the_shape_of_the_size(make: Make) -> None:
    attributes = img(Helpers(make()).img("cat", "300x200-cover", widths=[150, 600]))
    assert attributes["srcset"] == "/img/cat/150x100-cover.auto 150w, /img/cat/600x400-cover.auto 600w"
    assert attributes["sizes"] == "(max-width: 300px) 100vw, 300px"
    attributes = img(Helpers(make()).img("cat", "x300", widths=[200], sizes="50vw"))
    assert (attributes["srcset"], attributes["sizes"]) == ("/img/cat/200x.auto 200w", "50vw")


def test_a_picture_has_a_source_for_each_format(make: Make) -> None:
    [(tag, _), *sources, (last, fallback)] = Tags(Helpers(make()).picture("cat", "300x", alt="A cat")).found
    assert (tag, last, fallback["src"], fallback["alt"]) == ("picture", "img", "/img/cat/300x.jpg", "A cat")
    assert [attributes["type"] for _, attributes in sources] == ["image/avif", "image/webp"]
    assert sources[0][1]["srcset"] == "/img/cat/300x.avif 1x, /img/cat/300x@2x.avif 2x"
    found = Tags(Helpers(make(formats=["webp", "jpg"])).picture("cat", "900x")).found
    assert [attributes.get("srcset") for _, attributes in found] == [None, "/img/cat/900x.webp", None]
    assert Helpers(make()).picture("cat", "300x", formats=["webp"]).count("<source") == 1


def test_a_new_version_has_new_urls(make: Make) -> None:
    images = make()
    images.store_origin("cat", picture(400, 400))
    attributes = img(Helpers(images).img("cat", "300x"))
    assert attributes["src"] == "/img/cat/v2/300x.auto" and attributes["height"] == "300"
    assert Helpers(images).url("cat", "300x") == "/img/cat/v2/300x.jpg"


def test_the_placeholder_is_not_seen_through_the_picture(make: Make) -> None:
    images = make()
    images.store_origin("logo", picture(300, 300, "RGBA"))
    file = io.BytesIO()
    Image.new("RGBA", (300, 300), (255, 0, 0, 100)).save(file, "PNG")
    images.store_origin("glass", file.getvalue())
    markup = Helpers(images)
    assert "style" not in img(markup.img("glass", "100x"))
    assert "style" not in img(markup.img("cat", "100x100-contain"))
    assert "style" not in img(markup.img("cat", "100x", placeholder=False))
    assert str(img(markup.img("cat", "100x", style="float:left"))["style"]).endswith("no-repeat;float:left")


def test_a_record_that_others_wrote_puts_nothing_into_a_style(make: Make) -> None:
    images = make()
    content = json.loads(images.store.get("cat/image.json", 10_000))
    for placeholder, colour in (
        ("data:image/webp;base64,AA);position:fixed", "ffffff"),
        ("https://evil.example/x.png", "ffffff"),
        ("data:image/svg+xml,<svg/>", "ffffff"),
        (content["placeholder"], "fff;position:fixed"),
    ):
        changed = json.dumps({**content, "placeholder": placeholder, "colour": colour}).encode()
        images.store.put("cat/image.json", changed, "application/json")
        images._state.forget("cat")
        images._records.forget_recent()
        html = Helpers(images).img("cat", "100x")
        is_new = placeholder != content["placeholder"]
        assert not (is_new and content["placeholder"] in html), "it is drawn from what was there before"
        assert "fixed" not in html and "evil" not in html and "svg" not in html


@pytest.mark.parametrize("image_id", ["dog", "no such id", "no/../such", ""])
def test_a_missing_image_is_the_fallback(make: Make, image_id: str) -> None:
    markup = Helpers(make(fallback_url="/static/none.png?a&b"))
    assert markup.url(image_id, "300x200") == markup.srcset(image_id, [300]) == "/static/none.png?a&b"
    attributes = img(markup.img(image_id, "300x200", alt="A dog", class_="photo"))
    assert attributes["src"] == "/static/none.png?a&b" and attributes["alt"] == "A dog"
    assert (attributes["width"], attributes["height"], attributes["class"]) == ("300", "200", "photo")
    assert [tag for tag, _ in Tags(markup.picture(image_id, "300x")).found] == ["picture", "img"]
    with pytest.raises(BadSize):
        markup.img(image_id, "300")


def test_without_a_fallback_a_missing_image_is_an_error(make: Make) -> None:
    markup = Helpers(make())
    for helper in (markup.url, markup.img, markup.picture):
        with pytest.raises(UnknownImage):
            helper("dog", "300x")
        with pytest.raises(BadImageId):
            helper("no/../such", "300x")
    with pytest.raises(UnknownImage):
        markup.srcset("dog", [300])


def test_a_store_that_does_not_answer_costs_the_pictures_and_not_the_page(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/image.json").write_bytes(bytes(1_000_000))
    settings: dict[str, Any] = {"store": tmp_path, "sizes": "any"}
    assert 'src="/none.png"' in Helpers(LazyCrop(**settings, fallback_url="/none.png")).img("cat", "300x")
    with pytest.raises(StoreUnavailable):
        Helpers(LazyCrop(**settings)).img("cat", "300x")


def test_a_direct_url_is_that_of_the_store_once_the_size_is_stored(make: Make) -> None:
    images = make()
    markup = Helpers(images)
    assert markup.url("cat", "300x", direct=True) == "/img/cat/300x.jpg"
    images.answer(Request("/cat/300x.jpg"))
    eventually(lambda: images.store.exists("cat/300x.jpg"))
    assert markup.url("cat", "300x", direct=True) == f"{PUBLIC_URL}cat/300x.jpg"
    assert markup.url("cat", "300x") == "/img/cat/300x.jpg"
    assert markup.url("cat", "origin", direct=True) == f"{PUBLIC_URL}cat/origin.jpg"
    assert markup.srcset("cat", [300, 400], "jpg", direct=True) == (
        f"{PUBLIC_URL}cat/300x.jpg 300w, /img/cat/400x.jpg 400w"
    )
    assert f'<img src="{PUBLIC_URL}cat/300x.jpg"' in markup.picture("cat", "300x", direct=True)
    assert "cdn" not in markup.img("cat", "300x", direct=True), "what auto is, nobody knows before the request"


def test_what_is_streamed_has_no_direct_url(make: Make) -> None:
    for images in (make(answer="stream"), make(store=MemoryStore())):
        images.answer(Request("/cat/300x.jpg"))
        assert Helpers(images).url("cat", "300x", direct=True) == "/img/cat/300x.jpg"


def test_urls_begin_where_the_images_are_mounted(make: Make) -> None:
    markup = Helpers(make(), "/b%C3%A4r/media")
    html = markup.picture("cat", "300x")
    assert html.count("/b%C3%A4r/media/cat/") == 7 and "/img/" not in html
    assert markup.url("cat", "300x") == "/b%C3%A4r/media/cat/300x.jpg"


def test_one_look_at_the_cache_makes_a_page(make: Make, memcached: Memcached) -> None:
    images = make(memcached=[memcached.address], auto_formats=["webp"])
    markup = Helpers(images)
    look, looks = images._state.look, []
    images._state.look = lambda *arguments: looks.append(arguments) or look(*arguments)  # type: ignore[func-returns-value, method-assign]
    for html in (
        markup.img("cat", "300x"),
        markup.picture("cat", "300x", widths=range(100, 800, 50)),
        markup.srcset("cat", range(100, 800, 50)),
    ):
        assert "/cat/" in html
    assert len(looks) <= 1
