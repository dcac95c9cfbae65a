"""`cutover compare --as KIND`: figures held against each other as speeds, latencies, errors or memory, and not place by place."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.errors import UsageError
from backends.escape import plain
from console.output import say

if TYPE_CHECKING:
    from backends.plan.models import Axis
    from backends.validation.curve import Curve
    from backends.validation.far import FarFiles
    from backends.validation.levels import Asked, Found, Kind
    from backends.validation.load_slices import LoadReport

Sides = tuple[list["Curve"], list["Curve"]] | tuple[list["LoadReport"], list["LoadReport"]]


@dataclass(frozen=True, slots=True)
class Given:
    """The options as they were written."""

    kind: Kind
    tolerance: str | None
    batch: bool
    quantile: float | None
    loads_apart: str | None
    capacity: str | None
    unit: str | None


def asked_of(given: Given, higher: bool | None, *, is_share: bool) -> Asked:
    """What is asked. Raises `UsageError` where an option is not of this kind."""
    from backends.validation.gate import BATCH_WITHIN, DEFAULT_WITHIN
    from backends.validation.levels import LOADS_APART, Asked

    only = {
        "--batch": (given.batch, ("throughput", "step_time")),
        "--quantile": (given.quantile is not None, ("latency",)),
        "--loads-apart": (given.loads_apart is not None, ("latency",)),
        "--capacity": (given.capacity is not None, ("memory",)),
        "--unit": (given.unit is not None, ("memory", "error_rate")),
    }
    for option, (is_given, kinds) in only.items():
        if is_given and given.kind not in kinds:
            raise UsageError(f"{option} is for --as {' and '.join(kinds)}")
    if given.unit is not None and (given.unit == "share") != (given.kind == "error_rate"):
        raise UsageError(
            f"--unit {given.unit} is not of --as {given.kind}", hint="share for errors; B, MB, MiB, GB, GiB for memory"
        )
    within = BATCH_WITHIN if given.batch else DEFAULT_WITHIN[given.kind]
    return Asked(
        given.kind,
        share_of_option("--tolerance", given.tolerance) if given.tolerance is not None else within,
        higher,
        given.quantile or 0.99,
        share_of_option("--loads-apart", given.loads_apart) if given.loads_apart is not None else LOADS_APART,
        _capacities(given.capacity),
        given.unit,
        is_share=is_share or given.unit == "share",
    )


def tells_shares(sources: Sequence[str], kind: Kind | None) -> bool:
    """Errors: is every figure of a server, which without `total` is a share and no request? Raises `UsageError` where only some have it, or where
    no errors are compared."""
    from backends.validation.addresses import address_of

    addresses = [address_of(source) for source in sources]
    counted = [a is not None and "total" in a.params for a in addresses]
    if any(counted) and kind != "error_rate":
        raise UsageError("`total` counts requests that failed", hint="--as error_rate, or leave total=… out")
    if any(counted) and any(a is not None and not has for a, has in zip(addresses, counted, strict=True)):
        raise UsageError("one server's source has `total` and another has not", hint="give total=… on both sides")
    return not any(counted) and all(a is not None for a in addresses)


def share_of_option(option: str, text: str) -> float:
    """`0.5%` as a fraction."""
    from backends.plan.units import UnitError, parse_share

    try:
        return parse_share(text)
    except UnitError as error:
        raise UsageError(f"{option}: {error}", hint=error.hint) from None


def _capacities(text: str | None) -> tuple[float | None, float | None]:
    """`80GiB`, or legacy's and target's: `40GiB,80GiB`."""
    from backends.plan.units import UnitError, parse_size

    if text is None:
        return None, None
    try:
        sizes = [float(parse_size(part.strip())) for part in text.split(",")]
    except UnitError as error:
        raise UsageError(f"--capacity: {error}", hint=error.hint) from None
    if not 1 <= len(sizes) <= 2 or min(sizes) <= 0:
        raise UsageError(
            f"--capacity `{plain(text, 80)}` is not one size, nor legacy's and target's", hint="such as 80GiB or 40GiB,80GiB"
        )
    return (sizes[0], sizes[1]) if len(sizes) == 2 else (None, sizes[0])


def load_sides(
    legacy: Sequence[str],
    target: Sequence[str],
    metric: str,
    by: Axis | None,
    pattern: re.Pattern[str] | None,
    files: FarFiles | None,
    kind: Kind,
) -> tuple[Sides, Axis]:
    """Both sides' runs: curves, or what `cutover load` has kept, of all sources alike."""
    from backends.validation.load_slices import reports_of
    from backends.validation.source import common_axis, open_runs

    kept = reports_of((*legacy, *target), files)
    reports = [r for r in kept if r is not None]
    if reports:
        if len(reports) < len(kept) or kind not in ("latency", "error_rate"):
            message = "what `cutover load` has kept is compared with its like, as latency or error_rate"
            raise UsageError(message, hint="the same form on both sides")
        first, second = reports[: len(legacy)], reports[len(legacy) :]
        return ([r.read("legacy", metric) for r in first], [r.read("target", metric) for r in second]), "time"
    old, new = open_runs(legacy, metric, pattern, files), open_runs(target, metric, pattern, files)
    runs = [*old, *new]
    every = kind not in ("throughput", "step_time")  # of a step that was done again the last counts; of requests and peaks each
    finest: tuple[Axis, ...] = ("time", "step", "samples", "tokens") if every else ("step", "samples", "tokens", "time")
    axis = by or next((a for a in finest if all(a in r.axes for r in runs)), None) or common_axis(runs)
    every = every or axis == "time"
    return ([r.load(axis, every=every) for r in old], [r.load(axis, every=every) for r in new]), axis


def levels_json(found: Found, asked: Asked, metric: str, axis: str, notes: list[str], sides: Sides) -> dict[str, Any]:
    """As JSON: the contract's names, with `as`, `figures` and `loads`."""
    from backends.validation.stats import finite_or_none

    told: dict[str, Any] = {"metric": metric, "as": asked.kind, "by": axis, "tolerance": asked.within}
    told |= {"higher_is_better": asked.higher_is_better, "runs": {"legacy": len(sides[0]), "target": len(sides[1])}, "points": []}
    told["figures"] = [
        {"name": h.name, "legacy": h.legacy, "target": h.target, "delta": finite_or_none(h.delta)}
        | {"change": list(map(finite_or_none, h.change)), "difference": list(map(finite_or_none, h.apart))}
        for h in found.figures
    ]
    if found.loads is not None:
        told["loads"] = {"legacy": found.loads[0], "target": found.loads[1]}
    told |= {"verdict": found.verdict.value, "reason": found.reason, "notes": notes}
    return told | {"explanation": _explained(found, asked, sides)}


def _explained(found: Found, asked: Asked, sides: Sides) -> dict[str, Any]:
    from backends.validation.curve import Curve
    from backends.validation.explain import input_of

    inputs = [
        input_of(side, run)
        if isinstance(run, Curve)
        else {"side": side, "source": run.where, "points": run.sent, "sha256": run.digest(), "notes": list(run.notes)}
        for side, runs in (("legacy", sides[0]), ("target", sides[1]))
        for run in runs
    ]
    counts = {"legacy": found.counts[0], "target": found.counts[1]}
    causes = [{"cause": c.cause, "evidence": c.evidence} for c in causes_of_levels(found, sides)]
    told = {"rule": rule_words(asked), "inputs": inputs, "window": None, "compared": counts}
    return told | {"sentence": found.reason, "causes": causes}


def causes_of_levels(found: Found, sides: Sides) -> list[Any]:
    """Of a breach: what the logs say of how the runs were made."""
    from backends.validation.causes import likely_causes
    from backends.validation.curve import Curve
    from backends.validation.rule import Rule
    from backends.verdict import Verdict

    old, new = ([r for r in runs if isinstance(r, Curve)] for runs in sides)
    if found.verdict is not Verdict.BREACH or not old or not new:
        return []
    return likely_causes((), old, new, Rule(0.0, None))


def rule_words(asked: Asked) -> str:
    """The rule in a sentence."""
    from backends.validation.trigger_latency import named
    from backends.validation.wording import percent

    within = f"{percent(asked.within)} allowed"
    if asked.kind == "latency":
        loads = f"at loads that differ by no more than {percent(asked.loads_apart)}"
        return f"{named(asked.quantile)} by order statistics (95 % each side, MOVER), {within}; {loads}"
    if asked.kind == "error_rate":
        return f"exact binomial bounds (Clopper-Pearson; 99 % for a breach, 95 % for a pass), {within}"
    if asked.kind == "memory":
        return f"the peak against what the card has, 5 % of it free; where that is not told against legacy's, {within}"
    return f"the median without each run's warm-up (MSER), bounds of the ratio (95 % each side, MOVER), {within}"


def print_levels(found: Found, asked: Asked, metric: str, notes: list[str], sides: Sides) -> None:
    """The figures, the verdict and, for a breach, likely causes."""
    from backends.validation.wording import figure, percent

    say(f"{plain(metric, 60)} as {asked.kind.replace('_', ' ')}, legacy against target")
    say("")
    if found.figures:
        say(f"{'':>14}{'legacy':>12}  {'target':>12}  {'delta':>9}  between")
    for h in found.figures:
        between = " and ".join(percent(b, signed=True) if math.isfinite(b) else "not known" for b in h.change)
        say(
            f"{h.name:>14}{figure(h.legacy, h.target):>12}  {figure(h.target, h.legacy):>12}  {percent(h.delta, signed=True):>9}  {between}"
        )
    for line in ["", *map(plain, notes)] if found.figures else notes:
        say(line)
    say(f"{found.verdict.value}: {plain(found.reason, 1000)}")
    for i, cause in enumerate(causes_of_levels(found, sides), 1):
        say(f"  {i}. {cause.cause}: {cause.evidence}")


def drawn_of(runs: Sequence[Any]) -> list[tuple[float, float]]:
    """What a picture shows of a side: its first run."""
    from backends.validation.curve import Curve

    return runs[0].drawn() if isinstance(runs[0], Curve) else list(runs[0].curve)
