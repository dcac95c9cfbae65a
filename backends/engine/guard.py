"""What the engine does by itself, beside triggers: a dead or unseen side, somebody else's weight, `advance: auto`, observed time."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

from backends.cutover.events import Event, Kind
from backends.cutover.forward import Move, quiesce_limit
from backends.cutover.health import Decision, decide
from backends.cutover.rollback import Mode, left_behind, writers_on_target
from backends.cutover.steps.writer import Fence, Resume, SettleGap
from backends.engine.approvals import end_overrides
from backends.engine.desk import Desk
from backends.engine.evacuation import fence_legacy
from backends.engine.moves import block, change_state, hold
from backends.errors import CutoverError
from backends.plan.models import Workload
from backends.vocabulary import SIDES, Health, SideName, State

PERIOD = 0.5
GRACE = 10.0  # seconds after a start in which a side that has not answered yet is no news
GUARDED = (State.ARMED, State.SHIFTING, State.SOAKING, State.DUAL, State.COMMITTED, State.RETIRING)
SHARE_PERIOD = 5.0  # looking at the data plane costs real requests
ROUTE_LIMIT = 10.0
SETTLE_PERIOD = 5.0
AGAIN, AGAIN_AT_MOST = 2.0, 300.0  # seconds until a route that was away is tried again


class Guard:
    """Looks twice a second, acts where the rules say so."""

    def __init__(self, engine: Desk) -> None:
        self._engine = engine
        self._told: dict[SideName, Health] = {}
        self._said = ""
        self._again_at: float | None = None
        self._again_in = AGAIN
        self._hurried = ""  # the graceful rollback that a dead target has been told of
        self.seen: dict[str, tuple[int, float]] = {}  # route -> weight at the authority, monotonic time
        self.route_errors: dict[str, str] = {}
        self.shares: dict[str, float | None] = {}
        self._shared_at: dict[str, float] = {}

    def note(self, event: Event) -> None:
        """A weight that a step has just seen at its authority need not wait for our next look."""
        if event.kind == Kind.CONFIRMED and event.data.get("kind") == "weight":
            args = event.data["args"]
            self.seen[args["route"]] = (args["weight"], time.monotonic())

    async def run(self) -> None:
        """Health, drift and automatic advance, until cancelled."""
        tick_every = min(60.0, max(1.0, self._engine.plan.windows.dual / 8))
        ticked = settled = time.monotonic()
        while True:
            await end_overrides(self._engine)
            await self._window()
            await self._sides()
            await self._health()
            await self._auto()
            await self._doubts()
            await self._away()
            now = time.monotonic()
            if now - ticked >= tick_every:
                ticked = now
                await self._engine.tick()
            if self._engine.migration.state is State.RECONCILING and now - settled >= SETTLE_PERIOD:
                await self._settle()
                settled = time.monotonic()
            if now - settled >= SETTLE_PERIOD and await self._fenced_legacy():
                settled = time.monotonic()
            self._engine.touch()
            await asyncio.sleep(PERIOD)

    async def _sides(self) -> None:
        for side in SIDES:
            seen = self._engine.world.side(side)
            if self._young() and seen.health is Health.UNKNOWN:
                continue
            if self._told.get(side) is not seen.health:
                self._told[side] = seen.health
                data = {"side": side, "health": seen.health.value, "reason": seen.reason}
                await self._engine.record(Kind.SIDE, data)

    def _young(self) -> bool:
        return self._engine.uptime() < GRACE

    async def _health(self) -> None:
        engine = self._engine
        m = engine.migration
        if m.state is State.ROLLING_BACK:
            await self._rolling_back()
        if m.state not in GUARDED or engine.recovering:
            return
        legacy, target = engine.world.side("legacy"), engine.world.side("target")
        if self._young() and Health.UNKNOWN in (legacy.health, target.health):
            return
        decision = decide(legacy.health, target.health, m.exposure)
        if decision.action == "plan":
            self._said = ""
            return
        side, seen = ("target", target) if legacy.health is Health.ALIVE else ("legacy", legacy)
        await self._decided(decision, f"{decision.words} ({side}: {seen.reason})")

    async def _rolling_back(self) -> None:
        """A target that dies under a graceful rollback gives back nothing more of what it wrote: only an emergency does not wait for it."""
        engine = self._engine
        run, seen = engine.migration.open_run, engine.world.side("target")
        if run is None or run.mode != "graceful" or seen.health is not Health.DEAD or self._hurried == run.id:
            return
        if writers_on_target(engine.plan, engine.migration):
            self._hurried = run.id
            await self._emergency(f"target died during a graceful rollback ({seen.reason})", turns=True)

    async def _decided(self, decision: Decision, words: str) -> None:
        engine = self._engine
        if decision.action == "rollback":
            await self._emergency(words)
        elif decision.action == "blocked":
            m = engine.migration
            if not (engine.is_going_back or engine.is_evacuating or m.evacuating or m.evacuated):
                await block(engine, words)
        elif decision.action == "hold":
            await hold(engine, "health", words)
        elif words != self._said:
            self._said = words
            await engine.record(Kind.NOTE, {"text": words})

    async def _emergency(self, words: str, *, turns: bool = False) -> None:
        """`turns`: a graceful one that is under way is turned into it. Never an automatic emergency that would leave a data gap, or may, unless
        the plan accepts it."""
        engine = self._engine
        if engine.is_going_back and not turns:
            return
        left = left_behind(engine.plan, engine.migration, engine.reverse_lag())
        accepted = any(t.emergency_gap == "accepted" for t in engine.plan.triggers)
        if left and not accepted:
            await hold(engine, "health", f"{words}: an emergency rollback would leave {left}; an operator decides")
            return
        await hold(engine, "health", words)
        run = engine.rollback(mode="emergency", actor="health", reason=words)
        await engine.by_itself(run, "automatic rollback")

    async def _auto(self) -> None:
        """Routes with `advance: auto` go on when soak and gates are done; never after a rollback, never held."""
        engine = self._engine
        m = engine.migration
        if m.state is not State.SOAKING or engine.is_moving or engine.recovering or m.holds or m.rollbacks:
            return
        for route in engine.plan.routes:
            if route.advance == "auto" and isinstance(engine.next_move(route.name), Move):
                await engine.by_itself(engine.advance(actor="auto", only=route.name), f"advance of {route.name}")
                return

    async def _doubts(self) -> None:
        """A stop that failed may still have come about later, when its writer had been started again: once it can act no more, the writer
        is started once more, where it is still this side's to write."""
        engine = self._engine
        m, now = engine.migration, engine.observed_now()
        living = [side for side in SIDES if engine.world.side(side).health is not Health.DEAD]
        due = [(w, side) for w in engine.plan.workloads for side in living if now >= m.doubts.get((w.name, side), math.inf)]
        owned = [(w, side) for w, side in due if all(m.token(d).writer == side for d in w.writes)]
        if owned and not engine.is_moving and not engine.recovering:
            await engine.in_turn(self._start_again(owned), "start again")

    async def _away(self) -> None:
        """Routes that a rollback could not lead home: it goes on as soon as one of them answers, and then, each time later, again."""
        engine = self._engine
        m, now = engine.migration, time.monotonic()
        if m.state is not State.ROLLBACK_BLOCKED or not m.away:
            self._again_in = AGAIN
            return
        if engine.world.side("legacy").health is Health.DEAD:
            return  # there is nowhere to lead them
        if self._again_at is None:
            self._again_at = now + self._again_in
        if now < self._again_at or m.away <= self.route_errors.keys() or engine.is_moving or engine.recovering:
            return
        self._again_at, self._again_in = None, min(2 * self._again_in, AGAIN_AT_MOST)
        run = m.run
        mode: Mode = "emergency" if run is not None and run.mode == "emergency" else "graceful"
        accepted = run is not None and any(s["args"].get("accept_unknown") for s in run.steps)
        reason = f"{', '.join(sorted(m.away))} is tried again"
        going = engine.rollback(mode=mode, actor="engine", reason=reason, accept_unknown=accepted)
        await engine.by_itself(going, "rollback of what was away")

    async def _start_again(self, owned: list[tuple[Workload, SideName]]) -> None:
        engine = self._engine
        steps = [
            Resume(w.name, side, direction="backward" if side == "legacy" else "safety", limit=quiesce_limit(w))
            for w, side in owned
        ]
        reason = "a stop that had failed may have come about since"
        try:
            await engine.runner.run("start again", steps, actor="engine", reason=reason)
        except CutoverError as error:
            await engine.runner.end(f"not yet: {error.message}")
            await hold(engine, "writers", error.message)
            return
        await engine.runner.end("confirmed")

    async def _settle(self) -> None:
        """Reconciling: fence the target and settle the gap as soon as it can be done."""
        await self._engine.in_turn(self._reconcile(), "reconcile")

    async def _reconcile(self) -> None:
        engine = self._engine
        steps = [Fence(w.name) for w in engine.plan.workloads if w.writes and w.name in engine.world.controls]
        gaps = [SettleGap(d) for d in sorted(engine.migration.unsettled)]
        try:
            await engine.runner.run("reconcile", [*steps, *gaps], actor="engine", reason="settle what is left")
        except CutoverError as error:
            await engine.runner.end(f"not yet: {error.message}")
            return
        done = not engine.migration.unfenced and not engine.migration.unsettled
        await engine.runner.end("settled" if done else "not yet")
        if done:
            await change_state(engine, State.ROLLED_BACK, reason="target is fenced and the gap is settled")

    async def _fenced_legacy(self) -> bool:
        """After an evacuation: was a legacy that answers again asked to stop what writes there?"""
        engine = self._engine
        alive = engine.world.side("legacy").health is Health.ALIVE
        if not engine.migration.unfenced_legacy or not alive or engine.is_moving or engine.migration.open_run is not None:
            return False
        await engine.in_turn(fence_legacy(engine), "fence legacy")
        return True

    async def _window(self) -> None:
        """The end of the dual and of the retire window is told once."""
        m, windows = self._engine.migration, self._engine.plan.windows
        length = {State.DUAL: windows.dual, State.RETIRING: windows.retire}.get(m.state)
        if length is None or m.window_from is None or m.window_told:
            return
        if self._engine.observed_now() - m.window_from >= length:
            await self._engine.record(Kind.WINDOW_OVER, {"window": "dual" if m.state is State.DUAL else "retire"})

    async def adopt(self, name: str, weight: int, reason: str) -> None:
        """From now on this weight is ours: an operator lifted the hold, or it is what we had set."""
        data = {"route": name, "reason": reason, "found": weight, "adopted": True}
        await self._engine.record(Kind.FOREIGN, data)

    async def watch_route(self, name: str) -> None:
        """Read one route's authority once a period; a weight that is not ours is FOREIGN, and holds."""
        while True:
            await self._read_route(name)
            await asyncio.sleep(self._engine.world.routes[name].look_every)

    async def _tell_long_answer(self, name: str) -> None:
        """A TTL that somebody raised outlives us in the journal: when it was first seen, and when it was last given out."""
        engine, route = self._engine, self._engine.world.routes[name]
        long, told = route.long_answer(), engine.migration.long_answers.get(name)
        if long is None:
            return
        ago = long.ttl - long.left
        data: dict[str, Any] = {"route": name, "ttl": long.ttl, "names_target": long.names_target}
        if ago < 3 * route.look_every + ROUTE_LIMIT:
            if told is None or told.until is not None or (told.ttl, told.names_target) != (long.ttl, long.names_target):
                text = f"route {name}: its answers may be used for {long.ttl:.0f} s, longer than the plan's TTL"
                await engine.record(Kind.LONG_ANSWER, data | {"given": True, "text": text})
        elif told is None or told.until is None:
            text = f"route {name}: no answer of {long.ttl:.0f} s is given out any more; those that were may be used for {long.left:.0f} s"
            await engine.record(Kind.LONG_ANSWER, data | {"given": False, "ago": round(ago, 3), "text": text})

    async def _read_route(self, name: str) -> None:
        engine, route = self._engine, self._engine.world.routes[name]
        before = engine.migration.route(name).confirmed
        try:
            async with asyncio.timeout(ROUTE_LIMIT):
                observed = await route.read()
                weight = observed.weight
                if time.monotonic() - self._shared_at.get(name, 0.0) >= SHARE_PERIOD:
                    self._shared_at[name] = time.monotonic()
                    self.shares[name] = (await route.confirm(weight)).share
        except (CutoverError, TimeoutError) as error:
            self.route_errors[name] = str(error) or "no answer in time"
            return
        self.route_errors.pop(name, None)
        await self._tell_long_answer(name)
        self.seen[name] = (weight, time.monotonic())
        held = engine.migration.route(name)
        if held.foreign is not None and observed.is_at(held.confirmed):
            await self.adopt(name, weight, f"route {name} holds {weight} again, which is ours")
        quiet = not engine.is_moving and not held.in_flight and held.confirmed == before
        if quiet and engine.migration.armed is not None and not observed.is_at(held.confirmed) and held.foreign is None:
            is_ours = held.failed is not None and observed.is_at(held.failed)
            who = "our own change, which had failed, took effect late" if is_ours else "somebody else set it"
            reason = f"route {name} {observed.foreign or f'holds {weight}'}, not {held.confirmed}: {who}"
            data = {"route": name, "reason": reason, "found": weight, "expected": held.confirmed}
            await engine.record(Kind.FOREIGN, data)
            await hold(engine, f"route {name}", reason)
