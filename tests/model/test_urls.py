from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazycrop.access.signing import Signer
from lazycrop.errors import BadImageId, BadRequest, BadSize, Forbidden
from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
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
        ("/c\xe9t/200x100.jpg", "", BadImageId),
        ("/c%61t/200x100.jpg", "", BadImageId),
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


@given(st.text(max_size=60), st.text(max_size=40))
def test_no_text_at_all_raises_anything_but_a_bad_request(path: str, query: str) -> None:
    try:
        asked = parse(path, query, PRESETS)
    except BadRequest:
        return
    assert re.fullmatch(r"[A-Za-z0-9_./@-]+", asked.derivative.key)


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
