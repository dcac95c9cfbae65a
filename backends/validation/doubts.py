"""What two curves look like when they are not the same thing at all: asked, never guessed. And a curve that runs away."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from backends.validation.rule import Judged
from backends.validation.series import Series
from backends.validation.wording import number

_FACTORS = (1e6, 3600.0, 1000.0, 100.0, 60.0)  # of units that people mix up: µs and s, hours, ms, percent, minutes
_ALIKE = 0.02
_LEAST_PLACES = 3
_AWAY = 10.0  # times the largest that legacy ever had
_LOOKED_AT = 50


def counts_apart(old: Sequence[Series], new: Sequence[Series]) -> str:
    """A question where one side counts epochs or steps from 0 and the other from 1; empty where not, or where a shift is given."""
    if old[0].by not in ("epoch", "step") or any(r.shift is not None for r in (*old, *new)):
        return ""
    first, second = (_counted_from(side) for side in (old, new))
    if {first, second} != {0, 1}:
        return ""
    by, shift = old[0].by, "1,0" if first == 0 else "0,1"
    side = "legacy" if first == 0 else "target"
    return (
        f"legacy's {by}s begin at {first} and target's at {second}: is {by} {first} of legacy the same as {by} {second} of target? "
        f"Say so: --shift {shift} if it is (in the plan `shift: 1` at {side}), --shift 0,0 if not"
    )


def _counted_from(runs: Sequence[Series]) -> int | None:
    """0 or 1 where all runs of a side count by whole numbers from there without a gap; else None."""
    starts = {_start(run) for run in runs}
    return starts.pop() if len(starts) == 1 else None


def _start(run: Series) -> int | None:
    xs = run.first_places(_LOOKED_AT)
    if not xs or xs[0] not in (0.0, 1.0) or any(b - a != 1 for a, b in pairwise(xs)):
        return None
    return int(xs[0])


def units_apart(judged: Sequence[Judged]) -> str:
    """A question where the target is the same multiple of legacy everywhere, such as 1000; empty where not."""
    pairs = [(j.legacy, j.target) for j in judged if j.legacy and j.target]
    ratios = [b / a for a, b in pairs if a is not None and b is not None and math.isfinite(a) and math.isfinite(b)]
    if len(ratios) < _LEAST_PLACES or len(ratios) < len(pairs):
        return ""
    for factor in _FACTORS:
        for wanted, words in ((factor, f"{number(factor)} times"), (1 / factor, f"1/{number(factor)} of")):
            if all(abs(r / wanted - 1) <= _ALIKE for r in ratios):
                return f"target is {words} legacy at all {len(ratios)} places: are the units the same?"
    return ""


def ran_away(old: Sequence[Series], new: Sequence[Series]) -> str:
    """A sentence where a target's figure, of which less is better, is many times all that legacy ever had; empty where not."""
    extremes = [run.extremes() for run in old]
    largest, smallest = max((e[1] for e in extremes), default=-math.inf), min((e[0] for e in extremes), default=math.inf)
    if not 0 < largest < math.inf or smallest <= 0:
        return ""
    for run in new:
        top = run.extremes()[1]
        if top > _AWAY * largest and math.isfinite(top):
            place = next(x for x, v in run.points() if v == top)
            return (
                f"target is {number(top)} at {run.by} {number(place)}, over {_AWAY:g} times all that legacy had ({number(largest)}): "
                f"diverged"
            )
    return ""
