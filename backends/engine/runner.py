"""Performing steps: INTENT durable before the effect, SENT, OBSERVED, CONFIRMED, or FAILED, or FOREIGN.

Forward steps that fail are compensated and hold; backward and safety steps are sent again until their limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Literal, Protocol

from backends.cutover.events import Event, Kind
from backends.cutover.expected import expected_seconds
from backends.cutover.migration import Migration
from backends.cutover.rules import refusal_of
from backends.cutover.steps.base import Seen, Step
from backends.cutover.steps.weight import SetWeight
from backends.cutover.world import World
from backends.engine.apart import Apart, StepFailed, Touches
from backends.engine.clock import boot_clock, boot_id
from backends.engine.failpoints import failpoint
from backends.errors import CutoverError, RefusedByRule, unwrapped
from backends.sending import asking
from backends.traffic.base import ForeignChange, RouteError
from backends.vocabulary import SIDES, Health, SideName

POLL = 0.2  # seconds between two looks at the world
RETRY = (0.2, 0.5, 1.0, 2.0, 5.0)
STANDSTILL = 5.0  # seconds that a time-out comes late where we had no turn


class Recorder(Protocol):
    """Where events go: the engine's journal and fold."""

    @property
    def migration(self) -> Migration: ...

    async def record(self, kind: str, data: dict[str, Any], *, actor: str = "engine") -> Event: ...


Leased = Callable[[Literal["forward", "back"]], Awaitable[None]]  # returns where an effect may be sent (`backends.engine.lease`)


async def unleased(way: Literal["forward", "back"]) -> None:
    """Of a plan without a place for a lease."""


def new_id() -> str:
    return uuid.uuid4().hex[:12]


class Runner:
    """Performs steps, one at a time."""

    def __init__(self, recorder: Recorder, world: World) -> None:
        self._recorder = recorder
        self._world = world
        self.leased: Leased = unleased

    async def run(
        self,
        kind: str,
        steps: Sequence[Step],
        *,
        actor: str,
        reason: str,
        mode: str = "",
        accept_unknown: bool = False,
        touches: Touches | None = None,
    ) -> None:
        """All steps in order, as one run of the journal. Ends the run itself only when all were confirmed: who calls decides what a
        failure means.

        `touches` names the routes that a step has to do with: these are then led apart from each other (`backends.engine.apart`), and
        those that failed are raised at the end, as `RoutesAway`.
        """
        run, m = new_id(), self._recorder.migration
        told = [{"kind": s.kind, "args": s.args(), "text": s.text, "seconds": expected_seconds(s, m)} for s in steps]
        data = {"id": run, "kind": kind, "mode": mode, "reason": reason, "steps": told}
        failpoint(f"run.{kind}.before-started")
        await self._recorder.record(Kind.RUN_STARTED, data, actor=actor)
        failpoint(f"run.{kind}.after-started")

        async def perform(index: int, step: Step) -> None:
            await self.perform(step, run=run, index=index, accept_unknown=accept_unknown)

        if touches is not None:
            await Apart(perform, touches).go(steps)
        else:
            for index, step in enumerate(steps):
                await perform(index, step)
        failpoint(f"run.{kind}.before-ended")

    async def end(self, outcome: str, *, away: Sequence[str] = ()) -> None:
        """Close the open run with its outcome; `away`: the routes that a rollback could not lead home."""
        run = self._recorder.migration.open_run
        if run is not None:
            data: dict[str, Any] = {"id": run.id, "kind": run.kind, "outcome": outcome}
            data |= {"away": sorted(away)} if away else {}
            await self._recorder.record(Kind.RUN_ENDED, data)
            failpoint(f"run.{run.kind}.after-ended")

    async def perform(self, step: Step, *, run: str, index: int, accept_unknown: bool = False) -> dict[str, Any]:
        """One step, to CONFIRMED. Raises `RefusedByRule` before any effect, `StepFailed` after."""
        await self._ask_lease(step)
        await self._see_again(step)
        refusal = refusal_of(step, self._world, accept_unknown=accept_unknown)
        if refusal is not None and refusal.rule in ("SR1", "SR3") and step.direction != "forward":
            # An old proof of health, as after a standstill, is no reason to give a rollback up: look, and judge again.
            await asyncio.gather(*(self._world.look_at_side(side) for side in SIDES))
            refusal = refusal_of(step, self._world, accept_unknown=accept_unknown)
        if refusal is not None:
            raise RefusedByRule(refusal.rule, f"{step.text}: {refusal.reason}", hint=refusal.would_allow)
        point = f"{step.kind}.{step.direction}"
        failpoint(f"{point}.before-intent")
        op: dict[str, Any] = {"id": new_id(), "kind": step.kind, "args": step.args(), "direction": step.direction}
        op |= {"run": run, "step": index, "limit": step.limit, "text": step.text}
        op |= {"boot": boot_id(), "boot_at": round(boot_clock(), 3)}
        await self._adopt_foreign(step, op)
        await self._recorder.record(Kind.INTENT, op)
        failpoint(f"{point}.after-intent")
        return await self._carry_out(step, op)

    async def _see_again(self, step: Step) -> None:
        """Sides are looked at each second: a proof of health that is older was made before a standstill of our own. Clients are sent
        nowhere by it."""
        if isinstance(step, SetWeight):
            rises = step.weight > self._recorder.migration.route(step.route).confirmed
            side: SideName = "target" if rises else "legacy"
            seen = self._world.side(side)
            if seen.is_fresh and seen.age is not None and seen.age > STANDSTILL:
                await self._world.look_at_side(side)

    async def carry_on(self, step: Step, op: dict[str, Any]) -> dict[str, Any]:
        """Send again an operation whose INTENT is in the journal: backward and safety ones, after a restart."""
        return await self._carry_out(step, op)

    async def _carry_out(self, step: Step, op: dict[str, Any]) -> dict[str, Any]:
        point = f"{step.kind}.{step.direction}"
        trail: list[str] = []  # what kept it from being so, as it was last seen
        try:
            seen = await self._until_seen(step, op, trail)
        except ForeignChange as error:
            await self._foreign(op, error)
            raise StepFailed(step, error.message, foreign=True) from error
        except CutoverError as error:
            seen = Seen(False, error.message)
        except Exception as error:  # noqa: BLE001 - a fault of our own in one step may not end a rollback unheard, nor keep others from home
            with contextlib.suppress(OSError):  # the log lies on a disk that may be full
                traceback.print_exc()
            seen = Seen(False, f"a fault of the engine itself: {type(error).__name__} (engine.log has the place)")
        if not seen.done:
            await self._fail(step, op, seen.detail)
        await self._recorder.record(Kind.OBSERVED, _brief(op) | {"detail": seen.detail})
        failpoint(f"{point}.after-observed")
        extra = dict(seen.extra)
        await self._recorder.record(Kind.CONFIRMED, _brief(op) | {"detail": seen.detail} | extra)
        failpoint(f"{point}.after-confirmed")
        return extra

    async def _until_seen(self, step: Step, op: dict[str, Any], trail: list[str]) -> Seen:
        """Send and look, within the step's limit. A standstill of our own (SIGSTOP, a machine that slept) is no time that the step had:
        on the way back its limit begins anew."""
        point, loop = f"{step.kind}.{step.direction}", asyncio.get_running_loop()
        while True:
            due, died = loop.time() + step.limit, list[str]()
            try:
                async with asyncio.timeout_at(due) as limit, self._until_death(step, limit, died):
                    await self._send(step, trail)
                    failpoint(f"{point}.after-send")
                    await self._recorder.record(Kind.SENT, _brief(op))
                    failpoint(f"{point}.after-sent")
                    return await self._observe(step, trail)
            except TimeoutError:
                if died:
                    return Seen(False, died[0])
                if step.direction == "forward" or loop.time() - due < STANDSTILL:
                    return Seen(False, f"not seen within {step.limit:.0f} s" + (f": {trail[-1]}" if trail else ""))

    @contextlib.asynccontextmanager
    async def _until_death(self, step: Step, limit: asyncio.Timeout, died: list[str]) -> AsyncIterator[None]:
        """On the way back, and after a commit point, a step may wait long. It ends as soon as the side is seen dead that it needs: what is then
        wrong goes into `died`."""
        side = step.needs
        if side is None or step.direction == "forward":
            yield
            return

        async def watch() -> None:
            while (seen := self._world.side(side)).health is not Health.DEAD:  # noqa: ASYNC110 - what others have last seen
                await asyncio.sleep(POLL)
            died.append(f"{side} is dead: {seen.reason}")
            limit.reschedule(0.0)

        watching = asyncio.get_running_loop().create_task(watch(), name=f"{side} lives: {step.text}")
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _send(self, step: Step, trail: list[str]) -> None:
        """Forward: once. Backward and safety: again until the step's own limit ends it."""
        for pause in itertools.chain(RETRY, itertools.repeat(RETRY[-1])):
            await self._ask_lease(step)
            try:
                with asking(lambda: self._ask_lease(step)), unwrapped():
                    return await step.send(self._world)
            except ForeignChange:
                raise
            except CutoverError as error:
                if step.direction == "forward":
                    raise
                trail.append(error.message)
                await asyncio.sleep(pause)

    async def _ask_lease(self, step: Step) -> None:
        await self.leased("forward" if step.direction == "forward" else "back")

    async def _observe(self, step: Step, trail: list[str]) -> Seen:
        """Look until it is so; the step's limit ends it. A look that fails is no answer, and is repeated: a route's always, any other
        on the way back."""
        repeated = RouteError if step.direction == "forward" else CutoverError
        while True:
            try:
                with unwrapped():
                    seen = await step.observe(self._world)
                if seen.done:
                    return seen
                trail.append(seen.detail)
            except repeated as error:
                trail.append(error.message)
            await asyncio.sleep(POLL)

    async def _fail(self, step: Step, op: dict[str, Any], reason: str) -> None:
        found = None
        if isinstance(step, SetWeight):
            with contextlib.suppress(CutoverError, TimeoutError):
                async with asyncio.timeout(5):
                    found = (await self._world.routes[step.route].read()).weight
        await self._recorder.record(Kind.FAILED, _brief(op) | {"reason": reason, "found": found})
        raise StepFailed(step, reason)

    async def _foreign(self, op: dict[str, Any], error: ForeignChange) -> None:
        data = _brief(op) | {"route": op["args"].get("route"), "reason": error.message}
        await self._recorder.record(Kind.FOREIGN, data | {"expected": error.expected, "found": error.found})

    async def _adopt_foreign(self, step: Step, op: dict[str, Any]) -> None:
        """A rollback takes somebody else's value as what is expected, notes it, and goes on."""
        if not isinstance(step, SetWeight) or step.direction == "forward":
            return
        route = self._recorder.migration.route(step.route)
        if route.foreign is not None:
            reason = f"{step.route}: {route.foreign} (taken as it is, the rollback goes on)"
            data = {"route": step.route, "reason": reason, "adopted": True, "found": route.confirmed}
            await self._recorder.record(Kind.FOREIGN, data)


def _brief(op: dict[str, Any]) -> dict[str, Any]:
    return {k: op[k] for k in ("id", "kind", "args", "step") if k in op}
