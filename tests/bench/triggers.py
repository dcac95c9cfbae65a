"""Simulated weeks and breaches through the trigger of an error rate: how often healthy weeks roll back, how soon true breaches do."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

from backends.validation.stats import binomial_lower, binomial_upper
from tests.bench.error_streams import DAY, SHAPES, STEP, Stream, joined, simulate
from tests.bench.reports import keep, show
from tests.bench.trigger_rules import LIMIT, LONG, RULES, SHORT, Stay, ours

PAGE = Path(__file__).parents[2] / "docs" / "triggers.md"
REQUESTS = (1, 50, 500)  # a second, both sides together
WEIGHTS = ((5, 4.0), (25, 4.0), (50, 4.0), (100, 156.0))  # percent on the target, hours: a week
HEALTHY = 0.5  # times the limit
WEEKS, EDGE_WEEKS, BREACHES = 30, 10, 200  # of each kind
HOUR = round(3600 / STEP)
BESIDE = "ours, beside legacy"
COMMON = (  # times the limit, after an hour?, shape, requests a second of target and legacy
    (3.0, False, "stationary", 50, 50),
    (3.0, True, "stationary", 50, 50),
    (3.0, False, "stationary", 500, 500),
    (3.0, True, "stationary", 500, 500),
    (10.0, True, "stationary", 50, 50),
    (1 / LIMIT, True, "stationary", 50, 50),
    (3.0, True, "clumped errors", 50, 50),
    (3.0, True, "AR(1) 0.9", 50, 50),
    (3.0, True, "stationary", 90, 10),
    (3.0, True, "stationary", 450, 50),
)
EDGES = ("stationary", "bursty requests", "clumped errors")  # whose error rate can stay at the limit itself


@dataclass(frozen=True, slots=True)
class Week:
    """One simulated migration of 7 days; `level` times the limit is the error rate of both sides."""

    seed: int
    shape: str
    requests: float
    level: float = HEALTHY


@dataclass(frozen=True, slots=True)
class Breach:
    """The target's errors at `level` times the limit: from a weight's beginning, or after an hour in health at that weight."""

    seed: int
    requests: float  # of the target
    level: float
    soaked: bool
    legacy: float | None = None  # times the limit, from then on; None: it has no clients
    legacy_requests: float = 0.0
    shape: str = "stationary"


@dataclass(frozen=True, slots=True)
class Found:
    """What a row of weeks gave: of how many, how many each rule rolled back."""

    shape: str
    requests: float
    weeks: int
    back: dict[str, int]


def run_week(week: Week, rules: Sequence[str] = tuple(RULES)) -> frozenset[str]:
    """The rules that rolled back."""
    chance, back = Random(f"{week}"), set[str]()
    begun = 0.0
    for weight, hours in WEIGHTS:
        stay = _stay(chance, week, weight / 100, round(hours * 3600 / STEP), begun)
        back |= {name for name in rules if name not in back and RULES[name](stay, 0) is not None}
        begun += hours * 3600
    return frozenset(back)


def _stay(chance: Random, week: Week, share: float, steps: int, begun: float) -> Stay:
    def side(part: float) -> Stream:
        return simulate(chance, week.shape, steps, week.requests * part, LIMIT * week.level, start=begun % DAY)

    return Stay(side(share), side(1 - share) if share < 1 else None, side(0.1))


def run_breach(breach: Breach, rules: Sequence[str] = tuple(RULES)) -> dict[str, float]:
    """Seconds until each rule rolled back; infinite where it did not within an hour."""
    chance, first = Random(f"{breach}"), HOUR if breach.soaked else 0

    def side(requests: float, level: float) -> Stream:
        bad = simulate(chance, breach.shape, HOUR, requests, min(1.0, LIMIT * level))
        return joined(simulate(chance, breach.shape, HOUR, requests, LIMIT * HEALTHY), bad) if first else bad

    target, control = side(breach.requests, breach.level), side(breach.requests, HEALTHY)
    legacy = side(breach.legacy_requests, breach.legacy) if breach.legacy is not None else None
    ends = {name: RULES[name](Stay(target, legacy, control), first) for name in rules}
    return {name: math.inf if end is None else (end - first) * STEP for name, end in ends.items()}


def run_both(week: Week) -> bool:
    """Both sides at the week's level for all the hours in which legacy has clients: was it rolled back?"""
    chance = Random(f"both {week}")
    stays = [_stay(chance, week, weight / 100, round(hours * 3600 / STEP), 0.0) for weight, hours in WEIGHTS if weight < 100]
    return any(ours(stay) is not None for stay in stays)


def false_alarms(pool: ProcessPoolExecutor, weeks: int, level: float, shapes: Sequence[str]) -> list[Found]:
    """One row for each shape and request rate."""
    rows = []
    for shape in shapes:
        for requests in REQUESTS:
            back = list(pool.map(run_week, [Week(seed, shape, requests, level) for seed in range(weeks)]))
            rows.append(Found(shape, requests, weeks, {name: sum(name in b for b in back) for name in RULES}))
    return rows


def report(weeks: int = WEEKS, edge_weeks: int = EDGE_WEEKS, breaches: int = BREACHES) -> list[str]:
    """The tables, in Markdown."""
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        healthy = false_alarms(pool, weeks, HEALTHY, SHAPES)
        edge = false_alarms(pool, edge_weeks, 1.0, EDGES)
        lines = [f"## Healthy weeks that rolled back (errors at {HEALTHY:g} x the limit)", "", *_weeks(healthy), ""]
        lines += ["## Weeks at the limit itself that rolled back", "", *_weeks(edge), ""]
        lines += ["## Seconds until a true breach is acted on", "", *_breaches(pool, breaches), ""]
        lines += ["## Common causes that rolled back within an hour", "", *_common(pool, breaches, weeks), ""]
    return lines


def interval(count: int, of: int) -> str:
    """A share with its exact 95 % interval."""
    low, high = (100 * bound(count, of, 0.975) for bound in (binomial_lower, binomial_upper))
    return f"{100 * count / of:.1f} % ({low:.1f} to {high:.1f})"


def _weeks(rows: Sequence[Found]) -> list[str]:
    lines = [f"| errors and requests | requests/s | weeks | {' | '.join(RULES)} |", "| --- |" + " ---: |" * (2 + len(RULES))]
    lines += [f"| {r.shape} | {r.requests:g} | {r.weeks} | {' | '.join(str(r.back[n]) for n in RULES)} |" for r in rows]
    weeks = sum(r.weeks for r in rows)
    shares = " | ".join(interval(sum(r.back[n] for r in rows), weeks) for n in RULES)
    return [*lines, f"| **all** | | {weeks} | {shares} |"]


def _breaches(pool: ProcessPoolExecutor, count: int) -> list[str]:
    names = [*RULES, BESIDE]
    lines = [f"| errors | begins | requests/s | {' | '.join(names)} |", "| --- | --- | ---: |" + " ---: |" * len(names)]
    cases = [(level, requests, soaked) for level in (2.0, 10.0, 1 / LIMIT) for requests in REQUESTS for soaked in (False, True)]
    for level, requests, soaked in cases:
        took = list(pool.map(run_breach, [Breach(seed, requests, level, soaked) for seed in range(count)]))
        beside = [Breach(seed, requests, level, soaked, HEALTHY, requests) for seed in range(count)]
        for each, other in zip(took, pool.map(partial(run_breach, rules=("ours",)), beside), strict=True):
            each[BESIDE] = other["ours"]
        what = "all requests fail" if level * LIMIT >= 1 else f"{level:g} x the limit"
        cells = " | ".join(_times([t[name] for t in took]) for name in names)
        lines.append(f"| {what} | {'after an hour' if soaked else 'with the weight'} | {requests} | {cells} |")
    return lines


def _common(pool: ProcessPoolExecutor, count: int, weeks: int) -> list[str]:
    lines = [f"| errors on both sides | begins | requests/s, target + legacy | of | {' | '.join(RULES)} |"]
    lines.append("| --- | --- | ---: | ---: |" + " ---: |" * len(RULES))
    for level, soaked, shape, requests, beside in COMMON:
        both = [Breach(seed, requests, level, soaked, level, beside, shape) for seed in range(count)]
        found = list(pool.map(run_breach, both))
        cells = " | ".join(f"{sum(t[name] < math.inf for t in found)}" for name in RULES)
        when = "after an hour" if soaked else "with the weight"
        what = "all requests fail" if level * LIMIT >= 1 else f"{level:g} x the limit"
        lines.append(f"| {what}, {shape} | {when} | {requests:g} + {beside:g} | {count} | {cells} |")
    for requests in REQUESTS:
        back = sum(pool.map(run_both, [Week(seed, "stationary", requests, 3.0) for seed in range(weeks)]))
        row = f"| 3 x the limit, 12 hours: 4 at each weight | with the weight | {requests} in all | {weeks} | {back} |"
        lines.append(row + " |" * (len(RULES) - 1))
    return lines


def _times(seconds: Sequence[float]) -> str:
    ordered = sorted(seconds)
    middle, late = median(ordered), ordered[int(0.9 * len(ordered))]
    return " / ".join(f"{t:.0f}" if t < math.inf else "over 3600" for t in (middle, late))


_HEAD = f"""# How triggers of error rates do

Drawn by `python -m tests.bench triggers --write`; [judging.md](judging.md) has the rules, [latencies.md](latencies.md) and [losses.md](losses.md) the other kinds. Streams are simulated, seeded, and go through the
very code that the engine runs (`backends/validation/error_rule.py`), with a look every {STEP:g} s. Limit {100 * LIMIT:g} %, windows {SHORT:g} s and
{LONG:g} s. A week: 4 hours each at 5, 25 and 50 %, then 100 %; both sides have the same error rate, and legacy gets what is left.

- **AR(1)**: the logarithm of the error rate (spread 0.3) changes every 10 s and remembers 0.5 or 0.9 of what it was. **bursty requests**: 5 times
  the requests in one minute of twenty. **clumped errors**: 3 at a time on average. **diurnal**: requests up and down by 80 %, the error rate by 30 %.
- **K in a row**: a minute's share above the limit, K times in a row. **Mann-Whitney**: each minute, the shares of the last ten minutes against ten of a
  control with a tenth of the requests, one-sided at 1 %, and the mean above the limit.
- **beside legacy**: legacy has as many requests, at {HEALTHY:g} x the limit; else it has none, as at 100 %.
- **Common causes**: what begins on both sides at the same moment; the streams of both are drawn apart. A legacy that has a tenth of the requests tells less: of errors at
  3 times the limit it has too few to be sure by. AR(1): each side's rate wanders by itself, so for half a minute one side is truly worse.
- Shares have exact 95 % intervals. Times are median / 90th percentile of {BREACHES}, alarms before the breach not counted.
"""


async def bench_triggers() -> None:
    """Triggers of error rates: false rollbacks in simulated weeks, seconds until true breaches are acted on; other rules beside ours."""
    await show(report)


async def write_triggers() -> None:
    """The same, into docs/triggers.md."""
    await keep(PAGE, _HEAD, report)
