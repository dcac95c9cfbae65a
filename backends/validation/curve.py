"""A run that is read whole: places and values as two columns, so that ten million points fit in memory.

The same questions as a `Series` answers, but for those of windows of time: nobody watches a run that has ended.
"""

from __future__ import annotations

import hashlib
import math
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import lt

from backends.listed import counted
from backends.plan.models import Axis
from backends.validation.series import Sample, Series


class Curve(Series):
    """One metric of one run by one axis. Of a place written twice the last counts; `was_unsorted` where places fell back.

    `where` it was read from; `notes` tell what was odd in it."""

    def __init__(self, by: Axis, where: str = "", *, every: bool = False) -> None:
        super().__init__(by)
        self._every = every  # each sample counts: requests may end in the same instant, ranks log the same step
        self.where = where
        self.notes: list[str] = []
        self.settings: dict[str, str] = {}  # what the log says of how the run was made
        self.was_unsorted = False
        self._xs: array[float] = array("d")
        self._ys: array[float] = array("d")
        self._settled = 0  # so many are sorted, one a place

    def __len__(self) -> int:
        return len(self.xs)

    def add(self, sample: Sample, *, arrived: float | None = None) -> None:
        """Take one more sample."""
        self._xs.append(sample.x)
        self._ys.append(sample.value)

    def extend(self, samples: Iterable[Sample], *, arrived: float | None = None) -> None:
        """Take samples in their order in the source."""
        for sample in samples:
            self._xs.append(sample.x)
            self._ys.append(sample.value)

    def extend_columns(self, xs: array[float], ys: array[float]) -> None:
        """Take places and their values, in their order in the source."""
        self._xs.extend(xs)
        self._ys.extend(ys)

    @property
    def xs(self) -> array[float]:
        """Every place, rising."""
        if self._settled != len(self._xs):
            self._settle()
        return self._xs

    @property
    def ys(self) -> array[float]:
        """The values at `xs`."""
        if self._settled != len(self._xs):
            self._settle()
        return self._ys

    def _settle(self) -> None:
        xs = self._xs
        if self._every:
            order = sorted(range(len(xs)), key=xs.__getitem__)
            self._xs, self._ys = (array("d", map(column.__getitem__, order)) for column in (xs, self._ys))
        elif not all(map(lt, xs, islice(xs, 1, None))):
            last = dict(zip(xs, self._ys, strict=True))
            if self.by != "time":
                self.duplicates += len(xs) - len(last)
            places = sorted(last)
            self.was_unsorted = self.was_unsorted or list(last) != places
            self._xs, self._ys = array("d", places), array("d", map(last.__getitem__, places))
        self._settled = len(self._xs)

    def at(self, x: float) -> float | None:
        """The value at exactly this place; None where there is none."""
        place = bisect_left(self.xs, x)
        return self._ys[place] if place < len(self._xs) and self._xs[place] == x else None

    @property
    def top(self) -> float | None:
        """How far this run has come on the axis."""
        return self.xs[-1] if len(self.xs) else None

    def points(self) -> list[tuple[float, float]]:
        """(place, value) in order of place."""
        return list(zip(self.xs, self._ys, strict=True))

    def drawn(self, most: int = 20_000) -> list[tuple[float, float]]:
        """About so many of the points, of each stretch the lowest and the highest: for a picture."""
        xs, ys = self.xs, self._ys
        if len(xs) <= most:
            return self.points()
        out: list[tuple[float, float]] = []
        width = math.ceil(2 * len(xs) / most)
        for start in range(0, len(xs), width):
            part = ys[start : start + width]
            odd = next((i for i, y in enumerate(part) if not math.isfinite(y)), None) if not math.isfinite(sum(part)) else None
            chosen = {part.index(min(part)), part.index(max(part))} if odd is None else {odd}
            out.extend((xs[start + i], part[i]) for i in sorted(chosen))
        return out

    @property
    def duplicates_words(self) -> str:
        """For whoever reads the verdict, where there are any."""
        return f"{counted(self.duplicates, 'place')} written more than once, the last counts"

    def _rising(self) -> Sequence[float]:
        return self.xs

    def places(self) -> set[float]:
        """Every place that has a value."""
        return set(self.xs)

    def bad_places(self) -> list[float]:
        """Places whose value is NaN or infinite."""
        xs, ys = self.xs, self._ys
        if math.isfinite(sum(ys)):  # one that is not makes the sum not
            return []
        return [x for x, y in zip(xs, ys, strict=True) if not math.isfinite(y)]

    def first_places(self, count: int) -> list[float]:
        """The lowest places, in order."""
        return list(self.xs[:count])

    def extremes(self) -> tuple[float, float]:
        """(lowest, highest) of the finite values; (inf, -inf) where there are none."""
        ys = self.ys
        if len(ys) and math.isfinite(sum(ys)):
            return min(ys), max(ys)
        finite = [y for y in ys if math.isfinite(y)]
        return min(finite, default=math.inf), max(finite, default=-math.inf)

    def move(self, shift: float) -> None:
        """Add to each place what makes both sides count alike."""
        self.shift = shift
        if shift:
            self._xs = array("d", [x + shift for x in self._xs])

    def nearest(self, x: float) -> tuple[float | None, float | None]:
        """The places just below and just above `x`."""
        xs = self.xs
        left, right = bisect_left(xs, x), bisect_right(xs, x)
        return (xs[left - 1] if left else None, xs[right] if right < len(xs) else None)

    def digest(self) -> str:
        """SHA-256 (hex) of the places and values that are judged: pairs of little-endian doubles' columns, places first."""
        sha = hashlib.sha256()
        for column in (self.xs, self._ys):
            sha.update(column if _LITTLE else _swapped(column))
        return sha.hexdigest()


_LITTLE = array("H", [1]).tobytes() == b"\1\0"


def _swapped(column: array[float]) -> array[float]:
    swapped = array("d", column)
    swapped.byteswap()
    return swapped
