"""After a start: reality is read first, for every operation that was open when the last engine ended (cutover.md, section 5).

Applied: confirm. Not applied: backward and safety operations are sent again; forward ones fail, "abandoned on restart", held. A rollback
always goes on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from backends.cutover.events import Kind
from backends.cutover.migration import Op
from backends.cutover.steps.base import Seen, Step
from backends.cutover.steps.build import step_of
from backends.cutover.steps.weight import SetWeight
from backends.engine.apart import StepFailed
from backends.engine.clock import boot_clock, boot_id
from backends.engine.moves import STAY, abandon, finish_tail, hold, settle_state
from backends.errors import CutoverError, RefusedByRule
from backends.vocabulary import SIDES, Health, SideName, State

if TYPE_CHECKING:
    from backends.engine.core import Engine

LOOK_LIMIT = 15.0
AUTHORITY_LIMIT = 5.0  # seconds in which an authority may still do what an engine before us asked of it


async def recover(engine: Engine) -> str | None:
    """Settle what was open. Returns `rollback` or `evacuate` where one has to go on."""
    m = engine.migration
    told: list[str] = []
    await engine.world.orphans_gone()
    if m.ops or m.open_run is not None or m.state is State.ROLLING_BACK or m.evacuating:
        # The rules ask for a proof of health, and this engine has none yet.
        sides: tuple[SideName, ...] = ("target",) if m.evacuating else SIDES
        await asyncio.gather(*(_seen_alive(engine, side) for side in sides))
    for op in list(m.ops.values()):
        told.append(await _settle(engine, op))
    run = m.open_run
    if run is not None and run.kind in ("rollback", STAY):
        await engine.runner.end("interrupted by a restart, goes on")
        told.append("the rollback goes on")
        outcome = "rollback"
    elif m.state is State.ROLLING_BACK:
        told.append("the rollback goes on")
        outcome = "rollback"
    elif m.evacuating:
        await engine.runner.end("interrupted by a restart, goes on")
        told.append("the evacuation goes on")
        outcome = "evacuate"
    else:
        outcome = None
        await _settle_run(engine, told)
    await _foreign_weights(engine, told)
    if told:
        await engine.record(Kind.RECOVERED, {"text": "; ".join(told)})
    return outcome


async def _seen_alive(engine: Engine, side: SideName) -> None:
    """Look at a side until it is seen alive, for a while: one odd answer after a start proves nothing."""
    deadline = asyncio.get_running_loop().time() + LOOK_LIMIT
    while (await engine.world.look_at_side(side)).health is not Health.ALIVE:
        if asyncio.get_running_loop().time() > deadline:
            return
        await asyncio.sleep(0.5)


async def _settle(engine: Engine, op: Op) -> str:
    step = step_of(op.kind, op.args)
    brief = {"id": op.id, "kind": op.kind, "args": op.args}
    seen = await _look(engine, step, op)
    if not seen.done and (left := _may_still_act(engine, step, op)) > 0:
        await asyncio.sleep(left)
        seen = await _look(engine, step, op)
    if seen.done:
        extra = dict(seen.extra) | {"detail": f"applied before the restart; {seen.detail}"}
        await engine.record(Kind.CONFIRMED, brief | extra)
        return f"{step.text}: was applied"
    if step.direction != "forward" and engine.migration.state is not State.ROLLING_BACK:
        try:
            await engine.runner.carry_on(step, brief)
        except (StepFailed, RefusedByRule) as error:
            return f"{step.text}: sent again, failed: {error.message}"
        return f"{step.text}: sent again"
    data = brief | {"reason": f"abandoned on restart; {seen.detail}", "found": seen.found}
    await engine.record(Kind.FAILED, data)
    return f"{step.text}: abandoned on restart"


def _may_still_act(engine: Engine, step: Step, op: Op) -> float:
    """Seconds for which what the engine before us began may still take effect: nothing is concluded before they are over. By the boot
    clock, which no jump of the wall clock moves; after another boot the whole limit, for what runs elsewhere knows nothing of it."""
    if step.outlives_us:
        limit = step.limit
    elif isinstance(step, SetWeight) and step.direction == "forward" and engine.world.routes[step.route].kind != "command":
        limit = AUTHORITY_LIMIT  # of a command route every process is known to be gone
    else:
        return 0.0
    passed = boot_clock() - op.boot_at if op.boot == boot_id() else 0.0
    return max(0.0, limit - max(0.0, passed))


async def _look(engine: Engine, step: Step, op: Op) -> Seen:
    """Is it so? Journal-only effects and rounds of an intent that was never confirmed are not."""
    if step.kind in ("token", "last_round", "compare", "restore", "verify_archive", "fence", "settle_gap", "stop_new_work"):
        return Seen(False, "not confirmed before the restart")
    deadline = asyncio.get_running_loop().time() + LOOK_LIMIT
    reason = "could not be read"
    while asyncio.get_running_loop().time() < deadline:
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                return await _read(engine, step)
        except (CutoverError, TimeoutError) as error:
            reason = str(error) or reason
            await asyncio.sleep(0.5)
    return Seen(False, reason)


async def _read(engine: Engine, step: Step) -> Seen:
    if not isinstance(step, SetWeight):
        return await step.observe(engine.world)
    observed = await engine.world.routes[step.route].read()
    if not observed.is_at(step.weight):
        return Seen(False, f"the authority {observed.foreign or f'holds {observed.weight}'}", observed.weight)
    for _ in range(20):
        seen = await step.observe(engine.world)
        if seen.done:
            return seen
        await asyncio.sleep(0.2)
    return seen


async def _settle_run(engine: Engine, told: list[str]) -> None:
    m = engine.migration
    run = m.open_run
    if run is None:
        if m.state is State.SHIFTING:
            await settle_state(engine, "restart")
        return
    if run.kind in ("reconcile", "start again"):
        await engine.runner.end("interrupted by a restart, begins again")
        return
    if all(s == "confirmed" for s in run.status):
        await engine.runner.end("confirmed")
        await settle_state(engine, "restart")
        return
    if run.committed:
        try:
            await finish_tail(engine)
        except (StepFailed, RefusedByRule) as error:
            told.append(error.message)
            await abandon(engine, error.message, by="restart")
            return
        told.append("the handover was past its commit point and was finished")
        await engine.runner.end("confirmed")
        await settle_state(engine, "restart")
        return
    await abandon(engine, "abandoned on restart: the advance had not taken effect as a whole", by="restart")


async def _foreign_weights(engine: Engine, told: list[str]) -> None:
    """Somebody else may have moved a route while no engine ran."""
    m = engine.migration
    for name, route in engine.world.routes.items():
        try:
            async with asyncio.timeout(LOOK_LIMIT):
                observed = await route.read()
        except (CutoverError, TimeoutError):
            continue
        confirmed, found = m.route(name).confirmed, observed.weight
        if not observed.is_at(confirmed) and m.armed is not None and m.state is not State.ROLLING_BACK:
            seen = observed.foreign or f"holds {found}"
            reason = f"route {name} {seen}, not {confirmed}: changed while no engine ran"
            data: dict[str, Any] = {"route": name, "reason": reason, "found": found, "expected": confirmed}
            await engine.record(Kind.FOREIGN, data)
            await hold(engine, f"route {name}", reason)
            told.append(reason)
