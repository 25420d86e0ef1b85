from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from docs import make_keywords, make_options
from lazycrop import Config, ConfigurationError, LazyCrop, Size, images_for
from lazycrop.settings import OPTIONS, OWNERS, SECTIONS, from_env, from_ini, from_mapping, make_config, to_env
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
    assert config.policy.sizes == ("200x100", "800x", "400x300-cover")
    assert config.policy.presets == {"card": "400x300-cover", "hero": "1600x"}
    assert config.policy.secret == ("a long key, with a comma", "another one")
    assert (config.policy.max_edge, config.policy.snap) == (2000, True)
    assert (config.download.download_seconds, config.store.public_url) == (2.5, None)
    assert config.recipe.quality == {"jpg": 70}


def test_none_is_the_empty_list_mapping_or_option() -> None:
    names = ("sizes", "presets", "secret", "mezzanine_edges", "public_url", "s3_acl")
    config = make_config(dict.fromkeys(names, "none"))
    assert (config.policy.sizes, config.policy.presets, config.policy.secret) == ((), {}, ())
    assert config.ingest.mezzanine_edges == ()
    assert config.store.public_url is None and config.store.s3_acl is None


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
        LazyCrop(**{given: "x"})  # type: ignore[arg-type]


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
        ("s3_endpoint_url", "localhost:9000"),
        ("sizes", [200]),
        ("sizes", (200, 100)),
        ("sizes", [(0, 0)]),
        ("sizes", ["200x100 800x"]),
        ("presets", {"card": 7}),
        ("memcached", ["10.0.0.1:11211:5"]),
        ("memcached", ["http://10.0.0.1:11211"]),
        ("secret", ["a key\nof two lines"]),
        ("secret", [" a key"]),
        ("secret", ["none"]),
        ("broker", "redis"),
        ("broker", "redis://host:port/0"),
        ("broker", "redis://[::1"),
    ],
)
def test_a_value_that_cannot_be_right_is_named(name: str, value: object) -> None:
    settings: dict[str, Any] = {"store": "s3://bucket", name: value}
    with pytest.raises(ConfigurationError, match=rf"'?{name.removeprefix('s3_')}'?"):
        LazyCrop(**settings)


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


def test_a_percent_sign_in_a_file_stands_for_itself(tmp_path: Path) -> None:
    ini = tmp_path / "100%" / "app.ini"
    ini.parent.mkdir()
    content = (
        "\ufeff[DEFAULT]\nbucket = b\n[lazycrop]\nbroker = redis://:p%40%%x%@h/0\nstore = %(here)s/%d/%(Bucket)s\n"
    )
    ini.write_text(content, encoding="utf-8")
    settings = from_ini(ini)
    assert settings["broker"] == "redis://:p%40%%x%@h/0"
    assert settings["store"] == f"{ini.parent}/%d/b"


def test_any_mapping_may_name_a_file(tmp_path: Path) -> None:
    ini = tmp_path / "lazycrop.ini"
    ini.write_text("[lazycrop]\nbroker = redis://:p%40ss@h/0\nsizes = 1x1\n")
    settings = from_mapping({"lazycrop.config": ini, "lazycrop.sizes": "2x2"})
    assert settings == {"broker": "redis://:p%40ss@h/0", "sizes": "2x2"}
    assert images_for(None, {"config": str(ini)}, {}).config.queue.broker == "redis://:p%40ss@h/0"


def test_the_rest_of_a_shared_file_may_say_anything(tmp_path: Path) -> None:
    ini = tmp_path / "app.ini"
    ini.write_text("[formatters]\nformat = %(asctime)s %(message)s %\n[lazycrop]\nsizes = 1x1\n")
    assert from_ini(ini) == {"sizes": "1x1"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[lazycrop]\nstore = a\nbroker redis s3cr3t\n", "line 3"),
        ("broker = s3cr3t\n", "line 1"),
        ("[lazycrop]\nbroker = s3cr3t\nbroker = s3cr3t\n", "line 3 sets 'broker' again"),
        ("[lazycrop]\nbroker = s3cr3t\n[lazycrop]\nsecret = s3cr3t\n", "line 3"),
        ("[lazycrop]\nbroker = redis://:s3cr3t%(s3cr3t)s@h\n", "'broker' names a"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_without_its_secrets(tmp_path: Path, content: str, said: str) -> None:
    ini = tmp_path / "app.ini"
    ini.write_text(content)
    with pytest.raises(ConfigurationError, match=said) as raised:
        from_ini(ini)
    assert "s3cr3t" not in str(raised.value)


def test_secrets_are_in_no_text() -> None:
    images = LazyCrop(
        store="s3://bucket/path",
        s3_endpoint_url="http://127.0.0.1:1",
        secret="s3cr3t-a",
        s3_access_key="s3cr3t-b",
        s3_secret_key="s3cr3t-c",
        broker="redis://:s3cr3t-d@h/0",
    )
    assert "s3cr3t" not in repr(images.config) + repr(images.store) + repr(images)


@pytest.mark.parametrize(
    "settings",
    [
        {"secret": 7, "s3_access_key": "s3cr3t"},
        {"secret": [b"s3cr3t"]},
        {"secret": ["s3cr3t\ns3cr3t"]},
        {"broker": "redsi://:s3cr3t@h/0"},
        {"broker": "redis:/:s3cr3t@h/0"},
        {"broker": ":s3cr3t@h"},
        {"broker": "redis://:s3cr3t"},
        {"broker": "redis://:s3cr3t/x@h:6379/0"},
        {"broker": "amqp://user:s3cr3t#@h/0"},
        {"memcached": ["user:s3cr3t@10.0.0.1:11211"]},
        {"memcached": ["s3cr3t@h"]},
        {"s3_endpoint_url": "http://user:s3cr3t@h:9000"},
        {"s3_endpoint_url": "https://h/?key=s3cr3t"},
        {"public_url": "ftp://user:s3cr3t@h/"},
        {"public_url": "https://user:s3cr3t@h/"},
        {"store": "postgresql://user:s3cr3t@h/images"},
        {"store": "s4://key:s3@cr3t@bucket/s3cr3t@x"},
        {"prefix": "https://user:s3cr3t@h/"},
        {"max_edge": "redis://:s3cr3t@h"},
        {"quality": {"jpg": "redis://:s3cr3t@h"}},
        {"mezzanine_edges": ["redis://:s3cr3t@h"]},
    ],
)
def test_no_error_shows_a_password(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        LazyCrop(**{"store": "s3://bucket", **settings})
    assert "s3cr3t" not in str(raised.value)


def test_an_error_says_what_may_be_shown() -> None:
    with pytest.raises(ConfigurationError, match=r"'http://…@h:9000'"):
        LazyCrop(store="s3://bucket", s3_endpoint_url="http://user:s3cr3t@h:9000")
    with pytest.raises(ConfigurationError, match=r"'redsi://…'"):
        LazyCrop(broker="redsi://:s3cr3t@h/0")
    with pytest.raises(ConfigurationError, match=r"\['200x100@2x', 7\]"):
        LazyCrop(sizes=["200x100@2x", 7])  # type: ignore[list-item]
    with pytest.raises(ConfigurationError, match=r"300 .*it is 0 to 100"):
        LazyCrop(quality={"jpg": 300})


def test_a_size_may_be_a_pair_or_a_size() -> None:
    config = make_config(
        {"sizes": [(200, 100), (None, 50), [3, None], Size(4, 4, "cover"), "5x"], "presets": {"card": (400, 300)}}
    )
    assert config.policy.sizes == ("200x100", "x50", "3x", "4x4-cover", "5x")
    assert config.policy.presets == {"card": "400x300"}


def test_no_two_sections_have_a_setting_of_the_same_name() -> None:
    names = [field.name for owner in OWNERS for field in fields(owner)]
    assert len(names) == len(set(names)) == len(OPTIONS)


def test_a_config_of_ones_own_is_made_as_any_other() -> None:
    class Own(Config):
        pass

    assert Own(**vars(make_config({"max_edge": 7}))).policy.max_edge == 7


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"broker": b"redis://:hunter2@host"}, "'broker' is of the type 'bytes'"),
        ({"broker": ["redis://:hunter2@host"]}, "'broker' is of the type 'list'"),
        ({"broker": object()}, "keeps Queue's contract"),
        ({"cache": object()}, "keeps KeyValue's contract"),
        ({"cache": 5}, "keeps KeyValue's contract"),
        ({"allow_networks": ["intranet"]}, "allow_networks is malformed"),
        ({"deny_networks": ["10.0.0.1/8"]}, "deny_networks is malformed"),
        ({"download_ports": ["http"]}, "'http' in 'download_ports' is no port"),
        ({"sizes": (200, 100)}, "which is not a list in which each item is a text"),
    ],
)
def test_what_would_fail_at_each_use_is_refused_at_the_start(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LazyCrop(**{"store": "memory:", **settings})
    assert words in str(caught.value) and "hunter2" not in str(caught.value)


def test_a_file_that_no_folder_can_have_is_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="no file has such a name"):
        LazyCrop.from_ini("lazy\0crop.ini")


def test_the_documentation_has_a_title_for_each_section_and_for_nothing_else() -> None:
    assert list(make_options.TITLES) == list(SECTIONS)


def test_every_option_is_documented_as_it_is() -> None:
    assert (ROOT / "docs/options.rst").read_text(encoding="utf-8") == make_options.text(), "run: make generated"


def test_every_keyword_is_typed_as_it_is() -> None:
    assert (ROOT / "lazycrop/keywords.py").read_text(encoding="utf-8") == make_keywords.text(), "run: make generated"


def test_every_option_has_a_sentence() -> None:
    for name, field in OPTIONS.items():
        assert field.metadata["help"].endswith("."), name


@pytest.mark.parametrize(
    ("sizes", "presets"),
    [
        ("200x100, 1600x quality=60 800x", "card=400x300-cover quality=70, hero=1600x"),
        ("200x100\n1600x quality=60\n800x", "card = 400x300-cover quality=70\nhero=1600x"),
    ],
)
def test_a_quality_belongs_to_the_size_before_it(sizes: str, presets: str) -> None:
    config = make_config({"sizes": sizes, "presets": presets})
    assert config.policy.sizes == ("200x100", "1600x quality=60", "800x")
    assert config.policy.presets == {"card": "400x300-cover quality=70", "hero": "1600x"}
    assert make_config(from_env(to_env(config.changed))) == config
