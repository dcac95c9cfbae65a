"""Evacuation as a plan: all weight to a living target when legacy has died (cutover.md, section 3). Pure; the engine performs the very
same steps.

Exempt from hold, soak and spacing; SR1 and SR3 hold. Writers are handed over by force: what legacy alone has stays there, and nothing is
copied onto legacy by itself afterwards, so that it is not overwritten.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from backends.cutover.expected import expected_of
from backends.cutover.forward import quiesce_limit, weight_limit
from backends.cutover.migration import Migration, Token
from backends.cutover.states import TABLE
from backends.cutover.steps.base import Step
from backends.cutover.steps.side import CheckSide
from backends.cutover.steps.weight import SetWeight
from backends.cutover.steps.writer import Fence, Resume, SetToken
from backends.cutover.world import SideHealth, World
from backends.dataset_view import Lag
from backends.plan.models import Plan, Workload
from backends.vocabulary import Health

FENCE_LIMIT = 20.0  # legacy is dead: its writers are asked to stop, not waited for


@dataclass(frozen=True, slots=True)
class EvacuationPlan:
    """What an evacuation would do now. `refused_by` empty: it may go. `gap` is what legacy alone holds by the last look."""

    steps: tuple[Step, ...]
    refused_by: str
    reason: str
    would_allow: str
    warnings: tuple[str, ...]
    seconds: float
    gap: Lag

    def hash(self, plan_hash: str) -> str:
        """Binds a confirmation to steps and plan, not to measurements that move all the time."""
        body = [plan_hash, "evacuate", [[s.kind, s.args()] for s in self.steps]]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def plan_evacuation(
    world: World, gap: Lag, *, accept_unknown: bool = False, goes_on: bool = False, legacy: SideHealth | None = None
) -> EvacuationPlan:
    """The steps that bring production to target from the present state. `goes_on`: it was confirmed and begun before a restart. `legacy`: as
    it was looked at for this."""
    m, plan = world.migration, world.plan
    steps = _steps(plan, m)
    rule, reason, cure = _refusal(world, legacy or world.side("legacy"), accept_unknown, goes_on, has_steps=len(steps) > 1)
    return EvacuationPlan(
        tuple(steps), rule, reason, cure, _warnings(plan, m, gap), sum(expected_of(steps, m)), gap if forced(plan, m) else NONE
    )


NONE = Lag(objects=0, bytes=0, seconds=0.0)


def forced(plan: Plan, m: Migration) -> list[str]:
    """Datasets that an evacuation would hand over by force."""
    return [d for w in plan.workloads for d in w.writes if m.token(d).writer != "target" and not _is_targets(m.token(d))]


def _is_targets(token: Token) -> bool:
    """Was it on its way back to legacy and never came there? Then target has it again as it had it: nothing of legacy's is left behind."""
    return token.writer == "none" and token.epoch % 2 == 1


def _steps(plan: Plan, m: Migration) -> list[Step]:
    writing = {w.name for w in plan.workloads if w.writes}
    left = [r for r in plan.routes if m.route(r.name).confirmed < 100 or m.route(r.name).desired < 100]
    steps: list[Step] = [CheckSide("target", direction="safety")]
    steps += [SetWeight(r.name, 100, direction="safety", limit=weight_limit(r)) for r in left if r.workload not in writing]
    for workload in plan.workloads:
        if workload.writes:
            steps += _handover(m, workload)
            steps += [
                SetWeight(r.name, 100, direction="safety", limit=weight_limit(r)) for r in left if r.workload == workload.name
            ]
    return steps


def _handover(m: Migration, workload: Workload) -> list[Step]:
    """Its writer on legacy is fenced if it can be, the tokens move without a last round, its writer on target starts."""
    moving = [d for d in workload.writes if m.token(d).writer != "target"]
    if not moving:
        missing = (workload.name, "target") not in m.started
        return [Resume(workload.name, "target", limit=quiesce_limit(workload))] if missing else []
    forced = [d for d in moving if not _is_targets(m.token(d))]
    steps: list[Step] = [SetToken(d, "target", m.token(d).epoch, direction="safety") for d in moving if d not in forced]
    if forced:
        steps.append(Fence(workload.name, side="legacy", direction="safety", limit=min(quiesce_limit(workload), FENCE_LIMIT)))
    for dataset in forced:
        epoch = m.token(dataset).epoch
        steps.append(SetToken(dataset, "none", epoch, direction="safety"))
        steps.append(SetToken(dataset, "target", epoch + 1, direction="safety"))
    steps.append(Resume(workload.name, "target", limit=quiesce_limit(workload)))
    return steps


def _refusal(world: World, legacy: SideHealth, accept_unknown: bool, goes_on: bool, *, has_steps: bool) -> tuple[str, str, str]:
    m, target = world.migration, world.side("target")
    if not goes_on and not TABLE[m.state].evacuates:
        return "STATE", f"{m.state}: there is nothing to evacuate", "a state with legacy in it"
    if not has_steps and not goes_on:
        return "STATE", "every route and every writer is on target already", "cutover status"
    if not goes_on and legacy.health is Health.ALIVE:
        return (
            "STATE",
            f"legacy is alive ({legacy.reason}): an evacuation is for a dead one",
            "cutover advance, or cutover rollback",
        )
    if not goes_on and legacy.health is Health.UNKNOWN and not accept_unknown:
        return (
            "STATE",
            f"legacy cannot be seen ({legacy.reason}), which is not death",
            "--accept-unknown, where you know that it is dead",
        )
    if target.health is not Health.ALIVE:
        return "SR1", f"target is {target.health}: {target.reason}", "a probe of target that answers"
    return "", "", ""


def _warnings(plan: Plan, m: Migration, gap: Lag) -> tuple[str, ...]:
    names = forced(plan, m)
    if not names:
        return ()
    if gap.objects is None:
        loss = "how much legacy alone holds is not known"
    elif gap.objects == 0:
        loss = "legacy held nothing that target lacks at the last look; what it wrote since stays there"
    else:
        loss = f"{gap.objects} objects that legacy alone holds stay there, by the last look"
    return (
        f"{', '.join(names)}: the writer is handed to target by force; {loss}",
        "when legacy comes back, only an emergency rollback leads home: it overwrites nothing there",
    )
