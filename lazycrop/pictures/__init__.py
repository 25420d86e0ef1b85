"""Bytes to pixels to bytes, with Pillow: decoding, colours, resampling, encoding, rendering, and what is done at store time."""
