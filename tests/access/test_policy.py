from __future__ import annotations

import pytest

from lazycrop.access.policy import Policy, PolicySettings
from lazycrop.errors import ConfigurationError, NotAllowed
from lazycrop.model.derivatives import Derivative
from lazycrop.model.sizes import Size


def policy(**settings: object) -> Policy:
    return Policy(PolicySettings(**settings))  # type: ignore[arg-type]


def ask(size: str | None, format: str = "jpg") -> Derivative:
    return Derivative("cat", Size.parse(size) if size else None, format)


def test_only_what_is_listed_may_be_asked_for() -> None:
    listed = policy(sizes=("200x100", "800x"), presets={"card": "400x300-cover"})
    for size in ("200x100", "800x", "400x300-cover", None):
        assert listed.lists(ask(size)), size
    for size in ("200x101", "200x100@2x", "200x100-cover", "400x300", "x800"):
        assert not listed.lists(ask(size)), size


def test_nothing_is_listed_by_default() -> None:
    assert policy().closed
    assert not policy().lists(ask("200x100"))
    assert not policy().lists(ask(None))


def test_any_is_bounded_by_the_longest_edge_in_device_pixels() -> None:
    anything = policy(sizes=("any",))
    assert anything.lists(ask("123x45-cover-ne"))
    anything.check(ask("4096x4096"))
    anything.check(ask("2048x2048@2x"))
    for size in ("4097x", "x4097", "2049x1@2x", "99999x99999"):
        with pytest.raises(NotAllowed, match="4096"):
            anything.check(ask(size))


def test_formats_can_be_left_out() -> None:
    jpg_only = policy(sizes=("any",), formats=("jpg",))
    jpg_only.check(ask("1x1"))
    jpg_only.check(ask("1x1", "auto"))
    jpg_only.check(ask(None, "png"))
    with pytest.raises(NotAllowed, match="'webp'"):
        jpg_only.check(ask("1x1", "webp"))


@pytest.mark.parametrize(
    ("asked", "snapped"),
    [
        ("150x100", "200x100"),
        ("200x100", "200x100"),
        ("201x100", "400x300"),
        ("401x300", None),
        ("700x", "800x"),
        ("801x", None),
        ("x100", None),
        ("100x100-cover", "300x300-cover"),
        ("100x100-cover-ne", None),
        ("100x100-contain", None),
        ("100x50@2x", "200x100"),
        ("100x100-up", None),
    ],
)
def test_a_size_off_the_list_snaps_to_the_smallest_that_covers_it(asked: str, snapped: str | None) -> None:
    listed = policy(sizes=("400x300", "200x100", "800x", "300x300-cover"), snap=True)
    found = listed.snapped(Size.parse(asked))
    assert (str(found) if found else None) == snapped


def test_nothing_snaps_unless_that_is_on() -> None:
    assert policy(sizes=("200x100",)).snapped(Size(100, 50)) is None


@pytest.mark.parametrize(
    "settings",
    [
        {"sizes": ("200*100",)},
        {"sizes": ("any", "200x100")},
        {"sizes": ("5000x",)},
        {"presets": {"Card": "1x1"}},
        {"presets": {"origin": "1x1"}},
        {"presets": {"x100": "1x1"}},
        {"presets": {"card": "wide"}},
        {"formats": ("jpeg",)},
    ],
)
def test_a_malformed_policy_is_a_configuration_error(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        policy(**settings)


def test_a_size_that_is_listed_or_named_may_have_a_quality_of_its_own() -> None:
    listed = policy(
        sizes=("200x100", "1600x quality=60"), presets={"card": "400x300-cover quality=70", "again": "1600x"}
    )
    assert listed.qualities == {Size(1600, None): 60, Size(400, 300, "cover"): 70}
    assert listed.presets["card"] == Size(400, 300, "cover")
    assert listed.lists(ask("1600x")) and listed.lists(ask("400x300-cover"))


def test_a_size_has_one_quality_because_it_has_one_key() -> None:
    alike = policy(sizes=("1600x quality=60",), presets={"hero": "1600x quality=60"})
    assert alike.qualities == {Size(1600, None): 60}
    for settings in (
        {"presets": {"hero": "1600x quality=60", "wide": "1600x quality=61"}},
        {"sizes": ("1600x quality=60",), "presets": {"hero": "1600x quality=61"}},
    ):
        with pytest.raises(ConfigurationError, match=r"'1600x' has the quality 6[01], and 6[01] in another place"):
            policy(**settings)


@pytest.mark.parametrize("quality", ["101", "-1", "", "7.5", "high", "1000", "\u0667"])
def test_a_quality_is_a_number_up_to_100(quality: str) -> None:
    with pytest.raises(ConfigurationError, match="it is 0 to 100"):
        policy(sizes=(f"1600x quality={quality}",))


@pytest.mark.parametrize("size", ["quality=60", "any quality=60", "1600x quality=60 quality=61", "1600x\nquality=60"])
def test_a_quality_belongs_to_one_size(size: str) -> None:
    with pytest.raises(ConfigurationError, match="malformed"):
        policy(sizes=("200x100", size))
