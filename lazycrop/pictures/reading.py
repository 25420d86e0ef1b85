"""Reading: how long a file may be read, and what it means when a decoder does not like it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import Image

from lazycrop.errors import BrokenImage, ImageTooLarge, LazyCropError


class Clock:
    """A deadline for all work on one file: some take minutes of a few bytes.

    It goes by the CPU that this thread has had: no picture is refused because the machine has much else to do, or
    because it waited for memory.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._earliest = time.monotonic() + seconds
        self._deadline = time.thread_time() + seconds

    def check(self) -> None:
        """Raise ImageTooLarge when the time is over. Costs 0.1 µs: each loop over a part of a file calls it.

        A thread has no more CPU than time has passed, and the time is asked for at a tenth of the cost.
        """
        if time.monotonic() > self._earliest and time.thread_time() > self._deadline:
            raise ImageTooLarge(f"The image takes longer than {self._seconds:g} seconds to read; make it simpler.")


class Reader(BytesIO):
    """Bytes that a decoder may read until the clock has run out."""

    def __init__(self, data: bytes, clock: Clock) -> None:
        super().__init__(data)
        self._clock = clock

    def read(self, size: int | None = -1) -> bytes:
        self._clock.check()
        return super().read(size)


@contextmanager
def decoding() -> Iterator[None]:
    """For calls into Pillow alone: whatever a decoder raises means that the bytes are broken, or too much.

    It raises OSError, SyntaxError, ValueError, IndexError, struct.error, zlib.error, EOFError and more. What code of
    our own raises is a fault of ours and must not be taken for one of the file.
    """
    try:
        yield
    except LazyCropError:
        raise
    except (MemoryError, Image.DecompressionBombError) as error:
        raise ImageTooLarge("The image needs more memory than there is; make it smaller.") from error
    except Exception as error:
        raise BrokenImage("The image is broken or cut short; it cannot be decoded to its end.") from error
