"""Figures that stand for many requests (so many of them, of which so many failed) as a figure a request: so error rates are judged by exact
bounds, whatever tells them. A log whose lines say both; two counters of Prometheus (`prometheus_feed`) go the same way.
"""

from __future__ import annotations

import re

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


class CountedIntake(Intake):
    """As `Intake`, with `total`, how many requests there were, as a second figure of the same lines. `is_share`: the first figure is a share of
    it, else a count."""

    def __init__(self, metric: str, total: str, *, is_share: bool, where: str, pattern: re.Pattern[str] | None = None) -> None:
        super().__init__(metric, where=where, pattern=pattern)
        self._totals = Intake(total, where=where, pattern=pattern)
        self._is_share = is_share
        self._failed: dict[Place, float] = {}
        self._all: dict[Place, float] = {}
        self._before: float | None = None
        self._left_out = 0

    @property
    def found(self) -> int:
        return min(super().found, self._totals.found)

    @property
    def broken(self) -> int:
        return super().broken + self._left_out

    def take(self, data: bytes) -> list[Row]:
        return self._requests(super().take(data), self._totals.take(data))

    def pause(self) -> list[Row]:
        return self._requests(super().pause(), self._totals.pause())

    def end(self) -> list[Row]:
        return self._requests(super().end(), self._totals.end())

    def why_absent(self) -> CutoverError:
        return super().why_absent() if not super().found else self._totals.why_absent()

    def _requests(self, failed: list[Row], every: list[Row]) -> list[Row]:
        """The requests of those lines of which both figures are there; of very many lines the newest."""
        lines = self._lines(failed, every)
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
        if not self._failed and not self._all and [*map(_place, failed)] == [*map(_place, every)]:
            return [(_place(row), row.value, other.value) for row, other in zip(failed, every, strict=True)]
        self._failed |= {_place(row): row.value for row in failed}
        self._all |= {_place(row): row.value for row in every}
        both = [place for place in self._all if place in self._failed]
        lines = [(place, self._failed.pop(place), self._all.pop(place)) for place in both]
        for waiting in (self._failed, self._all):
            while len(waiting) > _WAITING:
                waiting.pop(next(iter(waiting)))
        return lines

    def _line(self, place: Place, failed: float, every: float) -> list[Row]:
        before, self._before = self._before, place[3]
        values = requests_of(failed * every if self._is_share else failed, every)
        if values is None:
            self._left_out += 1
            return []
        epoch, step, samples, end, tokens = place
        if end is None:
            return [Row(epoch, step, samples, None, value, tokens) for value in values]
        start = before if before is not None and before < end else end
        wide = (end - start) / len(values) if values else 0.0
        return [Row(epoch, step, samples, start + wide * i, value, tokens) for i, value in enumerate(values, 1)]


def _place(row: Row) -> Place:
    return row.epoch, row.step, row.samples, row.time, row.tokens
