from __future__ import annotations

import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lazycrop.access.signing import Signer
from lazycrop.errors import BadImageId, BadRequest, BadSize, Forbidden
from lazycrop.http.requests import Request, as_wsgi
from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
from lazycrop.model.keys import Key
from lazycrop.model.sizes import Size
from lazycrop.model.urls import Asked, parse

PRESETS = {"card": Size.parse("400x300-cover")}


@pytest.mark.parametrize(
    ("path", "query", "derivative"),
    [
        ("/cat/200x100.jpg", "", Derivative("cat", Size(200, 100), "jpg")),
        ("cat/200x100.jpg", "", Derivative("cat", Size(200, 100), "jpg")),
        ("/cat.jpg", "size=200x100", Derivative("cat", Size(200, 100), "jpg")),
        ("/cat.jpg", "a=b&size=200x100&s", Derivative("cat", Size(200, 100), "jpg")),
        ("/cat.jpg", "size=400x300-cover-ne%402x", Derivative("cat", Size.parse("400x300-cover-ne@2x"), "jpg")),
        ("/cat/v2/200x100.webp", "", Derivative("cat", Size(200, 100), "webp", 2)),
        ("/users/42/avatar/x64.png", "utm=%ff", Derivative("users/42/avatar", Size(None, 64), "png")),
        ("/users/42/avatar/x64.png", "", Derivative("users/42/avatar", Size(None, 64), "png")),
        ("/cat/card.auto", "", Derivative("cat", Size.parse("400x300-cover"), "auto")),
        ("/cat.gif", "size=card", Derivative("cat", Size.parse("400x300-cover"), "gif")),
        ("/cat/origin.jpg", "", Derivative("cat", None, "jpg")),
        ("/cat/origin.jpg", "\xff", Derivative("cat", None, "jpg")),
        (
            "/cat/origin.jpg",
            "utm_source=caf%E9&caf%e9=1&a=%&&=&;\xe9=\xff&utm_source=2",
            Derivative("cat", None, "jpg"),
        ),
        ("/cat/origin.jpg", "&".join("a=1" for _ in range(60)), Derivative("cat", None, "jpg")),
        ("/cat.jpg", "utm=%ff&%73ize=card&gclid=%00", Derivative("cat", Size.parse("400x300-cover"), "jpg")),
        ("/cét/200x100.jpg", "", Derivative("cét", Size(200, 100), "jpg")),
        ("/ce\u0301t/200x100.jpg", "", Derivative("cét", Size(200, 100), "jpg")),
        ("/c%61t/200x100.jpg", "", Derivative("c%61t", Size(200, 100), "jpg")),
        ("/Größe 1.jpg/v2/200x100.png", "", Derivative("Größe 1.jpg", Size(200, 100), "png", 2)),
        ("/猫.jpg", "size=9x", Derivative("猫", Size(9, None), "jpg")),
        ("/cat.jpeg/200x100.jpg", "", Derivative("cat.jpeg", Size(200, 100), "jpg")),
        ("/cat.JPG/200x100.jpeg", "", Derivative("cat.JPG", Size(200, 100), "jpg")),
        ("/cat.jpe.png", "size=9x", Derivative("cat.jpe", Size(9, None), "png")),
        ("/photos/cat.jpg/200x.jpg", "", Derivative("photos/cat.jpg", Size(200, None), "jpg")),
        ("/photos/cat.jpg.png", "size=200x", Derivative("photos/cat.jpg", Size(200, None), "png")),
    ],
)
def test_both_forms_of_a_url_name_one_derivative(path: str, query: str, derivative: Derivative | None) -> None:
    if derivative is None:
        with pytest.raises(BadRequest):
            parse(path, query, PRESETS)
    else:
        assert parse(path, query, PRESETS).derivative == derivative


@pytest.mark.parametrize(
    ("path", "query", "error"),
    [
        ("/cat", "", BadRequest),
        ("", "", BadRequest),
        ("/", "", BadRequest),
        ("/cat.jpg", "", BadRequest),
        ("/cat/200x100", "", BadRequest),
        ("/cat/200x100.", "", BadRequest),
        ("/cat/200x100.JPG", "", BadRequest),
        ("/cat/200x100.exe", "", BadRequest),
        ("/cat/0x0.jpg", "", BadSize),
        ("/cat/0200x100.jpg", "", BadSize),
        ("/cat/+200x100.jpg", "", BadSize),
        ("/cat/2_00x100.jpg", "", BadSize),
        ("/cat/٢٠٠x100.jpg", "", BadSize),
        ("/cat/200x100\n.jpg", "", BadSize),
        ("/cat/200x100.jpg\n", "", BadRequest),
        ("/cat.jpg", "size=200x100%0a", BadSize),
        ("/cat.jpg", "size=", BadSize),
        ("/cat.jpg", "size=200x100&size=100x50", BadRequest),
        ("/cat.jpg", "size=%ff", BadRequest),
        ("/cat/200x100.jpg", "size=%ff", BadRequest),
        ("/cat/200x100.jpg", "size=200x100", BadImageId),
        ("/v2/200x100.jpg", "", BadImageId),
        ("/cat/v1/200x100.jpg", "", BadImageId),
        ("/cat/v02/200x100.jpg", "", BadImageId),
        ("/cat/v2/v3/200x100.jpg", "", BadImageId),
        ("//cat/200x100.jpg", "", BadImageId),
        ("/cat//200x100.jpg", "", BadImageId),
        ("/../cat/200x100.jpg", "", BadImageId),
        ("/cat/../200x100.jpg", "", BadImageId),
        ("/.cat/200x100.jpg", "", BadImageId),
        ("/c\x00t/200x100.jpg", "", BadImageId),
        ("/c\x85t/200x100.jpg", "", BadImageId),
        ("/c\ud800t/200x100.jpg", "", BadImageId),
        ("/c\\t/200x100.jpg", "", BadImageId),
        ("/-private/cat/200x100.jpg", "", BadImageId),
        ("/cat/-claim-0af/200x100.jpg", "", BadImageId),
        (f"/{'a' * 201}/200x100.jpg", "", BadImageId),
        (f"/{'a/' * 600}200x100.jpg", "", BadImageId),
        ("/origin.jpg/200x100.jpg", "", BadImageId),
        ("/cat/mezzanine-640.jpg", "", BadSize),
        ("/cat/mezzanine-640.jpg/200x100.jpg", "", BadImageId),
    ],
)
def test_anything_else_is_a_bad_request(path: str, query: str, error: type[BadRequest]) -> None:
    with pytest.raises(error) as raised:
        parse(path, query, PRESETS)
    assert raised.value.status == 400
    assert str(raised.value).endswith(".")


PATHS = st.one_of(
    st.text(st.characters(), max_size=60),
    st.builds(
        "{}/{}.{}".format, st.text(st.characters(), max_size=20), st.sampled_from(["1x1", "card"]), st.just("jpg")
    ),
)


@given(PATHS, st.text(st.characters(), max_size=40), st.booleans())
def test_no_text_at_all_raises_anything_but_a_bad_request(path: str, query: str, is_adopted: bool) -> None:
    try:
        asked = parse(path, query, PRESETS, lambda image_id: is_adopted)
    except BadRequest as error:
        str(error).encode()  # It is sent to the client.
        return
    assert Key.parse(asked.derivative.key)
    for text in (asked.derivative.key, asked.moved or ""):
        assert not re.search(r"[\0-\x1f\x7f-\x9f\u2028\u2029\\]|(^|/)\.|//", text)
    assert (asked.moved or "").isascii()


@given(st.binary(max_size=60).map(lambda data: data + b"/1x1.jpg"))
@example(b"/\xc0\xae\xc0\xae/1x1.jpg")
def test_no_bytes_at_all_are_anything_but_text_or_a_bad_request(path: bytes) -> None:
    try:
        text = Request(path.decode("latin-1")).text
    except BadRequest as error:
        assert "is no UTF-8" in str(error) and str(error).isprintable()
        with pytest.raises(UnicodeDecodeError):
            path.decode()
    else:
        assert text.encode() == path and as_wsgi(text) == path.decode("latin-1")


def test_a_source_may_have_files_of_any_name() -> None:
    def is_adopted(image_id: str) -> bool:
        return image_id.startswith("médias/")

    for name in ("200x100.jpg", "v1", "origin.jpg", "image.json", "x9/-claim-0af"):
        for given_id in (f"médias/{name}", f"me\u0301dias/{name}"):
            asked = parse(f"/{given_id}/v2/9x.jpg", "", {}, is_adopted)
            assert asked.derivative == Derivative(f"médias/{name}", Size(9, None), "jpg", 2)
        with pytest.raises(BadImageId, match="reserved"):
            parse(f"/other/{name}/9x.jpg", "", {}, is_adopted)
    assert parse("/médias/v2/9x.jpg", "", {}, is_adopted).derivative.version == 2, "nobody could tell"


segments = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,9}", fullmatch=True).filter(
    lambda text: not re.fullmatch(r"v[0-9]+|(x[0-9]+.*)|origin\..*|mezzanine-.*", text)
)


@given(
    st.lists(segments, min_size=1, max_size=4).map("/".join),
    st.sampled_from(["200x100", "x7", "9x", "400x300-cover-ne@2x", "4x3-contain-bgfff-up", None]),
    st.sampled_from(sorted(CONTENT_TYPES)),
    st.sampled_from([None, 2, 17]),
)
def test_the_key_of_a_derivative_is_its_path(image_id: str, size: str | None, format: str, version: int | None) -> None:
    derivative = Derivative(image_id, Size.parse(size) if size else None, format, version)
    assert parse(f"/{derivative.key}", "", {}).derivative == derivative
    assert Derivative.from_message({**derivative.to_message(), "version": 3}) == derivative.at(3)


@pytest.mark.parametrize(
    "message",
    [None, [], "junk", {}, {"image_id": "cat"}, {"image_id": "../cat", "size": "1x1", "format": "jpg", "version": 1}]
    + [{"image_id": "cat", "size": "1x1", "format": "jpg", "version": bad} for bad in ("1", None, 0, -1, 1.5, [])]
    + [{"image_id": "cat", "size": bad, "format": "jpg", "version": 1} for bad in (7, "0x0", ["1x1"])],
)
def test_a_junk_message_names_no_derivative(message: object) -> None:
    with pytest.raises(BadRequest):
        Derivative.from_message(message)  # type: ignore[arg-type]


def signed(derivative: Derivative, query: str) -> Asked:
    return parse(f"/{derivative.key}", query, {})


CAT = Derivative("cat", Size(200, 100), "jpg")


def test_a_signature_opens_the_derivative_that_it_was_made_for_and_no_other() -> None:
    signer = Signer(["key"])
    query = signer.sign(CAT)
    assert signer.verify(signed(CAT, query))
    assert not signer.verify(signed(CAT, ""))
    for other in (
        Derivative("dog", CAT.size, "jpg"),
        Derivative("cat", Size(200, 101), "jpg"),
        Derivative("cat", CAT.size, "png"),
        CAT.at(2),
    ):
        with pytest.raises(Forbidden):
            signer.verify(signed(other, query))


def test_the_query_form_and_a_preset_carry_the_signature_of_the_path() -> None:
    signer = Signer(["key"])
    assert signer.verify(parse("/cat.jpg", f"size=200x100&{signer.sign(CAT)}", {}))
    card = Derivative("cat", PRESETS["card"], "jpg")
    assert signer.verify(parse("/cat/card.jpg", signer.sign(card), PRESETS))


@pytest.mark.parametrize("broken", ["", "x", "{0}x", "{1}", "{2}", "%20{0}", "{3}", "=", "é"])
def test_a_tampered_signature_is_forbidden(broken: str) -> None:
    signer = Signer(["key"])
    right = signer.sign(CAT).removeprefix("s=")
    wrong = broken.format(right, right[:-1], right.lower(), f"{right[:5]}%0a{right[5:]}")
    with pytest.raises((Forbidden, BadRequest)):
        signer.verify(signed(CAT, f"s={wrong}"))


def test_a_signature_that_stands_twice_is_refused() -> None:
    query = Signer(["key"]).sign(CAT)
    with pytest.raises(BadRequest):
        signed(CAT, f"{query}&{query}")


def test_keys_can_be_rotated() -> None:
    old, both, new = Signer(["old"]), Signer(["new", "old"]), Signer(["new"])
    assert both.verify(signed(CAT, old.sign(CAT)))
    assert new.verify(signed(CAT, both.sign(CAT)))
    with pytest.raises(Forbidden):
        new.verify(signed(CAT, old.sign(CAT)))


def test_a_signature_expires_and_its_time_is_signed_too() -> None:
    signer = Signer(["key"])
    now = int(time.time())
    assert signer.verify(signed(CAT, signer.sign(CAT, now + 60)))
    with pytest.raises(Forbidden, match="expired"):
        signer.verify(signed(CAT, signer.sign(CAT, now - 1)))
    for changed in (f"{now + 9999}", "", "0", "x", "9" * 5000):
        query = signer.sign(CAT, now + 60).replace(f"e={now + 60}", f"e={changed}")
        with pytest.raises(Forbidden):
            signer.verify(signed(CAT, query))
