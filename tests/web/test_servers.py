"""The servers that other tests build on answer, come back after a fault, and fail in the ways they are told to."""

from __future__ import annotations

import socket
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servers import (
    HOST,
    PROGRAMS,
    S3,
    FaultProxy,
    Memcached,
    Program,
    RabbitMQ,
    Server,
    Valkey,
    answers,
    ask,
    eventually,
    free_ports,
    photo,
    running,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from conftest import Base

LETTERS = b"abcdefghij"
RESET = (ConnectionResetError, BrokenPipeError)  # which of the two, depends on who is faster


def fetch(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return bytes(answer.read())


@pytest.fixture
def client(s3: S3) -> Iterator[object]:
    client = s3.client()
    yield client
    client.close()


def test_anybody_reads_the_bucket_and_only_the_holder_of_the_keys_writes(s3: S3, s3_base: Base, client: S3) -> None:
    client.put_object(Bucket=s3_base.bucket, Key=f"{s3_base.prefix}cat", Body=b"meow")
    assert fetch(f"{s3_base.public_url}cat") == b"meow"
    request = urllib.request.Request(f"{s3_base.public_url}dog", data=b"woof", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(request, timeout=5)
    refused.value.close()


def test_the_bucket_keeps_its_objects_over_a_restart(s3: S3, s3_base: Base, client: S3) -> None:
    client.put_object(Bucket=s3_base.bucket, Key=f"{s3_base.prefix}cat", Body=b"meow")
    s3.restart()
    eventually(lambda: fetch(f"{s3_base.public_url}cat") == b"meow", what="the object is there again")


def test_each_test_has_a_base_path_of_its_own(s3_base: Base, client: S3) -> None:
    assert client.list_objects_v2(Bucket=s3_base.bucket, Prefix=s3_base.prefix)["KeyCount"] == 0


def test_memcached_remembers(memcached: Memcached, second_memcached: Memcached) -> None:
    assert memcached.address != second_memcached.address
    assert ask(memcached.port, b"set cat 0 0 4\r\nmeow\r\n") == b"STORED\r\n"
    assert ask(memcached.port, b"get cat\r\n") == b"VALUE cat 0 4\r\nmeow\r\nEND\r\n"
    assert ask(second_memcached.port, b"get cat\r\n") == b"END\r\n"


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_server_is_empty_before_each_test(memcached: Memcached, valkey: Valkey, turn: str) -> None:
    assert ask(memcached.port, b"get left\r\n") == b"END\r\n"
    assert ask(valkey.port, b"GET left\r\n") == b"$-1\r\n"
    ask(memcached.port, b"set left 0 0 4\r\nover\r\n")
    ask(valkey.port, b"SET left over\r\n")


@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_server_that_a_test_killed_runs_again_before_the_next_one(memcached: Memcached, turn: str) -> None:
    assert ask(memcached.port, b"version\r\n").startswith(b"VERSION")
    memcached.kill()
    with pytest.raises(ConnectionRefusedError):
        ask(memcached.port, b"version\r\n")


def test_valkey_speaks_the_redis_protocol(valkey: Valkey) -> None:
    import redis

    with redis.Redis.from_url(valkey.url) as client:
        client.set("cat", "meow")
        assert client.get("cat") == b"meow"


def test_rabbitmq_carries_a_message_and_comes_back_after_a_kill(rabbitmq: RabbitMQ) -> None:
    def carries_a_message() -> bool:
        with rabbitmq.connection() as connection:
            channel = connection.channel()
            channel.queue_declare("meow")
            channel.basic_publish("", "meow", b"meow")
            return eventually(lambda: channel.basic_get("meow", auto_ack=True)[2]) == b"meow"

    assert carries_a_message()
    rabbitmq.kill()
    rabbitmq.start()
    assert carries_a_message()


def test_chromium_shows_a_page(chromium: Browser) -> None:
    page = chromium.new_page()
    page.set_content("<h1>meow</h1>")
    assert page.inner_text("h1") == "meow"
    page.close()


def test_a_web_server_runs_while_it_is_needed(tmp_path: Path) -> None:
    [port] = free_ports(1)
    (tmp_path / "cat").write_text("meow")
    command = [sys.executable, "-m", "http.server", "--bind", HOST, str(port)]
    with running(command, ready=f"http://{HOST}:{port}/", folder=tmp_path) as server:
        assert fetch(f"http://{HOST}:{port}/cat") == b"meow"
        assert server.runs
    with pytest.raises(urllib.error.URLError):
        answers(f"http://{HOST}:{port}/")


def test_a_server_that_ends_at_once_fails_with_the_end_of_its_log(tmp_path: Path) -> None:
    server = Server([sys.executable, "-c", "raise SystemExit('no')"], ready=lambda: False, folder=tmp_path)
    with pytest.raises(AssertionError, match=r"ended with 1.*\n.*\nno"):
        server.start()


def test_a_server_that_never_answers_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    server = Server(command, ready=lambda: False, folder=tmp_path, seconds=0.1)
    with pytest.raises(AssertionError, match=r"Within 0\.1 s it did not come true that the server answers"):
        server.start()
    assert not server.runs


def test_a_missing_program_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Program(("no-such-server",), "grow one")
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server is not installed: grow one"):
        program.require()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-server is not installed: grow one"):
        program.require()
    assert all(program.install for program in PROGRAMS)


def test_a_photo_is_found_by_the_beginning_of_its_name() -> None:
    assert photo("Wine").read_bytes().startswith(b"\xff\xd8")


def test_eventually_tells_what_it_waited_for_and_why_it_did_not_come() -> None:
    with pytest.raises(AssertionError, match=r"Within 0\.05 s it did not come true that pigs fly\.") as failure:
        eventually(lambda: 1 / 0, seconds=0.05, what="pigs fly")
    assert isinstance(failure.value.__cause__, ZeroDivisionError)


# The fault proxy, in front of a server that answers each line with LETTERS.


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with socket.create_server((HOST, 0)) as listener, FaultProxy(listener.getsockname()[1]) as proxy:
        threading.Thread(target=serve_letters, args=(listener,), daemon=True).start()
        yield proxy
        listener.shutdown(socket.SHUT_RDWR)


def serve_letters(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=serve_connection, args=(connection,), daemon=True).start()


def serve_connection(connection: socket.socket) -> None:
    with suppress(OSError), connection, connection.makefile("rb") as lines:
        for _ in lines:
            connection.sendall(LETTERS)


def connect(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection((HOST, proxy.port), timeout=5)


def letters(connection: socket.socket) -> bytes:
    """The answer to a line, or as much of it as came before the connection ended."""
    connection.sendall(b"go\n")
    answer = b""
    while len(answer) < len(LETTERS) and (data := connection.recv(100)):
        answer += data
    return answer


def test_pass_lets_all_through_and_keeps_the_connection(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert [letters(connection), letters(connection)] == [LETTERS, LETTERS]


def test_refuse_closes_the_port_and_resets_what_is_open(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        assert letters(connection) == LETTERS
        proxy.set("refuse")
        with pytest.raises(RESET):
            letters(connection)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.set("pass")
    with connect(proxy) as connection:
        assert letters(connection) == LETTERS


def test_reset_accepts_and_resets(proxy: FaultProxy) -> None:
    with connect(proxy) as opened:
        assert letters(opened) == LETTERS
        proxy.set("reset")
        with pytest.raises(RESET):
            letters(opened)
    with pytest.raises(RESET), connect(proxy) as connection:
        letters(connection)


def test_a_black_hole_accepts_and_says_nothing_until_it_ends(proxy: FaultProxy) -> None:
    with connect(proxy) as opened:
        assert letters(opened) == LETTERS
        proxy.set("black hole")
        with connect(proxy) as connection:
            for silent in (opened, connection):
                silent.settimeout(0.2)
                with pytest.raises(TimeoutError):
                    letters(silent)
            proxy.set("pass")
            connection.settimeout(5)
            assert connection.recv(100) == LETTERS


def test_latency_delays_each_answer(proxy: FaultProxy) -> None:
    with connect(proxy) as connection:
        proxy.set("latency", 0.2)
        start = time.monotonic()
        assert letters(connection) == LETTERS
        assert 0.2 <= time.monotonic() - start < 2


def test_cut_ends_each_connection_after_so_many_bytes(proxy: FaultProxy) -> None:
    with connect(proxy) as opened:
        assert letters(opened) == LETTERS
        proxy.set("cut", 4)
        assert letters(opened) == LETTERS[:4]
    proxy.set("cut", 14.6)
    with connect(proxy) as connection:
        assert [letters(connection), letters(connection)] == [LETTERS, LETTERS[:4]]


def test_drip_sends_one_byte_at_a_time_until_the_mode_changes(proxy: FaultProxy) -> None:
    proxy.set("drip", 0.02)
    with connect(proxy) as connection:
        start = time.monotonic()
        assert letters(connection) == LETTERS
        assert time.monotonic() - start >= 0.02 * (len(LETTERS) - 1)
        proxy.set("drip", 600)
        connection.sendall(b"go\n")
        assert connection.recv(100) == LETTERS[:1]
        proxy.set("pass")


def test_throttle_sends_so_many_bytes_a_second(proxy: FaultProxy) -> None:
    proxy.set("throttle", 40)  # two bytes each 0.05 s
    with connect(proxy) as connection:
        start = time.monotonic()
        assert letters(connection) == LETTERS
        assert time.monotonic() - start >= 0.05 * (len(LETTERS) / 2 - 1)


def test_a_server_that_is_gone_shows_as_a_reset(proxy: FaultProxy) -> None:
    [proxy.target] = free_ports(1)
    with pytest.raises(RESET), connect(proxy) as connection:
        letters(connection)
