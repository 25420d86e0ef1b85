"""The command line, run as users run it: in processes of its own, against real servers."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import unicodedata
import urllib.error
import urllib.request
from contextlib import closing
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from client import alike
from lazycrop.settings import OPTIONS
from servers import HOST, ROOT, S3, Memcached, RabbitMQ, Valkey, eventually, free_ports, photo, running

if TYPE_CHECKING:
    from conftest import Base

COMMAND = [sys.executable, "-m", "lazycrop"]
COMMANDS = ["store", "adopt", "url", "warm", "purge", "list", "info", "usage", "cleanup", "verify"]
COMMANDS += ["serve", "worker", "check", "demo", "queue"]


def lazycrop(
    folder: Path, *arguments: object, env: dict[str, str] | None = None, stdin: bytes = b"", encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    """The finished command, run in ``folder``. Whatever happened, it showed nobody a traceback."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding, **(env or {})}
    command = [*COMMAND, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, input=stdin, capture_output=True, timeout=120)
    output, errors = done.stdout.decode(encoding), done.stderr.decode(encoding)
    assert "Traceback" not in errors, errors
    return subprocess.CompletedProcess(command, done.returncode, output, errors)


def succeeds(folder: Path, *arguments: object, env: dict[str, str] | None = None, stdin: bytes = b"") -> str:
    done = lazycrop(folder, *arguments, env=env, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: object) -> None:
        return None


def get(url: str) -> tuple[int, Message, bytes]:
    """Status, headers and body; redirects are not followed."""
    try:
        with urllib.request.build_opener(_Stay).open(url, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_an_image_is_stored_warmed_and_purged(tmp_path: Path) -> None:
    assert "/img/cat/origin.jpg" in succeeds(tmp_path, "store", "cat", photo("Fossa"), "--bound", "1000x1000")
    with Image.open(tmp_path / "images/cat/origin.jpg") as origin:
        assert max(origin.size) == 1000
    succeeds(tmp_path, "warm", "cat", "200x100-cover", "x90", "--format", "webp")
    with Image.open(tmp_path / "images/cat/200x100-cover.webp") as warmed:
        assert warmed.size == (200, 100)
    assert "x90.webp" in names(tmp_path / "images/cat")
    succeeds(tmp_path, "purge", "cat", "--yes")
    assert names(tmp_path / "images/cat") == {"image.json"}  # which says the number of its last version


def test_a_size_that_cannot_be_made_is_a_failure_of_warm(tmp_path: Path) -> None:
    succeeds(tmp_path, "store", "cat", photo("Fossa"))
    for picture in (tmp_path / "images/cat").glob("*.jpg"):
        picture.unlink()
    done = lazycrop(tmp_path, "warm", "cat", "200x100")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("200x100: ")


def test_a_folder_is_stored_under_the_names_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "photos/more").mkdir(parents=True)
    (tmp_path / "photos/cat.jpg").write_bytes(photo("Fossa").read_bytes())
    (tmp_path / "photos/more/dog.jpeg").write_bytes(photo("Wine").read_bytes())
    (tmp_path / "photos/.hidden.jpg").write_bytes(b"not looked at")
    succeeds(tmp_path, "store", "photos")
    assert names(tmp_path / "images") == {"cat", "more"}
    assert names(tmp_path / "images/more") == {"dog"}


def test_bad_images_are_listed_at_the_end_and_the_others_are_stored(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    good = photo("Fossa").read_bytes()
    for name, data in {"a.jpg": b"no image", "b.jpg": good, "b.png": good, "e.jpg": good, "v2.jpg": good}.items():
        (tmp_path / "photos" / name).write_bytes(data)
    done = lazycrop(tmp_path, "store", "animals", "photos")
    assert done.returncode == 1
    assert "2 stored, 0 as before, 0 no images, 3 failed" in done.stdout
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["a", "b", "v2"]
    assert names(tmp_path / "images/animals") == {"b", "e"}
    assert "v2" not in names(tmp_path / "images/animals/b")


def test_names_of_files_in_any_language_are_image_ids(tmp_path: Path) -> None:
    (tmp_path / "photos/Größe 2024").mkdir(parents=True)
    good = photo("Fossa").read_bytes()
    for name in ("Größe 2024/Кот 1.jpg", "100% #1+.jpg", unicodedata.normalize("NFD", "für.jpg"), "猫.jpg"):
        (tmp_path / "photos" / name).write_bytes(good)
    assert succeeds(tmp_path, "store", "photos").startswith("4 stored, ")
    assert names(tmp_path / "images") == {"Größe 2024", "100% #1+", "für", "猫"}
    assert names(tmp_path / "images/Größe 2024") == {"Кот 1"}
    url = succeeds(tmp_path, "url", "Größe 2024/Кот 1", "200x100", "--sizes", "any")
    assert url == "/img/Gr%C3%B6%C3%9Fe%202024/%D0%9A%D0%BE%D1%82%201/200x100.jpg\n"


def test_names_that_are_no_ids_are_listed_as_they_can_be_printed(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    good = photo("Fossa").read_bytes()
    taken_apart = unicodedata.normalize("NFD", "für")
    for name in (b"caf\xe9.jpg", b"\x1b[2J.jpg", taken_apart.encode() + b".jpg", "für.jpg".encode()):
        (tmp_path / "photos" / os.fsdecode(name)).write_bytes(good)
    (tmp_path / "photos" / "hinweis für später.txt").write_bytes(b"not an image")
    done = lazycrop(tmp_path, "store", "photos", encoding="ascii")
    assert done.returncode == 1 and "1 stored, 0 as before, 1 no image, 3 failed" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    failed = done.stderr.splitlines()[-3:]
    assert any(r"'caf\udce9' is malformed" in line and "no UTF-8" in line for line in failed)
    assert any(r"'\x1b[2J' is malformed" in line for line in failed)
    assert any("would replace another image of the same id" in line for line in failed)


@pytest.mark.parametrize("source", ["list.tsv", "-"])
def test_a_list_of_ids_and_sources_is_stored(tmp_path: Path, source: str) -> None:
    lines = f"cat\t{photo('Fossa')}\n\nno tab here\nwine\t{photo('Wine')}\ngone\tnowhere.jpg\n"
    (tmp_path / "list.tsv").write_text(lines)
    done = lazycrop(tmp_path, "store", source, stdin=lines.encode())
    assert done.returncode == 1
    assert names(tmp_path / "images") == {"cat", "wine"}
    assert re.search(
        "no tab here: A line is an image id, a tab, .*\ngone: The file '.*/nowhere.jpg' cannot", done.stderr
    )


def test_a_flag_goes_before_the_environment_and_that_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "lazycrop.ini").write_text("[lazycrop]\nprefix = /file\nsizes = any\nformat = webp\n")
    ask = ("url", "cat", "200x100", "--config", "lazycrop.ini")
    assert succeeds(tmp_path, *ask) == "/file/cat/200x100.webp\n"
    env = {"LAZYCROP_PREFIX": "/environment"}
    assert succeeds(tmp_path, *ask, env=env) == "/environment/cat/200x100.webp\n"
    assert succeeds(tmp_path, *ask, "--prefix", "/flag", env=env) == "/flag/cat/200x100.webp\n"
    env = {"LAZYCROP_CONFIG": "lazycrop.ini"}
    assert succeeds(tmp_path, *ask[:3], "--format", "png", env=env) == "/file/cat/200x100.png\n"


def test_a_signed_url_is_what_a_secret_gives(tmp_path: Path) -> None:
    url = succeeds(tmp_path, "url", "cat", "200x100", env={"LAZYCROP_SECRET": "long and random"})
    assert re.fullmatch(r"/img/cat/200x100\.jpg\?s=[\w-]{43}\n", url)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_takes_every_setting_as_a_flag_and_shows_its_own_options(tmp_path: Path, command: str) -> None:
    flags = {f"--{name.replace('_', '-')}" for name in OPTIONS}
    assert flags <= set(re.findall(r"--[a-z0-9-]+", succeeds(tmp_path, command, "--help-settings")))
    own = re.findall(r"^  (?:-h, )?(--[a-z0-9-]+)", succeeds(tmp_path, command, "--help"), re.MULTILINE)
    assert {"--config", "--help-settings", "--help"} <= set(own)
    assert len(flags & set(own)) < 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["url", "cat", "0x0"], "The size '0x0' is malformed"),
        (["url", "cat", "200x100"], "may not be asked for"),
        (["url", "cat", "200x100", "--max-edge", "wide"], "'max_edge' is 'wide', which is not a whole number"),
        (["url", "cat", "200x100", "--config", "none.ini"], "cannot be read: No such file"),
        (["store", "v2", "cat.jpg"], "reserved name 'v2'"),
        (["store", "cat", "gone.jpg"], "/gone.jpg' cannot be read: No such file"),
        (["store", "gone.tsv"], "The file 'gone.tsv' cannot be read"),
        (["store", "cat", "http://127.0.0.1/cat.jpg"], "could not be reached"),
        (["warm", "cat", "200x100"], "There is no image 'cat'"),
        (["serve"], "Nothing may be asked for yet"),
        (["serve", "--sizes", "any", "--host", "192.0.2.1"], "Choose others with --host and --port"),
        (["worker"], "works inside the application itself"),
        (["worker", "--broker", "ftp://queue"], "a redis:// or amqp:// URL"),
    ],
)
def test_an_error_is_a_sentence_and_status_1(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = lazycrop(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr


def test_a_misspelled_option_is_answered_with_the_commands_own(tmp_path: Path) -> None:
    for given, meant in {"--expire": "--expires", "--formt": "--format", "--fallback-ur": "--fallback-url"}.items():
        done = lazycrop(tmp_path, "url", "cat", "200x100", given, "5")
        assert done.returncode == 2
        assert re.findall("--[a-z-]+", done.stderr.splitlines()[-1]) == [given, meant]


def test_an_option_of_another_command_is_not_answered_with_what_only_sounds_like_it(tmp_path: Path) -> None:
    done = lazycrop(tmp_path, "warm", "cat", "200x100", "--expires", "5")
    assert re.findall("--[a-z-]+", done.stderr.splitlines()[-1]) == ["--expires"]
    done = lazycrop(tmp_path, "warm", "cat", "200x100", "--max-pixel", "5")
    assert "--max-pixels" in done.stderr.splitlines()[-1]


def test_a_url_expires_when_it_is_told_to(tmp_path: Path) -> None:
    env = {"LAZYCROP_SECRET": "long and random"}
    url = succeeds(tmp_path, "url", "cat", "200x100", "--expires", "60", "--format", "webp", env=env)
    assert re.fullmatch(r"/img/cat/200x100\.webp\?e=\d+&s=[\w-]{43}\n|/img/cat/200x100\.webp\?s=.*\n", url)
    assert len(url) > len(succeeds(tmp_path, "url", "cat", "200x100", "--format", "webp", env=env))


def test_an_image_is_stored_with_its_focal_point(tmp_path: Path) -> None:
    succeeds(tmp_path, "store", "cat", photo("Fossa"), "--focal", "30,40")
    assert json.loads((tmp_path / "images/cat/image.json").read_text())["focal"] == [30, 40]
    succeeds(tmp_path, "store", "dog", photo("Fossa"), "--focal", "auto")
    assert json.loads((tmp_path / "images/dog/image.json").read_text())["focal"] is not None
    for point in ("30", "a,b", "30,40,50", "-1,5"):
        done = lazycrop(tmp_path, "store", "cat", photo("Fossa"), "--focal", point)
        assert done.returncode == 2
        assert "write 30,40" in done.stderr


def test_a_former_version_is_purged_alone(tmp_path: Path) -> None:
    for name in ("Fossa", "Wine"):
        succeeds(tmp_path, "store", "cat", photo(name))
    succeeds(tmp_path, "purge", "cat", "--version", "1", "--yes")
    assert not list((tmp_path / "images/cat").glob("origin.*"))
    assert list((tmp_path / "images/cat/v2").glob("origin.*"))
    assert "current one" in lazycrop(tmp_path, "purge", "cat", "--version", "2", "--yes").stderr


def test_files_of_other_kinds_are_left_out_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/cat.jpg").write_bytes(photo("Fossa").read_bytes())
    (tmp_path / "photos/README.html").write_text("about these photographs")
    assert succeeds(tmp_path, "store", "photos").startswith("1 stored, 0 as before, 1 no image, 0 failed in ")


def test_what_a_broker_is_handed_is_queued_and_not_done(tmp_path: Path, rabbitmq: RabbitMQ) -> None:
    succeeds(tmp_path, "store", "cat", photo("Fossa"))
    assert "1 of 1 done" in succeeds(tmp_path, "warm", "cat", "200x100")
    assert "1 of 1 queued" in succeeds(tmp_path, "warm", "cat", "200x100", "--broker", rabbitmq.url)
    done = lazycrop(tmp_path, "warm", "cat", "200x100", "--broker", f"amqp://{HOST}:{free_ports(1)[0]}")
    assert (done.returncode, done.stdout) == (1, "0 of 1 queued; workers store them.\n")


def test_a_worker_below_an_application_is_told_its_settings_whatever_their_types(tmp_path: Path) -> None:
    """What would be run is shown instead of run; the settings that it finds are those of the application."""
    settings = {
        "sizes": ["200x100", "800x"],
        "secret": ["new, with a comma", "old one"],
        "presets": {"card": "400x300-cover"},
        "store": "s3://bucket/base",
        "broker": "redis://user:p%40ss@127.0.0.1:1/0",
        "s3_access_key": "a",
        "s3_secret_key": "b",
        "snap": True,
    }
    program = f"""
import os, sys, click
from lazycrop import LazyCrop, cli
def run(path, arguments):
    config = LazyCrop.from_env().config
    print([config.policy.sizes, config.policy.secret, dict(config.policy.presets), config.policy.snap])
    print([config.store.store, config.queue.broker, arguments[1:4]])
os.execv = run
os.environ["LAZYCROP_SIZES"], os.environ["LAZYCROP_MAX_EDGE"] = "1x1", "7"
context = click.Context(cli.commands)
context.meta["lazycrop.settings"] = {settings!r}
with context.scope():
    cli.commands.commands["worker"].main([], parent=context, standalone_mode=False)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr == ""
    first, second = map(ast.literal_eval, done.stdout.splitlines())
    assert first == [
        ("200x100", "800x"),
        ("new, with a comma", "old one"),
        {"card": "400x300-cover"},
        True,
    ]
    assert second == ["s3://bucket/base", settings["broker"], ["-m", "dramatiq", "lazycrop.worker"]]


def test_without_click_importing_the_command_line_ends_nothing(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["click"] = None
import lazycrop.cli
try:
    lazycrop.cli.commands
except lazycrop.ConfigurationError as error:
    print(error)
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("The command line needs click and waitress: pip install lazycrop[cli].\n", "")


def test_an_unknown_setting_is_answered_with_the_nearest_one(tmp_path: Path) -> None:
    assert "--store" in lazycrop(tmp_path, "url", "cat", "200x100", "--stor", "x").stderr
    done = lazycrop(tmp_path, "url", "cat", "200x100", env={"LAZYCROP_STOR": "x"})
    assert (done.returncode, done.stderr) == (1, "There is no setting 'stor'; did you mean 'store'?\n")


def test_without_click_the_command_says_how_to_get_it(tmp_path: Path) -> None:
    program = "import runpy, sys; sys.modules['click'] = None; runpy.run_module('lazycrop', run_name='__main__')"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], env=env, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "The command line needs click and waitress: pip install lazycrop[cli].\n"


def test_help_is_printed_where_there_is_no_utf_8(tmp_path: Path) -> None:
    done = lazycrop(tmp_path, "worker", "--help", encoding="latin-1")
    assert done.returncode == 0
    assert "redis://?" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_check_works_where_there_is_no_utf_8(tmp_path: Path, encoding: str) -> None:
    done = lazycrop(tmp_path, "check", encoding=encoding)
    assert done.returncode == 0
    assert [line[:3] for line in done.stdout.splitlines()] == ["ok "] * 7 + ["! N"]


def test_check_looks_into_each_source(tmp_path: Path) -> None:
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "cat.txt").touch()
    done = lazycrop(tmp_path, "check", "--sources", f"media={tmp_path}/media old={tmp_path}/old")
    assert done.returncode == 1
    assert f"✓ the source media FolderSource('{tmp_path}/media') answers" in done.stdout
    assert f"✗ the source old FolderSource('{tmp_path}/old') answers" in done.stdout
    assert "Correct 'source' or 'sources'" in done.stdout


def settings_of(base: Base, s3: S3, memcached: Memcached, broker: str) -> dict[str, str]:
    return {
        "LAZYCROP_STORE": base.store,
        "LAZYCROP_S3_ENDPOINT_URL": s3.endpoint,
        "LAZYCROP_S3_ACCESS_KEY": s3.access_key,
        "LAZYCROP_S3_SECRET_KEY": s3.secret_key,
        "LAZYCROP_S3_REGION": s3.region,
        "LAZYCROP_MEMCACHED": memcached.address,
        "LAZYCROP_BROKER": broker,
        "LAZYCROP_SIZES": "200x100 300x",
        # A machine that is busy with tests is slow, and what was too slow is left alone for longer than a test waits.
        "LAZYCROP_BROKER_SECONDS": "10",
        "LAZYCROP_MEMCACHED_SECONDS": "5",
    }


def test_check_ticks_what_works(
    tmp_path: Path, s3: S3, s3_base: Base, memcached: Memcached, rabbitmq: RabbitMQ
) -> None:
    output = succeeds(tmp_path, "check", env=settings_of(s3_base, s3, memcached, rabbitmq.url))
    lines = output.splitlines()
    [latency] = [line for line in lines if not line.startswith("✓ ")]
    assert len(lines) == 10
    assert re.fullmatch(r"  A round trip to the store takes \d+\.\d ms, the median of \d+\.", latency)
    assert f"✓ anybody can read {s3_base.public_url}lazycrop-check-" in output
    assert objects_below(s3, s3_base) == []


def objects_below(s3: S3, base: Base) -> list[str]:
    with closing(s3.client()) as client:
        listing = client.list_objects_v2(Bucket=base.bucket, Prefix=base.prefix)
    return [found["Key"].removeprefix(base.prefix) for found in listing.get("Contents", [])]


def test_check_says_what_fails_and_what_to_do(tmp_path: Path, s3: S3, s3_base: Base) -> None:
    nobody, nothing = free_ports(2)
    done = lazycrop(
        tmp_path,
        *("check", "--store", s3_base.store, "--s3-endpoint-url", s3.endpoint, "--s3-region", s3.region),
        *("--s3-access-key", s3.access_key, "--s3-secret-key", s3.secret_key),
        *("--public-url", f"{s3.endpoint}/elsewhere/", "--memcached", f"{HOST}:{nobody}"),
        *("--broker", f"redis://user:hush@{HOST}:{nothing}/0"),
    )
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("✗")]
    assert [line.split()[1] for line in failed] == ["anybody", "memcached", "broker"]
    assert "correct 'public_url', or set answer=stream" in failed[0]
    assert "Nothing may be asked for" in done.stdout
    assert "hush" not in done.stdout + done.stderr


def test_check_tells_a_store_that_refuses(tmp_path: Path, s3: S3, s3_base: Base) -> None:
    flags = ["--store", s3_base.store, "--s3-endpoint-url", s3.endpoint, "--s3-region", s3.region]
    done = lazycrop(tmp_path, "check", *flags, "--s3-access-key", s3.access_key, "--s3-secret-key", "wrong")
    assert done.returncode == 1
    assert re.match("✗ .* takes an object: .*SignatureDoesNotMatch.*'store' and its keys", done.stdout)


def test_serve_answers_below_its_prefix_until_it_is_told_to_end(tmp_path: Path) -> None:
    succeeds(tmp_path, "store", "cat", photo("Fossa"))
    command = [*COMMAND, "serve", "--port", "0", "--sizes", "200x100", "--prefix", "/pictures"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        example = re.search("http://.*", server.stdout.readline())
        assert example is not None
        assert example[0].endswith("/pictures/cat/200x100.jpg")
        status, headers, body = get(example[0])
        assert (status, headers["Content-Type"]) == (200, "image/jpeg")
        with Image.open(BytesIO(body)) as picture:
            assert picture.size == (178, 100)
        status, headers, body = get(example[0].replace("/pictures/", "/"))
        assert (status, headers["Content-Type"]) == (404, "text/plain; charset=utf-8")
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0
    assert "200x100.jpg" in names(tmp_path / "images/cat")


@pytest.fixture
def broker(request: pytest.FixtureRequest) -> Valkey | RabbitMQ:
    server: Valkey | RabbitMQ = request.getfixturevalue(request.param)
    return server


@pytest.mark.parametrize("broker", ["valkey", "rabbitmq"], indirect=True)
def test_a_worker_stores_what_a_server_was_asked_for(
    tmp_path: Path, s3: S3, s3_base: Base, memcached: Memcached, broker: Valkey | RabbitMQ
) -> None:
    env = settings_of(s3_base, s3, memcached, broker.url)
    secret_key = env.pop("LAZYCROP_S3_SECRET_KEY")
    succeeds(tmp_path, "store", "cat", photo("Fossa"), "--s3-secret-key", secret_key, env=env)
    [port] = free_ports(1)
    url = f"http://{HOST}:{port}/img/cat/200x100.jpg"
    web, work = tmp_path / "web", tmp_path / "work"
    web.mkdir()
    work.mkdir()
    (work / "lazycrop.ini").write_text(f"[lazycrop]\ns3_secret_key = {secret_key}\n")
    serve = [*COMMAND, "serve", "--port", str(port), "--s3-secret-key", secret_key]
    worker = [*COMMAND, "worker", "--processes", "1", "--config", "lazycrop.ini"]
    with (
        running(serve, ready=f"http://{HOST}:{port}/", folder=web, env=env),
        running(worker, ready=lambda: "ready" in worker_log(work), folder=work, env=env) as dramatiq,
    ):
        assert secret_key not in command_line(dramatiq.pid)
        assert "dramatiq" in command_line(dramatiq.pid)
        status, _, rendered = get(url)
        assert status == 200
        eventually(lambda: get(url)[0] == 301, what="the size is stored")
        status, headers, stored = get(get(url)[1]["Location"])
        assert (status, headers["Content-Type"]) == (200, "image/jpeg") and alike(stored, rendered)
        succeeds(tmp_path, "warm", "cat", "300x", "--s3-secret-key", secret_key, env=env)
        eventually(lambda: "cat/300x.jpg" in objects_below(s3, s3_base), what="the worker has stored what was warmed")


def worker_log(folder: Path) -> str:
    return next(folder.glob("*.log")).read_text("utf-8").lower()


def command_line(pid: int) -> str:
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout


def test_check_says_when_anybody_can_read_what_is_private(tmp_path: Path, s3: S3, s3_base: Base) -> None:
    flags = ["--store", s3_base.store, "--s3-endpoint-url", s3.endpoint, "--s3-region", s3.region, "--private"]
    keys = ["--s3-access-key", s3.access_key, "--s3-secret-key", s3.secret_key, "--secret", "a key"]
    done = lazycrop(tmp_path, "check", *flags, *keys)  # The bucket of the tests is everybody's.
    assert done.returncode == 1
    assert "✗ nobody reads what is private, below -private/: anybody can read it" in done.stdout
