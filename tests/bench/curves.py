"""Verdicts on curves that are drawn anew from MLPerf's real runs: how often is one wrong, and how many runs does it take to decide?

A system's runs give a mean curve and, for each run, how far it lay from it, place by place. A drawn run is the mean with those
residuals weighted at random (a bootstrap with normal multipliers): it has the real runs' spread at each place and their likeness along the
curve. Both sides are drawn from one system; the target's are made worse by what is asked.
"""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from statistics import fmean

from backends.validation.curve import Curve
from backends.validation.planning import runs_needed
from backends.validation.several import ALPHA
from backends.validation.source import load_runs
from backends.verdict import Verdict
from tests.bench.curve_rules import ONE_RUN, RULES, TOLERANCE
from tests.bench.servers import Missing
from tests.bench.triggers import interval

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "mlperf"
PAGE = Path(__file__).parents[2] / "docs" / "verdicts.md"
SYSTEMS: tuple[tuple[str, bool], ...] = (  # folder, is higher better
    ("llama2_70b_lora/XE9680x8H100-SXM-80GB", False),
    ("llama31_8b/nebius_b200_n1", False),
    ("gpt3/b200_n8_preview_nemo", False),
    ("bert/tinybox_green", True),
    ("retinanet/tinybox_green", True),
    ("resnet/tinybox_red", True),
)
RUNS = (1, 2, 3, 5, 8, 12)
SHIFTS = (0.0, 0.01)
DRAWN = 500  # pairs of sides of each kind


@dataclass(frozen=True, slots=True)
class System:
    """One system's real runs, at the places that all have: the mean, and each run's relative distance from it."""

    name: str
    higher: bool
    places: tuple[float, ...]
    mean: tuple[float, ...]
    residuals: tuple[tuple[float, ...], ...]

    @property
    def at(self) -> tuple[float, ...]:
        """Three places that are judged: a tenth of the way, half of it, the end; as a plan's gate has them."""
        last = len(self.places) - 1
        return tuple(dict.fromkeys(self.places[i] for i in (math.ceil(last / 10), math.ceil(last / 2), last)))

    def spread(self, x: float) -> float:
        """One run's relative standard deviation at a place."""
        i = self.places.index(x)
        return math.sqrt(fmean(r[i] ** 2 for r in self.residuals))

    def draw(self, chance: Random, shift: float) -> Curve:
        """A run of its own; `shift` is by how much it is worse."""
        weights = [chance.gauss(0, 1) / math.sqrt(len(self.residuals)) for _ in self.residuals]
        scale = 1 - shift if self.higher else 1 + shift
        curve = Curve("samples")
        for i, (x, mean) in enumerate(zip(self.places, self.mean, strict=True)):
            value = mean * scale * (1 + sum(w * r[i] for w, r in zip(weights, self.residuals, strict=True)))
            curve._xs.append(x)
            curve._ys.append(value)
        return curve


@lru_cache
def system(folder: str, higher: bool) -> System:
    """From its recorded runs."""
    files = [str(p) for p in sorted((RECORDED / folder).glob("result_*.txt"))]
    runs, _, _ = load_runs(files, files[:1], "eval_accuracy", None)
    places = sorted(set.intersection(*(r.places() for r in runs)))
    values = [[r.at(x) or 0.0 for x in places] for r in runs]
    means = [fmean(column) for column in zip(*values, strict=True)]
    kept = [i for i, m in enumerate(means) if m > 0]
    blown = math.sqrt(len(runs) / (len(runs) - 1))  # so few runs lie nearer to their own mean than to the true one
    residuals = tuple(tuple((run[i] / means[i] - 1) * blown for i in kept) for run in values)
    return System(folder, higher, tuple(places[i] for i in kept), tuple(means[i] for i in kept), residuals)


@dataclass(frozen=True, slots=True)
class Task:
    """So many pairs of sides with so many runs each."""

    folder: str
    higher: bool
    runs: int
    shift: float
    drawn: int


def judge(task: Task) -> dict[str, list[int]]:
    """By rule: how many PASS, BREACH and INCONCLUSIVE."""
    made, chance = system(task.folder, task.higher), Random(f"{task}")
    rules = RULES | (ONE_RUN if task.runs == 1 else {})
    noise = 2 * math.sqrt(2) * max(made.spread(x) for x in made.at)
    counts = {name: [0, 0, 0] for name in rules}
    order = (Verdict.PASS, Verdict.BREACH, Verdict.INCONCLUSIVE)
    for _ in range(task.drawn):
        old, new = ([made.draw(chance, shift) for _ in range(task.runs)] for shift in (0.0, task.shift))
        for name, rule in rules.items():
            counts[name][order.index(rule(old, new, task.higher, made.at, noise))] += 1
    return counts


def report(drawn: int = DRAWN) -> list[str]:
    """The tables, in Markdown."""
    if not RECORDED.is_dir():
        raise Missing(f"{RECORDED}: MLPerf's runs are not there")
    tasks = [Task(f, h, runs, shift, drawn) for f, h in SYSTEMS for runs in RUNS for shift in SHIFTS]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(tasks, pool.map(judge, tasks), strict=True))
    lines = ["## Nothing differs: how often is the verdict a false alarm, and how often is there none?", ""]
    lines += [*_table(found, 0.0, 1, "BREACH"), ""]
    lines += ["## The target is worse by 1 %: how often does it pass, and how often is there no verdict?", ""]
    lines += [*_table(found, 0.01, 0, "PASS"), ""]
    lines += ["## System by system", "", *_systems(found), ""]
    return lines


def _table(found: dict[Task, dict[str, list[int]]], shift: float, wrong: int, word: str) -> list[str]:
    names = list(RULES)
    lines = [
        f"| runs a side | {' | '.join(f'{n}: wrong {word}' for n in names)} | ours: INCONCLUSIVE |",
        "| ---: |" + " ---: |" * (len(names) + 1),
    ]
    for runs in RUNS:
        lines.append(
            _row(str(runs), {t: c for t, c in found.items() if (t.runs, t.shift) == (runs, shift)}, wrong, names, "ours")
        )
    single = {t: c for t, c in found.items() if (t.runs, t.shift) == (1, shift)}
    for name in ONE_RUN:
        count, of = _sum(single, name, wrong)
        unsure, _ = _sum(single, name, 2)
        head = f"| 1, {name.removeprefix('ours, ')} | {interval(count, of)} |"
        lines.append(head + " |" * (len(names) - 1) + f" {unsure / of:.1%} |".replace("%", " %"))
    return lines


def _row(head: str, found: dict[Task, dict[str, list[int]]], wrong: int, names: Sequence[str], own: str) -> str:
    cells = [interval(*_sum(found, name, wrong)) for name in names]
    unsure, of = _sum(found, own, 2)
    return f"| {head} | {' | '.join(cells)} | {100 * unsure / of:.1f} % |"


def _sum(found: dict[Task, dict[str, list[int]]], name: str, which: int) -> tuple[int, int]:
    return sum(c[name][which] for c in found.values()), sum(sum(c[name]) for c in found.values())


def _systems(found: dict[Task, dict[str, list[int]]]) -> list[str]:
    head = "| system | places | one run's spread there | runs a side that we say would decide |"
    lines = [
        head + "".join(f" decided with {r} |" for r in RUNS[1:]),
        "| --- | ---: | ---: | ---: |" + " ---: |" * (len(RUNS) - 1),
    ]
    for folder, higher in SYSTEMS:
        made = system(folder, higher)
        spreads = [made.spread(x) for x in made.at]
        needed = [runs_needed(TOLERANCE, s, alpha=ALPHA, both_sides=True) for s in spreads]
        most = "over 500" if None in needed else str(max(n for n in needed if n is not None))
        shown = ", ".join(f"{100 * s:.2g} %" for s in spreads)
        decided = []
        for runs in RUNS[1:]:
            counts = next(c["ours"] for t, c in found.items() if (t.folder, t.runs, t.shift) == (folder, runs, 0.0))
            decided.append(f"{100 * counts[0] / sum(counts):.0f} %")
        lines.append(f"| {folder} | {len(made.places)} | {shown} | {most} | {' | '.join(decided)} |")
    return lines


HEAD = """# How verdicts on curves do

Drawn by `python -m tests.bench curves --write`; [judging.md](judging.md) has the rules. Both sides are drawn from one system of MLPerf's real runs
(mean curve, and the real runs' residuals weighted at random: their spread at each place and their likeness along the curve stay), {drawn} pairs for each
system and number of runs; the target's are left as they are, or made worse by 1 %. The gate allows 0.5 % at three places (a tenth of the way, half of
it, the end), through the very code of `cutover compare`. How triggers do on the same runs: [losses.md](losses.md).

- **Mann-Whitney (Kayenta)**: all points of both sides as two samples, tolerance 0.25 of the Hodges-Lehmann estimate, confidence 0.98: the defaults of its
  judge. **3 in a row**: the means differ by more than 0.5 % for the worse at three places in a row. Neither knows INCONCLUSIVE.
- Shares have exact 95 % intervals. *Noise known*: told how far two runs of that system differ (twice the standard deviation of their difference), as
  `cutover baseline` records it from several runs of legacy.
- **One run a side, noise unknown**: false alarms are far more than the 1 % that is asked for. The rule is kept: a single run's verdict is the plain difference
  against the tolerance, a contract with whoever reads it, and each such BREACH says that the noise is unknown and that two runs of one system may differ
  as much. A single pair cannot make up for it: how rough its difference is from place to place tells the spread between runs wrongly by a
  factor of 0.1 to 6 (neighbours on a curve are alike), and a rule by that still breaches up to 5 % of these pairs. Nor can a noise that is taken from elsewhere, such as the
  0.65 % of MLPerf's language models: systems differ too much. What helps is a second run a side, or that system's own noise (`noise`, `cutover baseline --run`): both are below 1 %.
"""


def write(drawn: int = DRAWN) -> None:
    """Draw the page anew."""
    PAGE.write_text("\n".join([HEAD.format(drawn=drawn), *report(drawn)]).rstrip() + "\n")


async def bench_curves() -> None:
    """verdicts on curves drawn from MLPerf's real runs: false alarms, misses, runs needed; beside Kayenta's rule and K in a row"""
    for line in await asyncio.to_thread(report):
        print(line, flush=True)


async def write_curves() -> None:
    """The same, into docs/verdicts.md."""
    await asyncio.to_thread(write)
    print(PAGE.read_text(), flush=True)
