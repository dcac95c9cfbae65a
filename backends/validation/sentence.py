"""The verdict of a comparison over all its places, and its sentence."""

from __future__ import annotations

import math
from collections.abc import Sequence

from backends.validation.rule import Judged, Rule
from backends.validation.series import Series
from backends.validation.wording import number, percent
from backends.verdict import Verdict, worst


def summary(
    judged: tuple[Judged, ...], total: int, old: Sequence[Series], new: Sequence[Series], rule: Rule, interpolate: bool
) -> tuple[Verdict, str, float | None]:
    """(verdict, its sentence, the delta that is worst for it). `total`: how many places were judged, shown here or not."""
    by = old[0].by
    verdict = worst([j.verdict or Verdict.INCONCLUSIVE for j in judged])
    deltas = [j for j in judged if j.delta is not None]
    deciding = [j for j in judged if (j.verdict or Verdict.INCONCLUSIVE) is verdict]
    shown = max(deciding, key=lambda j: (j.delta is None and j.verdict is not None, _size(j, rule)))
    value = max((j.delta for j in deltas if j.delta is not None), key=rule.worse, default=None)
    if shown.delta is not None and verdict is not Verdict.PASS:
        value = shown.delta
    sentence = _sentence(verdict, shown, judged, total, by, rule)
    caveat = _caveat(verdict, shown, len(old), len(new), rule)
    asked = "; interpolated between places, as asked" if interpolate else ""
    return verdict, f"{sentence}{caveat}{asked}", value


def _size(j: Judged, rule: Rule) -> float:
    if j.delta is None:
        return -math.inf
    return abs(j.delta) if j.too_good else rule.worse(j.delta)


def _sentence(verdict: Verdict, shown: Judged, judged: tuple[Judged, ...], total: int, by: str, rule: Rule) -> str:
    place, allowed = f"{by} {number(shown.at)}", f"{percent(rule.tolerance)} allowed"
    if shown.delta is None:
        waiting = [j for j in judged if j.verdict is None]
        head = f"waiting for {len(waiting)} of {len(judged)} points: " if waiting and shown.verdict is None else ""
        return f"{head}{place}: {shown.note}"
    change = f"{percent(shown.delta, signed=True)} at {place} ({number(shown.legacy)} → {number(shown.target)})"
    if shown.interval is not None:
        half = (shown.interval.high - shown.interval.low) / 2
        change = f"{percent(shown.delta, signed=True)} ± {percent(half)} at {place}"
    note = f": {shown.note}" if shown.note else ""
    if verdict is Verdict.PASS:
        return f"{total} of {total} points within {percent(rule.tolerance)}; largest {change}{note}"
    if shown.too_good:
        return f"target is better than legacy by more than {percent(rule.tolerance)}: {change}; often a data bug{note}"
    if verdict is Verdict.BREACH:
        return f"target is worse: {change}, {allowed}{note}"
    if shown.inside_noise:
        return f"target is worse: {change}, {allowed}, but inside the known noise of {percent(rule.noise or 0.0)}"
    return f"cannot tell: {change}, {allowed}{note}"


def _caveat(verdict: Verdict, shown: Judged, old: int, new: int, rule: Rule) -> str:
    if old + new > 2:
        return f"; {old} and {new} runs" + ("" if min(old, new) > 1 else ", the spread of one side taken for both")
    if rule.noise is not None or shown.delta is None:
        return ""
    more = ": two runs of one system may differ as much, several runs a side would tell"
    return "; noise unknown (one run a side)" + (more if verdict is Verdict.BREACH else "")
