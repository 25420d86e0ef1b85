"""What is given to store_origin beside the picture: taken as it is meant, or refused with an error of ours."""

from __future__ import annotations

from typing import Any

import pytest

import corpus
from lazycrop import LazyCrop, Size
from lazycrop.errors import BadRequest, LazyCropError

PICTURE = corpus.PICTURES["png-rgb"]().data


def stored(**given: Any) -> Any:
    images = LazyCrop(store="memory:", secret="a long random text", broker="inline")
    record = images.store_origin("cat", PICTURE, **given)
    images.close()
    return record


@pytest.mark.parametrize("focal", [(30, 40), [30, 40], (True, 40)])
def test_a_focal_point_may_be_any_pair_of_whole_numbers(focal: Any) -> None:
    x, y = focal
    assert stored(focal=focal).focal == (int(x), y)


@pytest.mark.parametrize("private", [True, False, 1, 0])
def test_what_a_database_has_for_yes_and_no_is_taken_for_it(private: Any) -> None:
    assert stored(private=private).private is bool(private)


@pytest.mark.parametrize("bound", ["20x10", (20, 10), [20, 10], Size(20, 10)])
def test_a_bound_is_a_size_as_all_others_are(bound: Any) -> None:
    record = stored(bound=bound)
    assert record.width <= 20 and record.height <= 10


@pytest.mark.parametrize(
    "bound", [None, 5, 1.5, True, b"20x10", (), (20,), ("20", "10"), (0, 5), (1, 2, 3), {}, [None] * 9]
)
def test_what_is_no_bound_is_refused(bound: Any) -> None:
    with pytest.raises(BadRequest):
        stored(bound=bound)


@pytest.mark.parametrize("focal", [0, "", "middle", (1,), (1, 2, 3), (50.5, 2), (-1, 0), (0, 101), ("1", "2"), {}])
def test_what_is_no_focal_point_is_refused(focal: Any) -> None:
    with pytest.raises(BadRequest, match="focal point"):
        stored(focal=focal)


@pytest.mark.parametrize("private", ["no", "", [], 2, object()])
def test_what_is_neither_yes_nor_no_is_refused(private: Any) -> None:
    with pytest.raises(BadRequest, match="'private'"):
        stored(private=private)


class Broken:
    """Fails at whatever is asked of it."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("broken")

    __bool__ = __len__ = __iter__ = __str__ = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("name", ["bound", "focal", "private"])
def test_whatever_is_given_the_error_is_one_of_ours(name: str) -> None:
    with pytest.raises(LazyCropError):
        stored(**{name: Broken()})


@pytest.mark.parametrize("size", [None, 5, (1,), {}])
def test_what_is_no_size_is_refused_with_a_sentence(size: Any) -> None:
    with pytest.raises(BadRequest, match="is no text, Size or"):
        LazyCrop(store="memory:", sizes="any").url("cat", size)
