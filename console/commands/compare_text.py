"""What `cutover compare` says: as JSON, and as a table with both curves."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from backends.escape import plain
from console.output import emit_json, emit_json_with_rows, say

if TYPE_CHECKING:
    from backends.validation.compare import Comparison, Judged
    from backends.validation.curve import Curve
    from backends.validation.planning import NoisyPlace
    from backends.validation.rule import Rule

_SHOWN = 40  # points of the table; JSON has all


def comparison_json(
    found: Comparison,
    metric: str,
    axis: str,
    rule: Rule,
    notes: list[str],
    runs: tuple[list[Curve], list[Curve]],
    *,
    interpolate: bool,
) -> dict[str, Any]:
    """The contract's answer, with what the verdict rests on."""
    from backends.validation.explain import explanation

    return {
        "metric": metric,
        "by": axis,
        "tolerance": rule.tolerance,
        "higher_is_better": rule.higher_is_better,
        "runs": {"legacy": len(runs[0]), "target": len(runs[1])},
        "points": [point_of(j) for j in found.judged],
        "verdict": found.verdict.value,
        "reason": found.reason,
        "notes": notes,
        "explanation": explanation(found, *runs, rule, interpolate=interpolate),
    }


def emit_comparison(said: dict[str, Any], found: Comparison, rule: Rule, runs: tuple[list[Curve], list[Curve]]) -> None:
    """Print it on stdout; of a comparison so long that only notable places are held, every place as it is judged."""
    if found.total == len(found.judged):
        emit_json(said)
    else:
        emit_json_with_rows(said, "points", _every_point(runs[0][0], runs[1][0], rule))


def _every_point(old: Curve, new: Curve, rule: Rule) -> Iterator[list[dict[str, Any]]]:
    from backends.validation.bulk import every_stretch
    from backends.validation.compare import judge_stretch

    for stretch in every_stretch(old, new, rule):
        if stretch.is_within:
            rows = zip(stretch.xs, stretch.left, stretch.right, stretch.deltas, strict=True)
            yield [
                {"at": x, "legacy": a, "target": b, "delta": d, "verdict": "PASS", "too_good": False, "note": ""}
                for x, a, b, d in rows
            ]
        else:
            yield [point_of(j) for j in judge_stretch(stretch, rule)]


def point_of(j: Judged) -> dict[str, Any]:
    verdict = j.verdict.value if j.verdict is not None else "INCONCLUSIVE"
    point: dict[str, Any] = {"at": j.at, "legacy": j.legacy, "target": j.target, "delta": j.delta, "verdict": verdict}
    point |= {"too_good": j.too_good, "note": j.note}
    if j.interval is not None:
        point["interval"] = list(j.interval)
    return point


def print_comparison(
    found: Comparison, metric: str, axis: str, rule: Rule, notes: list[str], runs: tuple[list[Curve], list[Curve]]
) -> None:
    """The table, both curves, the verdict and, for a breach, likely causes."""
    from backends.validation.compare import number, percent
    from backends.validation.explain import causes_of
    from backends.validation.series import thinned
    from console.commands.compare_plot import draw_curves

    say(f"{plain(metric, 60)} by {axis}, legacy against target")
    say("")
    if found.judged:
        say(f"{axis:>12}  {'legacy':>12}  {'target':>12}  {'delta':>9}  verdict")
    for j in chosen(found.judged):
        delta = percent(j.delta, signed=True) if j.delta is not None else "-"
        verdict = j.verdict.value if j.verdict is not None else "waiting"
        words = f"  {plain(j.note)}" if j.note else ("  too good" if j.too_good else "")
        say(f"{number(j.at):>12}  {number(j.legacy):>12}  {number(j.target):>12}  {delta:>9}  {verdict}{words}")
    if found.total > _SHOWN:
        say(f"{'':>12}  of {found.total} places; --json has them all")
    picture = draw_curves(
        thinned(runs[0][0].drawn()),
        thinned(runs[1][0].drawn()),
        [(j.at, j.delta) for j in found.judged if j.delta is not None],
        tolerance=rule.tolerance,
        by=axis,
        unicode="utf" in (sys.stdout.encoding or "").lower(),
    )
    for line in ["", *picture, "", *notes]:
        say(line)
    say(f"{found.verdict.value}: {plain(found.reason)}")
    for i, cause in enumerate(causes_of(found, *runs, rule), 1):
        say(f"  {i}. {cause.cause}: {cause.evidence}")


def plan_json(places: list[NoisyPlace], axis: str, tolerance: float, said: str) -> dict[str, Any]:
    """How many runs a side are needed, place by place."""
    needed = [p.runs for p in places]
    return {
        "by": axis,
        "tolerance": tolerance,
        "runs": None if None in needed else max(n for n in needed if n is not None),
        "places": [{"at": p.at, "spread": p.spread, "runs": p.runs} for p in places],
        "sentence": said,
    }


def chosen(judged: Sequence[Judged], shown: int = _SHOWN) -> list[Judged]:
    """What a person wants to see of many points, in order of place: those that are not PASS (of too many the worst), the others evenly
    spread with the first and the last."""
    if len(judged) <= shown:
        return list(judged)
    from backends.verdict import Verdict

    odd = [j for j in judged if j.verdict is not Verdict.PASS]
    if len(odd) > shown - 2:
        odd = sorted(odd, key=_size, reverse=True)[: shown // 2]
    kept = {id(j) for j in odd}
    rest = [j for j in judged if id(j) not in kept]
    room = shown - len(odd)
    spread = [rest[i * (len(rest) - 1) // (room - 1)] for i in range(room)]
    return sorted([*odd, *spread], key=lambda j: j.at)


def _size(judged: Judged) -> float:
    """How far it is off; what cannot be computed goes before all."""
    return abs(judged.delta) if judged.delta is not None and math.isfinite(judged.delta) else math.inf
