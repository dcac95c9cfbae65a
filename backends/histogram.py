"""Latencies as counts in log-linear buckets, as HdrHistogram has them: flat memory, merged by adding, quantiles to 1/128.

A value of 2^k..2^(k+1) microseconds falls in one of 128 buckets of equal width, so a bucket is at most 0.8 % wide; below 128 us
each microsecond has its own. Recording is one index into a list.
"""

from __future__ import annotations

import math
from typing import Any

SUB = 128
_BITS = 7
LARGEST = 3600.0  # seconds; more counts as this


def _index(microseconds: int) -> int:
    if microseconds < SUB:
        return microseconds
    shift = microseconds.bit_length() - 1 - _BITS
    return (shift << _BITS) + (microseconds >> shift)


SIZE = _index(int(LARGEST * 1e6)) + 1


class Histogram:
    """Seconds in, quantiles out. `most` and `total` are exact."""

    __slots__ = ("count", "counts", "most", "total")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.most = 0.0

    def record(self, seconds: float) -> None:
        index = _index(int(seconds * 1e6)) if 0 <= seconds <= LARGEST else (SIZE - 1 if seconds > LARGEST else 0)
        counts = self.counts
        counts[index] = counts.get(index, 0) + 1
        self.count += 1
        self.total += seconds
        if seconds > self.most:
            self.most = seconds

    def merge(self, other: Histogram) -> None:
        """Add another's counts."""
        for index, count in other.counts.items():
            self.counts[index] = self.counts.get(index, 0) + count
        self.count += other.count
        self.total += other.total
        self.most = max(self.most, other.most)

    def quantile(self, share: float) -> float | None:
        """The value that `share` of those recorded do not exceed, seconds; None where nothing was recorded."""
        if not self.count:
            return None
        wanted = max(1, math.ceil(share * self.count - 1e-9))
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen >= wanted:
                return min(self.most, _middle(index))
        return self.most

    def ranked(self, rank: int) -> tuple[float, float]:
        """The edges of the bucket in which the value of this rank lies (from 0, rising), seconds. `rank` is below `count`."""
        seen = 0
        for index in sorted(self.counts):
            seen += self.counts[index]
            if seen > rank:
                break
        low, high = _edges(index)
        return low, max(low, min(high, self.most))

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def as_json(self) -> dict[str, Any]:
        """Whole, to go on with later."""
        return {"counts": sorted(self.counts.items()), "count": self.count, "total": self.total, "most": self.most}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Histogram:
        """What `as_json` gave. Raises ValueError, TypeError or KeyError for anything else."""
        made = cls()
        made.counts = {int(index): int(count) for index, count in value["counts"] if 0 <= int(index) < SIZE and int(count) > 0}
        made.count, made.total, made.most = sum(made.counts.values()), float(value["total"]), float(value["most"])
        return made


def _edges(index: int) -> tuple[float, float]:
    """From where to where a bucket goes, seconds."""
    shift = (index >> _BITS) - 1
    low, width = (index, 1) if shift < 0 else ((SUB + (index & (SUB - 1))) << shift, 1 << shift)
    return low / 1e6, (low + width) / 1e6


def _middle(index: int) -> float:
    """The middle of a bucket, seconds."""
    return sum(_edges(index)) / 2
