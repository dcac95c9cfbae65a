"""Carrying an evacuation out, to its end: legacy is dead, production goes to target whole. A run of its own kind, `evacuate`, that goes on
after any restart."""

from __future__ import annotations

import asyncio

from backends.cutover.evacuate import EvacuationPlan
from backends.cutover.events import Kind
from backends.cutover.steps.writer import Fence
from backends.engine.apart import StepFailed
from backends.engine.desk import Desk
from backends.engine.moves import block, change_state, hold, script_hashes, settle_state
from backends.errors import CutoverError, RefusedByRule
from backends.vocabulary import State

PIN_LIMIT = 15.0


async def carry_over(engine: Desk, plan: EvacuationPlan, *, actor: str, reason: str) -> State:
    """All steps; afterwards held, dual or soaking. Raises what it broke off with, held too."""
    m = engine.migration
    before, phase = m.state, m.phase
    if m.armed is None or m.needs_resume:
        await _pin(engine, actor)
    if not m.evacuating:
        await change_state(engine, State.SHIFTING, reason=f"evacuation to target: {reason}", actor=actor, evacuate=True)
    try:
        await engine.runner.run("evacuate", plan.steps, actor=actor, reason=reason)
    except (StepFailed, RefusedByRule) as error:
        await engine.runner.end(f"blocked: {error.message}")
        await hold(engine, "evacuate", error.message, anew=True)
        if not m.has_effects and before in (State.PREPARING, State.ROLLED_BACK):
            await change_state(engine, before, phase, reason=error.message)
        else:
            await settle_state(engine, error.message)
        raise
    await engine.runner.end("evacuated")
    await hold(engine, "evacuate", _look_first(engine), anew=True)
    await settle_state(engine, "evacuated to target")
    return engine.migration.state


async def give_up(engine: Desk, reason: str) -> None:
    """An evacuation that a restart interrupted, or that has just stopped what was under way, cannot go on: held where it stands."""
    text = f"the evacuation cannot go on: {reason}"
    await hold(engine, "evacuate", text, anew=True)
    if engine.migration.state is State.ROLLING_BACK:
        await block(engine, text)
    else:
        await settle_state(engine, reason)


def _look_first(engine: Desk) -> str:
    loose = ", ".join(sorted(engine.migration.unfenced_legacy))
    text = "evacuated to target: look before going on"
    return f"{text}; {loose} could not be stopped on legacy: see that it does not write there" if loose else text


async def _pin(engine: Desk, actor: str) -> None:
    """The weights that are there, so that a rollback knows what it leads back to; a route that cannot be read is taken as legacy's."""
    weights: dict[str, int] = {}
    for name, route in engine.world.routes.items():
        try:
            async with asyncio.timeout(PIN_LIMIT):
                weights[name] = (await route.read()).weight
        except (CutoverError, TimeoutError):
            weights[name] = 0
    scripts = await asyncio.to_thread(script_hashes, engine)
    data = {"plan_hash": engine.plan_hash, "weights": weights, "scripts": scripts, "evacuate": True}
    await engine.record(Kind.ARMED, data, actor=actor)


async def fence_legacy(engine: Desk) -> None:
    """Legacy answers again after an evacuation: stop there what could not be stopped, since target writes now."""
    steps = [Fence(w, side="legacy", direction="safety") for w in sorted(engine.migration.unfenced_legacy)]
    try:
        await engine.runner.run("reconcile", steps, actor="engine", reason="legacy is back after an evacuation")
    except (StepFailed, CutoverError) as error:
        await engine.runner.end(f"not yet: {error.message}")
        return
    await engine.runner.end("not yet" if engine.migration.unfenced_legacy else "legacy is fenced")
