"""Rollback as a plan: which steps, in which order, and what blocks them. Pure; the engine performs the very same steps.

Graceful and emergency differ only where something on target writes (cutover.md, section 4).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Literal

from backends.cutover.backups import usable
from backends.cutover.expected import expected_of
from backends.cutover.forward import pinning, quiesce_limit, tells_step, weight_limit
from backends.cutover.migration import Migration
from backends.cutover.steps.base import Step
from backends.cutover.steps.restore import Restore
from backends.cutover.steps.side import CheckSide
from backends.cutover.steps.weight import CheckRoute, Drain, Expel, SetWeight
from backends.cutover.steps.workload import SameStep, StopNewWork
from backends.cutover.steps.writer import Compare, Fence, LastRound, Quiesce, Resume, SettleGap, SetToken
from backends.cutover.ttl import restoring_steps
from backends.cutover.world import World
from backends.dataset_view import Lag
from backends.plan.models import Plan, Route, Workload
from backends.vocabulary import Health

Mode = Literal["graceful", "emergency"]


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What a rollback would do now. `blocked_by` empty: it may go."""

    mode: Mode
    steps: tuple[Step, ...]
    blocked_by: tuple[str, ...]
    warnings: tuple[str, ...]
    seconds: float
    gap: Lag

    def hash(self, plan_hash: str) -> str:
        """Binds a confirmation to steps, plan and routes; not to measurements that move all the time."""
        body = [plan_hash, self.mode, [[s.kind, s.args()] for s in self.steps]]
        return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def plan_rollback(world: World, mode: Mode, *, accept_unknown: bool = False, gap: Lag | None = None) -> RollbackPlan:
    """The steps that bring production home from the present state. `gap` is what the target alone holds by the last look."""
    steps = _steps(world, mode, accept_unknown)
    seconds = sum(expected_of(steps, world.migration))
    return RollbackPlan(
        mode,
        tuple(steps),
        _blocked(world, mode, accept_unknown),
        _warnings(world, mode, gap),
        seconds,
        (gap or Lag()) if mode == "emergency" else Lag(objects=0, bytes=0, seconds=0.0),
    )


def writers_on_target(plan: Plan, m: Migration) -> list[Workload]:
    """Workloads whose datasets have been handed to target, or are on the way there or back."""
    return [w for w in plan.workloads if any(_moved(m, d) for d in w.writes)]


def _moved(m: Migration, dataset: str) -> bool:
    token = m.token(dataset)
    return token.writer != "legacy"


def _steps(world: World, mode: Mode, accept_unknown: bool) -> list[Step]:
    plan, m = world.plan, world.migration
    writing = {w.name for w in plan.workloads if w.writes}
    exposed = [r for r in plan.routes if _touched(m, r.name)]
    steps: list[Step] = [CheckSide("legacy", accept_unknown)]
    first = exposed if mode == "emergency" else [r for r in exposed if r.workload not in writing]
    steps += [SetWeight(r.name, 0, direction="backward", limit=weight_limit(r)) for r in first]
    for workload in plan.workloads:
        if workload.writes:
            routes = [r for r in exposed if r.workload == workload.name]
            if mode == "graceful" and any(m.token(d).epoch % 2 == 1 for d in workload.writes if _moved(m, d)):
                steps += [CheckRoute(r.name) for r in routes]
            steps += _handback(plan, m, workload, mode)
            if mode == "graceful":
                steps += [SetWeight(r.name, 0, direction="backward", limit=weight_limit(r)) for r in routes]
    steps += [leaving_step(r, mode) for r in exposed]
    steps += _closing(plan, exposed)
    if mode == "graceful":
        back = [d for w in writers_on_target(plan, m) for d in w.writes if m.token(d).epoch % 2 == 1]
        held = [b.dataset for b in plan.backups if usable(m, b.dataset) is not None]
        steps += [Compare(d) for d in dict.fromkeys([*(d for d in back if _has_reverse(plan, d)), *held])]
        steps += [Restore(d) for d in held]
    return [*steps, *restoring_steps(plan, m)]


def staying_steps(plan: Plan, m: Migration) -> list[Step]:
    """After a rollback that was blocked: give target back what was on its way home and never came there, and start its writers again, so
    that it goes on serving whole. A workload of which legacy has a dataset already (an even epoch) is left alone: neither side may start it."""
    steps: list[Step] = []
    for workload in plan.workloads:
        tokens = {d: m.token(d) for d in workload.writes}
        if not tokens or any(t.epoch % 2 == 0 for t in tokens.values()):
            continue
        half = [d for d, token in tokens.items() if token.writer == "none"]
        steps += [SetToken(d, "target", m.token(d).epoch, direction="safety") for d in half]
        if half or (workload.name, "target") not in m.started:
            steps.append(Resume(workload.name, "target", direction="safety", limit=quiesce_limit(workload)))
    return steps


def touches(plan: Plan, step: Step) -> frozenset[str]:
    """The routes that must not have failed for this step to be taken: a route is led home by itself, a workload that writes only together
    with all of its routes. Empty: what it does has to do with none of them."""
    args = step.args()
    names = {w.name for w in plan.workloads if args.get("workload") == w.name or args.get("dataset") in w.writes}
    if "route" in args:
        own = next(r for r in plan.routes if r.name == args["route"])
        writes = any(w.writes for w in plan.workloads if w.name == own.workload)
        names |= {own.workload} if writes else set()
        return frozenset({own.name} | {r.name for r in plan.routes if r.workload in names})
    return frozenset(r.name for r in plan.routes if r.workload in names)


def _closing(plan: Plan, exposed: list[Route]) -> list[Step]:
    """Once clients have left: stop new work on target of what writes nothing, where the plan gives a way that stops nothing else, and where
    the route does not do that by itself."""
    by_queue = {r.workload for r in plan.routes if r.kind == "slurm"}
    names = {r.workload for r in exposed} - by_queue
    ways = [
        (w.name, w.quiesce.way("target")) for w in plan.workloads if w.name in names and not w.writes and w.quiesce is not None
    ]
    return [StopNewWork(name, limit=min(way.timeout, 30.0)) for name, way in ways if way is not None and way.may_stop_new_work]


def leaving_step(route: Route, mode: Mode) -> Step:
    """See clients leave target. HAProxy's that a cookie binds there are sent away: in an emergency at once. By DNS it takes one TTL, and
    as much again for authorities that were late."""
    if route.haproxy is not None:
        return Expel(route.name, 0.0 if mode == "emergency" else route.haproxy.drain)
    if route.ttl is None:
        return Drain(route.name)
    return Drain(route.name, limit=2 * route.ttl + 60.0, expected_seconds=route.ttl)


def _touched(m: Migration, route: str) -> bool:
    seen = m.route(route)
    is_used = seen.desired > 0 or seen.confirmed > 0 or seen.in_flight or seen.foreign is not None
    return is_used or seen.leaving or route in m.away


def _has_reverse(plan: Plan, dataset: str) -> bool:
    return any(d.name == dataset and d.reverse for d in plan.datasets)


def _handback(plan: Plan, m: Migration, workload: Workload, mode: Mode) -> list[Step]:
    """Give a workload's datasets back to legacy. An odd epoch means that target has owned them since."""
    limit = quiesce_limit(workload)
    moved = [d for d in workload.writes if _moved(m, d)]
    owned = [d for d in moved if m.token(d).epoch % 2 == 1]
    steps: list[Step] = []
    if owned and mode == "graceful":
        steps += pinning(workload, "target", "backward")
        steps.append(Quiesce(workload.name, "target", direction="backward", limit=limit))
        steps += [SetToken(d, "none", m.token(d).epoch, direction="backward") for d in owned]
        steps += [LastRound(d, reverse=True, direction="backward") for d in owned if _has_reverse(plan, d)]
    elif owned or m.unfenced:
        steps.append(Fence(workload.name, limit=min(limit, 30.0)))
    for dataset in moved:
        epoch = m.token(dataset).epoch
        steps.append(SetToken(dataset, "legacy", epoch + epoch % 2, direction="backward"))
    if owned and mode == "graceful" and tells_step(workload):
        steps.append(SameStep(workload.name, "legacy", direction="backward"))
    if moved or (workload.name, "legacy") in m.quiesced:
        steps.append(Resume(workload.name, "legacy", direction="backward", limit=limit))
    left = [d for d in workload.writes if d in m.unsettled or (d in owned and mode == "emergency")]
    steps += [SettleGap(d) for d in left]
    return steps


def _blocked(world: World, mode: Mode, accept_unknown: bool) -> tuple[str, ...]:
    """What stands in the way: never route to a dead side."""
    legacy, target = world.side("legacy"), world.side("target")
    out: list[str] = []
    if legacy.health is Health.DEAD:
        out.append(f"legacy is dead: {legacy.reason}")
    elif legacy.health is Health.UNKNOWN and not accept_unknown:
        out.append(f"legacy cannot be seen ({legacy.reason}): only with --accept-unknown")
    elif legacy.health is Health.ALIVE and not legacy.is_fresh and not accept_unknown:
        out.append(f"the proof of legacy's health is {legacy.age or 0:.0f} s old: only with --accept-unknown")
    if world.migration.legacy_left < 1:
        out += _lowered(world, accept_unknown)
    if mode == "graceful" and writers_on_target(world.plan, world.migration) and target.health is Health.DEAD:
        out.append(f"target writes and is dead ({target.reason}): only --emergency can go")
    if mode == "graceful" and world.migration.forced:
        names = ", ".join(sorted(world.migration.forced))
        out.append(
            f"{names} was handed over by force: legacy may hold what target lacks; only --emergency, which overwrites nothing"
        )
    return tuple(out)


def _lowered(world: World, accept_unknown: bool) -> list[str]:
    """Legacy is being taken down: only while something shows that what is left carries the load is there a way back."""
    left, proof = f"legacy has been lowered to {world.migration.legacy_left * 100:g} %", world.proofs.get("capacity")
    if proof is not None and proof.good is False:
        return [f"{left} and cannot carry the load: {proof.evidence}"]
    if (proof is None or not proof.good) and not accept_unknown:
        return [f"{left}, and nothing shows that it carries the load: only with --accept-unknown"]
    return []


def _warnings(world: World, mode: Mode, gap: Lag | None) -> tuple[str, ...]:
    plan, m = world.plan, world.migration
    out: list[str] = []
    writers = writers_on_target(plan, m)
    for workload in writers:
        lost = [d for d in workload.writes if not _has_reverse(plan, d) and m.token(d).epoch % 2 == 1]
        if lost:
            out.append(f"what {workload.name} wrote on target to {', '.join(lost)} is lost: no reverse sync in the plan")
    if mode == "emergency" and (left := left_behind(plan, m, gap or Lag())):
        out.append(f"emergency leaves {left}, kept in a side prefix")
    return tuple(out)


def left_behind(plan: Plan, m: Migration, gap: Lag) -> str:
    """The data gap of an emergency now, in words; empty where it is known that there is none. What a look found is that only while nobody
    on target can have written since it began."""
    if not writers_on_target(plan, m) or gap.is_zero:
        return ""
    objects = "" if gap.objects is None else "1 object" if gap.objects == 1 else f"{gap.objects} objects"
    if not gap.may_be_more:
        return f"a data gap of {objects or 'unknown size'}"
    since = f"target may have written since the last look, {gap.age or 0:.0f} s ago"
    return f"a data gap of {objects} or more: {since}" if gap.objects else f"a data gap of unknown size: {since}"
