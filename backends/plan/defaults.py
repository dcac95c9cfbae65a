"""Gates and triggers that come with a workload's class, where the plan says nothing else.

A list for a phase in the plan's `gates` replaces the defaults of that phase; an empty one leaves none. A trigger of the plan
replaces the default of its measure. Batch work tolerates a slowdown of 20 %; no class widens any other margin.

| kind | gate, testing | gate, staging | trigger |
| --- | --- | --- | --- |
| loss | within 0.5 % at 10, 50, 100 | | worse by 1 % |
| throughput, step_time | within 5 % (batch 20 %) | | worse by 10 % (batch 20 %) |
| memory | looked at: no OOM | | |
| latency | | within 5 % for 24 h | worse by 25 % |
| error_rate | | looked at | above 0.1 % |
| a dataset | | verified: all | |
"""

from __future__ import annotations

from collections import Counter

from backends.plan.models import Gate, Measure, Plan, Trigger, WorkloadClass
from backends.vocabulary import Phase

WINDOWS = ("2min", "10min")
LOSS_EPOCHS = (10.0, 50.0, 100.0)


def gates_of(plan: Plan, phase: Phase) -> tuple[Gate, ...]:
    """The gates that must PASS before `phase` may be left: the plan's list for it, else the defaults."""
    if phase in plan.gates:
        return plan.gates[phase]
    classes = _classes(plan)
    if phase is Phase.TESTING:
        found = [_testing_gate(m, classes.get(m.workload)) for m in plan.measures]
    elif phase is Phase.STAGING:
        found = [Gate(dataset=d.name, verified="all") for d in plan.datasets]
        found += [_staging_gate(m) for m in plan.measures]
    else:
        found = []
    return tuple(gate for gate in found if gate is not None)


def triggers_of(plan: Plan) -> tuple[Trigger, ...]:
    """The plan's triggers with what they leave open filled in, then a default one for each other measure that has one.

    Names are unique: several triggers of one measure are numbered in the plan's order.
    """
    classes = _classes(plan)
    measures = {m.name: m for m in plan.measures}
    named: Counter[str] = Counter()
    own: tuple[Trigger, ...] = ()
    for trigger in plan.triggers:
        named[trigger.measure] += 1
        own += (_filled(trigger, measures.get(trigger.measure), classes).numbered(named[trigger.measure]),)
    rest = (default_trigger(m, classes.get(m.workload)) for m in plan.measures if m.name not in named)
    return own + tuple(t for t in rest if t is not None)


def default_trigger(measure: Measure, class_: WorkloadClass | None) -> Trigger | None:
    """The trigger of a measure that has none in the plan; None for kinds that have no default (memory, value)."""
    if measure.kind in ("throughput", "step_time"):
        return _trigger(measure.name, worse_by="20%" if class_ == "batch" else "10%")
    if measure.kind == "loss":
        return _trigger(measure.name, worse_by="1%")
    if measure.kind == "latency":
        return _trigger(measure.name, worse_by="25%")
    if measure.kind == "error_rate":
        return _trigger(measure.name, above="0.1%")
    return None


def _classes(plan: Plan) -> dict[str, WorkloadClass]:
    return {w.name: w.class_ for w in plan.workloads}


def _trigger(measure: str, *, worse_by: str | None = None, above: str | None = None) -> Trigger:
    return Trigger.model_validate({"measure": measure, "worse_by": worse_by, "above": above, "windows": WINDOWS})


def _filled(trigger: Trigger, measure: Measure | None, classes: dict[str, WorkloadClass]) -> Trigger:
    changes: dict[str, object] = {}
    if trigger.windows is None:
        changes["windows"] = _trigger(trigger.measure).windows
    if trigger.worse_by is None and trigger.above is None and measure is not None:
        default = default_trigger(measure, classes.get(measure.workload))
        if default is not None:
            changes |= {"worse_by": default.worse_by, "above": default.above}
    return trigger.model_copy(update=changes) if changes else trigger


def _gate(measure: str, within: str | None, *, at: tuple[float, ...] = (), for_: str | None = None) -> Gate:
    return Gate.model_validate({"measure": measure, "within": within, "at": at, "for": for_})


def _testing_gate(measure: Measure, class_: WorkloadClass | None) -> Gate | None:
    if measure.kind == "loss":
        return _gate(measure.name, "0.5%", at=LOSS_EPOCHS)
    if measure.kind in ("throughput", "step_time"):
        return _gate(measure.name, "20%" if class_ == "batch" else "5%")
    return _gate(measure.name, None) if measure.kind == "memory" else None


def _staging_gate(measure: Measure) -> Gate | None:
    if measure.kind == "latency":
        return _gate(measure.name, "5%", for_="24h")
    return _gate(measure.name, None) if measure.kind == "error_rate" else None
