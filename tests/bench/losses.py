"""Simulated weeks and breaches through the trigger of a loss: how often healthy weeks roll back, how soon true breaches do."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from zlib import crc32

import numpy as np

from backends.validation.error_rule import WEEK
from backends.validation.loss_rule import EARLIER, MOST, MOST_EARLIER, SHORT_PART, STRETCHES, LossRule, apart, of_plain
from tests.bench.curves import RECORDED, SYSTEMS, System, system
from tests.bench.loss_streams import SHAPES, Losses, recorded_noise, simulate
from tests.bench.reports import keep, show
from tests.bench.triggers import interval

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
LIMIT = 0.01
EVERY = {"step": 30.0, "epoch": 3600.0}  # seconds from place to place
STEPS = {"step": 1, "epoch": 120}  # of which a place is the mean
WEEKS, BREACHES, PAIRS = 20, 9, 200
HEALTHY_PLACES, WATCHED = {"step": 4096, "epoch": 84}, {"step": 8192, "epoch": 84}  # before a breach, and from then on
NEARLY, LEAST_T = 0.999, 3.0  # what is asked of a window before the rule itself is: less than it asks


@dataclass(frozen=True, slots=True)
class Run:
    """A week of both sides in health, or a target that is `worse` by so much, from the beginning or after a time in health."""

    seed: int
    shape: str
    by: str
    worse: float = 0.0
    soaked: bool = False


def rule_of(by: str) -> LossRule:
    """As the trigger makes it of curves by step and by epoch."""
    return LossRule(LIMIT, EVERY[by], by == "epoch")


def run_week(run: Run) -> tuple[bool, bool]:
    """Did a healthy week roll back: by our rule, and by the plain one?"""
    differences = _differences(run, round(WEEK / EVERY[run.by]))
    return first_call(differences, rule_of(run.by)) is not None, plain_call(differences)


def run_breach(run: Run) -> float:
    """Places until the breach is called; infinite where it is not."""
    before = HEALTHY_PLACES[run.by] if run.soaked else 0
    differences = _differences(run, before + WATCHED[run.by])
    differences[before:] += of_plain(run.worse)
    end = first_call(differences, rule_of(run.by), before)
    return math.inf if end is None else end - before


def _differences(run: Run, places: int) -> Losses:
    """The differences of both sides' losses: each side's noise is its own."""
    chance = np.random.default_rng(crc32(f"{run}".encode()))
    steps = STEPS[run.by]
    legacy, target = (simulate(chance, run.shape, places * steps).reshape(places, steps).mean(axis=1) for _ in range(2))
    return np.asarray(2.0 * np.tanh((target - legacy) / 2.0))


def first_call(differences: Losses, rule: LossRule, first: int = 0) -> int | None:
    """How many places there were when the rule first called. It is asked of windows that it may call only: the mean and its newest fifth above the
    limit, the mean above all earlier ones, and by some standard errors."""
    total = np.concatenate([[0.0], np.cumsum(differences)])
    sums, limit, found = total.tolist(), of_plain(rule.limit), None

    def mean(ends: np.ndarray[tuple[int], np.dtype[np.int64]], n: int) -> Losses:
        return np.asarray((total[ends] - total[ends - n]) / n)

    for n in rule.sizes(len(differences)):
        ends = np.arange(max(n, first + 1), (len(differences) if found is None else found) + 1)
        ends = ends[(mean(ends, n) > limit) & (mean(ends, n // SHORT_PART) > limit)] if len(ends) else ends
        if n >= STRETCHES and len(ends):
            width = n // STRETCHES
            parts = np.stack([mean(ends - i * width, width) for i in range(STRETCHES)])
            error = parts.std(0, ddof=1) / math.sqrt(STRETCHES)
            ends = ends[parts.mean(0) - limit >= NEARLY * LEAST_T * error]
        count = min(MOST_EARLIER, MOST // n - 1)
        if count >= EARLIER and len(ends):
            whole = ends >= (count + 1) * n
            earlier = np.stack([mean(ends[whole] - (i + 1) * n, n) for i in range(count)])
            away = np.abs(earlier - np.median(earlier, axis=0)).max(axis=0)
            keep = ~whole
            keep[whole] = mean(ends[whole], n) > NEARLY * np.maximum(away, limit + LEAST_T * earlier.std(0, ddof=1))
            ends = ends[keep]
        for end in ends.tolist():
            if rule.breach(sums, end, n) is not None:
                found = end
                break
    return found


def plain_call(differences: Losses) -> bool:
    """Without noise: the latest place and the median of the last five, each above the limit."""
    windows = np.lib.stride_tricks.sliding_window_view(differences, 5)
    limit = of_plain(LIMIT)
    return bool(((np.median(windows, axis=1) > limit) & (windows[:, -1] > limit)).any())


def report(weeks: int = WEEKS, breaches: int = BREACHES) -> list[str]:
    """The tables, in Markdown."""
    shapes = [s for s in SHAPES if s != "MLPerf" or recorded_noise() is not None]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        lines = ["## Healthy weeks that rolled back", "", *_weeks(pool, weeks, shapes), ""]
        if RECORDED.is_dir():
            lines += [
                "## Evaluations drawn from MLPerf's real runs, other seeds: whole runs that rolled back",
                "",
                *_recorded(),
                "",
            ]
        lines += ["## Places until a true breach is acted on", "", *_breaches(pool, breaches, shapes), ""]
    return lines


def _weeks(pool: ProcessPoolExecutor, weeks: int, shapes: Sequence[str]) -> list[str]:
    lines = ["| losses | a place is | weeks | ours | the plain difference |", "| --- | --- | ---: | ---: | ---: |"]
    every: list[tuple[bool, bool]] = []
    for by in EVERY:
        for shape in shapes:
            found = list(pool.map(run_week, [Run(seed, shape, by) for seed in range(weeks)]))
            every += found
            cells = " | ".join(str(sum(f[i] for f in found)) for i in range(2))
            lines.append(f"| {shape} | a{'n' if by == 'epoch' else ''} {by} | {weeks} | {cells} |")
    shares = " | ".join(interval(sum(f[i] for f in every), len(every)) for i in range(2))
    return [*lines, f"| **all** | | {len(every)} | {shares} |"]


def run_recorded(made: System, seed: int) -> tuple[bool, bool]:
    """Two runs of one system that differ by their seed alone, as one week of evaluations: did it roll back, by our rule and by the plain one?"""
    chance = Random(f"{made.name} {seed}")
    legacy, target = (made.draw(chance, 0.0) for _ in range(2))
    sign = -1.0 if made.higher else 1.0
    differences = np.array([sign * apart(a, b) for a, b in zip(legacy.ys, target.ys, strict=True)])
    rule = LossRule(LIMIT, WEEK / len(differences), averaged=True)
    return first_call(differences, rule) is not None, len(differences) >= 5 and plain_call(differences)


def _recorded() -> list[str]:
    lines = ["| system | evaluations | pairs | ours | the plain difference |", "| --- | ---: | ---: | ---: | ---: |"]
    every: list[tuple[bool, bool]] = []
    for folder, higher in SYSTEMS:
        made = system(folder, higher)
        found = [run_recorded(made, seed) for seed in range(PAIRS)]
        every += found
        cells = " | ".join(str(sum(f[i] for f in found)) for i in range(2))
        lines.append(f"| {folder} | {len(made.places)} | {PAIRS} | {cells} |")
    shares = " | ".join(interval(sum(f[i] for f in every), len(every)) for i in range(2))
    return [*lines, f"| **all** | | {len(every)} | {shares} |"]


def _breaches(pool: ProcessPoolExecutor, count: int, shapes: Sequence[str]) -> list[str]:
    lines = ["| losses | a place is | 2 % worse, at first | 2 % worse, later | 10 % worse, at first | 10 % worse, later |"]
    lines.append("| --- | --- | ---: | ---: | ---: | ---: |")
    for by in EVERY:
        for shape in shapes:
            cells = []
            for worse in (0.02, 0.10):
                for soaked in (False, True):
                    took = sorted(pool.map(run_breach, [Run(seed, shape, by, worse, soaked) for seed in range(count)]))
                    cells.append(_time(median(took), by))
            lines.append(f"| {shape} | a{'n' if by == 'epoch' else ''} {by} | {' | '.join(cells)} |")
    return lines


def _time(places: float, by: str) -> str:
    return f"{places:.0f}" if places < math.inf else f"over {WATCHED[by]}"


_HEAD = f"""# How triggers of losses do

Drawn by `python -m tests.bench losses --write`; [judging.md](judging.md) has the rules, [triggers.md](triggers.md) those of error rates. Curves are
simulated, seeded, and go through the very code that the engine runs (`backends/validation/loss_rule.py`), at each place that both sides have. {100 * LIMIT:g} % allowed, no
`noise` in the plan. A week of steps: one each {EVERY["step"]:g} s, {round(WEEK / EVERY["step"]):,} places; of epochs: one each hour, {round(WEEK / EVERY["epoch"])} places. Each side's noise is its own, as with other seeds.

- **white**: each place's loss varies by 3 %. **AR(1)**: the same, and remembers 0.5 or 0.9 of what it was. **paired**: the same data in the same order, 0.2 %. **spikes**: 2 %, and
  a jump of 20 % at the mean each 1,000 places, which halves in 10. **restarts**: 2 %, and a restart from a checkpoint each 500 places, on each side by itself, 5 % worse, halving in 20.
  **bursty**: 2 %, and 10 % in 60 places of twenty times as many. **diurnal**: 1 to 5 % in the course of a day. **MLPerf**: blocks of 20 of what real
  training losses (Llama 3.1 8B, shared by NVIDIA) lie beside their own median curve. An epoch is the mean of {STEPS["epoch"]} such steps.
- **the plain difference**: the latest place and the median of the last five above the limit, as without a rule for noise.
- What is not seen: 2 % where steps vary by 3 % a side and remember 0.9, and within 84 epochs where these differ by 0.3 % and more, or spikes and restarts came before: the
  curves alone do not prove it in that time. 10 % is.
- Shares have exact 95 % intervals. Places are medians of {BREACHES}; *at first*: the target is worse from the first common place on; *later*: after {HEALTHY_PLACES["step"]:,} steps or {HEALTHY_PLACES["epoch"]} epochs in health.
"""


async def bench_losses() -> None:
    """Triggers of losses: false rollbacks in simulated weeks, places until true breaches are acted on; the plain difference beside ours."""
    await show(report)


async def write_losses() -> None:
    """The same, into docs/losses.md."""
    await keep(PAGE, _HEAD, report)
