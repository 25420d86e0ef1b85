"""Events: told after the fact, where it happened, to whoever the settings name; and the documented recipes."""

from __future__ import annotations

import json
import logging
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from docutils.core import publish_doctree

from doubles import RED, flat
from lazycrop import LazyCrop
from lazycrop.errors import BrokenImage, ConfigurationError
from lazycrop.events import Event
from lazycrop.settings import to_env
from servers import ROOT, eventually

TINY = flat(RED, size=(20, 10))


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A module of an application, with a list of what it heard."""
    module = ModuleType("listening")
    module.heard = []  # type: ignore[attr-defined]
    module.hear = module.heard.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "listening", module)
    return module


def live(images: LazyCrop) -> None:
    """All that can happen to an image."""
    images.store_origin("cat", TINY)
    images.answer("/cat/10x.jpg").close()
    images.store_origin("cat", TINY)
    record = images.record("cat")
    images.store.put(record.origin_key, b"\xff\xd8\xff no more", "image/jpeg")
    assert images.answer("/cat/5x.jpg").status == 422
    images.purge("cat")


def test_a_setting_names_who_is_told_of_everything(listening: ModuleType) -> None:
    images = LazyCrop(store="memory:", sizes="any", broker="inline", events="listening:hear")
    live(images)
    names = [name for name, _ in groupby(type(event).__name__ for event in listening.heard)]  # It has two stages.
    assert names == ["Stored", "Rendered", "Stored", "Replaced", "Failed", "Purged"]
    for event in listening.heard:
        values = [getattr(event, name) for kind in type(event).__mro__ for name in getattr(kind, "__slots__", ())]
        assert all(isinstance(value, str | int | float | None) for value in values)
    assert [version for version, _ in groupby(event.version for event in listening.heard)] == [1, 2, None]
    assert listening.heard[-2].code == BrokenImage.code and listening.heard[-1].objects > 0


def test_a_function_may_be_given_itself(listening: ModuleType) -> None:
    images = LazyCrop(store="memory:", sizes="any", events=listening.hear)
    images.store_origin("cat", TINY)
    assert [event.key for event in listening.heard] == ["cat/origin.jpg"]


def test_the_setting_is_handed_to_workers_by_its_name() -> None:
    assert to_env({"events": "listening:hear"}) == {"LAZYCROP_EVENTS": "listening:hear"}
    with pytest.raises(ConfigurationError, match="give a text"):
        to_env({"events": print})


@pytest.mark.parametrize("name", ["listening", "listening:", ":hear", "a b:c", "listening:hear()", 7])
def test_what_names_no_function_is_refused_at_the_start(name: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"named like 'package\.module:function'"):
        LazyCrop(store="memory:", events=name)


@pytest.mark.parametrize("name", ["listening:gone", "no_such_module:hear", "listening:heard"])
def test_what_is_not_there_is_logged_and_changes_nothing(
    listening: ModuleType, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    images = LazyCrop(store="memory:", sizes="any", events=name)
    images.store_origin("cat", TINY)
    assert images.exists("cat")
    assert f"'events' names {name}" in caplog.text


def test_whatever_a_listener_raises_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(event: Event) -> None:
        raise KeyError(event.image_id)

    images = LazyCrop(store="memory:", sizes="any", broker="inline", events=fail)
    live(images)
    assert caplog.text.count("a listener failed at") >= 6
    with pytest.raises(ConfigurationError, match="did you mean 'stored'"):
        images.on("store", fail)


def recipes() -> list[str]:
    text = (ROOT / "docs/events.rst").read_text("utf-8")
    tree = publish_doctree(text, settings_overrides={"syntax_highlight": "none"})
    return [block.astext() for block in tree.findall() if block.tagname == "literal_block"]


@pytest.fixture
def cdn() -> Iterator[tuple[str, list[Any]]]:
    """The API of a CDN: its address, and what it was asked."""
    asked: list[Any] = []

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((self.path, self.headers["Authorization"], content))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Api) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/purge", asked
        server.shutdown()
        thread.join()


def test_the_recipes_do_what_they_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cdn: tuple[str, list[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    address, asked = cdn
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDN_API", address)
    monkeypatch.setenv("CDN_TOKEN", "a token")
    caplog.set_level(logging.INFO, "audit")
    python = [block for block in recipes() if "def " in block or "images.on" in block]
    assert len(python) == 3
    site: dict[str, Any] = {}
    for block in python:
        exec(block, site)
    images: LazyCrop = site["images"]
    images.store_origin("cat", TINY)
    images.store_origin("cat", TINY)
    images.store_origin("Größe 1", TINY)
    images.purge("Größe 1")
    eventually(lambda: len(asked) == 2, what="the CDN is told of the replaced and the purged one")
    assert asked[0] == ("/purge", "Bearer a token", {"prefixes": ["www.example.com/img/cat/"]})
    assert asked[1][2] == {"prefixes": ["www.example.com/img/Gr%C3%B6%C3%9Fe%201/"]}
    lines = [json.loads(record.message) for record in caplog.records if record.name == "audit"]
    assert [line["event"] for line in lines] == ["Stored", "Replaced", "Stored", "Purged"]
    assert lines[1]["image_id"] == "cat" and lines[1]["version"] == 2
