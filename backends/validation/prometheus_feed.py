"""Figures of a Prometheus, followed: at each poll the instants that have passed since the last one.

- The instants lie on a grid (`every`, default 15 s) and are asked for once, a little after they have passed: what is scraped
  at an instant arrives a moment later. After a pause the instants between are asked for as well.
- Counters for an error rate (`query` the failures, `total` the requests): what both have grown by between two instants is so
  many requests, so many of them failed, spread evenly over that time. An interval in which a counter fell (a restart) is left out.
- When our wall clock has jumped the server is asked what time it is: its instants may not be ours any more.
- A query that gives nothing is no error: a target without clients has no figures yet. `note` tells what may be wrong with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Source
from backends.validation.asked import Asked
from backends.validation.counted import MOST_AT_FIRST, requests_of
from backends.validation.prometheus import MOST_POINTS, Points, Server, absent, grid, query_range, server_time
from backends.validation.series import Sample
from backends.validation.source_clock import AHEAD
from backends.validation.web import Web, shown_url

EVERY = 15.0
LATER = 2.0  # seconds that an instant must have passed
HISTORY = 24 * 3600.0  # asked for at the first poll
SCALES = {"s": 1000.0, "ms": 1.0, "us": 0.001}  # to milliseconds


class PrometheusFeed(Asked):
    """Follows one query, or two counters."""

    def __init__(
        self,
        source: Source,
        web: Web,
        *,
        base: Path | None = None,
        pinned: Iterable[float] = (),
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(source, web, base=base, pinned=pinned, clock=clock, wall=wall)
        self._step = source.every or EVERY
        self._last: float | None = None  # the last instant that was asked for
        self._counters = Counters()
        self._asked_why = False
        self._ahead = 0.0  # of the server's clock before ours
        self._jumped = 0.0  # by how much our wall clock had been put when that was last looked at

    async def _follow(self) -> None:
        server = await self._server()
        await self._align(server)
        end = grid(self._clock() + self._ahead - LATER, self._step)
        first = self._last is None
        start = end - min(HISTORY, MOST_POINTS * self._step) if self._last is None else self._last + self._step
        start = max(start, end - MOST_POINTS * self._step)
        if end < start:
            return
        samples = await self._ask(server, grid(start, self._step), end)
        self._last = end
        self._add(samples, first)
        if not len(self.series):
            await self._why(server)
        else:
            self.note = None

    async def _align(self, server: Server) -> None:
        """After a jump of our wall clock the server's may have been put too, or ours put right: it is asked, and figures go on from there."""
        jumped = self._own.jumped()
        if abs(jumped - self._jumped) <= AHEAD:
            return
        self._ahead = await server_time(self._web, server) - self._clock()
        self._jumped = jumped
        if self._last is not None:
            self._last, self._counters = grid(self._clock() + self._ahead - LATER, self._step), Counters()

    async def _server(self) -> Server:
        url = self.source.prometheus or ""
        return Server(url, where=shown_url(url), token=await self._token())

    async def _ask(self, server: Server, start: float, end: float) -> list[Sample]:
        query, total = self.source.query or "", self.source.total
        points = await query_range(self._web, server, query, start, end, self._step)
        if total is None:
            scale = SCALES.get(self.source.unit or "", 1.0)  # memory stays as it is
            return [Sample(t, t, v * scale) for t, v in points]
        requests = await query_range(self._web, server, total, start, end, self._step)
        return self._counters.take(points, requests)

    def _add(self, samples: list[Sample], first: bool) -> None:
        for sample in samples:
            at = sample.time - self._ahead
            arrived = min(self._clock(), at + self._step) if first else self._clock()
            self.series.add(Sample(at, at, sample.value), arrived=arrived)

    async def _why(self, server: Server) -> None:
        """Once: what may be wrong with a query that gives nothing."""
        if self._asked_why:
            return
        self._asked_why = True
        try:
            error: CutoverError = await absent(self._web, server, self.source.total or self.source.query or "")
        except CutoverError as failed:
            error = failed
        self.note = plain(f"{error.message}{f' ({error.hint})' if error.hint else ''}", 400)


class Counters:
    """Requests made of two counters that only grow. Keeps where they stood."""

    def __init__(self) -> None:
        self._time: float | None = None
        self._failed = 0.0
        self._total = 0.0
        self.left_out = 0  # intervals in which a counter fell, or more failed than there were requests

    def take(self, failed: Points, total: Points) -> list[Sample]:
        """A sample a request: 1 failed, 0 not. A failure counter that is not there yet stands at 0."""
        at = dict(failed)
        out: list[Sample] = []
        skipped = _older(total) if self._time is None else 0
        for time_, _ in total[:skipped]:
            self._failed = at.get(time_, self._failed)
        for time_, requests in total[skipped:]:
            errors = at.get(time_, self._failed)
            if self._time is not None:
                out += self._between(self._time, time_, errors - self._failed, requests - self._total)
            self._time, self._failed, self._total = time_, errors, requests
        return out

    def _between(self, start: float, end: float, errors: float, requests: float) -> list[Sample]:
        values = requests_of(errors, requests)
        if values is None:
            self.left_out += 1
            return []
        moments = (start + (end - start) * i / len(values) for i in range(1, len(values) + 1))
        return [Sample(moment, moment, value) for moment, value in zip(moments, values, strict=True)]


def _older(total: Points) -> int:
    """How many of the first points are left out, so that what is read of the past is bounded."""
    newest = total[-1][1] if total else 0.0
    return next((i for i, (_, count) in enumerate(total) if newest - count <= MOST_AT_FIRST), 0)
