"""Image ids as users have them in templates and views, and options that are no attributes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from jinja2 import Undefined
from PIL import Image

from lazycrop import BadImageId, BadRequest, Helpers, LazyCrop

ROW = UUID("12345678-1234-5678-1234-567812345678")


def make(**settings: Any) -> LazyCrop:
    images = LazyCrop(**{"store": "memory:", "sizes": "any", "broker": "inline", **settings})
    data = io.BytesIO()
    Image.new("RGB", (400, 300), (9, 99, 200)).save(data, "JPEG")
    for image_id in (42, ROW):
        images.store_origin(image_id, data.getvalue())
    return images


def calls(images: LazyCrop) -> list[Callable[[Any], str]]:
    helpers = Helpers(images)
    return [
        lambda image_id: helpers.url(image_id, "200x100"),
        lambda image_id: helpers.srcset(image_id, [200]),
        lambda image_id: helpers.img(image_id, "200x100"),
        lambda image_id: helpers.picture(image_id, "200x100"),
    ]


@pytest.mark.parametrize("image_id", [42, "42", ROW, str(ROW)])
def test_the_number_or_uuid_of_a_row_is_its_text(image_id: Any) -> None:
    images = make()
    assert images.record(image_id).image_id == str(image_id)
    assert images.url(image_id, "200x100") == f"/img/{image_id}/200x100.jpg"
    assert images.warm(image_id, ["200x100"])[0].key == f"{image_id}/200x100.jpg"
    for call in calls(images):
        assert f"/img/{image_id}/" in call(image_id)
    assert images.purge(image_id) > 0


def test_none_is_the_fallback_where_there_is_one() -> None:
    for call in calls(make(fallback_url="/static/none.png")):
        assert "/static/none.png" in call(None)
    for call in calls(make()):
        with pytest.raises(BadImageId, match="is None; it is a text"):
            call(None)


@pytest.mark.parametrize("image_id", [1.5, True, b"cat", ["cat"], object(), Undefined(name="user")])
def test_an_id_of_another_type_is_a_sentence_with_and_without_a_fallback(image_id: Any) -> None:
    for images in (make(), make(fallback_url="/static/none.png")):
        for call in [*calls(images), images.record, images.purge]:
            with pytest.raises(BadImageId, match=r"is a \w+; it is a text, a whole number or a UUID"):
                call(image_id)
        with pytest.raises(BadImageId):
            images.store_origin(image_id, b"")
        with pytest.raises(BadImageId):
            images.url(image_id, "200x100")


@pytest.mark.parametrize("option", ["bound", "focal", "query", "quality", "dpr", "mount", "gravity", "background"])
def test_an_option_that_a_helper_has_not_is_no_attribute(option: str) -> None:
    helpers = Helpers(make())
    for helper in (helpers.img, helpers.picture):
        with pytest.raises(BadRequest, match=f"'{option}' is no option"):
            helper(42, "200x100", **{option: 60})
    with pytest.raises(BadRequest, match="'formats'"):
        helpers.img(42, "200x100", formats=["webp"])
    with pytest.raises(BadRequest, match="'format'"):
        helpers.picture(42, "200x100", format="webp")


def test_attributes_of_html_are_still_attributes() -> None:
    html = Helpers(make()).img(42, "200x100", width=7, fetchpriority="high", style="border:0", hx_get="/x", role="img")
    for attribute in ('width="7"', 'fetchpriority="high"', 'hx-get="/x"', 'role="img"', "border:0"):
        assert attribute in html
