"""Bytes to pixels to bytes, with Pillow: what is made of a picture when it is stored, and when it is asked for."""
