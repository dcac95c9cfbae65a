"""Two long runs, place by place: as `compare.py` judges a place, without an object for each.

Millions of places would not fit in memory as judged ones. Chunks that are within the limit are passed over; of what is beyond it the
worst are kept, and of the others the largest and some, evenly spread, for the table. `every_stretch` is for who wants them all.
"""

from __future__ import annotations

import heapq
import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import sub, truediv
from typing import NamedTuple

from backends.validation.curve import Curve
from backends.validation.rule import EDGE, Rule

LEAST = 20_000  # places from which on it is worth it
_KEPT = 1_000  # places of each kind that are not PASS
_SPREAD = 200
_CHUNK = 1 << 16
_STRETCH = 1 << 12


@dataclass(slots=True)
class _Kept:
    """The most extreme, up to a number of them."""

    heap: list[tuple[float, float]] = field(default_factory=list)

    def add(self, size: float, place: float) -> None:
        if len(self.heap) < _KEPT:
            heapq.heappush(self.heap, (size, place))
        elif size > self.heap[0][0]:
            heapq.heapreplace(self.heap, (size, place))


def notable_places(old: Curve, new: Curve, rule: Rule) -> tuple[list[float], int]:
    """(places to be judged one by one, in order; how many both runs have). All other places are PASS."""
    xs, left, right = common_columns(old, new)
    limit = rule.tolerance * (1 + EDGE)
    worse, better, odd = _Kept(), _Kept(), _Kept()
    largest, at_largest = -math.inf, 0
    for start in range(0, len(xs), _CHUNK):
        deltas = _deltas(left[start : start + _CHUNK], right[start : start + _CHUNK])
        low, high = min(deltas), max(deltas)
        if not math.isfinite(math.fsum((low, high))) or not math.isfinite(sum(deltas)) or low < -limit or high > limit:
            for i, delta in enumerate(deltas, start):
                if not math.isfinite(delta):
                    odd.add(-float(i), xs[i])
                elif delta > limit or delta < -limit:
                    (worse if rule.worse(delta) > 0 else better).add(abs(delta), xs[i])
            finite = [d for d in deltas if math.isfinite(d)]
            if not finite:
                continue
            low, high = min(finite), max(finite)
        extreme = max(low, high, key=rule.worse)
        if rule.worse(extreme) > largest:
            largest, at_largest = rule.worse(extreme), start + deltas.index(extreme)
    places = {place for kept in (worse, better, odd) for _, place in kept.heap}
    if len(xs):
        places.add(xs[at_largest])
        places.update(xs[i * (len(xs) - 1) // (_SPREAD - 1)] for i in range(_SPREAD))
    return sorted(places), len(xs)


class Stretch(NamedTuple):
    """Neighbouring places that both runs have. `is_within`: each is a PASS by its delta."""

    xs: array[float]
    left: array[float]
    right: array[float]
    deltas: list[float]
    is_within: bool


def every_stretch(old: Curve, new: Curve, rule: Rule) -> Iterator[Stretch]:
    """All places that both runs have, in order, for an answer that is too long to be held."""
    xs, left, right = common_columns(old, new)
    limit = rule.tolerance * (1 + EDGE)
    for start in range(0, len(xs), _STRETCH):
        before, after = left[start : start + _STRETCH], right[start : start + _STRETCH]
        deltas = _deltas(before, after)
        is_finite = math.isfinite(sum(deltas))  # one that is not makes the sum so
        yield Stretch(
            xs[start : start + _STRETCH], before, after, deltas, is_finite and min(deltas) >= -limit and max(deltas) <= limit
        )


def _deltas(left: array[float], right: array[float]) -> list[float]:
    """Relative differences; NaN or infinite where a figure is, infinite where legacy is 0 and target is not."""
    try:
        return list(map(truediv, map(sub, right, left), map(abs, left)))
    except ZeroDivisionError:
        return [(b - a) / abs(a) if a else (0.0 if a == b else math.inf) for a, b in zip(left, right, strict=True)]


def common_columns(old: Curve, new: Curve) -> tuple[array[float], array[float], array[float]]:
    """(places, legacy's values, target's values) where both have exactly the place."""
    if old.xs == new.xs:
        return old.xs, old.ys, new.ys
    xs, left, right = array("d"), array("d"), array("d")
    a, b, before, after = old.xs, new.xs, old.ys, new.ys
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i] == b[j]:
            xs.append(a[i])
            left.append(before[i])
            right.append(after[j])
            i, j = i + 1, j + 1
        elif a[i] < b[j]:
            i += 1
        else:
            j += 1
    return xs, left, right
