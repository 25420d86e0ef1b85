"""Sizes: one spelling each, and the pixels that they promise."""

from __future__ import annotations

import itertools
import re
from fractions import Fraction
from io import BytesIO

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from lazycrop.errors import BadSize
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.sizes import COMPASS, Size
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import Limits, Recipe

FEW = settings.default.max_examples  # 100, and fewer in `make quick`

SPELLED = {
    "200x100": Size(200, 100),
    "200x": Size(200, None),
    "x100": Size(None, 100),
    "1x1": Size(1, 1),
    "99999x99999@3x": Size(99999, 99999, dpr=3),
    "200x-up": Size(200, None, enlarge=True),
    "400x300@2x": Size(400, 300, dpr=2),
    "400x300-cover": Size(400, 300, "cover"),
    "400x300-cover-ne@2x": Size(400, 300, "cover", "ne", dpr=2),
    "400x300-cover-f30x40": Size(400, 300, "cover", "f30x40"),
    "400x300-cover-f0x100-up": Size(400, 300, "cover", "f0x100", enlarge=True),
    "400x300-contain": Size(400, 300, "contain"),
    "400x300-contain-bgfff": Size(400, 300, "contain", background="fff"),
    "400x300-contain-bg336699": Size(400, 300, "contain", background="336699"),
    "400x300-contain-s-bgfffff0-up@3x": Size(400, 300, "contain", "s", "fffff0", True, 3),
    "400x300-fill": Size(400, 300, "fill"),
    "400x300-fill-up@2x": Size(400, 300, "fill", enlarge=True, dpr=2),
}

MISSPELLED = [
    # a second spelling of a number
    *("0200x100", "+200x100", "200x+100", "2_00x100", "200.0x100", "2e2x100", "0xc8x100", " 200x100", "200 x100"),
    *("٢٠٠x١٠٠", "２００x100", "²x100", "200x100\n", "200x100%0a", "200x100\r", "200x100\0", "\ufeff200x100"),
    # no number, or one out of range
    *("", "x", "0x0", "0x100", "200x0", "-200x100", "+5x5", "100000x1", "1x100000", "200", "200x100x50"),
    # a second spelling of the rest
    *("200X100", "200×100", "200*100", "200,100", "200x100,cover", "200x100_cover", "200x100-COVER", "200x100--cover"),
    *("200x100-inside", "200x100-cover-c", "200x100-cover-center", "200x100-cover-N", "200x100-cover-en"),
    *("200x100-", "200x100-cover-", "200x100@", "200x100@1x", "200x100@0x", "200x100@4x", "200x100@2", "200x100@2X"),
    *("200x100@2x@2x", "200x100@2x-up", "200x100-up-up", "200x100-up-cover", "200x100-cover-up-n", "200x100@2.0x"),
    *("200x100-cover-f", "200x100-cover-f50", "200x100-cover-f101x0", "200x100-cover-f00x0", "200x100-cover-f050x0"),
    *("200x100-cover-f-1x0", "200x100-cover-f1.5x0", "200x100-cover-F5x5", "200x100-cover-n-f5x5"),
    *("200x100-cover-f5x5-n", "200x100-contain-bg", "200x100-contain-bgFFF", "200x100-contain-bgffffff"),
    *(
        "200x100-contain-bg369",
        "200x100-contain-bgffff",
        "200x100-contain-bg#fff",
        "200x100-contain-bgggg",
        "200x100-contain-bg3366990",
    ),
    *("200x100-contain-bgfff-n", "200x100-contain-bgfff-bgfff", "200x100-contain-bgwhite"),
    # parts that do not belong together
    *("200x-cover", "x100-contain", "200x-fill", "200x100-n", "200x100-f5x5", "200x100-fill-n", "200x100-fill-f5x5"),
    *("200x100-bgfff", "200x100-cover-bgfff", "200x100-fill-bgfff", "200x100-cover-contain", "200x100-cover-cover"),
    # never a part of anything else
    *("a200x100", "200x100a", "200x100.jpg", "200x100/", "200x100?", "200x100 ", "200x100-cover\n", "200x100\u2028"),
]


@pytest.mark.parametrize("text", SPELLED)
def test_each_part_of_the_grammar_is_read_and_written(text):
    assert Size.parse(text) == SPELLED[text]
    assert str(SPELLED[text]) == text


@pytest.mark.parametrize("text", MISSPELLED)
def test_any_other_spelling_is_refused(text):
    with pytest.raises(BadSize):
        Size.parse(text)


@pytest.mark.parametrize(
    "parts",
    [
        {"width": None, "height": None},
        {"width": 0, "height": 100},
        {"width": 0, "height": None},
        {"width": -1, "height": 100},
        {"width": 100000, "height": 100},
        {"width": 200, "height": 100, "dpr": 0},
        {"width": 200, "height": 100, "dpr": 4},
        {"width": 200, "height": 100, "fit": "cover-n"},
        {"width": 200, "height": 100, "fit": "crop"},
        {"width": 200, "height": 100, "fit": "cover", "gravity": "c"},
        {"width": 200, "height": 100, "fit": "cover", "gravity": "up"},
        {"width": 200, "height": 100, "fit": "contain", "gravity": "bgfff"},
        {"width": 200, "height": 100, "fit": "contain", "gravity": "n-bgfff"},
        {"width": 200, "height": 100, "fit": "contain", "background": "fff-up"},
        {"width": 200, "height": 100, "fit": "contain", "background": "FFF"},
        {"width": 200, "height": 100, "fit": "contain", "background": "ffffff"},
    ],
    ids=str,
)
def test_parts_that_make_no_size_are_refused(parts):
    with pytest.raises(BadSize):
        Size(**parts)


SIDES = st.integers(1, 99999)
COLOURS = st.from_regex(r"[0-9a-f]{6}", fullmatch=True).map(lambda c: c[:3] if len(set(c)) == 1 else c)
GRAVITIES = st.one_of(
    st.none(), st.sampled_from(COMPASS), st.builds("f{}x{}".format, st.integers(0, 100), st.integers(0, 100))
)


def sizes(sides: st.SearchStrategy[int] = SIDES) -> st.SearchStrategy[Size]:
    """Every size that can be asked for, with sides drawn from ``sides``."""
    rest = {"enlarge": st.booleans(), "dpr": st.integers(1, 3)}
    return st.one_of(
        st.builds(Size, sides, st.none() | sides, **rest),
        st.builds(Size, st.none(), sides, **rest),
        st.builds(Size, sides, sides, st.just("fill"), **rest),
        st.builds(Size, sides, sides, st.just("cover"), GRAVITIES, **rest),
        st.builds(Size, sides, sides, st.just("contain"), GRAVITIES, st.none() | COLOURS, **rest),
    )


@settings(deadline=None)
@given(sizes())
def test_print_then_parse_gives_the_same_size(size):
    assert Size.parse(str(size)) == size


def near_misses() -> st.SearchStrategy[str]:
    """Texts that are almost sizes: pieces of the grammar in any order, and true spellings with one thing changed."""
    pieces = ["x", "200", "0", "-", "cover", "contain", "fill", "inside", "n", "se", "c", "f", "30", "bg", "fff", "a"]
    pieces += ["336699", "up", "@", "2x", "3x", "\n", " ", "+", "٣", "X", "%0a", "_", ","]
    letters = st.sampled_from([*"x-@0129nsewfcbgup aA+_.,\n\0٣²", ""])

    def change(size: Size, at: int, letter: str, keep: bool) -> str:
        text = str(size)
        at %= len(text) + 1
        return text[:at] + letter + text[at + (not keep) :]

    changed = st.builds(change, sizes(), st.integers(0, 40), letters, st.booleans())
    return st.one_of(st.lists(st.sampled_from(pieces), max_size=9).map("".join), changed, st.text(max_size=12))


@settings(max_examples=4 * FEW, deadline=None)
@given(near_misses())
def test_whatever_is_accepted_is_spelled_canonically(text):
    try:
        size = Size.parse(text)
    except BadSize:
        return
    assert str(size) == text
    assert re.fullmatch(r"[0-9a-z@-]+", text, re.ASCII)


def test_no_two_spellings_mean_the_same_size():
    fits = ["", "-cover", "-contain", "-fill", "-inside"]
    gravities = ["", "-c", "-n", "-f0x0", "-f50x50", "-f00x0"]
    rest = ["", "-bgfff", "-bgffffff", "-bg336699", "-up", "-bgfff-up"]
    seen: dict[Size, str] = {}
    for parts in itertools.product(["2x", "2x3", "x3", "02x3"], fits, gravities, rest, ["", "@1x", "@2x"]):
        text = "".join(parts)
        try:
            size = Size.parse(text)
        except BadSize:
            continue
        assert seen.setdefault(size, text) == text


PICTURE_SIDES = st.one_of(st.integers(1, 40), st.integers(1, 65535))


@settings(max_examples=3 * FEW, deadline=None)
@given(sizes(), PICTURE_SIDES, PICTURE_SIDES)
@example(Size(200, 200), 3000, 2)
@example(Size(200, 100, "cover"), 1, 65535)
@example(Size(200, 100, "fill"), 65535, 1)
@example(Size(7, None, enlarge=True), 3, 65535)
def test_dimensions_keep_their_promises(size, width, height):
    out = size.dimensions(width, height)
    asked = size.box
    assert all(isinstance(side, int) and side >= 1 for side in out)
    assert all(side <= most for side, most in zip(out, asked, strict=True) if most), "larger than asked"
    if size.fit == "contain":
        assert out == asked
    picture = size.scaled(width, height)
    if not size.enlarge:
        assert all(side <= most for side, most in zip(picture, (width, height), strict=True)), "enlarged"
    if size.fit in ("inside", "contain"):
        assert same_shape(picture, (width, height))
        assert touches(picture, asked) or (not size.enlarge and picture == (width, height))
    elif size.enlarge:
        assert out == asked
    else:
        assert same_shape(out, asked)
        assert out == asked or out[0] == width or out[1] == height, "smaller than it has to be"


def same_shape(one: tuple[int, int], other: tuple[int | None, int | None]) -> bool:
    """Whether some exact multiple of ``other`` rounds to ``one``, a side below half a pixel counting as one."""
    half = Fraction(1, 2)
    most = min((side + half) / of for side, of in zip(one, other, strict=True) if of)
    least = max((side - half if side > 1 else Fraction(0)) / of for side, of in zip(one, other, strict=True) if of)
    return least <= most


def touches(picture: tuple[int, int], box: tuple[int | None, int | None]) -> bool:
    return any(side == most for side, most in zip(picture, box, strict=True))


# What the docs say of each fit, for a picture of 300x200.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("150x150", (150, 100)),
        ("150x", (150, 100)),
        ("x50", (75, 50)),
        ("600x600", (300, 200)),
        ("600x600-up", (600, 400)),
        ("100x100@2x", (200, 133)),
        ("150x150-cover", (150, 150)),
        ("400x100-cover", (300, 75)),
        ("600x600-cover", (200, 200)),
        ("600x600-cover-up", (600, 600)),
        ("150x150-contain", (150, 150)),
        ("600x600-contain", (600, 600)),
        ("150x150-fill", (150, 150)),
        ("400x400-fill", (200, 200)),
        ("400x400-fill-up", (400, 400)),
    ],
)
def test_dimensions_of_a_picture_of_300_by_200(text, expected):
    assert Size.parse(text).dimensions(300, 200) == expected


@settings(max_examples=3 * FEW // 2, deadline=None)
@given(sizes(st.integers(1, 90)), st.integers(1, 64), st.integers(1, 64), st.sampled_from([*CONTENT_TYPES]))
def test_rendered_pixels_are_the_dimensions_promised(size, width, height, format):
    expected = size.dimensions(width, height)
    assume(max(expected) <= 2000)  # 1x64 at 90x-up is 90x5760: right, and slow
    rendered = render(blank_png(width, height), size, format, Recipe(), Limits())
    assert (rendered.width, rendered.height) == expected
    assert Image.open(BytesIO(rendered.data)).size == expected


def blank_png(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("RGB", (width, height), "#336699").save(file, "PNG")
    return file.getvalue()
