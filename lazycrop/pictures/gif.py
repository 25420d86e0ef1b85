"""GIF: its frames, each put on the canvas as browsers do it (GIF89a specification).

Each frame is decoded as a GIF of its own. Pillow's reader fills what no frame covers, and enlarges the canvas on the
way; browsers show nothing there, and cut off what lies beyond.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from PIL import GifImagePlugin, Image

from lazycrop.errors import BrokenImage
from lazycrop.pictures.reading import Clock, Reader, decoding
from lazycrop.pictures.settings import Limits

_EXTENSION, _IMAGE = ord("!"), ord(",")
_CONTROL, _APPLICATION = 0xF9, 0xFF
_TO_NOTHING, _TO_PREVIOUS = 2, 3
"""What becomes of a frame before the next one; else it stays."""

_NOT_ZERO = re.compile(rb"[^\0]")
_CUT = "The GIF is broken or cut short; it cannot be decoded to its end."


@dataclass(slots=True)
class _Control:
    """What is said of the next frame."""

    delay: int = 0
    disposal: int = 0
    hole: int | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """``box``: left, top, width and height on the canvas. ``delay``: in milliseconds. ``hole``: the index of nothing.

    ``start``, ``end``: where its flags, its colour table and its pixels are in the file.
    """

    box: tuple[int, int, int, int]
    delay: int
    disposal: int
    hole: int | None
    start: int
    end: int


@dataclass(slots=True)
class Animation:
    """A GIF. ``size``: of its canvas. ``plays``: how often, 0 for ever. ``frames``: one or more."""

    data: bytes
    size: tuple[int, int]
    frames: list[Frame] = field(default_factory=list)
    plays: int = 1

    @property
    def is_opaque(self) -> bool:
        """Is there something everywhere, in each frame?"""
        first = self.frames[0]
        never = all(frame.disposal != _TO_NOTHING for frame in self.frames[:-1])
        return never and first.hole is None and first.box == (0, 0, *self.size)


def read(data: bytes, clock: Clock, limits: Limits) -> Animation:
    """Where everything is in a GIF. Raises BrokenImage, ImageTooLarge."""
    made = Animation(data, (_number(data, 6), _number(data, 8)))
    control = _Control()
    at = 13 + _colour_table(data[10:11])
    while found := _NOT_ZERO.search(data, at):
        clock.check()
        at = found.start()
        if data[at] == _EXTENSION:
            end = _end_of_blocks(data, at + 2, clock)
            if end > len(data):
                break
            _note(data, at, made, control)
        elif data[at] == _IMAGE:
            end = _end_of_blocks(data, at + 11 + _colour_table(data[at + 9 : at + 10]), clock)
            _add_frame(data, at, end, made, control, limits)
            control = _Control()
        else:
            break
        at = end
    if (
        not made.frames or not all(made.size) or data[at : at + 2] == b"!\xf9"
    ):  # and of the next one not even all that is said of it
        raise BrokenImage(_CUT)
    return made


def _note(data: bytes, at: int, made: Animation, control: _Control) -> None:
    """Take over what an extension says that is of use: delay, disposal, the transparent index; how often it plays."""
    label, block = data[at + 1], data[at + 3 : at + 3 + data[at + 2]]
    if label == _CONTROL and len(block) >= 4:
        control.delay = 10 * _number(block, 1)
        control.disposal = block[0] >> 2 & 7
        control.hole = block[3] if block[0] & 1 else None
    elif label == _APPLICATION and block in (b"NETSCAPE2.0", b"ANIMEXTS1.0"):
        inner = data[at + 14 : at + 18]
        if inner[:2] == b"\3\1":  # It counts repeats, and 0 is for ever.
            repeats = _number(inner, 2)
            made.plays = repeats + 1 if repeats else 0


def _add_frame(data: bytes, at: int, end: int, made: Animation, control: _Control, limits: Limits) -> None:
    if at + 10 > len(data):
        raise BrokenImage(_CUT)
    left, top, width, height = (_number(data, at + n) for n in (1, 3, 5, 7))
    if not made.frames:  # The first one may enlarge the canvas.
        made.size = max(made.size[0], left + width), max(made.size[1], top + height)
    most = max(made.size[0], width), max(made.size[1], height)
    made.frames.append(Frame((left, top, width, height), control.delay, control.disposal, control.hole, at + 9, end))
    limits.check("gif", most, len(made.frames))


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _colour_table(flags: bytes) -> int:
    """The bytes that the colour table takes of which these flags tell."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 128 else 0


def _end_of_blocks(data: bytes, at: int, clock: Clock) -> int:
    """Where the blocks from ``at`` on end; beyond the file when they are cut short."""
    while True:
        clock.check()
        for _ in range(10_000):
            if at >= len(data):
                return len(data) + 1
            if not data[at]:
                return at + 1
            at += data[at] + 1


class Canvas:
    """Shows the frames of an animation one after the other, and as many as are asked for."""

    def __init__(self, animation: Animation, clock: Clock) -> None:
        self._animation = animation
        self._clock = clock
        self._shown: Image.Image | None = None
        self._previous: Image.Image | None = None

    def frame(self, number: int) -> Image.Image:
        """What is seen of this frame, which is the one after that of the last call. Raises BrokenImage."""
        animation = self._animation
        frame = animation.frames[number]
        if len(animation.frames) == 1 and frame.box == (0, 0, *animation.size):
            return self._decoded(frame)
        shown = self._disposed(animation.frames[number - 1]) if number else self._empty()
        self._previous = shown.copy() if frame.disposal == _TO_PREVIOUS else None
        if all(frame.box[2:]):  # One without pixels changes nothing, and is shown for its time.
            part = self._decoded(frame).convert("RGBA")
            shown.paste(part, frame.box[:2], part)
        self._shown = shown
        return shown.copy()

    def _decoded(self, frame: Frame) -> Image.Image:
        """The frame by itself, as a file whose canvas it fills.

        Of two colour tables Pillow would take the wrong one where the frame's own is all greys in order.
        """
        data = self._animation.data
        _, _, width, height = frame.box
        size = width.to_bytes(2, "little") + height.to_bytes(2, "little")
        end = b";" if frame.end <= len(data) else b""
        has_table = bool(data[frame.start] & 128)
        head = bytes((data[10] & 127,)) + data[11:13] if has_table else data[10 : 13 + _colour_table(data[10:11])]
        file = b"".join((data[:6], size, head, b",\0\0\0\0", size, data[frame.start : frame.end], end))
        with decoding():
            image = GifImagePlugin.GifImageFile(Reader(file, self._clock))
            image.load()
        if frame.hole is not None:
            image.info["transparency"] = frame.hole
        return image

    def _empty(self) -> Image.Image:
        return Image.new("RGB" if self._animation.is_opaque else "RGBA", self._animation.size)

    def _disposed(self, last: Frame) -> Image.Image:
        """What stays of the canvas after the last frame."""
        shown = self._previous or self._shown
        assert shown is not None
        if last.disposal == _TO_NOTHING:
            left, top, width, height = last.box
            shown.paste((0, 0, 0, 0), (left, top, left + width, top + height))
        return shown
