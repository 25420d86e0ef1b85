"""Samples: a photograph to begin with, where a documentation would else say "some picture of yours"."""

from __future__ import annotations

from pathlib import Path


def sample() -> bytes:
    """A photograph of 3000 × 1688 pixels, as the bytes of a JPEG file, to store and to try things on."""
    return Path(__file__).with_name("playground").joinpath("seeding.jpg").read_bytes()
