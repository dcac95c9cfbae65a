"""How far two runs of numbers are apart, added up piece by piece so that a tensor of any size takes the same memory.

Differences are of the exact values in double precision, over the elements that are finite on both sides. ULP: how many representable
numbers lie between the two, counted through zero (as AlmostEqual2sComplement does; Goldberg 1991 on the unit itself).
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from backends.validation.checkpoint.kinds import Bits, Kind, Reals, bits_of, reals, sign_of
from backends.validation.checkpoint.single import (
    DOT,
    NARROW,
    Block,
    Singles,
    apart,
    dot_of_near,
    square,
    ulp_of_one_sign,
    wide_dot,
)

BLOCK = 1 << 16  # numbers at once: the intermediate arrays stay in the processor's cache
_SURELY = 1 - 1e-6  # a figure in single precision that is below this much of a limit is below it


@dataclass(slots=True)
class Difference:
    """`differing` elements of `compared`; `outside` the tolerance. `from_zero`: legacy is 0 there and the target is not, so that no
    relative difference exists. `odd`: NaN or infinite on one side, or differently on both. `unread`: known to be equal by a hash."""

    compared: int = 0
    unread: int = 0
    differing: int = 0
    outside: int = 0
    odd: int = 0
    max_abs: float | int = 0
    max_rel: float = 0.0
    ulp: int | None = 0
    from_zero: int = 0
    nan: tuple[int, int] = (0, 0)
    inf: tuple[int, int] = (0, 0)
    dot: float = 0.0
    squares: tuple[float, float] = (0.0, 0.0)
    square_of_difference: float = 0.0

    def add(self, other: Difference) -> None:
        """Take in what was found of another piece."""
        for name in ("compared", "unread", "differing", "outside", "odd", "from_zero", "dot", "square_of_difference"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.max_abs = max(self.max_abs, other.max_abs)
        self.max_rel = max(self.max_rel, other.max_rel)
        self.ulp = None if self.ulp is None or other.ulp is None else max(self.ulp, other.ulp)
        self.nan = (self.nan[0] + other.nan[0], self.nan[1] + other.nan[1])
        self.inf = (self.inf[0] + other.inf[0], self.inf[1] + other.inf[1])
        self.squares = (self.squares[0] + other.squares[0], self.squares[1] + other.squares[1])

    @property
    def cosine(self) -> float | None:
        """Of the angle between both; None where one has no length, or a part was not read."""
        if self.unread:
            return None if self.differing else 1.0
        if self.compared and not self.differing and not any(self.nan) and not any(self.inf):
            return 1.0
        lengths = math.sqrt(self.squares[0]) * math.sqrt(self.squares[1])
        if not math.isfinite(lengths) or lengths == 0:
            return None
        return max(-1.0, min(1.0, self.dot / lengths))

    @property
    def relative(self) -> float | None:
        """||target - legacy|| / ||legacy||; None where legacy has no length, or a part was not read."""
        if not self.differing and not self.odd:
            return 0.0
        length = math.sqrt(self.squares[0])
        if self.unread or not math.isfinite(length) or length == 0:
            return None
        return math.sqrt(self.square_of_difference) / length


@dataclass(frozen=True, slots=True)
class Tolerance:
    """|target - legacy| <= atol + rtol |legacy|, element by element; none at all: every bit must be equal."""

    rtol: float = 0.0
    atol: float = 0.0
    is_given: bool = False


class _Scratch(threading.local):
    """Arrays that a thread uses again: memory that is given back and asked for with every block costs more than the arithmetic."""

    def __init__(self) -> None:
        self._held = [np.empty(BLOCK, dtype=np.float64) for _ in range(6)]

    def reals(self, number: int, length: int) -> Reals:
        return self._held[number][:length]

    def singles(self, length: int) -> list[Singles]:
        return [held.view(np.float32)[:length] for held in self._held[:4]]

    def bits(self, number: int, like: Bits) -> Bits:
        view: Bits = self._held[number].view(like.dtype)
        return view[: len(like)]

    def aligned(self, number: int, bits: Bits) -> Bits:
        """The same bits where numpy works without copies of its own: a header of odd length leaves the numbers of a file between the places for them."""
        if bits.flags.aligned:
            return bits
        out = self.bits(number, bits)
        out.view("u1")[:] = bits.view("u1")
        return out


_SCRATCH = _Scratch()


def compare_bytes(legacy: memoryview, target: memoryview, kinds: tuple[Kind, Kind], tolerance: Tolerance) -> Difference:
    """Two pieces with the same elements in the same order. Blocking: for threads."""
    total = Difference()
    old, new = kinds
    if old.form == "opaque" or new.form == "opaque":
        equal = old.name == new.name and legacy == target
        count = len(legacy) * 8 // old.bits
        return Difference(compared=count, differing=0 if equal else count, outside=0 if equal else count, ulp=None)
    theirs, ours = bits_of(old, legacy), bits_of(new, target)
    with np.errstate(all="ignore"):
        for at in range(0, len(theirs), BLOCK):
            a, b = _SCRATCH.aligned(4, theirs[at : at + BLOCK]), _SCRATCH.aligned(5, ours[at : at + BLOCK])
            found = _narrow(a, b, old, tolerance, total) if old.name == new.name and old.name in NARROW else None
            total.add(found if found is not None else _block(a, b, old, new, tolerance))
    return total


def _narrow(a: Bits, b: Bits, kind: Kind, tolerance: Tolerance, before: Difference) -> Difference | None:
    """In single precision, where that tells the same; None where it does not. `before`: what other blocks had."""
    block = Block(kind, a, b, _SCRATCH.singles(len(a)))
    length = square(block.x)
    if length is None:
        return None
    differing = int(np.count_nonzero(a != b))
    if not differing:
        return Difference(compared=len(a), dot=length, squares=(length, length))
    other = square(block.y)
    far = apart(block, (before.max_abs, before.max_rel)) if other is not None else None
    if other is None or far is None:
        return None
    if tolerance.is_given and (far.from_zero or (far.top > tolerance.atol * _SURELY and far.ratio > tolerance.rtol * _SURELY)):
        return None
    found = Difference(compared=len(a), differing=differing, from_zero=far.from_zero)
    found.squares, found.square_of_difference = (length, other), far.square
    near = dot_of_near(found.squares, far.square)
    found.dot = near if near is not None else wide_dot(block.x, block.y)
    found.max_abs, found.max_rel = far.max_abs, far.max_rel
    found.ulp = _ulp(a, b, kind, None) if far.has_flips else ulp_of_one_sign(a, b, kind, block.first)
    found.outside = 0 if tolerance.is_given else found.differing
    return found


def _block(a: Bits, b: Bits, old: Kind, new: Kind, tolerance: Tolerance) -> Difference:
    is_one_kind = old.name == new.name
    x = reals(old, a, _SCRATCH.reals(0, len(a)))
    square = _dot(x, x)
    if is_one_kind and np.array_equal(a, b):
        found = Difference(compared=len(a), dot=square, squares=(square, square))
        if not math.isfinite(square) and old.form == "float":
            _equal_but_odd(found, x)
        return found
    y = reals(new, b, _SCRATCH.reals(1, len(b)))
    other = _dot(y, y)
    found = Difference(compared=len(a))
    found.differing = int(np.count_nonzero(a != b)) if is_one_kind else int(np.count_nonzero(~((x == y) | ((x != x) & (y != y)))))
    has_odd = not (math.isfinite(square) and math.isfinite(other))
    keep: Any = None
    if has_odd:
        keep = np.isfinite(x) & np.isfinite(y)
        _count_odd(found, x, y, keep)
        x, y = x[keep], y[keep]
        square, other = _dot(x, x), _dot(y, y)
    found.squares = (square, other)
    _distances(found, x, y, tolerance)
    if not is_one_kind:
        found.ulp = None
    elif old.form == "float":
        found.ulp = _ulp(a, b, old, keep)
    else:
        found.ulp = None
        found.max_abs = _whole_distance(a, b, old)
    if not tolerance.is_given:
        found.outside = found.differing
    return found


def _dot(x: Reals, y: Reals) -> float:
    if len(x) <= DOT:
        return float(np.dot(x, y))
    return sum(float(np.dot(x[at : at + DOT], y[at : at + DOT])) for at in range(0, len(x), DOT))


def _equal_but_odd(found: Difference, x: Reals) -> None:
    nan, inf = int(np.count_nonzero(np.isnan(x))), int(np.count_nonzero(np.isinf(x)))
    found.nan, found.inf = (nan, nan), (inf, inf)
    finite = x[np.isfinite(x)]
    square = _dot(finite, finite)
    found.dot, found.squares = square, (square, square)


def _count_odd(found: Difference, x: Reals, y: Reals, keep: Any) -> None:
    """What is NaN or infinite; both NaN, or the same infinity, is the same."""
    found.nan = (int(np.count_nonzero(np.isnan(x))), int(np.count_nonzero(np.isnan(y))))
    found.inf = (int(np.count_nonzero(np.isinf(x))), int(np.count_nonzero(np.isinf(y))))
    u, v = x[~keep], y[~keep]
    found.odd = int(np.count_nonzero(~((u == v) | (np.isnan(u) & np.isnan(v)))))
    found.outside += found.odd


def _distances(found: Difference, x: Reals, y: Reals, tolerance: Tolerance) -> None:
    if not len(x):
        return
    found.dot = _dot(x, y)
    d = np.subtract(y, x, out=_SCRATCH.reals(2, len(x)))
    found.square_of_difference = _dot(d, d)
    np.abs(d, out=d)
    found.max_abs = float(d.max())
    size = np.abs(x, out=_SCRATCH.reals(3, len(x)))
    if tolerance.is_given:
        found.outside += int(np.count_nonzero(d > tolerance.atol + tolerance.rtol * size))
    if size.min() == 0:
        zero = size == 0
        found.from_zero = int(np.count_nonzero(d[zero]))
        d, size = d[~zero], size[~zero]
    if len(d):
        np.divide(d, size, out=d)
        found.max_rel = float(d.max())


def _ulp(a: Bits, b: Bits, kind: Kind, keep: Any) -> int:
    if keep is not None:
        a, b = a[keep], b[keep]
    if not len(a):
        return 0
    sign = a.dtype.type(sign_of(kind))
    rest = a.dtype.type((1 << (8 * kind.width)) - 1) ^ sign
    p, q = np.bitwise_and(a, rest, out=_SCRATCH.bits(0, a)), np.bitwise_and(b, rest, out=_SCRATCH.bits(1, a))
    high, low = np.maximum(p, q, out=_SCRATCH.bits(2, a)), np.minimum(p, q, out=_SCRATCH.bits(3, a))
    apart = np.subtract(high, low, out=high)
    if sign:
        other_side = np.bitwise_xor(a, b, out=low) >= sign
        if other_side.any():
            np.add(p, q, out=apart, where=other_side)
    return int(apart.max())


def _whole_distance(a: Bits, b: Bits, kind: Kind) -> int:
    """Exact, also where the difference of two signed numbers passes their own range."""
    unsigned = f"<u{kind.width}"
    return int((np.maximum(a, b).view(unsigned) - np.minimum(a, b).view(unsigned)).max())
