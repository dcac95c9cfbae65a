"""A side's figures as a distribution, from samples or from counts in buckets, and what can be said of a quantile on both sides.

Bounds of a quantile are order statistics (David and Nagaraja, Order Statistics, 7.1): no shape is assumed. Of buckets the edges count, so that
bounds are never narrower than those of the samples in them. Two sides are combined by MOVER (Zou and Donner 2008), ratios on logarithms.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from backends.histogram import Histogram
from backends.validation.stats import Interval, difference_of, quantile, quantile_ranks, ratio_of

MANY = 100_000


class Spread(Protocol):
    """So many figures, which can be asked for quantiles."""

    @property
    def count(self) -> int:
        """How many there are."""

    def quantile(self, q: float) -> float:
        """The q-quantile."""

    def ranked(self, rank: int) -> Interval:
        """What the figure of this rank (from 0, rising) is at least and at most."""


class Samples:
    """The figures themselves."""

    def __init__(self, values: Sequence[float]) -> None:
        self._ordered = ordered(values)

    @property
    def count(self) -> int:
        return len(self._ordered)

    def quantile(self, q: float) -> float:
        return quantile(self._ordered, q)

    def ranked(self, rank: int) -> Interval:
        return Interval(self._ordered[rank], self._ordered[rank])


def ordered(values: Sequence[float]) -> Sequence[float]:
    """In rising order; of very many without an object each."""
    if len(values) < MANY:
        return sorted(values)
    import numpy as np  # takes 0.1 s to import

    return array("d", np.sort(np.asarray(values, np.float64)).tobytes())


@dataclass(frozen=True, slots=True)
class Buckets:
    """Latencies counted in buckets; figures in seconds times `scale`."""

    histogram: Histogram
    scale: float = 1.0

    @property
    def count(self) -> int:
        return self.histogram.count

    def quantile(self, q: float) -> float:
        value = self.histogram.quantile(q)
        assert value is not None
        return value * self.scale

    def ranked(self, rank: int) -> Interval:
        low, high = self.histogram.ranked(rank)
        return Interval(low * self.scale, high * self.scale)


class Held(NamedTuple):
    """A figure of both sides: its relative change and the difference itself, each with its bounds (`change`, `apart`)."""

    name: str
    legacy: float
    target: float
    change: Interval
    apart: Interval

    @property
    def delta(self) -> float:
        return (self.target - self.legacy) / abs(self.legacy) if self.legacy else math.copysign(math.inf, self.target)


def held(name: str, legacy: Spread, target: Spread, q: float, confidence: float = 0.95) -> Held:
    """The q-quantile of both sides; bounds each side with `confidence`, infinite where there are too few figures."""
    old, new = legacy.quantile(q), target.quantile(q)
    old_bounds, new_bounds = _bounds(legacy, q, confidence), _bounds(target, q, confidence)
    ratio = ratio_of(new, new_bounds, old, old_bounds)
    apart = difference_of(new, new_bounds, old, old_bounds)
    return Held(name, old, new, Interval(ratio.low - 1, ratio.high - 1), apart)


def _bounds(side: Spread, q: float, confidence: float) -> Interval:
    low, high = quantile_ranks(side.count, q, confidence)
    return Interval(
        -math.inf if low is None else side.ranked(low).low,
        math.inf if high is None else side.ranked(high).high,
    )
