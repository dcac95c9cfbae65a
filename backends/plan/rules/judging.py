"""Measures, gates and triggers: one kind each, comparable sides, limits that can be judged, no route unguarded."""

from __future__ import annotations

import itertools

from backends.escape import plain
from backends.listed import listed
from backends.plan.defaults import default_trigger, triggers_of
from backends.plan.document import Path
from backends.plan.models import Gate, Measure, Plan, Trigger
from backends.plan.problems import Findings
from backends.plan.rules.names import Names
from backends.plan.rules.sources import check_kind, check_source


def check_judging(plan: Plan, names: Names, findings: Findings) -> None:
    measures = {m.name: m for m in plan.measures}
    for i, measure in enumerate(plan.measures):
        _check_measure(("measures", i), measure, findings)
    for phase, gates in plan.gates.items():
        for i, gate in enumerate(gates):
            _check_gate(("gates", phase.value, i), gate, findings)
    for i, trigger in enumerate(plan.triggers):
        _check_trigger(("triggers", i), trigger, plan, findings)
    _check_guarded(plan, measures, names, findings)


def _check_measure(path: Path, measure: Measure, findings: Findings) -> None:
    for side, source in (("legacy", measure.legacy), ("target", measure.target)):
        check_source((*path, side), source, findings)
    check_kind(path, measure, findings)
    has_axes = measure.legacy.prometheus is None and measure.target.prometheus is None
    if has_axes and measure.legacy.by != measure.target.by:
        message = f"found by {measure.target.by} on target and by {measure.legacy.by} on legacy, expected the same"
        findings.error(
            (*path, "target", "by"), "axes_differ", message, f"by: {measure.legacy.by} on both, where both logs have it"
        )
    if measure.kind == "value" and measure.higher_is_better is None:
        message = f"nothing says which way `{measure.name}` is better: a value of any kind, taken as lower is better"
        findings.note(path, "direction", message, "write higher_is_better: true or false")
    if measure.quantile is not None and measure.kind != "latency":
        message = f"found a quantile for a measure of kind {measure.kind}, expected one only for latency"
        findings.warning((*path, "quantile"), "not_used", message, "leave it out, or kind: latency")


def _check_gate(path: Path, gate: Gate, findings: Findings) -> None:
    if (gate.measure is None) == (gate.dataset is None):
        found = "both" if gate.measure is not None else "neither"
        findings.error(
            path,
            "one_kind",
            f"found {found}, expected exactly one of measure, dataset",
            "two gates, one for each" if found == "both" else "measure: NAME",
        )
        return
    if gate.dataset is not None:
        if gate.verified is None and not findings.places.is_written((*path, "verified")):
            findings.error(
                path, "missing_field", "found no field `verified`, expected `verified: all` for a dataset", "verified: all"
            )
        for field, value in (("at", gate.at), ("within", gate.within), ("for", gate.for_)):
            if value:
                findings.error(
                    (*path, field), "not_used", f"found `{field}` beside `dataset`, which it says nothing of", "leave it out"
                )
        return
    if gate.verified is not None:
        message = "found `verified` beside `measure`, expected it beside `dataset`"
        findings.error((*path, "verified"), "not_used", message, "leave it out, or give the dataset a gate of its own")
    _check_rising((*path, "at"), gate.at, findings)


def _check_rising(path: Path, at: tuple[float, ...], findings: Findings) -> None:
    for j, (before, after) in enumerate(itertools.pairwise(at), 1):
        if after <= before:
            findings.error(
                (*path, j), "at_rise", f"found {after:g} after {before:g}, expected places that rise", "such as at: [10, 50, 100]"
            )


def _check_trigger(path: Path, trigger: Trigger, plan: Plan, findings: Findings) -> None:
    measure = next((m for m in plan.measures if m.name == trigger.measure), None)
    classes = {w.name: w.class_ for w in plan.workloads}
    has_limit = any(findings.places.is_written((*path, field)) for field in ("worse_by", "above"))
    if not has_limit and measure is not None and default_trigger(measure, classes.get(measure.workload)) is None:
        message = f"found no limit for `{trigger.measure}`, and its kind ({measure.kind}) has no default"
        findings.error(path, "missing_field", message, "add worse_by or above")
    if trigger.windows is not None and trigger.windows[0] >= trigger.windows[1]:
        message = "found a first window that is not shorter than the second, expected [short, long]"
        findings.error((*path, "windows"), "windows_order", message, "such as windows: [2min, 10min]")
    if measure is not None and measure.kind == "error_rate" and trigger.above is not None and trigger.above > 1:
        message = f"found {trigger.above:g} as the limit of an error rate, expected a percentage such as 0.1%"
        findings.error((*path, "above"), "unit", message, f"did you mean {trigger.above:g}%?")
    writers = [plain(w.name, 80) for w in plan.workloads if w.writes]
    if trigger.action == "rollback" and trigger.mode == "emergency" and writers and trigger.emergency_gap is None:
        message = f"found an emergency that may leave behind what {listed(writers, 3)} wrote on target: while that may be, it goes the graceful way"
        findings.warning((*path, "mode"), "gap_not_accepted", message, "emergency_gap: accepted, or mode: graceful")
    _check_rising((*path, "at"), trigger.at, findings)


def _check_guarded(plan: Plan, measures: dict[str, Measure], names: Names, findings: Findings) -> None:
    guarded = {
        measures[t.measure].workload
        for t in triggers_of(plan)
        if t.measure in measures and t.action in ("rollback", "hold") and (t.worse_by or t.above is not None)
    }
    for i, route in enumerate(plan.routes):
        if route.workload in names.workloads and route.workload not in guarded:
            message = f"nothing guards route `{route.name}`: no trigger of `{route.workload}` rolls back or holds"
            hint = f"add a measure of {plain(route.workload, 80)}: its trigger comes with it"
            findings.warning(("routes", i), "unguarded", message, hint)
