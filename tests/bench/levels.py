"""Simulated weeks and slowdowns through the trigger of a level: step times that wander, judged by the code that the engine runs."""

from __future__ import annotations

import math
from statistics import median
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from backends.plan.models import Measure, Source, Trigger
from backends.validation.series import Sample, Series
from backends.validation.trigger import judge_trigger
from backends.validation.trigger_level import FAST
from backends.verdict import Verdict
from tests.bench.reports import show

EVERY, SHORT, LONG, WORSE_BY = 30.0, 120.0, 600.0, 0.10
STEPS_LONG, STEPS_SHORT, HOUR = round(LONG / EVERY), round(SHORT / EVERY), round(3600 / EVERY)
WEEKS, SLOW, HOURS = 10, 9, 4
OFTEN = 5.0  # seconds: steps of which the short window holds enough for the fast path
SPREADS, ALIKE = (0.01, 0.02, 0.03, 0.05), (0.0, 0.5, 0.9)
_SOURCE = Source(file="x", value="v")
_MEASURE = Measure.model_validate({"name": "m", "workload": "w", "kind": "step_time", "legacy": _SOURCE, "target": _SOURCE})
_TRIGGER = Trigger.model_validate({"measure": "m", "worse_by": "10%"})

Times = NDArray[np.float64]


def stream(chance: np.random.Generator, count: int, spread: float, alike: float) -> Times:
    """Step times around 1: the logarithm varies by `spread`, and neighbours correlate by `alike`."""
    level, out = float(chance.normal(0.0, spread)), []
    for fresh in chance.normal(0.0, spread * math.sqrt(1 - alike * alike), count).tolist():
        level = alike * level + fresh
        out.append(level)
    return np.asarray(np.exp(np.array(out)), dtype=np.float64)


def is_breached(legacy: Times, target: Times, end: int, every: float = EVERY) -> bool:
    """Does the trigger breach after the step `end`?"""
    sides = []
    for times in (legacy, target):
        series = Series("time")
        for i in range(max(0, end - round((3600 + LONG) / every)), end + 1):
            series.add(Sample(i * every, i * every, float(times[i])))
        sides.append(series)
    found = judge_trigger(_TRIGGER, _MEASURE, *sides, windows=(SHORT, LONG), since=-LONG, now=end * every, exposed=True)
    return found.verdict is Verdict.BREACH


def run_week(seed: int, spread: float, alike: float) -> bool:
    """Did a week in which both sides are alike roll back? Steps at which the medians are within the limit are left out: they cannot breach."""
    chance = np.random.default_rng(crc32(f"{seed} {spread} {alike}".encode()))
    count = round(7 * 86400 / EVERY)
    legacy, target = stream(chance, count, spread, alike), stream(chance, count, spread, alike)
    theirs = _medians(legacy, STEPS_LONG)
    over = (_medians(target, STEPS_LONG) > (1 + WORSE_BY) * theirs) & (_medians(target, STEPS_SHORT) > (1 + WORSE_BY) * theirs)
    return any(is_breached(legacy, target, int(i) + STEPS_LONG - 1) for i in np.flatnonzero(over))


def run_fast_week(seed: int, spread: float, alike: float) -> tuple[bool, bool]:
    """Did a week of steps each 5 s, of which the fast path has enough, roll back: by the fast path, and by its median alone?"""
    chance = np.random.default_rng(crc32(f"fast {seed} {spread} {alike}".encode()))
    long, short, count = round(LONG / OFTEN), round(SHORT / OFTEN), round(7 * 86400 / OFTEN)
    legacy, target = stream(chance, count, spread, alike), stream(chance, count, spread, alike)
    theirs = np.median(np.lib.stride_tricks.sliding_window_view(legacy, long), axis=1)
    ours = np.median(np.lib.stride_tricks.sliding_window_view(target, short), axis=1)[-len(theirs) :]
    ends = np.flatnonzero(ours > (1 + FAST * WORSE_BY) * theirs) + long - 1
    return any(is_breached(legacy, target, int(end), OFTEN) for end in ends), len(ends) > 0


def run_slow(seed: int, slower: float, spread: float, alike: float) -> float:
    """Seconds until a target that grew `slower` times as slow after two hours is breached; infinite where it is not within four."""
    chance = np.random.default_rng(crc32(f"{seed} {slower} {spread} {alike}".encode()))
    first, count = 2 * HOUR, (2 + HOURS) * HOUR
    legacy, target = stream(chance, count, spread, alike), stream(chance, count, spread, alike)
    target[first:] *= slower
    return next(((i - first) * EVERY for i in range(first, count) if is_breached(legacy, target, i)), math.inf)


def _medians(times: Times, count: int) -> Times:
    windows = np.lib.stride_tricks.sliding_window_view(times, count)
    return np.asarray(np.median(windows, axis=1)[-(len(times) - STEPS_LONG + 1) :])


def report() -> list[str]:
    """The table, in Markdown."""
    lines = [
        "| spread | neighbours alike | healthy weeks rolled back | 20 % slower: seconds, median of 9 | 50 % slower |",
        "| ---: | ---: | ---: | ---: | ---: |",
    ]
    for spread in SPREADS:
        for alike in ALIKE:
            back = sum(run_week(seed, spread, alike) for seed in range(WEEKS))
            took = [median(run_slow(seed, by, spread, alike) for seed in range(SLOW)) for by in (1.2, 1.5)]
            cells = " | ".join(f"{t:.0f}" if t < math.inf else f"over {HOURS * 3600}" for t in took)
            lines.append(f"| {spread:.0%} | {alike:g} | {back} of {WEEKS} | {cells} |")
    lines += [
        "",
        "| steps each 5 s: spread | neighbours alike | healthy weeks rolled back by the fast path | by its median alone |",
    ]
    lines += ["| ---: | ---: | ---: | ---: |"]
    for spread in (0.05, 0.1, 0.2):
        for alike in (0.0, 0.9, 0.97):
            found = [run_fast_week(seed, spread, alike) for seed in range(WEEKS)]
            back, plain = (sum(f[i] for f in found) for i in range(2))
            lines.append(f"| {spread:.0%} | {alike:g} | {back} of {WEEKS} | {plain} of {WEEKS} |")
    return lines


async def bench_levels() -> None:
    """Triggers of a level (step times each 30 s, 10 % allowed): false rollbacks in simulated weeks, seconds until slower ones are acted on."""
    await show(report)
