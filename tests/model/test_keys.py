"""Image ids, and the keys of their objects: text of any language in, the same text out, and nothing between."""

from __future__ import annotations

import unicodedata
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lazycrop.access.signing import Signer
from lazycrop.errors import BadImageId
from lazycrop.model import keys
from lazycrop.model.derivatives import CONTENT_TYPES, Derivative
from lazycrop.model.keys import Key, check_image_id, read_image_id
from lazycrop.model.sizes import Size
from lazycrop.model.urls import parse, quoted

NAMES = [
    *("Größe 1.jpg", "кот", "猫", "한글", "שלום", "قطة", "Việt Nam"),
    *("é", "ᾂ", "ﬁn", "Å", "İstanbul", "ßẞ", "x\u0323\u0307"),
    *("🐈", "👩‍👩‍👧‍👦", "🇩🇪", "a\u200eb", "a\u202eb"),
    *("\uf8ff", "ｆｕｌｌ．．", "․․", "\U00020000", "\u0301a mark first"),
    *("100%", "%20", "%2e%2e", "%2F", "a#b", "a+b", "a?b", "a&b=c"),
    *("a;b", "a,b", "'", '"', "<b>", "`$(x)`", "*", "~"),
    *(":", "|", " ", " a", "a ", "a.", "a..", "-"),
    *("--", "-a", "con", "NUL.jpg", "cat.JPG", "cat.jpeg", "cat.jpe", "@2x"),
    *("cat.jpg.png", "4x4 jeep.jpg", "x 1", "v", "v2a"),
    *("version2", "image.JSON", "origin", "mezzanine.jpg", "-claim-"),
    *("-claim-zz", "-private.jpg", "-privates", "a" * 200, "猫" * 200, "🐈" * 200),
]
"""Names of files, each an image id by itself."""

ADOPTED = [
    *("v1", "v2", "v02", "v17", "V2", "200x100.jpg", "1x1", "x9", "9x", "800x600-2", "image.json", "origin.jpg"),
    *("mezzanine-640.jpg", "-claim-0af"),
]
"""Those that only a source's files may have."""

MALFORMED = [
    *("", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/..", "a/../b", "a/./b", ".a", "a/.b", ".../a", "\\", "a\\b"),
    *("..\\a", "\0", "a\0b", "a\nb", "a\r", "\t", "\x7f", "\x85", "\x9b", "\u2028", "a\u2029b", "\ud800", "a\udcffb"),
    *("\ufdd0", "\ufffe", "\uffff", "\U0001ffff", "\U0010fffe"),
    *("a" * 201, "猫/" * 100 + "a", "e\u0301" * 201, "\u0301" * 100_000),
]

name = st.one_of(
    st.sampled_from([one for one in NAMES if len(one) < 40]),
    st.sampled_from(ADOPTED),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12),
    st.text("-.v2x@% aé\u0301\u0323ᄀ각\u202e🐈", min_size=1, max_size=6),
)
any_id = st.lists(name, min_size=1, max_size=4).map("/".join)
sizes = st.sampled_from(
    [None, *map(Size.parse, ("200x100", "x7", "9x", "400x300-cover-ne@2x", "4x3-contain-bgfff-up"))]
)
formats = st.sampled_from(sorted(CONTENT_TYPES))
versions = st.sampled_from([None, 1, 2, 17, 999_999_999])


def checked(image_id: str, *, is_adopted: bool = True) -> str:
    try:
        return check_image_id(image_id, is_adopted=is_adopted)
    except BadImageId:
        assume(False)
        raise


@pytest.mark.parametrize("image_id", [*NAMES, *(f"2024/{one}" for one in NAMES if len(one) < 40)])
def test_a_name_of_a_file_in_any_language_is_an_image_id(image_id: str) -> None:
    for is_adopted in (False, True):
        canonical = unicodedata.normalize("NFC", image_id)
        covered = {canonical} if is_adopted else set()
        assert read_image_id(image_id, covered.__contains__) == canonical
        assert read_image_id(unicodedata.normalize("NFD", image_id), covered.__contains__) == canonical


@pytest.mark.parametrize("image_id", MALFORMED)
def test_what_no_file_is_named_is_none(image_id: str) -> None:
    for is_adopted in (False, True):
        with pytest.raises(BadImageId, match=r"is malformed|characters; 200 are allowed") as raised:
            check_image_id(image_id, is_adopted=is_adopted)
        assert str(raised.value).isprintable() and str(raised.value).endswith(".")
        str(raised.value).encode()


@pytest.mark.parametrize("reserved", ADOPTED)
def test_a_name_with_a_meaning_of_ours_is_for_files_of_a_source_only(reserved: str) -> None:
    for image_id in (reserved, f"a/{reserved}/b", f"{reserved}/b"):
        if reserved != "V2":
            with pytest.raises(BadImageId, match=f"reserved name '{reserved}'"):
                check_image_id(image_id)
        assert check_image_id(image_id, is_adopted=True) == image_id


@pytest.mark.parametrize("image_id", ["a/v2", "a/b/v17", "2024/größe/v999999999"])
def test_what_is_the_version_of_another_image_is_the_id_of_none(image_id: str) -> None:
    for is_adopted in (False, True):
        with pytest.raises(BadImageId, match="reserved name 'v"):
            check_image_id(image_id, is_adopted=is_adopted)


@pytest.mark.parametrize("image_id", ["-private", "-private/a", "-PRIVATE/a", "-Private"])
def test_where_private_images_are_there_is_no_other(image_id: str) -> None:
    for is_adopted in (False, True):
        with pytest.raises(BadImageId, match=r"(?i)reserved name '-private'"):
            check_image_id(image_id, is_adopted=is_adopted)
    assert check_image_id(f"a/{image_id}") == f"a/{image_id}"


@given(any_id, sizes, formats, versions, st.booleans())
@example("v2", None, "jpg", 2, True)
@example("a/v2/b", None, "jpg", None, False)
@example("a/v1", None, "jpg", None, False)
@example("cat/200x100.jpg", Size.parse("200x100"), "jpg", 3, True)
def test_a_key_says_what_it_was_made_of(
    image_id: str, size: Size | None, format: str, version: int | None, private: bool
) -> None:
    image_id = checked(image_id)
    where, number = (image_id, version), version or 1
    assert Key.parse(keys.record(*where, private)) == Key(image_id, number, "record", "image.json", private)
    assert Key.parse(keys.claim(image_id, number, "0af")) == Key(image_id, number, "claim", f"-claim-{number}-0af")
    origin = Key(image_id, number, "origin", f"origin.{format}", private)
    assert Key.parse(keys.origin(*where, format, private)) == origin
    mezzanine = Key(image_id, number, "mezzanine", f"mezzanine-640.{format}", private)
    assert Key.parse(keys.mezzanine(image_id, number, 640, format, private)) == mezzanine
    if size:
        expected = Key(image_id, number, "size", f"{size}.{format}", private)
        assert Key.parse(keys.derivative(*where, size, format, private)) == expected


@given(st.one_of(st.text(max_size=30), st.builds("{}{}/{}".format, st.sampled_from(["", "-private/"]), any_id, name)))
@example("-private/image.json")
@example("e\u0301/image.json")
@example("a/v1/image.json")
@example("a/2\n.jpg")
def test_a_text_is_a_key_only_as_it_would_be_printed(text: str) -> None:
    key = Key.parse(text)
    if key is not None:
        assert keys.folder(key.image_id, key.version, key.private) + key.name == text
        assert key.image_id == check_image_id(key.image_id, is_adopted=True)


@given(any_id, sizes, formats, versions, st.booleans())
@example("v2", None, "jpg", None, True)
@example("cat.jpeg", Size.parse("200x100"), "jpg", None, True)
def test_a_url_is_ascii_and_says_what_it_was_made_of(
    image_id: str, size: Size | None, format: str, version: int | None, with_query: bool
) -> None:
    image_id = checked(image_id)
    version = None if version == 1 else version
    derivative = Derivative(image_id, size, format, version)
    if with_query and size and version is None:
        path, query = quoted(f"/{image_id}.{format}"), f"size={size}"
    else:
        path, query = quoted(f"/{derivative.key}"), ""
    url = f"{path}?{query}" if query else path
    assert url.isascii() and not set(url) & set(" ,;+#\"'<>&\\\r\n") and urlsplit(url).path == path
    asked = parse(unquote(path, errors="strict"), query, {}, lambda image_id: True)
    assert (asked.derivative, asked.moved) == (derivative, None)
    signed = Signer(["key"]).sign(derivative)
    assert Signer(["key"]).verify(parse(unquote(path), f"{query}&{signed}", {}, lambda image_id: True))


@given(any_id)
def test_an_id_that_is_spelled_otherwise_is_moved_to_its_one_url(image_id: str) -> None:
    image_id = checked(image_id)
    other = unicodedata.normalize("NFD", image_id)
    assume(other != image_id and len(other) <= 800)
    for format, version in (("jpg", ""), ("jpeg", ""), ("jpg", "/v2")):
        asked = parse(f"/{other}{version}/200x100.{format}", "", {}, lambda image_id: True)
        assert asked.derivative.image_id == image_id
        assert asked.moved == quoted(f"/{image_id}{version}/200x100.jpg")
        again = parse(unquote(asked.moved), "", {}, lambda image_id: True)
        assert (again.derivative, again.moved) == (asked.derivative, None)
    assert parse(f"/{other}.jpg", "size=9x", {}, lambda image_id: True).moved == quoted(f"/{image_id}.jpg")


@pytest.mark.parametrize("image_id", ["cat", "users/42/avatar", "A_b-c.d", "1", "photos/cat.jpg", "a" * 200])
def test_what_is_ascii_stays_what_it_was(image_id: str) -> None:
    derivative = Derivative(image_id, Size.parse("400x300-cover-ne@2x"), "jpg", 2)
    assert derivative.key == quoted(derivative.key) == f"{image_id}/v2/400x300-cover-ne@2x.jpg"
    assert derivative.etag("tag", "recipe") == Derivative(image_id, derivative.size, "jpg", 2).etag("tag", "recipe")


def test_signatures_and_etags_are_those_of_before() -> None:
    derivative = Derivative("users/42/avatar", Size.parse("400x300-cover-ne@2x"), "jpg", 2)
    assert Signer(["key"]).sign(derivative) == "s=UXq8oW4CBEkEN29a87zYGp54-TuS7E143JI5r6WXC88"
    assert derivative.etag("tag", "recipe") == '"28408d5a2bb83457741b8008"'


def test_only_the_text_is_signed_and_not_how_it_was_written() -> None:
    signer, composed = Signer(["key"]), Derivative("é/猫", Size(200, 100), "jpg")
    query = signer.sign(composed)
    assert query == signer.sign(Derivative("e\u0301/猫", Size(200, 100), "jpg"))
    for path in ("/é/猫/200x100.jpg", "/e\u0301/猫/200x100.jpg"):
        assert signer.verify(parse(path, query, {}))
    assert quote("é/猫/200x100.jpg") == quoted("é/猫/200x100.jpg")
