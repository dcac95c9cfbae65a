"""Two blocks of floats of at most 32 bits, in single precision: half the bytes and twice the numbers at once.

What is told stays as exact as in double precision. Rounding keeps the order, so the largest difference is among those that are the
largest when rounded; a rounded ratio lies within 2^-23 of the true one, so the largest is among those that come as near. Only these few are
computed anew. Lengths are sums of squares in single precision, added up in double; the dot product comes from them (2 xy = x² + y² - (y-x)²), so
that their errors cancel in the cosine of two that are near. Where single precision could lose something, the answer is None: that block is for double precision.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backends.validation.checkpoint.kinds import Bits, Kind

Singles = NDArray[np.float32]
NARROW = ("F32", "BF16", "F16")
DOT = 1 << 13  # numbers at once: from 10,000 on OpenBLAS calls threads of its own, which wait for each other where cores are busy
_NEAR = np.float32(2.0**-21)
_INFINITE = 0x7F800000  # bits; NaNs are above
_HALF_INFINITE = 0x7C00 << 13
_LEAST_RATIO = 1e-30  # below, a quotient may have fewer bits, or none
_SQUARES = (1e-18, 1e37)  # a sum of squares beyond may hold some that were too small or too large


class Block:
    """`x` and `y`: the numbers; `first` and `second`: room for as many."""

    __slots__ = ("first", "second", "x", "y")

    def __init__(self, kind: Kind, a: Bits, b: Bits, room: list[Singles]) -> None:
        self.x, self.y = _singles(kind, a, room[0], room[2]), _singles(kind, b, room[1], room[2])
        self.first, self.second = room[2], room[3]


def _singles(kind: Kind, bits: Bits, out: Singles, room: Singles) -> Singles:
    """What the bits are worth, exactly: a view of them, or put into `out`."""
    if kind.name == "F32":
        return bits.view("<f4")
    if kind.name == "BF16":
        wide = out.view(np.uint32)
        wide[:] = bits
        wide <<= 16
    else:
        _of_halves(bits, out, room.view(np.uint32))
    return out


def _of_halves(bits: Bits, out: Singles, sign: NDArray[np.uint32]) -> None:
    """Exponent and fraction moved to where single precision has them, and scaled by how far the biases are apart: three times as fast as a
    conversion. Infinities come out as NaN."""
    wide = out.view(np.uint32)
    wide[:] = bits
    wide <<= 13
    np.bitwise_and(wide, 0x10000000, out=sign)
    wide &= 0x0FFFE000
    odd = wide >= _HALF_INFINITE if wide.max() >= _HALF_INFINITE else None
    sign <<= 3
    wide |= sign
    out *= np.float32(2.0**112)
    if odd is not None:
        out[odd] = np.nan


def square(x: Singles) -> float | None:
    """x·x; None where a number is not finite."""
    found = _dot(x, x)
    if not _SQUARES[0] < found < _SQUARES[1]:
        found = wide_dot(x, x)
    return found if math.isfinite(found) else None


def dot_of_near(squares: tuple[float, float], of_difference: float) -> float | None:
    """x·y; None where the two are too far apart for it."""
    both = squares[0] + squares[1]
    return (both - of_difference) / 2 if 2 * of_difference <= both else None


def wide_dot(x: Singles, y: Singles) -> float:
    """x·y in double precision."""
    return _dot(x.astype(np.float64), y.astype(np.float64))


def _dot(x: NDArray[Any], y: NDArray[Any]) -> float:
    whole = len(x) // DOT * DOT
    found = float(np.vecdot(x[:whole].reshape(-1, DOT), y[:whole].reshape(-1, DOT)).sum(dtype=np.float64))
    return found + float(np.dot(x[whole:], y[whole:])) if whole < len(x) else found


class Apart:
    """How far the two are apart: `max_abs` and `max_rel` are 0 where they are surely not above `floors`."""

    __slots__ = ("from_zero", "has_flips", "max_abs", "max_rel", "ratio", "square", "top")

    def __init__(self) -> None:
        self.max_abs = self.max_rel = 0.0
        self.square = 0.0
        self.from_zero = 0
        self.top = self.ratio = 0.0  # rounded: of the differences, of the relative ones
        self.has_flips = False  # may a pair have two signs, or a zero?


def apart(block: Block, floors: tuple[float, float]) -> Apart | None:
    """All numbers are finite."""
    x, y, found = block.x, block.y, Apart()
    d = np.subtract(y, x, out=block.first)
    length = square(d)
    if length is None:
        return None
    found.square = length
    np.abs(d, out=d)
    top = _top(d)
    ratios = np.abs(x, out=block.second)
    np.divide(d, ratios, out=ratios)
    ratio = _top(ratios)
    if top is not None and ratio is None:
        zero = x == 0
        found.has_flips = True
        found.from_zero = int(np.count_nonzero(d[zero]))
        ratios[zero] = 0
        ratio = _top(ratios)
    if top is None or ratio is None or (top > 0 and ratio < _LEAST_RATIO):
        return None
    found.top, found.ratio = float(top), float(ratio)
    found.has_flips |= bool(ratio >= 1)
    if top > 0 and top >= np.float32(floors[0]):
        u, v = _wide(x, y, d == top)
        found.max_abs = float(np.abs(v - u).max())
    if ratio > 0 and float(ratio * (1 + _NEAR)) >= floors[1]:
        u, v = _wide(x, y, ratios >= ratio * (1 - _NEAR))
        found.max_rel = float((np.abs(v - u) / np.abs(u)).max())
    return found


def _top(x: Singles) -> np.float32 | None:
    """The largest of numbers that are not negative, found among their bits; None where it is not finite."""
    bits = x.view(np.uint32).max()
    return bits.view(np.float32) if bits < _INFINITE else None


def _wide(x: Singles, y: Singles, chosen: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    places = np.flatnonzero(chosen)  # few: faster than by the mask
    return x[places].astype(np.float64), y[places].astype(np.float64)


def ulp_of_one_sign(a: Bits, b: Bits, kind: Kind, room: Singles) -> int:
    """Numbers between pairs that have one sign each."""
    signed, unsigned = f"<i{kind.width}", f"<u{kind.width}"
    steps = room.view(signed)[: len(a)]
    np.subtract(a.view(signed), b.view(signed), out=steps)
    return int(np.abs(steps, out=steps).view(unsigned).max())
