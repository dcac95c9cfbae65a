"""Why two curves may differ, most likely first, each with what in the runs themselves speaks for it.

What the logs say of how the runs were made goes first (a batch size, a seed, a learning rate that differ), then what the differences
look like: where they begin, whether they grow, jump or stay.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from statistics import fmean, median, pstdev
from typing import NamedTuple

from backends.escape import plain
from backends.validation.curve import Curve
from backends.validation.rule import Judged, Rule
from backends.validation.wording import number, percent

_LEAST = 4  # places that show a shape
_MOST = 300  # that are looked at, evenly spread
_SCALES = (2.0, 0.5, 4.0, 0.25, 8.0, 0.125)
_MEANT = (  # what a setting's name tells: the likeliest cause first
    (("version", "framework", "cuda", "driver"), "another version of the software"),
    (("seed",), "another seed: initial weights and the order of the data differ"),
    (("precision", "tf32", "bf16", "fp16", "fp8", "amp", "dtype"), "another precision"),
    (("shuffle", "sampler", "samples", "dataset", "data"), "other data, or another order of them"),
    (("batch", "accumulation"), "another batch size"),
    (("lr", "learning", "warmup", "decay", "schedule", "opt"), "another learning rate or schedule"),
)


class Cause(NamedTuple):
    """`cause` in words, `evidence` what was seen."""

    cause: str
    evidence: str


def likely_causes(judged: Sequence[Judged], old: Sequence[Curve], new: Sequence[Curve], rule: Rule) -> list[Cause]:
    """Causes in order of how likely they are; empty where the runs show none."""
    causes = [*_memory(old, new), *_settings(old, new)]
    pairs = [(j.at, j.delta) for j in judged if j.delta is not None and math.isfinite(j.delta)]
    if len(pairs) > _MOST:
        pairs = [pairs[i * (len(pairs) - 1) // (_MOST - 1)] for i in range(_MOST)]
    if len(pairs) >= _LEAST:
        causes += _shape(pairs, old[0].by, rule)
        causes += _scaled(old, new, rule)
    return causes


def _memory(old: Sequence[Curve], new: Sequence[Curve]) -> list[Cause]:
    """A run that has run out of memory says so in its log."""
    if any(r.out_of_memory for r in old):
        return []
    said = next((r.out_of_memory for r in new if r.out_of_memory), "")
    return [Cause("the target ran out of memory", f"its log says `{said}`")] if said else []


def _settings(old: Sequence[Curve], new: Sequence[Curve]) -> list[Cause]:
    left, right = _common_settings(old), _common_settings(new)
    differ = [name for name in left if name in right and left[name].isdisjoint(right[name])]
    causes: list[Cause] = []
    for words, cause in _MEANT:
        named = [n for n in differ if not _words(n).isdisjoint(words)]
        differ = [n for n in differ if n not in named]
        if named:
            causes.append(Cause(cause, "; ".join(_evidence(n, left[n], right[n]) for n in named[:4])))
    return causes


def _words(name: str) -> set[str]:
    return set(re.split(r"[^a-z0-9]+", name.casefold()))


def _common_settings(runs: Sequence[Curve]) -> Mapping[str, set[str]]:
    names = set.intersection(*(set(r.settings) for r in runs))
    return {n: {r.settings[n] for r in runs} for n in sorted(names)}


def _evidence(name: str, left: set[str], right: set[str]) -> str:
    first, second = (", ".join(plain(v, 40) for v in sorted(side)[:3]) for side in (left, right))
    return f"{plain(name, 60)} is {first} on legacy and {second} on target"


def _shape(pairs: list[tuple[float, float]], by: str, rule: Rule) -> list[Cause]:
    """What the differences look like along the axis."""
    deltas = [d for _, d in pairs]
    first, last = pairs[0], pairs[-1]
    mean, spread = fmean(deltas), pstdev(deltas)
    if abs(mean) > rule.tolerance and spread <= abs(mean) / 10:
        evidence = f"the difference is {percent(mean, signed=True)} at every place, give or take {percent(spread)}"
        return [Cause("another measure rather than another model: evaluation data, reduction or unit of the metric", evidence)]
    jump = _jump(pairs)
    if jump is not None:
        at, before, after = jump
        evidence = f"{percent(before, signed=True)} until {by} {number(at[0])}, {percent(after, signed=True)} from {by} {number(at[1])} on"
        return [Cause("something happened there: a restart, a lost shard of the data, a failing GPU", evidence)]
    if abs(first[1]) > rule.tolerance and abs(first[1]) >= abs(last[1]) / 2:
        evidence = f"{percent(first[1], signed=True)} at the first common place, {by} {number(first[0])}"
        return [Cause("they begin apart: other initial weights, another checkpoint, other data", evidence)]
    if abs(last[1]) > rule.tolerance and _rises([abs(d) for d in deltas]):
        evidence = f"from {percent(first[1], signed=True)} at {by} {number(first[0])} to {percent(last[1], signed=True)} at {number(last[0])}"
        return [Cause("they drift apart: precision (TF32, bfloat16), kernels of another version, or the schedule", evidence)]
    signs = [d > 0 for d in deltas if d]
    changes = sum(a != b for a, b in pairwise(signs))
    if changes >= len(signs) / 3:
        evidence = f"the sign of the difference changes {changes} times over {len(signs)} places, {percent(spread)} around {percent(mean, signed=True)}"
        return [Cause("noise from run to run: seeds and the order of the data; several runs a side would tell", evidence)]
    return []


def _jump(pairs: list[tuple[float, float]]) -> tuple[tuple[float, float], float, float] | None:
    """((last place before, first place after), level before, level after), where two levels explain nearly all of the differences."""
    deltas = [d for _, d in pairs]
    sums, squares = [0.0, *accumulate(deltas)], [0.0, *accumulate(d * d for d in deltas)]

    def scatter(start: int, end: int) -> float:
        """Sum of squares around the mean of a stretch."""
        return max(0.0, squares[end] - squares[start] - (sums[end] - sums[start]) ** 2 / (end - start))

    whole = scatter(0, len(deltas))
    best, place = math.inf, 0
    for i in range(2, len(deltas) - 1):
        rest = scatter(0, i) + scatter(i, len(deltas))
        if rest < best:
            best, place = rest, i
    if not place or whole == 0 or best > whole / 20:
        return None
    return (pairs[place - 1][0], pairs[place][0]), median(deltas[:place]), median(deltas[place:])


def _rises(sizes: list[float]) -> bool:
    """Do the differences grow along the axis? Kendall's S against its largest."""
    pairs = [(a < b) - (a > b) for i, a in enumerate(sizes) for b in sizes[i + 1 :]]
    return sum(pairs) >= 0.6 * len(pairs)


def _scaled(old: Sequence[Curve], new: Sequence[Curve], rule: Rule) -> list[Cause]:
    """Is the target's curve legacy's on another scale? Then a step or a sample is not the same on both sides."""
    left, right = old[0], new[0]

    def fits(pair: tuple[float, float]) -> bool:
        return abs(pair[0] - pair[1]) <= rule.tolerance * abs(pair[1])

    for scale in _SCALES:
        scaled, plain_ones = [], []
        for x, value in right.drawn(400):
            there = left.at(x * scale)
            if there is None:
                continue
            if there and x > 0:
                scaled.append((value, there))
            if (here := left.at(x)) is not None:
                plain_ones.append((value, here))
        is_flat = bool(plain_ones) and all(map(fits, plain_ones))  # a flat curve fits on any scale
        if len(scaled) >= _LEAST and not is_flat and all(map(fits, scaled)):
            evidence = (
                f"target at {left.by} x has legacy's value at {number(scale)} x, at all {len(scaled)} places that can be compared"
            )
            return [Cause(f"a {left.by} is not the same on both sides: another global batch, or another count", evidence)]
    return []
