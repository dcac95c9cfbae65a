"""The next step forward: a pure function of state, gates and time. Deciding here, doing in the engine."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from backends.cutover.checklist import checklist_refusal
from backends.cutover.inventory import inventory, inventory_text
from backends.cutover.migration import Direction, Migration
from backends.cutover.preflight import preflight_refusal
from backends.cutover.rules import Refusal, ending_refusal, held_refusal, no_changes_refusal, refusal_of
from backends.cutover.states import TABLE, next_phase
from backends.cutover.steps.base import Step
from backends.cutover.steps.retire import LowerLegacy, VerifyArchive
from backends.cutover.steps.ttl import SetTtl
from backends.cutover.steps.weight import SetWeight
from backends.cutover.steps.workload import Pin, SameStep
from backends.cutover.steps.writer import LastRound, Quiesce, Resume, SetToken
from backends.cutover.ttl import lowering_steps
from backends.cutover.world import World
from backends.plan.models import Plan, Route, Workload
from backends.snapshot import GateView, SoakView
from backends.verdict import Verdict
from backends.vocabulary import SIDES, Health, Phase, SideName, State

MoveKind = Literal["phase", "arm", "shift", "commit", "retire", "lower", "decommission"]

LEAVES = ("phase", "arm", "commit", "decommission")  # moves after which the phase is another


def needs_second(plan: Plan, move: Move) -> bool:
    """Does the plan ask for a second person before this move? Never for a rollback or an evacuation, which are no moves."""
    if "advance" in plan.two_person or move.kind in plan.two_person:
        return True
    routes = {s.route for s in move.steps if isinstance(s, SetWeight)}
    return move.kind == "shift" and any(r.two_person for r in plan.routes if r.name in routes)


@dataclass(frozen=True, slots=True)
class Move:
    """One advance: where it leads and the steps that it takes."""

    kind: MoveKind
    text: str
    to_state: State
    to_phase: Phase | None
    steps: tuple[Step, ...] = ()

    def hash(self, plan_hash: str) -> str:
        """Binds a confirmation to this move of this plan; not to measurements that move all the time."""
        body = [plan_hash, self.kind, self.to_state, self.to_phase, [[s.kind, s.args()] for s in self.steps]]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def next_move(world: World, gates: tuple[GateView, ...], soaks: dict[str, SoakView], only: str | None = None) -> Move | Refusal:
    """What `advance` does now, or which rule refuses it. `only` names the one route to move."""
    m = world.migration
    if m.state is State.ROLLED_BACK or m.needs_resume:
        return Refusal("STATE", f"{m.state}: the migration was rolled back", "cutover resume --reason TEXT arms it anew")
    if not TABLE[m.state].forward or m.state is State.ROLLBACK_BLOCKED:
        return Refusal("STATE", f"nothing follows {m.state} by an advance", "cutover status says what is going on")
    if m.open_run is not None or m.state is State.SHIFTING:
        return Refusal("BUSY", "another operation is in flight", "wait for its end")
    if m.holds:
        return held_refusal(world)
    adrift = [name for name, token in m.tokens.items() if token.writer == "none"]
    if adrift:
        return Refusal(
            "SR2", f"nobody writes {', '.join(adrift)}: a handover was left half way", "cutover rollback brings it home"
        )
    if m.phase is Phase.STAGING and (steps := lowering_steps(world.plan, m)):
        return Move("phase", _lowering(steps), State.PREPARING, Phase.STAGING, steps)
    blocked = None if m.overrides_rule("GATE", world.observed_now()) else _gates(m.phase, gates)
    if blocked is not None:
        return blocked
    move = _move(world, soaks, only)
    if isinstance(move, Move) and move.kind in LEAVES:
        return checklist_refusal(world.plan, m) or move
    return move


def _gates(phase: Phase | None, gates: tuple[GateView, ...]) -> Refusal | None:
    """Gates of the phase that is to be left must PASS."""
    if phase is None or phase is Phase.DECOMMISSION:
        return None
    late = [g for g in gates if g.phase is phase and g.verdict is not Verdict.PASS]
    if not late:
        return None
    seen = "; ".join(f"{g.name} {g.verdict}" + (f" ({g.reason})" if g.reason else "") for g in late)
    return Refusal("GATE", seen, f"every gate of {phase} at PASS")


def _move(world: World, soaks: dict[str, SoakView], only: str | None) -> Move | Refusal:
    m, plan = world.migration, world.plan
    if m.state is State.PLANNED:
        return Move("phase", "begin: development", State.PREPARING, Phase.DEVELOPMENT)
    if m.state is State.PREPARING:
        following = next_phase(m.phase)
        if following is not None:
            steps = lowering_steps(plan, m) if following is Phase.STAGING else ()
            return Move("phase", f"phase {following}" + _lowering(steps, ", "), State.PREPARING, following, steps)
        return _arm(world)
    if (refusal := no_changes_refusal(world)) is not None:
        return refusal
    if m.state is State.ARMED or m.state is State.SOAKING:
        return _shift(world, soaks, only)
    if m.state is State.DUAL:
        return _windowed(
            world, plan.windows.dual, "dual", Move("commit", "commit: no planned way back", State.COMMITTED, Phase.DECOMMISSION)
        )
    if m.state is State.COMMITTED:
        return Move("retire", "retire legacy", State.RETIRING, Phase.DECOMMISSION)
    return _retire(world)


def _retire(world: World) -> Move | Refusal:
    """The next fall of legacy's capacity, or its end: the archive is proven before either, and target has to be alive."""
    m, plan = world.migration, world.plan
    refusal = ending_refusal(world, ())
    proofs = tuple(VerifyArchive(d) for d in plan.archive if d not in m.archived)
    step = next((s for s in plan.retire.steps if s.to < m.lowered_to), None)
    if step is not None:
        lower = LowerLegacy(step.to, limit=2 * plan.retire.timeout)
        move = Move("lower", lower.text, State.RETIRING, Phase.DECOMMISSION, (*proofs, lower))
        return refusal or _windowed(world, step.after, "retire step's", move)
    left = inventory_text(inventory(plan, m))
    end = Move("decommission", f"decommission legacy ({left})", State.DECOMMISSIONED, Phase.DECOMMISSION, proofs)
    said = _windowed(world, plan.windows.retire, "retire", end)
    return said if isinstance(said, Refusal) else refusal or said


def _lowering(steps: tuple[Step, ...], before: str = "") -> str:
    texts = [s.text for s in steps if isinstance(s, SetTtl)]
    return before + ", ".join(texts) if texts else ""


def _arm(world: World) -> Move | Refusal:
    refusal = preflight_refusal(world)
    if refusal is not None:
        return refusal
    return Move("arm", "arm: pin the plan and the routes' weights", State.ARMED, Phase.CUTOVER)


def _windowed(world: World, length: float, name: str, move: Move) -> Move | Refusal:
    since = world.migration.window_from
    left = length - (world.observed_now() - since) if since is not None else length
    if left > 0 and not world.migration.overrides_rule("WINDOW", world.observed_now()):
        return Refusal("WINDOW", f"the {name} window has {left:.0f} s left", f"{left:.0f} s more")
    return move


def _shift(world: World, soaks: dict[str, SoakView], only: str | None) -> Move | Refusal:
    m, plan = world.migration, world.plan
    if only is not None and only not in {r.name for r in plan.routes}:
        return Refusal("STATE", f"the plan has no route {only}", "cutover status names the routes")
    routes = [r for r in plan.routes if only in (None, r.name) and next_weight(r, m) is not None]
    if not routes:
        return Refusal("STATE", "no route has a next weight", "cutover status")
    for name, soak in () if m.overrides_rule("SOAK", world.observed_now()) else soaks.items():
        if m.route(name).confirmed > 0 and (soak.elapsed < soak.at_least or soak.samples < soak.samples_needed):
            return _soaking(name, soak)
    steps = [step for route in routes for step in route_steps(plan, route, m)]
    refusal = _first_refusal(world, steps)
    if refusal is not None:
        return refusal
    texts = [f"{r.name} {m.route(r.name).confirmed} -> {next_weight(r, m)} %" for r in routes]
    return Move("shift", ", ".join(texts), State.SHIFTING, Phase.CUTOVER, tuple(steps))


def _soaking(name: str, soak: SoakView) -> Refusal:
    left = max(0.0, soak.at_least - soak.elapsed)
    need = max(0, soak.samples_needed - soak.samples)
    wants = [f"{left:.0f} s"] * (left > 0) + [f"{need} samples"] * (need > 0)
    return Refusal("SOAK", f"{name} has soaked {soak.elapsed:.0f} s of {soak.at_least:.0f} s", f"{' and '.join(wants)} more")


def _first_refusal(world: World, steps: list[Step]) -> Refusal | None:
    """Refuse before the first effect what a rule forbids now; later steps are checked when their turn comes."""
    for step in steps:
        if isinstance(step, SetWeight | Quiesce):
            refusal = refusal_of(step, world)
            if refusal is not None:
                return refusal
    target = world.side("target")
    if target.health is not Health.ALIVE and not (
        world.migration.overrides_rule("SR3", world.observed_now()) and target.health is Health.UNKNOWN
    ):
        return Refusal("SR3", f"target is {target.health}: {target.reason}", "a probe of target that answers")
    return None


def next_weight(route: Route, m: Migration) -> int | None:
    """The next of the route's steps above its present weight; None at its end."""
    now = m.route(route.name).confirmed
    return next((w for w in route.steps if w > now), None)


def workload_of(plan: Plan, route: Route) -> Workload | None:
    """The workload that a route leads to."""
    return next((w for w in plan.workloads if w.name == route.workload), None)


def route_steps(plan: Plan, route: Route, m: Migration) -> list[Step]:
    """The steps of a route's next weight; for a workload that writes with the handover of its datasets before."""
    weight = next_weight(route, m)
    if weight is None:
        return []
    workload = workload_of(plan, route)
    if workload is None or not workload.writes or m.route(route.name).confirmed > 0:
        opening = [Resume(route.workload, "target", direction="forward")] if (route.workload, "target") in m.closed else []
        return [*opening, SetWeight(route.name, weight, m.route(route.name).confirmed, limit=weight_limit(route))]
    return [*handover_steps(plan, workload, m), SetWeight(route.name, weight, direction="safety", limit=weight_limit(route))]


def weight_limit(route: Route) -> float:
    """Seconds in which a weight has to be seen at every authority: secondaries of a zone follow by transfer, Route 53 within a minute."""
    return {"rfc2136": 60.0, "route53": 180.0}.get(route.kind, 20.0)


def handover_steps(plan: Plan, workload: Workload, m: Migration) -> list[Step]:
    """Hand a workload's datasets to target. The commit point is the token: before it a failure is compensated, after it the
    rest is `safety`, finished even by a restarted engine."""
    steps: list[Step] = []
    moving = [d for d in workload.writes if m.token(d).writer != "target"]
    limit = quiesce_limit(workload)
    if moving:
        steps += pinning(workload, "legacy", "forward")
        steps.append(Quiesce(workload.name, "legacy", limit=limit))
    for dataset in moving:
        epoch = m.token(dataset).epoch
        steps.append(SetToken(dataset, "none", epoch))
        steps.append(LastRound(dataset))
    has_step = tells_step(workload)
    if moving and has_step:
        steps.append(SameStep(workload.name, "target"))
    for number, dataset in enumerate(moving):
        # The first is the commit point: none of the others may be left behind by it.
        steps.append(SetToken(dataset, "target", m.token(dataset).epoch + 1, direction="safety" if number else "forward"))
    steps.append(Resume(workload.name, "target", limit=limit))
    if moving and has_step:
        steps.append(SameStep(workload.name, "target", at_least=True, direction="safety", limit=limit))
    return steps


def pinning(workload: Workload, side: SideName, direction: Direction) -> list[Step]:
    """Note what starting it brings back, where there is such a thing: the replicas of Kubernetes."""
    way = workload.quiesce.way(side) if workload.quiesce is not None else None
    return [Pin(workload.name, side, direction=direction)] if way is not None and way.kubernetes is not None else []


def tells_step(workload: Workload) -> bool:
    """Does the plan say how both sides are asked for their step of training?"""
    ways = [workload.quiesce.way(side) for side in SIDES] if workload.quiesce is not None else []
    return bool(ways) and all(way is not None and way.step is not None for way in ways)


def quiesce_limit(workload: Workload) -> float:
    """Time limit of stopping or starting a workload, from its plan, seconds."""
    ways = workload.quiesce.ways if workload.quiesce is not None else ()
    return max((way.limit for way in ways), default=60.0) + 5.0  # its own limit tells more than ours does


def compensation_steps(plan: Plan, m: Migration) -> list[Step]:
    """Undo a handover that broke off before its commit point: token back to legacy, writers started again."""
    steps: list[Step] = []
    for workload in plan.workloads:
        half = [d for d in workload.writes if m.token(d).writer == "none" and m.token(d).epoch % 2 == 0]
        steps += [SetToken(d, "legacy", m.token(d).epoch, direction="backward") for d in half]
        is_home = all(m.token(d).writer != "target" for d in workload.writes)
        if is_home and (half or (workload.name, "legacy") in m.quiesced):
            steps.append(Resume(workload.name, "legacy", direction="backward", limit=quiesce_limit(workload)))
    return steps
