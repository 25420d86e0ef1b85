"""Small: the same picture in fewer bytes than Pillow writes, where the extra ``small`` is installed.

A shrinker that fails leaves the file as it was: a picture is never worse for it.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from PIL import Image

try:
    import mozjpeg_lossless_optimization as mozjpeg
except ImportError:  # the extra `small` is not installed
    mozjpeg = None
try:
    import oxipng
except ImportError:
    oxipng = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

SHRINKERS = {"jpg": "mozjpeg" if mozjpeg else "pillow", "png": "oxipng" if oxipng else "pillow"}
"""What shrinks files of a format here."""

# Of 0 to 6. Bytes of what Pillow's level 9 takes, and CPU, of photographs and of drawings of 640 pixels: at 1 0.90 and
# 0.83 in 230 and 140 ms, at 2 0.89 and 0.78 in 430 and 240, at 4 0.89 and 0.77 in 1,220 and 1,420; Pillow 400 and 210.
_LEVEL = 2


def shrunk_jpeg(data: bytes) -> bytes | None:
    """The same coefficients as progressive scans that suit them best; None where that is not to be had."""
    return _tried(lambda: mozjpeg.optimize(data)) if mozjpeg else None


def shrunk_png(image: Image.Image) -> bytes | None:
    """The same pixels of an image in L, RGB or RGBA, as palette or grey where they are; None as above."""
    return _tried(lambda: _optimised(image)) if oxipng else None


# oxipng holds the interpreter's lock from its beginning to its end: a PNG of 800x600 had all other threads of a server
# stand still for 1.6 s. In a process of its own it takes 40 ms more of CPU.
_ALONE = """
import sys
folder, kind, width, height, level = sys.argv[1:]
sys.path.append(folder)
import oxipng
raw = oxipng.RawImage(sys.stdin.buffer.read(), int(width), int(height), color_type=getattr(oxipng.ColorType, kind)())
sys.stdout.buffer.write(raw.create_optimized_png(level=int(level)))
"""
_KINDS = {"L": "grayscale", "RGB": "rgb", "RGBA": "rgba"}
_SECONDS = 300.0


def _optimised(image: Image.Image) -> bytes:
    kind, pixels = _KINDS[image.mode], image.tobytes()
    if not Path(sys.executable).name.startswith("python"):  # A server that has Python in it.
        raw = oxipng.RawImage(pixels, *image.size, color_type=getattr(oxipng.ColorType, kind)())
        return raw.create_optimized_png(level=_LEVEL)
    folder = str(Path(oxipng.__file__).parent.parent)
    command = [sys.executable, "-I", "-S", "-c", _ALONE, folder, kind, *map(str, image.size), str(_LEVEL)]
    return subprocess.run(command, input=pixels, capture_output=True, check=True, timeout=_SECONDS).stdout


def _tried(shrink: Callable[[], bytes]) -> bytes | None:
    try:
        return shrink()
    except Exception:
        said = "a picture could not be shrunk; it is stored as Pillow writes it"
        logger.warning(said, exc_info=True, extra={"event": "not-shrunk"})
        return None
