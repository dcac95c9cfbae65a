"""A metric of MLflow's tracking server, followed: what its run has logged since the last poll.

- MLflow cannot be asked for what is new. So the run's latest figures are asked for, and its history only where they have changed, from
  the page on that was the last one: an SQL store sorts by time, so that what is new stands at the end. Where a page no longer begins as it
  did (figures of an earlier time came late) all is read anew. A server on files has one page.
- Errors with `total`, the metric that holds the number of requests: both are followed, and each pair of figures is so many requests.
- A run that has logged nothing yet is no error; one that has other metrics and not this one is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from backends.plan.models import Source
from backends.validation.asked import Asked
from backends.validation.counted import Pairs
from backends.validation.mlflow import Tracking, absent, history_page, latest_of
from backends.validation.rows import Row, axis_absent, samples_of
from backends.validation.web import Web, shown_url

AGAIN = 5.0  # seconds between two questions; less where figures are expected more often
_PAGES, _SIZE = 8, 5_000  # pages a poll, and figures a page: the last one is read again with each change


class MlflowFeed(Asked):
    """Follows one metric of one run."""

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
        self.series.shift = source.shift
        self._metric = source.value or ""
        self._asked: float | None = None  # when, by our clock
        self._histories = [_History(name) for name in (self._metric, source.total) if name is not None]
        self._pairs = self._new_pairs()
        self._caught_up = False

    @property
    def is_caught_up(self) -> bool:
        return self._caught_up

    async def _follow(self) -> None:
        now = self._clock()
        again = min(AGAIN, self.source.every or AGAIN)
        if self._caught_up and self._asked is not None and 0 <= now - self._asked < again:
            return
        run = await self._run()
        latest = await latest_of(self._web, run)
        for history in self._histories:
            if history.metric not in latest and latest:
                raise absent(history.metric, latest, run.where)
        is_new = self._caught_up
        if not is_new or any(h.has_more(latest.get(h.metric)) for h in self._histories):
            self._caught_up = await self._read_on(run, latest, is_new=is_new)
        self._asked = now
        if self._caught_up:
            for history in self._histories:
                history.latest = latest.get(history.metric)

    def _new_pairs(self) -> Pairs | None:
        if self.source.total is None:
            return None
        return Pairs(is_share=self.source.unit == "share", by_step=True)

    async def _run(self) -> Tracking:
        url = self.source.mlflow or ""
        return Tracking(url, self.source.run or "", shown_url(url), await self._token())

    async def _read_on(self, run: Tracking, latest: Mapping[str, Row], *, is_new: bool) -> bool:
        """Read so many pages of each metric that is there; is that all that there is?"""
        for _ in range(_PAGES):
            fresh: list[list[Row]] = []
            for history in self._histories:
                more = await history.read(self._web, run) if history.metric in latest else []
                if more is None:
                    break
                fresh.append(more)
            else:
                self._add(self._requests(fresh), is_new=is_new)
                if not any(h.following for h in self._histories):
                    return True
                continue
            self.note = "the history was written anew: read anew"
            self.series.clear()
            self._histories = [_History(h.metric) for h in self._histories]
            self._pairs, is_new = self._new_pairs(), False
        return False

    def _requests(self, fresh: list[list[Row]]) -> list[Row]:
        """The new figures; with `total` the requests that they stand for."""
        if self._pairs is None:
            return fresh[0]
        rows = self._pairs.take(fresh[0], fresh[1])
        if not self._pairs.found and any(fresh):
            self.note = "no figure of both metrics stands at one step: log them together (log_metrics)"
        elif self._pairs.found and not self.series.newest():
            self.note = None
        return rows

    def _add(self, rows: list[Row], *, is_new: bool) -> None:
        now = self._clock()
        samples = samples_of(self._on_ours(rows, now, is_new=is_new), self.source.by, now)
        if rows and not samples:
            raise axis_absent(self._metric, self.source.by, rows[:8])
        for sample in samples:
            self.series.add(sample, arrived=now if self._caught_up else min(now, sample.time))


class _History:
    """What has been read of one metric."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.latest: Row | None = None  # when all was read
        self.following = False  # is there a page after the last one that was read?
        self._page = ""  # the last page that there was
        self._known: list[Row] = []  # what stood on it

    def has_more(self, newest: Row | None) -> bool:
        """Is that another figure than the latest when all was read?"""
        return newest is not None and not _same(newest, self.latest)

    async def read(self, web: Web, run: Tracking) -> list[Row] | None:
        """What is new on the last page, or the page after it. None where it no longer begins as it did."""
        rows, following = await history_page(web, run, self.metric, self._page, _SIZE)
        if len(rows) < len(self._known) or not all(map(_same, rows, self._known)):
            return None
        fresh, self._known = rows[len(self._known) :], rows
        self.following = bool(following)
        if following:
            self._page, self._known = following, []
        return fresh


def _same(one: Row, other: Row | None) -> bool:
    """Is it the same entry? NaN is the same as NaN."""
    return one == other or repr(one) == repr(other)
