"""Small files that ask for much memory or time are refused at once, and odd shapes stay cheap.

Each is rendered in a process of its own, with limits, which measures only the call itself.
"""

from __future__ import annotations

import platform
import struct
import subprocess
import sys
import zlib
from ast import literal_eval
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import corpus
from lazycrop.model.derivatives import CONTENT_TYPES
from lazycrop.model.sizes import Size
from servers import ROOT

CHILD = """
import resource, sys, time
from pathlib import Path
from lazycrop.errors import LazyCropError
from lazycrop.pictures.ingest import prepare
from lazycrop.pictures.render import render
from lazycrop.pictures.settings import IngestSettings, Limits, Recipe
from lazycrop.model.sizes import Size

def peak():
    # ru_maxrss would begin with the parent's: exec keeps it (Linux, getrusage(2)).
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)

warm, bomb, settings, *names = sys.argv[1:]
limits = Limits(**eval(settings))

def work(path, name):
    size, _, format = name.partition(".")
    data = Path(path).read_bytes()
    start, cpu = time.perf_counter(), time.process_time()
    try:
        if size == "prepare":
            prepared = prepare(data, (4000, 4000), limits, IngestSettings())
            made = (prepared.width, prepared.height)
        else:
            rendered = render(data, Size.parse(size), format, Recipe(), limits)
            made = (rendered.width, rendered.height)
    except LazyCropError as error:
        made = type(error).__name__
    return made, time.perf_counter() - start, time.process_time() - cpu

for kind in (resource.RLIMIT_AS, resource.RLIMIT_CPU):
    resource.setrlimit(kind, (3 << 30, 3 << 30) if kind == resource.RLIMIT_AS else (30, 30))
for name in names:
    work(warm, name)
before = peak()
print([(*work(bomb, name), peak() - before) for name in names])
"""


@dataclass(frozen=True)
class Outcome:
    """``made``: (width, height), or the name of the error. ``wall``, ``cpu``: seconds. ``memory``: more MiB at peak."""

    made: tuple[int, int] | str
    wall: float
    cpu: float
    memory: float


def outcomes(folder: Path, bomb: bytes, warm: bytes, names: list[str], **settings: object) -> list[Outcome]:
    """What comes of ``bomb`` as each of ``names``, in a process that has made ``warm`` so before: all is loaded.

    ``names``: ``<size>.<format>``, or ``prepare``.
    """
    for name, data in (("warm", warm), ("bomb", bomb)):
        (folder / name).write_bytes(data)
    command = [sys.executable, "-c", CHILD, str(folder / "warm"), str(folder / "bomb"), repr(settings), *names]
    child = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    return [Outcome(*result) for result in literal_eval(child.stdout)]


def outcome(folder: Path, bomb: bytes, warm: bytes, name: str = "200x200-cover.jpg", **settings: object) -> Outcome:
    return outcomes(folder, bomb, warm, [name], **settings)[0]


def assert_refused(result: Outcome, wall: float = 0.3, memory: float = 64) -> None:
    assert result.made == "ImageTooLarge"
    assert result.wall < wall
    assert result.memory < memory


# ---- pixels ----


def jpeg_of(width: int, height: int, **options: object) -> bytes:
    """A small JPEG that says that it is this large (ITU T.81, B.2.2)."""
    data = corpus.saved(corpus.rgb(), "JPEG", **options)
    at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def gif_of(width: int, height: int, frames: int = 1) -> bytes:
    data = corpus.saved(corpus.indexed("P", corpus.COLOURS), "GIF")
    frame = data[data.index(b"\x2c") : -1]
    return data[:6] + struct.pack("<HH", width, height) + data[10 : data.index(b"\x2c")] + frame * frames + b";"


def webp_header_of(width: int, height: int) -> bytes:
    """One colour: some tens of bytes, however large (WebP lossless bitstream specification, 3.4)."""
    data = bytearray(corpus.PICTURES["webp-lossless"]().data)
    at = data.index(b"VP8L") + 9
    data[at : at + 4] = struct.pack("<I", (width - 1) | (height - 1) << 14)
    return bytes(data)


def webp_lossy_header_of(width: int, height: int) -> bytes:
    data = bytearray(corpus.PICTURES["webp"]().data)
    at = data.index(b"\x9d\x01\x2a") + 3
    data[at : at + 4] = struct.pack("<HH", width, height)
    return bytes(data)


def webp_canvas_of(width: int, height: int) -> bytes:
    """An animation of small frames on a large canvas."""
    data = bytearray(corpus.ANIMATED["webp-opaque-loop-0"]())
    data[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(data)


def avif_of(width: int, height: int) -> bytes:
    data = bytearray(corpus.PICTURES["avif"]().data)
    at = data.index(b"ispe") + 8
    data[at : at + 8] = struct.pack(">II", width, height)
    return bytes(data)


def png_of(width: int, height: int) -> bytes:
    return corpus.png(width, height, 8, corpus.RGB, np.zeros((1, 1), np.uint8))


BOMBS = {
    "png-50000": ("png-rgb", lambda: png_of(50_000, 50_000)),
    "png-huge": ("png-rgb", lambda: png_of(2**31 - 1, 2**31 - 1)),
    "png-8000": ("png-rgb", lambda: png_of(8_000, 8_000)),
    "png-long": ("png-rgb", lambda: png_of(1_000_000, 1)),
    "jpeg-65500": ("jpeg-420", lambda: jpeg_of(65_500, 65_500)),
    "jpeg-8000": ("jpeg-420", lambda: jpeg_of(8_000, 8_000)),
    "jpeg-progressive": ("jpeg-progressive", lambda: jpeg_of(30_000, 30_000, progressive=True)),
    "gif-65535": ("gif", lambda: gif_of(65_535, 65_535)),
    "gif-frames": ("gif", lambda: gif_of(2_000, 2_000, frames=300)),
    "gif-many-frames": ("gif", lambda: gif_of(96, 64, frames=50_000)),
    "webp-10000": ("webp", lambda: webp_header_of(10_000, 5_000)),
    "webp-16383": ("webp", lambda: webp_header_of(16_383, 16_383)),
    "webp-lossy-16383": ("webp", lambda: webp_lossy_header_of(16_383, 16_383)),
    "webp-canvas": ("webp", lambda: webp_canvas_of(16_777_216, 200)),
    "webp-canvas-16000": ("webp", lambda: webp_canvas_of(16_000, 10_000)),
    "avif-16000": ("avif", lambda: avif_of(16_000, 16_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_pixel_bomb_is_refused_before_it_unfolds(name, tmp_path):
    warm, make = BOMBS[name]
    for result in outcomes(tmp_path, make(), corpus.PICTURES[warm]().data, ["200x200-cover.jpg", "prepare"]):
        assert_refused(result)


@pytest.mark.parametrize("name", ["webp", "avif"])
def test_a_format_that_takes_more_memory_has_a_lower_limit(name, tmp_path):
    # 26 MP: less than the limit of the others, more than theirs.
    bomb = {"webp": webp_header_of, "avif": avif_of}[name](6_500, 4_000)
    assert_refused(outcome(tmp_path, bomb, corpus.PICTURES[name]().data))
    assert outcome(tmp_path, png_of(6_500, 4_000), corpus.PICTURES["png-rgb"]().data).made == "BrokenImage"


def test_a_text_that_unpacks_to_a_hundred_megabytes_is_harmless(tmp_path):
    big = zlib.compress(bytes(100_000_000), 9)
    for kind, head in ((b"zTXt", b"a\0\0"), (b"iCCP", b"a\0\0"), (b"iTXt", b"a\0\1\0\0\0")):
        bomb = corpus.png_card(8, corpus.RGB, [c[:3] for c in corpus.COLOURS], corpus.chunk(kind, head + big))
        result = outcome(tmp_path, bomb, corpus.PICTURES["png-rgb"]().data)
        assert result.made in ((200, 200), (64, 64), "ImageTooLarge", "BrokenImage")
        assert result.wall < 0.3
        assert result.memory < 64


# ---- scans ----


def scans_repeated(data: bytes, scans: int) -> bytes:
    """A progressive JPEG with its last scan again and again, ``scans`` in all."""
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * (scans - data.count(b"\xff\xda") + 1) + data[-2:]


def progressive_grey(scans: int, blocks: int = 8) -> bytes:
    """A legal progressive JPEG (ITU T.81, G.1): flat grey, its DC scan and then one scan for each AC coefficient."""
    side = blocks * 8
    frame = corpus.jpeg_segment(0xC2, struct.pack(">BHHBBBB", 8, side, side, 1, 1, 0x11, 0))
    tables = corpus.jpeg_segment(0xDB, b"\0" + bytes([1] * 64))
    for table in (b"\0", b"\x10"):  # one code in each, '0': no difference; end of block
        tables += corpus.jpeg_segment(0xC4, table + bytes([1] + [0] * 15) + b"\0")
    zeros = bytes(blocks * blocks // 8)
    body = b"".join(corpus.jpeg_segment(0xDA, bytes([1, 1, 0, i, i, 0])) + zeros for i in range(scans))
    return b"\xff\xd8" + tables + frame + body + b"\xff\xd9"


@cache
def scan_bomb(scans: int) -> bytes:
    flat = Image.new("RGB", (2000, 2000), corpus.RED[:3])
    return scans_repeated(corpus.saved(flat, "JPEG", progressive=True), scans)


def test_a_scan_bomb_is_refused_without_decoding(tmp_path):
    bomb, warm = scan_bomb(20_000), corpus.PICTURES["jpeg-progressive"]().data
    assert len(bomb) < 3_000_000
    for result in outcomes(tmp_path, bomb, warm, ["200x200-cover.jpg", "prepare"]):
        assert_refused(result)
        assert result.cpu < 0.05


def test_a_marker_without_a_length_hides_no_scans(tmp_path):
    # TEM has no length (ITU T.81, table B.1): who takes the two bytes after it for one skips a thousand scans.
    bomb, warm = scan_bomb(20_000), corpus.PICTURES["jpeg-progressive"]().data
    scan = bomb[bomb.rindex(b"\xff\xda") : -2]
    some = scan * (60_000 // len(scan))
    hidden = b"\xff\x01" + struct.pack(">H", len(some) + 2) + some
    bomb = scan_bomb(11)[:-2] + hidden * 4 + b"\xff\xd9"
    assert_refused(outcome(tmp_path, bomb, warm, decode_seconds=2.0))


def test_scans_are_counted_up_to_the_limit(tmp_path):
    warm = corpus.PICTURES["jpeg-progressive"]().data
    small = corpus.saved(corpus.rgb(), "JPEG", progressive=True)
    for scans, expected in ((100, (64, 64)), (101, "ImageTooLarge")):
        assert outcome(tmp_path, scans_repeated(small, scans), warm).made == expected
    # Fill bytes may come before a marker (ITU T.81, B.1.1.2).
    filled = scans_repeated(small, 101).replace(b"\xff\xda", b"\xff\xff\xff\xda")
    assert outcome(tmp_path, filled, warm).made == "ImageTooLarge"


@pytest.mark.parametrize("scans", [1, 20, 64])
def test_a_legal_progressive_jpeg_of_many_scans_is_accepted(scans, tmp_path):
    data = progressive_grey(scans)
    assert data.count(b"\xff\xda") == scans
    assert outcome(tmp_path, data, corpus.PICTURES["jpeg-progressive"]().data).made == (64, 64)


def test_the_thumbnail_inside_a_jpeg_is_no_scan_of_it(tmp_path):
    inner = scans_repeated(corpus.saved(corpus.rgb(), "JPEG", progressive=True), 150)[:60_000]
    data = corpus.jpeg_with(corpus.jpeg_segment(0xE2, inner))
    assert outcome(tmp_path, data, corpus.PICTURES["jpeg-420"]().data).made == (64, 64)


def test_a_decode_that_takes_too_long_is_ended_at_its_deadline(tmp_path):
    # 99 scans of 4 MP are within the limit on scans and take 0.4 s; the clock is looked at every 8 KB.
    warm = corpus.PICTURES["jpeg-progressive"]().data
    free = outcome(tmp_path, scan_bomb(99), warm)
    assert free.made == (200, 200)
    ended = outcome(tmp_path, scan_bomb(99), warm, decode_seconds=0.05)
    assert ended.made == "ImageTooLarge"
    assert ended.cpu < free.cpu * 0.8


# ---- odd shapes ----


def long_png(width: int, height: int) -> bytes:
    return corpus.saved(Image.new("RGB", (width, height), corpus.RED[:3]), "PNG")


SHAPES = {"1x65535": (1, 65_535), "65535x1": (65_535, 1), "3000x2": (3_000, 2), "1x30000": (1, 30_000)}
SIZES = ["200x200", "200x", "x200", "200x200-cover", "200x3-cover-n", "200x200-contain", "200x200-fill"]
SIZES += ["200x200-cover-up", "200x200-contain-up", "200x200-fill-up", "4096x4096-fill", "4096x4096-cover"]


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes_are_cheap_in_every_fit(shape, tmp_path):
    names = [f"{size}.png" for size in SIZES]
    results = outcomes(tmp_path, long_png(*SHAPES[shape]), long_png(64, 64), names, max_side=70_000)
    for size, result in zip(SIZES, results, strict=True):
        assert result.made == Size.parse(size).dimensions(*SHAPES[shape])
        assert result.cpu < 0.5
        assert result.memory < 64


@pytest.mark.parametrize("shape", ["1x65535", "65535x1"])
def test_a_side_over_the_limit_is_refused(shape, tmp_path):
    assert_refused(outcome(tmp_path, long_png(*SHAPES[shape]), long_png(64, 64)))


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes_have_cheap_origins(shape, tmp_path):
    result = outcome(tmp_path, long_png(*SHAPES[shape]), long_png(64, 64), "prepare", max_side=70_000)
    assert isinstance(result.made, tuple)
    assert max(result.made) <= 4000
    assert min(result.made) >= 1
    assert result.cpu < 1
    assert result.memory < 64


@pytest.mark.parametrize("size", ["2000x-up", "99999x99999-contain", "99999x99999-fill-up@3x", "99999x99999-cover-up"])
def test_an_output_bomb_is_refused(size, tmp_path):
    # 1x30000 at 2000x-up would have 120 gigapixels.
    names = [f"{size}.{format}" for format in CONTENT_TYPES]
    for result in outcomes(tmp_path, long_png(1, 30_000), long_png(1, 1), names):
        assert result.made in ("BadSize", "ImageTooLarge")
        assert result.wall < 0.3
        assert result.memory < 64


# ---- memory, afterwards ----

KEPT = """
import struct, threading, zlib
from pathlib import Path
from lazycrop.concurrency.memory import Memory
from lazycrop.pictures.ingest import prepare
from lazycrop.pictures.settings import IngestSettings, Limits

def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // 1_000_000

packer = zlib.compressobj(9)
rows = b"".join(packer.compress(b"\\0" + b"\\x7f" * 40_000) for _ in range(9_900)) + packer.flush()
header = struct.pack(">IIBBBBB", 5_000, 9_900, 16, 6, 0, 0, 0)
png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
memory, ready, end = Memory(64_000_000), threading.Barrier(2), threading.Event()

def store():
    prepare(png, (4000, 4000), Limits(decode_seconds=60), IngestSettings(), reserve=memory.use)
    ready.wait()
    end.wait()  # as a thread of a server, which waits for the next request

before, kept = resident(), []
for _ in range(4):
    threading.Thread(target=store).start()
    ready.wait()
    kept.append(resident() - before)
end.set()
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1000 - before
print((kept, peak))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other systems give memory back by themselves")
def test_threads_that_have_stored_large_pictures_keep_little_of_their_memory():
    child = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    kept, peak = literal_eval(child.stdout)
    assert kept[-1] < 300, f"{kept} MB after each, of 200 that each is decoded to"
    assert peak < 600, f"{peak} MB at the peak"
