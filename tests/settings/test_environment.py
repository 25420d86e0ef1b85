"""The environment: read as settings, printed for another process, and left alone where it is about something else."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lazycrop import ConfigurationError, LazyCrop
from lazycrop.caches.process import ProcessCache
from lazycrop.queues.inline import InlineQueue
from lazycrop.settings import OPTIONS, from_env, make_config, to_env
from lazycrop.stores.memory import MemoryStore

# Of each option a value that is not its default, as a person may give it.
VALUES: dict[str, Any] = {
    "prefix": "",
    "format": "auto",
    "fallback_url": "/static/none.png?a=b&c=d e,f",
    "sizes": ["200x100@2x", (300, None)],
    "presets": {"card": "400x300-cover", "hero": (1600, None)},
    "formats": ["jpg"],
    "secret": ["a long key, with a comma", "a=b%(here)s", "[c]"],
    "answer": "stream",
    "private_answer": "presign",
    "redirect_status": 302,
    "auto_formats": (),
    "slow_formats": "webp avif",
    "store": Path("a folder, with a comma"),
    "public_url": "https://cdn.example.com/images/",
    "s3_endpoint_url": "http://127.0.0.1:9000",
    "s3_access_key": "key, id",
    "s3_secret_key": "%/+=",
    "s3_region": "eu-central-1",
    "s3_acl": "public-read",
    "memcached": ("10.0.0.1:11211", "[::1]:11211"),
    "broker": "redis://:p%40ss,word@10.0.0.3:6379/0",
    "queue": "pictures",
    "quality": {"jpg": 70, "webp": 60},
    "effort": {"jpg": 1},
    "store_effort": {"webp": 4},
    "stages": 1,
    "events": "package.module:function",
    "fallback_image": "nobody",
    "fallback_status": 200,
    "trust_seconds": 1800,
    "jpeg_subsampling": "4:4:4",
    "background": "000000",
    "input_formats": ["jpg", "tiff"],
    "mezzanine_edges": [300],
    "download_ports": ["80", "8080"],
    "allow_networks": ["10.1.0.0/16", "fd00::/8"],
    "deny_networks": ["10.1.1.0/24"],
    "source": Path("a folder, with a comma"),
    "catalogue": "postgresql+psycopg://user:p%40ss,word@host/name",
    "sources": {"media": Path("a folder, with a comma"), "shots": "s3://shots/?secret_key=a%2F+b"},
}
OBJECTS = {"cache"}
OTHERWISE = {"source"}  # which stands in place of sources


def changed(name: str) -> Any:
    if name in VALUES:
        return VALUES[name]
    default = OPTIONS[name].default
    return not default if isinstance(default, bool) else default + 1


def through_the_environment(settings: dict[str, Any]) -> Any:
    environ = {**os.environ, **to_env(settings)}
    program = "import os, pickle, sys; sys.stdout.buffer.write(pickle.dumps(dict(os.environ)))"
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, check=True)
    return make_config(from_env(pickle.loads(done.stdout)))


def test_what_is_printed_into_the_environment_is_read_as_it_was() -> None:
    settings = {name: changed(name) for name in OPTIONS.keys() - OBJECTS - OTHERWISE}
    config = make_config(settings)
    assert through_the_environment(settings) == config != make_config({})
    nothing = dict.fromkeys(("public_url", "sizes", "presets", "secret", "mezzanine_edges", "s3_acl", "cache"))
    assert through_the_environment(nothing) == make_config(nothing)


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - OBJECTS))
def test_each_option_is_read_as_it_was(name: str) -> None:
    assert make_config(from_env(to_env({name: changed(name)}))) == make_config({name: changed(name)})


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), max_size=3))
def test_any_secret_is_read_as_it_was(secret: list[str]) -> None:
    try:
        config = make_config({"secret": secret})
    except ConfigurationError:
        return
    assert make_config(from_env(to_env({"secret": secret}))) == config


@pytest.mark.parametrize(
    ("name", "value"),
    [("store", MemoryStore()), ("cache", ProcessCache(1_000)), ("broker", InlineQueue({}))],
    ids=["store", "cache", "broker"],
)
def test_an_object_cannot_be_told_to_another_process(name: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}' is an object"):
        to_env({name: value})


SERVICES = {
    "LAZYCROP_SERVICE_HOST": "10.0.0.12",
    "LAZYCROP_SERVICE_PORT": "80",
    "LAZYCROP_SERVICE_PORT_HTTP": "80",
    "LAZYCROP_SERVICE_PORT_HTTP_METRICS": "9090",
    "LAZYCROP_PORT": "tcp://10.0.0.12:80",
    "LAZYCROP_PORT_80_TCP": "tcp://10.0.0.12:80",
    "LAZYCROP_PORT_80_TCP_ADDR": "10.0.0.12",
    "LAZYCROP_PORT_80_TCP_PORT": "80",
    "LAZYCROP_PORT_80_TCP_PROTO": "tcp",
    "LAZYCROP_PORT_53_UDP_ADDR": "10.0.0.12",
    "LAZYCROP_WEB_SERVICE_HOST": "fd00::12",
    "LAZYCROP_WEB_SERVICE_PORT": "8080",
    "LAZYCROP_WEB_PORT": "udp://[fd00::12]:8080",
    "LAZYCROP_STORE_PORT_9000_TCP_ADDR": "10.0.0.12",
    "LAZYCROP_MAX_EDGE_2_PORT": "sctp://10.0.0.12:80",
    "LAZYCROP_ENV_PYTHON_VERSION": "3.11",
}


@pytest.mark.parametrize("name", ["LAZYCROP_NAME", "LAZYCROP_WEB_NAME"])
def test_the_variables_of_a_linked_container_are_nobodys_settings(name: str) -> None:
    assert from_env({name: "/web/lazycrop", "LAZYCROP_SIZES": "200x100"}) == {"sizes": "200x100"}
    with pytest.raises(ConfigurationError, match="no setting 'name'"):
        make_config(from_env({"LAZYCROP_NAME": "cats"}))


def test_the_variables_of_a_kubernetes_service_are_nobodys_settings() -> None:
    assert from_env({**SERVICES, "LAZYCROP_SIZES": "200x100"}) == {"sizes": "200x100"}


@pytest.mark.parametrize(
    "name", ["PORT", "SIZE", "DOWNLOAD_PORT", "SERVICE", "STORE_HOST", "PORTS", "PORT_80", "SERVICE_HOSTS"]
)
def test_a_misspelled_setting_in_the_environment_is_still_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="did you mean"):
        LazyCrop(**from_env({f"LAZYCROP_{name}": "80"}))
