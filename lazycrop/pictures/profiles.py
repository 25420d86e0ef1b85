"""Profiles: colours that a file names by numbers (ITU-T H.273, or PNG's gAMA and cHRM), as an ICC profile.

What is made for bright screens (PQ, HLG) is brought to the range of ordinary ones by the curve of the profile: that of
ITU-R BT.2390 from 1,000 to 203 cd/m², in which all but highlights stays as bright as it was meant.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from functools import lru_cache

Point = tuple[float, float]
Chromaticities = tuple[Point, Point, Point, Point]
"""x and y of red, green, blue and white."""

_Row = tuple[float, float, float]
_Matrix = tuple[_Row, _Row, _Row]
_Curve = Callable[[float], float]
"""A sample of 0 to 1 to light of 0 to 1."""

_D65, _C, _EQUAL, _DCI = (0.3127, 0.3290), (0.310, 0.316), (1 / 3, 1 / 3), (0.314, 0.351)
_BT709: Chromaticities = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65)
_SMPTE_C: Chromaticities = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)

_PRIMARIES: dict[int, Chromaticities] = {
    1: _BT709,
    2: _BT709,  # not specified
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: _SMPTE_C,
    7: _SMPTE_C,
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    10: ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0), _EQUAL),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}


def are_known(primaries: int, transfer: int) -> bool:
    """Are these code points for which there is a profile, or that say sRGB?"""
    return primaries in _PRIMARIES and transfer in _TRANSFERS


@lru_cache(maxsize=32)
def of_code_points(primaries: int, transfer: int, *, is_full: bool = True) -> bytes | None:
    """The profile of these code points; None when it would be sRGB, or they name nothing that is known.

    ``is_full``: black is 0 and white the largest sample; else they are 16 and 235 of 255.
    """
    points, curve = _PRIMARIES.get(primaries), _TRANSFERS.get(transfer)
    if points is None or curve is None or (points == _BT709 and curve is _srgb and is_full):
        return None
    if is_full:
        return _matrix_profile(points, curve)
    return _matrix_profile(points, lambda value: curve(min(1.0, max(0.0, (255 * value - 16) / 219))))


# As libpng: such a difference is not worth a conversion, and sRGB's own curve is said as 1/2.2 (PNG, 11.3.2.4).
_GAMMA_OF_SRGB, _LIKE_GAMMA, _LIKE_POINT = 1 / 2.2, 0.05, 0.002


@lru_cache(maxsize=32)
def of_gamma(gamma: float, points: Chromaticities | None) -> bytes | None:
    """The profile of PNG's gAMA and cHRM; None when it would be sRGB, or they cannot be right."""
    if not 0.01 < gamma < 100:
        return None
    points = points or _BT709
    is_srgb = abs(gamma / _GAMMA_OF_SRGB - 1) <= _LIKE_GAMMA
    pairs = zip(sum(points, ()), sum(_BT709, ()), strict=True)
    if is_srgb and all(abs(one - other) <= _LIKE_POINT for one, other in pairs):
        return None
    return _matrix_profile(points, _srgb if is_srgb else lambda value: value ** (1 / gamma))


# ---- curves ----


def _srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _power(exponent: float) -> _Curve:
    return lambda value: value**exponent


_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128  # SMPTE ST 2084
_WHITE, _BRIGHTEST = 203.0, 1000.0
"""cd/m² of white in an ordinary picture (ITU-R BT.2408), and of the brightest light that is expected."""


def _from_pq(value: float) -> float:
    """A sample to cd/m²."""
    power = math.pow(value, 1 / _M2)
    return 10_000 * math.pow(max(0.0, power - _C1) / (_C2 - _C3 * power), 1 / _M1)


def _to_pq(light: float) -> float:
    power = math.pow(light / 10_000, _M1)
    return math.pow((_C1 + _C2 * power) / (1 + _C3 * power), _M2)


def _rolled_off(light: float) -> float:
    """cd/m² of a bright screen to light of 0 to 1 on an ordinary one (ITU-R BT.2390, 5.4.1)."""
    most = _to_pq(_BRIGHTEST)
    white, value = _to_pq(_WHITE) / most, min(1.0, _to_pq(light) / most)
    knee = 1.5 * white - 0.5
    if value > knee:
        t = (value - knee) / (1 - knee)
        value = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (-2 * t**3 + 3 * t**2) * white
        )  # fmt: skip
    return min(1.0, _from_pq(value * most) / _WHITE)


def _pq(value: float) -> float:
    return _rolled_off(_from_pq(value))


def _hlg(value: float) -> float:
    """ITU-R BT.2100; the system's gamma of 1.2 is that of a screen of 1,000 cd/m²."""
    scene = value * value / 3 if value <= 0.5 else (math.exp((value - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return _rolled_off(_BRIGHTEST * scene**1.2)


# Browsers show what is said to have the curves of television as if it had sRGB's: files without end say so that were
# made on a computer.
_TRANSFERS: dict[int, _Curve] = {
    **dict.fromkeys((1, 2, 6, 7, 11, 12, 13, 14, 15), _srgb),
    4: _power(2.2),
    5: _power(2.8),
    8: _power(1.0),
    16: _pq,
    17: _power(2.6),
    18: _hlg,
}


# ---- ICC ----

_D50 = (0.9642, 1.0, 0.8249)
_BRADFORD: _Matrix = ((0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296))
_STEPS = 4096


def _matrix_profile(points: Chromaticities, curve: _Curve) -> bytes | None:
    """An ICC profile, version 2.4, with three primaries and one curve; None where the primaries enclose nothing."""
    try:
        red, green, blue = zip(*_to_d50(points), strict=True)
        colours = [b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(65536 * v) for v in c)) for c in (red, green, blue)]
    except (ZeroDivisionError, struct.error):
        return None
    light = [round(65535 * curve(step / (_STEPS - 1))) for step in range(_STEPS)]
    shape = b"curv\0\0\0\0" + struct.pack(f">I{_STEPS}H", _STEPS, *light)
    start = 128 + 4 + 12 * 6
    table = struct.pack(">I", 6)
    for number, name in enumerate((b"rXYZ", b"gXYZ", b"bXYZ")):
        table += name + struct.pack(">II", start + 20 * number, 20)
    for name in (b"rTRC", b"gTRC", b"bTRC"):
        table += name + struct.pack(">II", start + 60, len(shape))
    body = table + b"".join(colours) + shape
    head = struct.pack(">I4xI12s12x4s", 128 + len(body), 0x02400000, b"mntrRGB XYZ ", b"acsp")
    return head.ljust(128, b"\0") + body


def _to_d50(points: Chromaticities) -> _Matrix:
    """Linear light of these primaries to XYZ under D50, to which ICC adapts every white (by Bradford's matrix)."""
    *primaries, white = (_xyz(point) for point in points)
    columns = _transposed((primaries[0], primaries[1], primaries[2]))
    scales = _applied(_inverse(columns), white)
    matrix = _times(columns, _diagonal(scales))
    cones, cones_of_d50 = _applied(_BRADFORD, white), _applied(_BRADFORD, _D50)
    adapted = _diagonal((cones_of_d50[0] / cones[0], cones_of_d50[1] / cones[1], cones_of_d50[2] / cones[2]))
    return _times(_times(_times(_inverse(_BRADFORD), adapted), _BRADFORD), matrix)


def _xyz(point: Point) -> _Row:
    x, y = point
    return (x / y, 1.0, (1 - x - y) / y) if y else (x, 0.0, 1 - x)


def _diagonal(values: _Row) -> _Matrix:
    return ((values[0], 0.0, 0.0), (0.0, values[1], 0.0), (0.0, 0.0, values[2]))


def _transposed(matrix: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return ((a, d, g), (b, e, h), (c, f, i))


def _applied(matrix: _Matrix, vector: _Row) -> _Row:
    first, second, third = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return first, second, third


def _times(one: _Matrix, other: _Matrix) -> _Matrix:
    first, second, third = (_applied(one, column) for column in _transposed(other))
    return _transposed((first, second, third))


def _inverse(matrix: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    by = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / by, (c * h - b * i) / by, (b * f - c * e) / by),
        ((f * g - d * i) / by, (a * i - c * g) / by, (c * d - a * f) / by),
        ((d * h - e * g) / by, (b * g - a * h) / by, (a * e - b * d) / by),
    )
