"""Peers: other image servers, installed into folders of their own below the build folder.

Run it alone to install them: ``python -m benchmarks.peers``. What cannot be installed is named as missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from benchmarks import BUILD, ROOT
from servers import HOST, _no_daemons, ask, free_ports, running

THUMBOR = BUILD / "thumbor/bin/thumbor"
IPX = BUILD / "ipx/node_modules/.bin/ipx"
WHITENOISE = BUILD / "whitenoise"
IMAGE_FILTER = Path("/usr/lib/nginx/modules/ngx_http_image_filter_module.so")
WRK = shutil.which("wrk")

QUALITY = 80  # What lazycrop's default is for JPEG and WebP.


@dataclass(frozen=True)
class Site:
    """A server that runs. ``url(name, size, format)``: where it gives the source of this file name in this size."""

    pid: int
    url: Callable[[str, str, str], str]


@dataclass(frozen=True)
class Contender:
    """A server to be measured. ``serve(sources, folder)``: a Site while the block runs; ``folder`` is its own.

    ``keeps_kind``: it answers in the source's format only.
    """

    name: str
    serve: Callable[[Path, Path], Iterator[Site]]
    missing: str | None = None
    keeps_kind: bool = False
    ours: bool = False

    @contextmanager
    def serving(self, sources: Path, folder: Path) -> Iterator[Site]:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        with contextmanager(self.serve)(sources, folder) as site:
            yield site


def peers() -> list[Contender]:
    """Each of them, whether or not it could be installed."""
    pillow = f"Pillow {_pillow_version()} alone, behind gunicorn"
    return [
        Contender(f"thumbor {_thumbor_version()}", thumbor, None if THUMBOR.exists() else "pip install failed"),
        Contender(f"ipx {_ipx_version()}", ipx, None if IPX.exists() else "npm install failed, or there is no npm"),
        Contender(
            f"nginx image_filter {_nginx_version()}",
            nginx,
            None if nginx_program() and IMAGE_FILTER.exists() else "apt-get install needs root and Debian",
            keeps_kind=True,
        ),
        Contender(pillow, pillow_alone),
    ]


def thumbor(sources: Path, folder: Path, *, results: bool = False) -> Iterator[Site]:
    """``results``: it keeps what it made in its own result storage."""
    [port] = free_ports(1)
    storage = "thumbor.result_storages.file_storage" if results else None
    (folder / "thumbor.conf").write_text(
        f"LOADER = 'thumbor.loaders.file_loader'\nFILE_LOADER_ROOT_PATH = {str(sources)!r}\n"
        f"STORAGE = 'thumbor.storages.no_storage'\nRESULT_STORAGE = {storage!r}\n"
        f"RESULT_STORAGE_FILE_STORAGE_ROOT_PATH = {str(folder / 'results')!r}\nRESULT_STORAGE_STORES_UNSAFE = True\n"
        f"QUALITY = {QUALITY}\nWEBP_QUALITY = {QUALITY}\nRESPECT_ORIENTATION = True\n"
    )
    command = [THUMBOR, f"--ip={HOST}", f"--port={port}", f"--conf={folder / 'thumbor.conf'}", "--log-level=error"]
    with running(list(map(str, command)), ready=f"http://{HOST}:{port}/healthcheck", folder=folder) as server:

        def url(name: str, size: str, format: str) -> str:
            return f"http://{HOST}:{port}/unsafe/fit-in/{size}/filters:format({_mime(format)})/{name}"

        yield Site(server.pid, url)


def ipx(sources: Path, folder: Path) -> Iterator[Site]:
    [port] = free_ports(1)
    command = [str(IPX), "serve", "--dir", str(sources), "--host", HOST, "--port", str(port)]
    env = {"NODE_ENV": "production", "HOST": HOST, "PORT": str(port)}
    with running(command, ready=f"http://{HOST}:{port}/", folder=folder, env=env) as server:

        def url(name: str, size: str, format: str) -> str:
            return f"http://{HOST}:{port}/s_{size},fit_inside,q_{QUALITY},f_{_mime(format)}/{name}"

        yield Site(server.pid, url)


def nginx(sources: Path, folder: Path) -> Iterator[Site]:
    """``/files/…`` is the folder ``sources`` as it is, ``/<width>x<height>/…`` its pictures resized."""
    [port] = free_ports(1)
    module = f"load_module {IMAGE_FILTER};" if IMAGE_FILTER.exists() else ""
    resizing = f"""
        location ~ "^/(?<width>[0-9]+)x(?<height>[0-9]+)/(?<name>.+)$" {{
            alias {sources}/$name;
            image_filter resize $width $height;
            image_filter_jpeg_quality {QUALITY}; image_filter_webp_quality {QUALITY}; image_filter_buffer 64M;
        }}"""
    (folder / "nginx.conf").write_text(
        f"""{module}
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000;
    types {{ image/jpeg jpg; image/png png; image/webp webp; }}
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {HOST}:{port};
        location /files/ {{ alias {sources}/; }}{resizing if module else ""}
    }}
}}
"""
    )
    command = [str(nginx_program()), "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with running(command, ready=f"http://{HOST}:{port}/", folder=folder) as server:
        yield Site(server.pid, lambda name, size, format: f"http://{HOST}:{port}/{size}/{name}")


def pillow_alone(sources: Path, folder: Path) -> Iterator[Site]:
    with gunicorn("pillow_alone", folder, {"BENCH_SOURCES": str(sources)}) as (pid, base):
        yield Site(pid, lambda name, size, format: f"{base}/{size}/{format}/{name}")


@contextmanager
def gunicorn(
    app: str, folder: Path, env: dict[str, str], *, workers: int = 1, threads: int = 4
) -> Iterator[tuple[int, str]]:
    """gunicorn with ``app`` of benchmarks.apps; its process id and address. Its worker processes have threads."""
    [port] = free_ports(1)
    command = [
        *(sys.executable, "-m", "gunicorn", f"benchmarks.apps:{app}()", "--bind", f"{HOST}:{port}"),
        *("--workers", str(workers), "--worker-class", "gthread", "--threads", str(threads)),
        *("--keep-alive", "30", "--backlog", "2048", "--log-level", "warning"),
    ]
    with running(command, ready=lambda: _answers(port), folder=folder, env=env) as server:
        yield server.pid, f"http://{HOST}:{port}"


@contextmanager
def granian(app: str, folder: Path, env: dict[str, str]) -> Iterator[tuple[int, str]]:
    """The same with granian."""
    [port] = free_ports(1)
    command = [
        *(sys.executable, "-m", "granian", "--interface", "wsgi", "--factory", f"benchmarks.apps:{app}"),
        *("--host", HOST, "--port", str(port), "--workers", "1", "--blocking-threads", "4", "--log-level", "warning"),
    ]
    with running(command, ready=lambda: _answers(port), folder=folder, env=env) as server:
        yield server.pid, f"http://{HOST}:{port}"


def _answers(port: int) -> bytes:
    """An answer, whatever it is; a redirect is not followed."""
    return ask(port, b"GET /ready HTTP/1.0\r\n\r\n")


def install() -> None:
    """Install what is missing, where that can be done; say what could not be."""
    BUILD.mkdir(exist_ok=True)
    (BUILD / ".gitignore").write_text("*\n")
    if not THUMBOR.exists():
        _try(sys.executable, "-m", "venv", BUILD / "thumbor")
        # thumbor itself imports setuptools' pkg_resources, which setuptools 81 dropped.
        _try(BUILD / "thumbor/bin/pip", "install", "--quiet", "thumbor==7.8.*", "setuptools<81")
    if not IPX.exists() and shutil.which("npm"):
        _try("npm", "install", "--no-audit", "--no-fund", "--loglevel=error", f"--prefix={BUILD / 'ipx'}", "ipx@3")
    if not WHITENOISE.exists():
        _try(sys.executable, "-m", "pip", "install", "--quiet", f"--target={WHITENOISE}", "whitenoise>=6")
    packages = [] if nginx_program() and IMAGE_FILTER.exists() else ["nginx", "libnginx-mod-http-image-filter"]
    packages += [] if WRK else ["wrk"]
    if packages and shutil.which("apt-get") and os.geteuid() == 0:
        with _no_daemons() if Path("/usr/sbin").exists() else nullcontext():
            _try("apt-get", "update", "-q")
            _try("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)


def nginx_program() -> str | None:
    return shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")


def _try(*command: str | Path) -> None:
    if subprocess.run(list(map(str, command)), check=False, stdout=sys.stderr).returncode:
        print(f"This failed: {' '.join(map(str, command))}", file=sys.stderr)


def _mime(format: str) -> str:
    return "jpeg" if format == "jpg" else format


def _thumbor_version() -> str:
    found = list(BUILD.glob("thumbor/lib/*/site-packages/thumbor-*.dist-info"))
    return found[0].name.split("-")[1].removesuffix(".dist") if found else "7.8"


def _ipx_version() -> str:
    package = BUILD / "ipx/node_modules/ipx/package.json"
    return str(json.loads(package.read_text())["version"]) if package.exists() else "3"


def _nginx_version() -> str:
    program = nginx_program()
    if program is None:
        return ""
    said = subprocess.run([program, "-v"], capture_output=True, text=True, check=False).stderr
    return said.strip().rpartition("/")[2]


def _pillow_version() -> str:
    import PIL

    return PIL.__version__


if __name__ == "__main__":
    assert ROOT.exists()
    install()
    for peer in peers():
        print(f"{peer.name}: {peer.missing or 'installed'}")
