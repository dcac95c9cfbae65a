"""Carrying a move or a rollback out: from the decision to the state that follows, a failure's way back included."""

from __future__ import annotations

import asyncio
import hashlib
from functools import partial
from pathlib import Path
from typing import Any

from backends.cutover.events import Kind
from backends.cutover.forward import Move, compensation_steps
from backends.cutover.inventory import inventory, inventory_text
from backends.cutover.preflight import preflight
from backends.cutover.rollback import Mode, RollbackPlan, plan_rollback, staying_steps, touches
from backends.cutover.states import TABLE
from backends.cutover.steps.build import step_of
from backends.cutover.steps.weight import SetWeight
from backends.cutover.steps.writer import Resume
from backends.engine.apart import RoutesAway, StepFailed
from backends.engine.desk import Desk
from backends.engine.failpoints import failpoint
from backends.errors import CutoverError, RefusedByRule
from backends.vocabulary import Health, Phase, State

STAY = "stay"  # the run by which target goes on serving after a rollback that was blocked


async def change_state(engine: Desk, state: State, phase: Phase | None = None, **data: Any) -> None:
    """Journal a change of state. The phase follows from the state unless it is one of `preparing`."""
    if phase is None:
        phase = TABLE[state].phase
    failpoint(f"state.{state}.before")
    body = {"state": state.value, "phase": phase.value if phase else None, "from": engine.migration.state.value}
    await engine.record(Kind.STATE, body | data, actor=data.pop("actor", "engine"))
    failpoint(f"state.{state}.after")


async def settle_state(engine: Desk, reason: str = "") -> None:
    """After a run: the state that the weights say."""
    m = engine.migration
    if m.state in (State.PREPARING, State.COMMITTED, State.RETIRING):
        return  # an advance there touches no weight
    settled = {"none": State.ARMED, "some": State.SOAKING, "all": State.DUAL}[m.exposure]
    if m.state is not settled:
        await change_state(engine, settled, reason=reason)


async def hold(engine: Desk, by: str, reason: str, *, actor: str = "engine", anew: bool = False) -> None:
    """Stop forward movement. A holder holds once: how its figures go on is seen at its trigger, not in the journal. A person's
    new reason (`anew`) replaces the one before."""
    if any(h.by == by and not (anew and h.reason != reason) for h in engine.migration.holds):
        return
    await engine.record(Kind.HELD, {"by": by, "reason": reason}, actor=actor)


async def carry_out(engine: Desk, move: Move, *, actor: str, reason: str) -> None:
    """One advance, to its end."""
    if move.kind == "arm":
        await _arm(engine, actor)
    if move.kind != "shift":
        if move.kind in ("retire", "lower", "decommission"):
            await _check_scripts(engine)
            await _take_inventory(engine, move.kind)
        if move.steps:
            await _perform(engine, move, actor=actor, reason=reason)
        if move.kind == "lower":
            return
        await change_state(engine, move.to_state, move.to_phase, reason=reason, actor=actor)
        return
    await _check_scripts(engine)
    await change_state(engine, State.SHIFTING, reason=move.text, actor=actor)
    await _perform(engine, move, actor=actor, reason=reason)
    await settle_state(engine)


async def _take_inventory(engine: Desk, before: str) -> None:
    """What remains of legacy and costs, into the journal before anything of it ends."""
    left = inventory(engine.plan, engine.migration)
    told = [i.model_dump(exclude_defaults=True) for i in left]
    await engine.record(Kind.INVENTORY, {"before": before, "text": inventory_text(left), "items": told})


async def _perform(engine: Desk, move: Move, *, actor: str, reason: str) -> None:
    """The steps of an advance, and what undoes them where one fails."""
    try:
        await engine.runner.run("advance", move.steps, actor=actor, reason=reason or move.text)
    except (StepFailed, RefusedByRule) as error:
        await abandon(engine, error.message, by="advance")
        raise
    await engine.runner.end("confirmed")


async def _arm(engine: Desk, actor: str) -> None:
    """Pin what is there: the plan, its scripts, the routes' weights. Refused where target already carries weight."""
    weights: dict[str, int] = {}
    pins: dict[str, dict[str, Any]] = {}
    for name, route in engine.world.routes.items():
        async with asyncio.timeout(15):
            observed = await route.read()
        weights[name] = observed.weight
        if not observed.is_at(0):
            seen = observed.foreign or f"already has weight {observed.weight} on target"
            raise RefusedByRule(
                "PREFLIGHT",
                f"route {name} {seen}, which the plan does not say",
                hint="set it to 0, or find out who set it",
            )
        async with asyncio.timeout(15):
            pins[name] = await route.pin()
    scripts = await asyncio.to_thread(script_hashes, engine)
    proven = [i.model_dump(exclude={"age"}, exclude_defaults=True) for i in preflight(engine.world)]
    data = {"plan_hash": engine.plan_hash, "weights": weights, "scripts": scripts, "pins": pins, "preflight": proven}
    await engine.record(Kind.ARMED, data, actor=actor)
    for name, pinned in pins.items():
        engine.world.routes[name].restore(pinned)
    failpoint("armed.after")


async def _check_scripts(engine: Desk) -> None:
    """A script that is not the one that was armed moves nothing forward; a rollback runs what is there."""
    armed = engine.migration.armed
    if armed is None:
        return
    now = await asyncio.to_thread(script_hashes, engine)
    changed = sorted(name for name, digest in armed.scripts.items() if now.get(name) != digest)
    if changed:
        text = f"{', '.join(changed)}: not the script that was armed"
        await hold(engine, "scripts", text)
        raise RefusedByRule("PREFLIGHT", text, where=str(engine.base), hint="put it back, or roll back and arm anew")


def script_hashes(engine: Desk) -> dict[str, str]:
    """SHA-256 of every script of the plan that lies beside it (relative argv[0] with a slash)."""
    plan, base = engine.plan, engine.base
    argvs = [a for r in plan.routes if r.command for a in (r.command.set, r.command.get)]
    for workload in plan.workloads:
        for way in workload.quiesce.ways if workload.quiesce is not None else ():
            argvs += [a for a in (way.command, way.resume, way.status, way.drain, way.idle, way.step) if a and way.on == "engine"]
    if plan.retire.on == "engine":
        argvs += [a for s in plan.retire.steps for a in (s.command, s.check) if a]
    if plan.capacity is not None and plan.capacity.on == "engine":
        argvs.append(plan.capacity.command)
    argvs += [b.command for b in plan.backups if b.command is not None]
    out: dict[str, str] = {}
    for argv in argvs:
        path = Path(argv[0])
        if "/" in argv[0] and not path.is_absolute() and (base / path).is_file():
            out[argv[0]] = hashlib.sha256((base / path).read_bytes()).hexdigest()
    return out


async def abandon(engine: Desk, reason: str, *, by: str) -> None:
    """A forward run broke off: undo what is before its commit point, hold, and say so."""
    m = engine.migration
    run = m.open_run
    committed = run is not None and run.committed
    if not committed:
        await _set_back(engine)
        for index, step in enumerate(compensation_steps(engine.plan, m)):
            try:
                await engine.runner.perform(step, run=run.id if run else "", index=1000 + index)
            except CutoverError as error:
                reason = f"{reason}; undoing it failed too: {error.message}"
                break
    await engine.runner.end(f"abandoned: {reason}")
    await hold(engine, by, reason)
    await settle_state(engine, reason)


async def _set_back(engine: Desk) -> None:
    """A weight whose operation failed half-way goes back to what it was; what was confirmed stays."""
    m = engine.migration
    run = m.open_run
    for index, told in enumerate(run.steps if run is not None else ()):
        args = told["args"]
        if told["kind"] != "weight" or run is None or run.status[index] != "failed" or args.get("expected") is None:
            continue
        route = m.route(args["route"])
        if route.foreign is not None or route.confirmed == args["expected"]:
            continue
        try:
            step = SetWeight(args["route"], args["expected"], direction="backward", limit=args.get("limit", 20.0))
            await engine.runner.perform(step, run=run.id, index=2000 + index)
        except CutoverError as error:
            await hold(engine, f"route {args['route']}", error.message)


async def finish_tail(engine: Desk) -> None:
    """After the commit point only forward: the rest of a handover's steps, which are `safety`, once more."""
    run = engine.migration.open_run
    if run is None:
        return
    for index, told in enumerate(run.steps):
        if run.status[index] == "confirmed":
            continue
        step = step_of(told["kind"], told["args"])
        if step.direction != "forward":
            await engine.runner.perform(step, run=run.id, index=index)


def rollback_plan(engine: Desk, mode: Mode, accept_unknown: bool) -> RollbackPlan:
    """What a rollback would do now, with what we know of the gap."""
    return plan_rollback(engine.world, mode, accept_unknown=accept_unknown, gap=engine.reverse_lag())


async def carry_back(engine: Desk, plan: RollbackPlan, *, actor: str, reason: str, accept_unknown: bool) -> State:
    """A rollback, to its end; returns the state that it ended in."""
    await change_state(engine, State.ROLLING_BACK, reason=reason, actor=actor)
    try:
        await engine.runner.run(
            "rollback",
            plan.steps,
            actor=actor,
            reason=reason,
            mode=plan.mode,
            accept_unknown=accept_unknown,
            touches=partial(touches, engine.plan),
        )
    except RoutesAway as error:
        await engine.runner.end(f"blocked: {error.message}", away=tuple(error.routes))
        await block(engine, f"all is home but {', '.join(sorted(error.routes))}, tried again and again: {error.message}")
        return State.ROLLBACK_BLOCKED
    except (StepFailed, RefusedByRule) as error:
        await engine.runner.end(f"blocked: {error.message}")
        is_dead = engine.world.side("legacy").health is Health.DEAD
        reason = f"{error.message}; rollback again when it answers, or evacuate" if is_dead else error.message
        await block(engine, await stay_on_target(engine, reason))
        return State.ROLLBACK_BLOCKED
    unsettled = engine.migration.unfenced or bool(engine.migration.unsettled)
    end = State.RECONCILING if unsettled else State.ROLLED_BACK
    await engine.runner.end(end.value)
    await change_state(engine, end, reason=_end_words(engine))
    return end


async def stay_on_target(engine: Desk, reason: str) -> str:
    """A rollback that could not go on leaves production where it is served: whole, its writers running. Returns the reason, with what came
    of that."""
    steps = staying_steps(engine.plan, engine.migration)
    if not steps:
        return reason
    names = ", ".join(s.workload for s in steps if isinstance(s, Resume))
    try:
        await engine.runner.run(STAY, steps, actor="engine", reason=f"the rollback is blocked: {reason}")
    except (StepFailed, RefusedByRule) as error:
        await engine.runner.end(f"failed: {error.message}")
        return f"{reason}; {names} was stopped on target and could not be started there again: {error.message}"
    await engine.runner.end("confirmed")
    return f"{reason}; {names} goes on on target"


def _end_words(engine: Desk) -> str:
    if engine.migration.unfenced:
        return "target could not be fenced"
    if engine.migration.unsettled:
        return "the gap is not settled"
    if unfinished := engine.migration.uncompared:
        return f"home; the comparison of {', '.join(sorted(unfinished))} did not come to its end: cutover verify asks again"
    if differ := [name for name, equal in engine.migration.compared.items() if not equal]:
        return f"both sides are not shown to be equal of {', '.join(sorted(differ))}: see cutover verify"
    return ""


async def block(engine: Desk, reason: str) -> None:
    """Legacy cannot take the load: say so, and leave production where it is served."""
    m = engine.migration
    if m.state is State.ROLLBACK_BLOCKED:
        await engine.record(Kind.REFUSED, {"command": "rollback", "rule": "SR1", "reason": reason})
        return
    came = {"none": State.ARMED, "some": State.SOAKING, "all": State.DUAL}[m.exposure]
    before = m.state if m.state not in (State.ROLLING_BACK, State.SHIFTING) else came
    await change_state(engine, State.ROLLBACK_BLOCKED, reason=reason, came_from=before.value)
