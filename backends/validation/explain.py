"""What a verdict rests on: its inputs by hash, the window, the counts, the rule in words, and likely causes with their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backends.validation.causes import Cause, likely_causes
from backends.validation.compare import Comparison
from backends.validation.curve import Curve
from backends.validation.rule import Rule
from backends.validation.several import ALPHA
from backends.validation.wording import percent
from backends.verdict import Verdict


def causes_of(found: Comparison, old: Sequence[Curve], new: Sequence[Curve], rule: Rule) -> list[Cause]:
    """Likely causes where there is something to explain: a breach, or a target that is too good."""
    if found.verdict is not Verdict.BREACH and not any(j.too_good for j in found.judged):
        return []
    return likely_causes(found.judged, old, new, rule)


def explanation(
    found: Comparison, old: Sequence[Curve], new: Sequence[Curve], rule: Rule, *, interpolate: bool
) -> dict[str, Any]:
    """As JSON: enough to judge again, and to see that the same figures were judged."""
    places = [j.at for j in found.judged]
    return {
        "rule": rule_words(rule, len(old), len(new), interpolate),
        "inputs": [input_of(side, run) for side, runs in (("legacy", old), ("target", new)) for run in runs],
        "window": [min(places), max(places)] if places else None,
        "compared": found.total,
        "sentence": found.reason,
        "causes": [{"cause": c.cause, "evidence": c.evidence} for c in causes_of(found, old, new, rule)],
    }


def input_of(side: str, run: Curve) -> dict[str, Any]:
    """One run: where it came from, how much of it, and the hash of what was judged."""
    return {
        "side": side,
        "source": run.where,
        "points": len(run),
        "first": run.first_places(1)[0] if len(run) else None,
        "last": run.top,
        "sha256": run.digest(),
        "shift": run.shift,
        "notes": list(run.notes),
    }


def rule_words(rule: Rule, old: int, new: int, interpolate: bool) -> str:
    """The rule in a sentence."""
    better = {True: "higher is better", False: "lower is better", None: "any change is for the worse"}[rule.higher_is_better]
    if old + new > 2:
        how = f"equivalence of the means of {old} and {new} runs at each place: two one-sided t tests (Welch), {percent(ALPHA)} each way"
    else:
        how = "the relative difference at each place"
    noise = f", a breach within the known noise of {percent(rule.noise)} is not one" if rule.noise is not None else ""
    sides = "better by any amount passes" if rule.one_sided else "better by more is asked about"
    between = "; interpolated between places, as asked" if interpolate else ""
    return f"{how}, {percent(rule.tolerance)} allowed; {better}, {sides}{noise}{between}"
