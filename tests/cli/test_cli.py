"""The command line, run as users run it: in processes of its own, against real servers."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from dataclasses import fields
from email.message import Message
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from lazycrop.settings import Config
from servers import HOST, ROOT, S3, Memcached, RabbitMQ, Valkey, eventually, free_ports, photo, running

if TYPE_CHECKING:
    from conftest import Base

COMMAND = [sys.executable, "-m", "lazycrop"]
COMMANDS = ["store", "url", "warm", "purge", "serve", "worker", "check", "demo"]


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
    succeeds(tmp_path, "purge", "cat")
    assert not (tmp_path / "images/cat").exists()


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
    for name, data in {"a.jpg": b"no image", "b.jpg": good, "b.png": good, "c d.jpg": good, "e.jpg": good}.items():
        (tmp_path / "photos" / name).write_bytes(data)
    done = lazycrop(tmp_path, "store", "animals", "photos")
    assert done.returncode == 1
    assert "2 of 5 done" in done.stdout
    assert [line.partition(":")[0] for line in done.stderr.splitlines()[-3:]] == ["a", "b", "c d"]
    assert names(tmp_path / "images/animals") == {"b", "e"}
    assert "v2" not in names(tmp_path / "images/animals/b")


@pytest.mark.parametrize("source", ["list.tsv", "-"])
def test_a_list_of_ids_and_sources_is_stored(tmp_path: Path, source: str) -> None:
    lines = f"cat\t{photo('Fossa')}\n\nno tab here\nwine\t{photo('Wine')}\ngone\tnowhere.jpg\n"
    (tmp_path / "list.tsv").write_text(lines)
    done = lazycrop(tmp_path, "store", source, stdin=lines.encode())
    assert done.returncode == 1
    assert names(tmp_path / "images") == {"cat", "wine"}
    assert re.search("no tab here: A line is an image id, a tab, .*\ngone: The file 'nowhere.jpg' cannot", done.stderr)


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
def test_every_command_takes_every_setting_as_a_flag(tmp_path: Path, command: str) -> None:
    flags = set(re.findall(r"--[a-z0-9-]+", succeeds(tmp_path, command, "--help")))
    assert {f"--{field.name.replace('_', '-')}" for field in fields(Config)} <= flags


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["url", "cat", "0x0"], "The size '0x0' is malformed"),
        (["url", "cat", "200x100"], "may not be asked for"),
        (["url", "cat", "200x100", "--max-edge", "wide"], "'max_edge' is 'wide', which is not a whole number"),
        (["url", "cat", "200x100", "--config", "none.ini"], "cannot be read: No such file"),
        (["store", "v2", "cat.jpg"], "reserved name 'v2'"),
        (["store", "cat", "gone.jpg"], "The file 'gone.jpg' cannot be read"),
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
    done = lazycrop(tmp_path, "store", "--help", encoding="latin-1")
    assert done.returncode == 0
    assert "redis://?" in done.stdout


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_check_works_where_there_is_no_utf_8(tmp_path: Path, encoding: str) -> None:
    done = lazycrop(tmp_path, "check", encoding=encoding)
    assert done.returncode == 0
    assert [line[:3] for line in done.stdout.splitlines()] == ["ok "] * 5 + ["! N"]


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


def test_check_ticks_what_works(tmp_path: Path, s3: S3, s3_base: Base, memcached: Memcached, valkey: Valkey) -> None:
    output = succeeds(tmp_path, "check", env=settings_of(s3_base, s3, memcached, valkey.url))
    lines = output.splitlines()
    assert len(lines) == 7
    assert all(line.startswith("✓ ") for line in lines)
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
        *("check", "--store", s3_base.store, "--s3-endpoint-url", s3.endpoint, "--region", s3.region),
        *("--access-key", s3.access_key, "--s3-secret-key", s3.secret_key),
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
    flags = ["--store", s3_base.store, "--s3-endpoint-url", s3.endpoint, "--region", s3.region]
    done = lazycrop(tmp_path, "check", *flags, "--access-key", s3.access_key, "--s3-secret-key", "wrong")
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
        assert (status, headers["Content-Type"], stored) == (200, "image/jpeg", rendered)
        succeeds(tmp_path, "warm", "cat", "300x", "--s3-secret-key", secret_key, env=env)
        eventually(lambda: "cat/300x.jpg" in objects_below(s3, s3_base), what="the worker has stored what was warmed")


def worker_log(folder: Path) -> str:
    return next(folder.glob("*.log")).read_text("utf-8").lower()


def command_line(pid: int) -> str:
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=True).stdout
