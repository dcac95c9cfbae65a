"""What `cutover load` has kept of a run (`load-WORKLOAD.jsonl` in the migration's folder), as figures of one side.

A line for each slice of the run, with both sides' latencies counted in buckets. Where the file has one side only, that one is meant.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from backends.escape import plain
from backends.histogram import Histogram
from backends.validation.addresses import is_far
from backends.validation.errors import MetricAbsent, SourceUnreadable
from backends.validation.source import pieces_of
from backends.vocabulary import SideName

if TYPE_CHECKING:
    from backends.validation.far import FarFiles

HISTOGRAMS = ("latency", "late", "first_token", "between_tokens")
_MARK = b'{"load":'
_LARGEST = 1 << 28  # bytes of a run of days


def is_load_report(head: bytes) -> bool:
    """Does a source that begins so hold slices of `cutover load`?"""
    return head.startswith(_MARK)


class LoadReport:
    """One side of a run: times in `histogram` (seconds), requests `sent` and those that failed, over so many `seconds` (None: not known)."""

    def __init__(self, where: str, side: SideName, metric: str) -> None:
        self.where = where
        self.metric = metric
        self.side = side
        self.histogram = Histogram()
        self.sent = 0
        self.failed = 0
        self.curve: list[tuple[float, float]] = []  # of each slice: its beginning, its p99 in milliseconds
        self.notes: list[str] = []
        self._at: list[float] = []
        self._sent: list[int] = []
        self._length: float | None = None

    @property
    def rate(self) -> float | None:
        """Requests a second that were sent: the middle of the slices, the last of which may have been cut short."""
        length = self._length or (statistics.median(b - a for a, b in pairwise(self._at)) if len(self._at) > 1 else None)
        if length is None or length <= 0:
            return None
        whole = self._sent[:-1] if len(self._sent) > 2 else self._sent
        return statistics.median(whole) / length

    def digest(self) -> str:
        """SHA-256 of the buckets and their counts: what was judged."""
        return hashlib.sha256(orjson.dumps([sorted(self.histogram.counts.items()), self.sent, self.failed])).hexdigest()

    def take(self, line: dict[str, Any]) -> None:
        """One slice. Raises ValueError, TypeError or KeyError for anything else."""
        sides = line["sides"]
        told = sides.get(self.side) or (next(iter(sides.values())) if len(sides) == 1 else None)
        if told is None:
            return
        histogram = Histogram.from_json(told[self.metric])
        self._at.append(float(line["at"]))
        self._sent.append(int(told["sent"]))
        self.sent += self._sent[-1]
        self.failed += sum(int(n) for n in told["errors"].values())
        self.histogram.merge(histogram)
        p99 = histogram.quantile(0.99)
        if p99 is not None:
            self.curve.append((self._at[-1], p99 * 1000))

    def begin(self, head: dict[str, Any]) -> None:
        """The first line: how long a slice is, where it was kept."""
        length = head.get("slice")
        if isinstance(length, int | float) and math.isfinite(length) and length > 0:
            self._length = float(length)


def read_report(data: bytes, where: str, side: SideName, metric: str) -> LoadReport:
    """All of it. Raises `SourceUnreadable`, and `MetricAbsent` where the metric is none of a load run's."""
    if metric not in HISTOGRAMS:
        names = ", ".join(HISTOGRAMS)
        raise MetricAbsent(f"`{plain(metric, 80)}` is not there; there are {names}", where=where, hint="name one of these")
    report = LoadReport(where, side, metric)
    first, *lines = data.split(b"\n")
    broken = 0
    try:
        report.begin(orjson.loads(first))
    except (ValueError, AttributeError) as error:
        raise SourceUnreadable("the first line of a load run that cannot be read", where=where) from error
    for line in filter(None, lines):
        try:
            report.take(orjson.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            broken += 1
    if broken:
        report.notes.append(f"{broken} slices could not be read and are left out")
    if not report.sent:
        raise SourceUnreadable(f"a load run without a request of {side}", where=where)
    return report


class Kept:
    """A source that holds a load run, read as the side that is asked for."""

    def __init__(self, where: str, data: bytes) -> None:
        self.where = where
        self._data = data

    def read(self, side: SideName, metric: str) -> LoadReport:
        """Raises what `read_report` raises."""
        return read_report(self._data, self.where, side, metric)


def reports_of(sources: Sequence[str], far: FarFiles | None) -> list[Kept | None]:
    """Of each source what `cutover load` has kept in it, None where it is something else: a pipe, which can be read but once, among them."""
    return [_report_of(source, far) if is_far(source) or Path(source).is_file() else None for source in sources]


def _report_of(source: str, far: FarFiles | None) -> Kept | None:
    where = plain(source)
    try:
        files = pieces_of(source, where, far)
        first = next(files[0], b"") if len(files) == 1 else b""
    except SourceUnreadable:
        return None  # who reads it as a log tells why
    if not is_load_report(first):
        return None
    data = bytearray(first)
    for piece in files[0]:
        data += piece
        if len(data) > _LARGEST:
            raise SourceUnreadable("a load run of more than 256 MiB", where=where)
    return Kept(where, bytes(data))
