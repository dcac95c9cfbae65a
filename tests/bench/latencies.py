"""Simulated weeks and breaches through the trigger of latency: how often healthy weeks roll back, how soon true breaches do."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from backends.validation.error_rule import Call
from backends.validation.latency_rule import LEAST_BEYOND, LatencyRule
from tests.bench.latency_streams import DAY, EDGES, P99, SHAPES, STEP, THIRD, Latencies, Seen, joined, simulate
from tests.bench.reports import keep, show
from tests.bench.triggers import REQUESTS, WEIGHTS, interval

PAGE = Path(__file__).parents[2] / "docs" / "latencies.md"
SHORT, LONG, QUANTILE, WORSE_BY, FAST_RATIO = 120.0, 600.0, 0.99, 0.25, math.exp(9 * THIRD)  # the plan's defaults; 1.95 for 2
LIMIT = float(EDGES[np.searchsorted(EDGES, 2 * P99)])  # the absolute limit: healthy requests have their p99 at half of it
RULE = LatencyRule(SHORT, LONG, QUANTILE)
SHORT_STEPS, LONG_STEPS, HOUR = round(SHORT / STEP), round(LONG / STEP), round(3600 / STEP)
WEEKS, EDGE_WEEKS, BREACHES = 30, 3, 20
KINDS = ("limit", "ratio")
PLAIN = "both windows"  # the quantile of both above, no bound
BREACHED = (  # what, how much slower, shape
    ("2 x the absolute limit", 2 * LIMIT / P99, "stationary"),
    ("1.5 x legacy: twice what is allowed", 1.5, "stationary"),
    ("3 x legacy", 3.0, "stationary"),
    ("2 x the absolute limit, AR(1) 0.9", 2 * LIMIT / P99, "AR(1) 0.9"),
    ("1.5 x legacy, AR(1) 0.9", 1.5, "AR(1) 0.9"),
)
EDGE_SHAPES = ("stationary", "bursty requests")


@dataclass(frozen=True, slots=True)
class Week:
    """One simulated migration of 7 days; target's times are `level` times the usual ones, legacy's `legacy` times."""

    seed: int
    shape: str
    requests: float
    level: float = 1.0
    legacy: float = 1.0


@dataclass(frozen=True, slots=True)
class Breach:
    """Times of the target at `level` times the usual ones, and of legacy at `legacy`: from a weight's beginning, or after an hour in health."""

    seed: int
    shape: str
    requests: float  # of each side
    level: float
    soaked: bool
    legacy: float = 1.0


@dataclass(frozen=True, slots=True)
class Stay:
    """Both sides at one weight. At 100 % legacy has no requests; then its last hour before is what was remembered."""

    target: Latencies
    legacy: Latencies | None
    past: Latencies | None = None

    @property
    def yardstick(self) -> Latencies | None:
        return self.legacy if self.legacy is not None else self.past


def run_week(week: Week, kinds: Sequence[str] = KINDS) -> frozenset[str]:
    """Which triggers rolled back: `limit`, `ratio`, and each with the plain rule."""
    chance, back = _chance(week), set[str]()
    begun, past = 0.0, None
    for weight, hours in WEIGHTS:
        steps, share = round(hours * 3600 / STEP), weight / 100
        made = partial(simulate, chance, week.shape, steps, start=begun % DAY)
        target = made(week.requests * share, week.level)
        legacy = made(week.requests * (1 - share), week.legacy) if share < 1 else None
        stay = Stay(target, legacy, past)
        back |= {kind for kind in kinds if kind not in back and first_call(stay, kind) is not None}
        back |= {f"{kind} {PLAIN}" for kind in kinds if len(both_windows(stay, kind))}
        begun, past = begun + hours * 3600, legacy
    return frozenset(back)


def run_breach(breach: Breach, kinds: Sequence[str] = KINDS) -> dict[str, float]:
    """Seconds until each trigger rolled back; infinite where it did not within an hour."""
    chance, first = _chance(breach), HOUR if breach.soaked else 0

    def side(level: float) -> Latencies:
        bad = simulate(chance, breach.shape, HOUR, breach.requests, level)
        return joined(simulate(chance, breach.shape, HOUR, breach.requests, 1.0), bad) if first else bad

    stay = Stay(side(breach.level), side(breach.legacy))
    ends = {kind: first_call(stay, kind, first) for kind in kinds}
    return {kind: math.inf if end is None else (end - first) * STEP for kind, end in ends.items()}


def _chance(of: object) -> np.random.Generator:
    return np.random.default_rng(crc32(f"{of}".encode()))


def first_call(stay: Stay, kind: str, first: int = 0) -> int | None:
    """The stretch at whose end backends/validation/latency_rule.py first calls for a rollback, from `first` on. Looks at which the quantile is
    not above what is allowed are left out: they cannot call."""
    target, legacy = Seen(stay.target), _legacy(stay)
    calls = {Call.FAST, Call.SLOW}
    ends: list[tuple[int, bool]] = sorted(
        [(end, True) for end in _above(stay, kind, SHORT_STEPS, True).tolist()]
        + [(end, False) for end in _above(stay, kind, LONG_STEPS, False).tolist() if end >= LONG_STEPS]
    )
    for end, fast in ends:
        if end <= first:
            continue
        target.end = end
        if legacy.past is None:
            legacy.end = end
        if kind == "limit":
            found = RULE.above_limit(target, legacy, LIMIT, fast=fast)
        else:
            ratio = FAST_RATIO if fast else 1 + WORSE_BY
            found = RULE.slower(target, legacy, ratio, fast=fast, of_now=stay.legacy is not None)
        if found.call in calls:
            return end
    return None


def both_windows(stay: Stay, kind: str) -> NDArray[np.int64]:
    """The stretches at whose end the quantile is above what is allowed in the long window and in the short one."""
    whole = _above(stay, kind, LONG_STEPS, False)
    return np.intersect1d(whole[whole >= LONG_STEPS], _above(stay, kind, SHORT_STEPS, False))


def _legacy(stay: Stay) -> Seen:
    if stay.legacy is not None:
        return Seen(stay.legacy)
    if stay.past is not None:
        return Seen(stay.past, stay.past.steps, HOUR)
    return Seen(Latencies(np.zeros(stay.target.steps + 1, np.int64), np.zeros((stay.target.steps + 1, len(EDGES)), np.int64)))


def _above(stay: Stay, kind: str, steps: int, fast: bool) -> NDArray[np.int64]:
    """The ends of windows of so many stretches in which the quantile that is known is above the limit, or `ratio` times legacy's."""
    counts, beyond = _windows(stay.target, steps)
    if kind == "limit":
        over = LIMIT * (2 if fast else 1)
        edge = int(np.searchsorted(EDGES, over * (1 - 1e-6)))
        return np.flatnonzero(beyond[:, edge] > np.maximum((1 - QUANTILE) * counts, LEAST_BEYOND)) + 1
    yardstick = stay.yardstick
    if yardstick is None:
        return np.zeros(0, np.int64)
    if stay.legacy is not None:
        their_counts, theirs = _windows(yardstick, steps)
    else:
        last = max(0, yardstick.steps - HOUR)
        their_counts = np.broadcast_to(yardstick.requests[-1] - yardstick.requests[last], counts.shape)
        theirs = np.broadcast_to(yardstick.above[-1] - yardstick.above[last], beyond.shape)
    tail = np.maximum(1 - QUANTILE, LEAST_BEYOND / np.maximum(1, np.minimum(counts, their_counts)))
    ours_at = np.count_nonzero(beyond > (tail * counts)[:, None], axis=1)
    theirs_at = np.count_nonzero(theirs > (tail * their_counts)[:, None], axis=1)
    whole = round(math.log(FAST_RATIO if fast else 1 + WORSE_BY) / THIRD)
    return np.flatnonzero((ours_at >= theirs_at + whole) & (tail <= 0.5) & (counts > 20)) + 1


def _windows(stream: Latencies, steps: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    ends = np.arange(1, stream.steps + 1)
    firsts = np.maximum(0, ends - steps)
    return stream.requests[ends] - stream.requests[firsts], stream.above[ends] - stream.above[firsts]


def report(weeks: int = WEEKS, edge_weeks: int = EDGE_WEEKS, breaches: int = BREACHES) -> list[str]:
    """The tables, in Markdown."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        lines = ["## Healthy weeks that rolled back", "", *_weeks(pool, weeks, SHAPES, REQUESTS), ""]
        lines += ["## Weeks at the limit itself that rolled back", "", *_edges(pool, edge_weeks), ""]
        lines += ["## Seconds until a true breach is acted on", "", *_breaches(pool, breaches), ""]
        lines += ["## Common causes that rolled back within an hour", "", *_common(pool, breaches), ""]
    return lines


COLUMNS = ("limit", "ratio", f"limit {PLAIN}", f"ratio {PLAIN}")
_HEADS = ("absolute limit", "against legacy", f"absolute limit, {PLAIN}", f"against legacy, {PLAIN}")


def _table(pool: ProcessPoolExecutor, rows: Sequence[tuple[str, float, Sequence[Week]]], columns: Sequence[str]) -> list[str]:
    heads = [_HEADS[COLUMNS.index(c)] for c in columns]
    lines = [f"| latencies | requests/s | weeks | {' | '.join(heads)} |", "| --- |" + " ---: |" * (2 + len(columns))]
    found = []
    for shape, requests, weeks in rows:
        back = list(pool.map(partial(run_week, kinds=[k for k in KINDS if k in columns]), weeks))
        found += back
        lines.append(f"| {shape} | {requests:g} | {len(weeks)} | {' | '.join(str(sum(c in b for b in back)) for c in columns)} |")
    shares = " | ".join(interval(sum(c in b for b in found), len(found)) for c in columns)
    return [*lines, f"| **all** | | {len(found)} | {shares} |"]


def _weeks(pool: ProcessPoolExecutor, weeks: int, shapes: Sequence[str], rates: Sequence[float]) -> list[str]:
    return _table(pool, [(s, r, [Week(seed, s, r) for seed in range(weeks)]) for s in shapes for r in rates], COLUMNS)


def _edges(pool: ProcessPoolExecutor, weeks: int) -> list[str]:
    at_limit = [(s, 50.0, [Week(seed, s, 50.0, LIMIT / P99, LIMIT / P99) for seed in range(weeks)]) for s in EDGE_SHAPES]
    at_ratio = [(s, 50.0, [Week(seed, s, 50.0, 1 + WORSE_BY) for seed in range(weeks)]) for s in EDGE_SHAPES]
    return [*_table(pool, at_limit, ("limit",)), "", *_table(pool, at_ratio, ("ratio",))]


def _breaches(pool: ProcessPoolExecutor, count: int) -> list[str]:
    lines = [
        "| target's latency | begins | requests/s a side | absolute limit | against legacy |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for what, level, shape in BREACHED:
        for requests in REQUESTS:
            for soaked in (False, True):
                made = [Breach(seed, shape, requests, level, soaked) for seed in range(count)]
                took = list(pool.map(run_breach, made))
                cells = " | ".join(_times([t[kind] for t in took]) for kind in KINDS)
                lines.append(f"| {what} | {'after an hour' if soaked else 'with the weight'} | {requests} | {cells} |")
    return lines


def _common(pool: ProcessPoolExecutor, count: int) -> list[str]:
    lines = [
        "| both sides | begins | requests/s a side | of | absolute limit | against legacy |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for shape, times in (("stationary", 1.5), ("stationary", 4.0), ("AR(1) 0.9", 1.5)):
        level = LIMIT / P99 * times
        for soaked in (False, True):
            made = [Breach(seed, shape, 50, level, soaked, level) for seed in range(count)]
            found = list(pool.map(run_breach, made))
            cells = " | ".join(str(sum(t[kind] < math.inf for t in found)) for kind in KINDS)
            begins = "after an hour" if soaked else "with the weight"
            lines.append(f"| {times:g} x the limit, {shape} | {begins} | 50 | {count} | {cells} |")
    return lines


def _times(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    middle, late = median(ordered), ordered[int(0.9 * len(ordered))]
    return " / ".join(f"{t:.0f}" if t < math.inf else "over 3600" for t in (middle, late))


_HEAD = f"""# How triggers of latency do

Drawn by `python -m tests.bench latencies --write`; [judging.md](judging.md) has the rules, [triggers.md](triggers.md) those of error rates. Streams are simulated,
seeded, and go through the very code that the engine runs (`backends/validation/latency_rule.py`), with a look every {STEP:g} s. The p99, windows
{SHORT:g} s and {LONG:g} s, {100 * WORSE_BY:g} % allowed against legacy, and an absolute limit. A week: 4 hours each at 5, 25 and 50 %, then 100 %, where legacy's
last hour is what the target is held against. Times are counted on a grid of steps of 8 %: the fast path's 2 x is asked at {FAST_RATIO:.2f} x here.

- Times are lognormal (sigma {0.5:g}). Healthy: both sides alike, the p99 at half the absolute limit. **AR(1)**: the level of all times (spread 0.2) changes every
  {STEP:g} s, on each side by itself, and remembers 0.5 or 0.9 of what it was. **bursty requests**: 5 times the requests in one minute of twenty, 20 % slower.
  **stalls**: all requests of {STEP:g} s five times slower, every 20 minutes at the mean. **diurnal**: requests up and down by 80 %, times by 10 %.
- **{PLAIN}**: the quantile is above what is allowed in the long and in the short window, no bound: what triggers without statistics do.
- At the limit itself bursts are 20 % slower, so that these weeks are above it for the minutes of each burst: no false rollbacks. AR(1) at 1.5 x legacy: ten minutes in which
  each side wanders by 20 % do not tell 1.5 from 1.25 at such levels; of the absolute limit 1 of 20 common causes was taken for the target's own.
- Shares have exact 95 % intervals. Times are median / 90th percentile of {BREACHES}, alarms before the breach not counted; legacy has as many requests as the target.
"""


async def bench_latencies() -> None:
    """Triggers of latency: false rollbacks in simulated weeks, seconds until true breaches are acted on; a rule without bounds beside ours."""
    await show(report)


async def write_latencies() -> None:
    """The same, into docs/latencies.md."""
    await keep(PAGE, _HEAD, report)
