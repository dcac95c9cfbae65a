"""A metric of MLflow's tracking server, followed: what its run has logged since the last poll.

- MLflow cannot be asked for what is new. So the run's latest figures are asked for, and its history only where they have changed, from
  the page on that was the last one: an SQL store sorts by time, so that what is new stands at the end. Where a page no longer begins as it
  did (figures of an earlier time came late) all is read anew. A server on files has one page.
- A run that has logged nothing yet is no error; one that has other metrics and not this one is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path

from backends.plan.models import Source
from backends.validation.asked import Asked
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
        self._latest: Row | None = None  # when all was read
        self._page = ""  # the last page that there was
        self._known: list[Row] = []  # what stood on it
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
        newest = latest.get(self._metric)
        if newest is None and latest:
            raise absent(self._metric, latest, run.where)
        if newest is not None and (not self._caught_up or not _same(newest, self._latest)):
            self._caught_up = await self._read_on(run)
        elif newest is None:
            self._caught_up = True
        self._asked = now
        if self._caught_up:
            self._latest = newest

    async def _run(self) -> Tracking:
        url = self.source.mlflow or ""
        return Tracking(url, self.source.run or "", shown_url(url), await self._token())

    async def _read_on(self, run: Tracking) -> bool:
        """Read so many pages; is that all that there is?"""
        is_new = self._caught_up
        for _ in range(_PAGES):
            rows, following = await history_page(self._web, run, self._metric, self._page, _SIZE)
            if len(rows) < len(self._known) or not all(map(_same, rows, self._known)):
                self.note = "the history was written anew: read anew"
                self.series.clear()
                self._page, self._known, is_new = "", [], False
                continue
            self._add(rows[len(self._known) :], is_new=is_new)
            self._known = rows
            if not following:
                return True
            self._page, self._known = following, []
        return False

    def _add(self, rows: list[Row], *, is_new: bool) -> None:
        now = self._clock()
        samples = samples_of(self._on_ours(rows, now, is_new=is_new), self.source.by, now)
        if rows and not samples:
            raise axis_absent(self._metric, self.source.by, rows[:8])
        for sample in samples:
            self.series.add(sample, arrived=now if self._caught_up else min(now, sample.time))


def _same(one: Row, other: Row | None) -> bool:
    """Is it the same entry? NaN is the same as NaN."""
    return one == other or repr(one) == repr(other)
