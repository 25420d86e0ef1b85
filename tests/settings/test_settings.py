from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from docs.make_options import text
from lazycrop import ConfigurationError, LazyCrop
from lazycrop.settings import Config, from_env, from_ini, from_mapping, make_config
from servers import ROOT


def test_strings_become_types() -> None:
    config = make_config(
        {
            "sizes": "200x100, 800x\t400x300-cover",
            "presets": "card=400x300-cover hero=1600x",
            "secret": "a long key, with a comma\n  another one\n",
            "max_edge": "2000",
            "download_seconds": "2.5",
            "snap": "yes",
            "public_url": "none",
            "quality": "jpg=70",
        }
    )
    assert config.sizes == ("200x100", "800x", "400x300-cover")
    assert config.presets == {"card": "400x300-cover", "hero": "1600x"}
    assert config.secret == ("a long key, with a comma", "another one")
    assert (config.max_edge, config.download_seconds, config.snap, config.public_url) == (2000, 2.5, True, None)
    assert config.quality == {"jpg": 70}


def test_none_is_the_empty_list_mapping_or_option() -> None:
    config = make_config(dict.fromkeys(("sizes", "presets", "secret", "mezzanine_edges", "public_url", "acl"), "none"))
    assert (config.sizes, config.presets, config.secret, config.mezzanine_edges) == ((), {}, (), ())
    assert config.public_url is None and config.acl is None


def test_keywords_mapping_ini_and_environment_say_the_same(tmp_path: Path) -> None:
    ini = tmp_path / "app.ini"
    ini.write_text("[lazycrop]\nstore = %(here)s/images\nsizes =\n  200x100\n  800x\nsnap = true\n")
    keywords = make_config({"store": f"{tmp_path}/images", "sizes": ["200x100", "800x"], "snap": True})
    assert make_config(from_ini(ini)) == keywords
    assert make_config(from_env({"LAZYCROP_CONFIG": str(ini), "PATH": "x"})) == keywords
    paste = {"lazycrop.store": f"{tmp_path}/images", "lazycrop.sizes": "200x100 800x", "lazycrop.snap": "on", "x": "y"}
    assert make_config(from_mapping(paste)) == keywords
    environment = {"LAZYCROP_STORE": f"{tmp_path}/images", "LAZYCROP_SIZES": "200x100 800x", "LAZYCROP_SNAP": "1"}
    assert make_config(from_env(environment)) == keywords


def test_the_environment_goes_over_the_ini_file(tmp_path: Path) -> None:
    ini = tmp_path / "app.ini"
    ini.write_text("[lazycrop]\nsizes = 1x1\nsnap = true\n")
    assert from_env({"LAZYCROP_CONFIG": str(ini), "LAZYCROP_SIZES": "2x2"}) == {"sizes": "2x2", "snap": "true"}


@pytest.mark.parametrize(("given", "near"), [("size", "sizes"), ("sises", "sizes"), ("max_edges", "max_edge")])
def test_an_unknown_setting_names_the_nearest_valid_one(given: str, near: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{given}'.*'{near}'"):
        LazyCrop(**{given: "x"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_edge", "wide"),
        ("max_edge", 1.5j),
        ("download_seconds", "soon"),
        ("snap", "maybe"),
        ("sizes", 7),
        ("presets", "card"),
        ("presets", ["card"]),
        ("public_url", "/relative"),
        ("public_url", "javascript:alert(1)"),
        ("answer", "reply"),
        ("prefix", "img"),
        ("prefix", "/img/"),
        ("format", "jpeg"),
        ("auto_formats", "avif jpeg"),
        ("redirect_status", 200),
        ("redirect_status", 999),
        ("store", 7.5j),
        ("store", "ftp://host/x"),
        ("store", "s3:///path"),
        ("secret", [""]),
        ("endpoint_url", "localhost:9000"),
    ],
)
def test_a_value_that_cannot_be_right_is_named(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"'?{name}'?"):
        LazyCrop(**({"store": "s3://bucket"} | {name: value}))


@pytest.mark.parametrize(
    "content", ["", "[other]\nx = 1\n", "[lazycrop]\nstore = %(nowhere)s\n", "no ini at all\n", "\xff"]
)
def test_a_file_that_says_nothing_is_a_configuration_error(tmp_path: Path, content: str) -> None:
    ini = tmp_path / "app.ini"
    ini.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"app\.ini"):
        from_ini(ini)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        from_ini(tmp_path / "missing.ini")


def test_secrets_are_in_no_text() -> None:
    secrets = {
        "secret": "s3cr3t-a",
        "access_key": "s3cr3t-b",
        "secret_key": "s3cr3t-c",
        "broker": "redis://:s3cr3t-d@h/0",
    }
    images = LazyCrop(store="s3://bucket/path", endpoint_url="http://127.0.0.1:1", **secrets)
    assert "s3cr3t" not in repr(images.config) + repr(images.store) + repr(images)
    with pytest.raises(ConfigurationError) as raised:
        LazyCrop(secret=7, access_key="s3cr3t-b")
    assert "s3cr3t" not in str(raised.value)


def test_every_option_is_documented_as_it_is() -> None:
    assert (ROOT / "docs/options.rst").read_text(encoding="utf-8") == text(), "run: python docs/make_options.py"


def test_every_option_has_a_sentence() -> None:
    for field in fields(Config):
        assert field.metadata["help"].endswith("."), field.name
