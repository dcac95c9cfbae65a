"""Figures that stand for many requests (so many of them, of which so many failed) as a figure a request: so error rates are judged by exact
bounds, whatever tells them. A log whose lines say both, two metrics of MLflow; two counters of Prometheus (`prometheus_feed`) go the same way.
"""

from __future__ import annotations

import re
from collections import Counter

from backends.errors import CutoverError
from backends.validation.intake import Intake
from backends.validation.rows import Row

MOST_REQUESTS = 20_000  # at once; more are taken as so many, the share of failures kept
MOST_AT_FIRST = 50_000  # requests of the newest lines, where many are read together
_WAITING = 1000  # lines of which only one figure has come so far
Place = tuple[float | None, ...]


def requests_of(errors: float, requests: float) -> list[float] | None:
    """1 for each that failed and 0 for each that did not, the failed ones spread evenly. None where the two figures cannot be."""
    if not (0 <= errors <= requests < float("inf")):
        return None  # NaN too
    count = round(requests)
    if count > MOST_REQUESTS:
        errors, count = errors * MOST_REQUESTS / count, MOST_REQUESTS
    bad = min(count, round(errors))
    if errors > 0 and count:
        bad = max(1, bad)  # one failure among very many is still one
    return [float((i + 1) * bad // count > i * bad // count) for i in range(count)]


class Pairs:
    """Two figures that belong together, of which each may come first: how many failed, of how many requests. `is_share`: the first is a share of
    the second. Of one line they stand at one place; `by_step`: what a server keeps metric by metric may have been logged one after the other, and is
    matched by a step that each has once."""

    def __init__(self, *, is_share: bool, by_step: bool = False) -> None:
        self.left_out = 0  # pairs that cannot be
        self.found = 0
        self._is_share = is_share
        self._by_step = by_step
        self._failed: dict[Place, float] = {}
        self._all: dict[Place, float] = {}
        self._steps: tuple[Counter[float], Counter[float]] = (Counter(), Counter())
        self._before: float | None = None

    def take(self, failed: list[Row], every: list[Row]) -> list[Row]:
        """The requests of those lines of which both figures are there; of very many lines the newest."""
        lines = self._lines(failed, every)
        self.found += len(lines)
        kept, room = len(lines), MOST_AT_FIRST
        while kept and room > 0:
            kept -= 1
            count = lines[kept][2]
            room -= int(min(MOST_REQUESTS, count)) if count > 0 else 0
        if kept:
            self._before = lines[kept - 1][0][3]
        return [row for line in lines[kept:] for row in self._line(*line)]

    def _lines(self, failed: list[Row], every: list[Row]) -> list[tuple[Place, float, float]]:
        """(where a line stands, its figure, its number of requests), in their order."""
        if not self._by_step and not self._failed and not self._all and [*map(_place, failed)] == [*map(_place, every)]:
            return [(_place(row), row.value, other.value) for row, other in zip(failed, every, strict=True)]
        self._failed |= {_place(row): row.value for row in failed}
        self._all |= {_place(row): row.value for row in every}
        both = [(place, place) for place in self._all if place in self._failed]
        if self._by_step:
            both = self._with_steps(failed, every)
        lines = [(place, self._failed.pop(other), self._all.pop(place)) for place, other in both]
        for waiting in (self._failed, self._all):
            while len(waiting) > _WAITING:
                waiting.pop(next(iter(waiting)))
        return lines

    def _with_steps(self, failed: list[Row], every: list[Row]) -> list[tuple[Place, Place]]:
        """Those of one place, and those of one step at two instants, in the order of the requests' figures."""
        for seen, rows in zip(self._steps, (failed, every), strict=True):
            seen.update(row.step for row in rows if row.step is not None)
        at = {place[1]: place for place in self._failed if place not in self._all}
        found = []
        for place in self._all:
            step = place[1]
            if place in self._failed:
                found.append((place, place))
            elif step is not None and step in at and all(seen[step] == 1 for seen in self._steps):
                found.append((place, at[step]))
        return found

    def _line(self, place: Place, failed: float, every: float) -> list[Row]:
        before, self._before = self._before, place[3]
        values = requests_of(failed * every if self._is_share else failed, every)
        if values is None:
            self.left_out += 1
            return []
        epoch, step, samples, end, tokens = place
        if end is None:
            return [Row(epoch, step, samples, None, value, tokens) for value in values]
        start = before if before is not None and before < end else end
        wide = (end - start) / len(values) if values else 0.0
        return [Row(epoch, step, samples, start + wide * i, value, tokens) for i, value in enumerate(values, 1)]


class CountedIntake(Intake):
    """As `Intake`, with `total`, how many requests there were, as a second figure of the same lines. `is_share`: the first figure is a share of
    it, else a count."""

    def __init__(self, metric: str, total: str, *, is_share: bool, where: str, pattern: re.Pattern[str] | None = None) -> None:
        super().__init__(metric, where=where, pattern=pattern)
        self._totals = Intake(total, where=where, pattern=pattern)
        self._pairs = Pairs(is_share=is_share)

    @property
    def found(self) -> int:
        return min(super().found, self._totals.found)

    @property
    def broken(self) -> int:
        return super().broken + self._pairs.left_out

    def take(self, data: bytes) -> list[Row]:
        return self._pairs.take(super().take(data), self._totals.take(data))

    def pause(self) -> list[Row]:
        return self._pairs.take(super().pause(), self._totals.pause())

    def end(self) -> list[Row]:
        return self._pairs.take(super().end(), self._totals.end())

    def why_absent(self) -> CutoverError:
        return super().why_absent() if not super().found else self._totals.why_absent()


def _place(row: Row) -> Place:
    return row.epoch, row.step, row.samples, row.time, row.tokens
