"""A run that a server keeps, fetched once for a comparison without a plan."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from backends.errors import UsageError
from backends.escape import plain
from backends.plan.models import Axis
from backends.plan.units import UnitError, parse_duration
from backends.validation.addresses import Address
from backends.validation.counted import Pairs
from backends.validation.curve import Curve
from backends.validation.errors import AxisAbsent, SourceUnreadable
from backends.validation.mlflow import Tracking, metric_rows
from backends.validation.prometheus import Server, absent, grid, query_range
from backends.validation.prometheus_feed import Counters
from backends.validation.rows import Row, axes_of, axis_absent, samples_of, to_time
from backends.validation.web import Web

LAST, STEP = 3600.0, 15.0


class FetchedRun:
    """A run's rows as a server gave them: `axes`, and `load` as of a file."""

    def __init__(self, where: str, metric: str, rows: Sequence[Row]) -> None:
        self.where = where
        self.metric = metric
        self._rows = rows

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes on which the metric has places."""
        return axes_of(self._rows)

    def load(self, by: Axis, *, every: bool = False) -> Curve:
        """All of it by this axis; with `every` each sample of a place."""
        curve = Curve(by, self.where, every=every)
        curve.extend(samples_of(self._rows, by, None))
        if not len(curve):
            error = axis_absent(self.metric, by, self._rows[:8])
            raise AxisAbsent(error.message, where=self.where, hint=error.hint)
        if curve.duplicates:
            curve.notes.append(curve.duplicates_words)
        return curve


async def fetch_run(address: Address, metric: str, now: float | None = None) -> FetchedRun:
    """Fetch a run; with `total` a row for each request, 1 where it failed. Of Prometheus all instants of a grid from `start` to `end`, else of the
    `last` hour."""
    token = await asyncio.to_thread(address.token)
    async with Web() as web:
        if address.kind == "mlflow":
            run = Tracking(address.url, address.params["run"], address.where, token)
            return FetchedRun(address.where, metric, await _logged(web, run, metric, address))
        server = Server(address.url, address.where, token)
        query, step = address.params["query"], _duration(address, "step", STEP)
        end = grid(_instant(address, "end", time.time() if now is None else now), step)
        start = grid(_instant(address, "start", end - _duration(address, "last", LAST)), step)
        if start > end:
            raise UsageError("found a start after the end", where=address.where)
        total = address.params.get("total")
        points = await query_range(web, server, query, start, end, step)
        if total is None:
            if not points:
                raise await absent(web, server, query)
            return FetchedRun(address.where, metric, [Row(None, None, None, t, v) for t, v in points])
        requests = await query_range(web, server, total, start, end, step)
        if not requests:
            raise await absent(web, server, total)
        rows = [Row(None, None, None, s.time, s.value) for s in Counters().take(points, requests)]
        return FetchedRun(address.where, metric, _some(rows, address))


async def _logged(web: Web, run: Tracking, metric: str, address: Address) -> list[Row]:
    """A metric of MLflow; with `total` the requests that both stand for."""
    rows, total = await metric_rows(web, run, metric), address.params.get("total")
    if total is None:
        return rows
    pairs = Pairs(is_share=address.params.get("unit") == "share", by_step=True)
    return _some(pairs.take(rows, await metric_rows(web, run, total)), address)


def _some(rows: list[Row], address: Address) -> list[Row]:
    if not rows:
        hint = "counters that grow, or two metrics that are logged at the same steps"
        raise SourceUnreadable("no request is told by both figures in this time", where=address.where, hint=hint)
    return rows


def _instant(address: Address, name: str, default: float) -> float:
    text = address.params.get(name)
    if text is None:
        return default
    instant = to_time(text)
    if instant is None:
        hint = "unix seconds, or 2026-11-28T10:00:00Z"
        raise UsageError(f"found `{plain(text, 60)}` for `{name}`, expected an instant", where=address.where, hint=hint)
    return instant


def _duration(address: Address, name: str, default: float) -> float:
    text = address.params.get(name)
    if text is None:
        return default
    try:
        seconds = parse_duration(text)
    except UnitError as error:
        raise UsageError(f"`{name}`: {error}", where=address.where, hint=error.hint) from None
    if seconds <= 0:
        raise UsageError(f"found 0 for `{name}`, expected more", where=address.where)
    return seconds
