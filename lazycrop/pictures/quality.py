"""Quality: the tables of our JPEGs, and what looks alike in each format."""

from __future__ import annotations

from functools import cache

# What JPEG divides by at quality 50. Those of the standard (Annex K) were made for the screens of 1992; these, which
# mozjpeg offers as its second, were found by a search for the best MS-SSIM. At equal SSIMULACRA2 they take 0.93 of the
# bytes, for the same time: 0.92 beside 1.00 as progressive files of 480 pixels, and 0.85 beside 0.92 by trellis.
_LUMINANCE = (
    12,  17,  20,  21,  30,  34,  56,  63,
    18,  20,  20,  26,  28,  51,  61,  55,
    19,  20,  21,  26,  33,  58,  69,  55,
    26,  26,  26,  30,  46,  87,  86,  66,
    31,  33,  36,  40,  46,  96, 100,  73,
    40,  35,  46,  62,  81, 100, 111,  91,
    46,  66,  76,  86, 102, 121, 120, 101,
    68,  90,  90,  96, 113, 102, 105, 103,
)  # fmt: skip
_CHROMINANCE = (
     8,  12,  15,  15,  86,  96,  96,  98,
    13,  13,  15,  26,  90,  96,  99,  98,
    12,  15,  18,  96,  99,  99,  99,  99,
    17,  16,  90,  96,  99,  99,  99,  99,
    96,  96,  99,  99,  99,  99,  99,  99,
    99,  99,  99,  99,  99,  99,  99,  99,
    99,  99,  99,  99,  99,  99,  99,  99,
    99,  99,  99,  99,  99,  99,  99,  99,
)  # fmt: skip


@cache  # To work them out takes a tenth of the time that a small picture takes to encode.
def jpeg_tables(quality: int, colours: bool) -> tuple[list[int], ...]:
    """The tables of a quality, 0 to 100, scaled as libjpeg does it, so that its numbers mean what they usually do."""
    quality = max(1, quality)
    per_cent = 5000 // quality if quality < 50 else 200 - 2 * quality
    tables = (_LUMINANCE, _CHROMINANCE) if colours else (_LUMINANCE,)
    return tuple([min(255, max(1, (value * per_cent + 50) // 100)) for value in table] for table in tables)


# By quality of JPEG with the tables above, that with the same mean SSIMULACRA2: 8 photographs of 560 pixels, WebP of
# effort 4, AVIF of effort 4. Of a single photograph it is up to 3 off for WebP, and up to 8 for AVIF.
_ALIKE = {
    "webp": {0: 0, 25: 25, 40: 46, 50: 57, 60: 70, 70: 78, 78: 83, 80: 84, 85: 88, 90: 93, 95: 97, 100: 100},
    "avif": {0: 0, 25: 29, 40: 40, 50: 45, 60: 50, 70: 56, 78: 61, 80: 63, 85: 71, 90: 81, 95: 88, 100: 100},
}


def alike(quality: int) -> dict[str, int]:
    """The quality of each lossy format in which a picture looks like a JPEG of ``quality``."""
    return {"jpg": quality, **{format: _between(points, quality) for format, points in _ALIKE.items()}}


def _between(points: dict[int, int], quality: int) -> int:
    """On the line from the point before to the point after."""
    before, after = max(at for at in points if at <= quality), min(at for at in points if at >= quality)
    part = (quality - before) / (after - before) if after != before else 0.0
    return round(points[before] + part * (points[after] - points[before]))
