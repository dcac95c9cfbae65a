"""The engine: one migration's journal, fold and world, and the one place where commands and automatic decisions meet.

Forward and backward runs never overlap: a rollback cancels a forward run at once (SR6) and then begins. What a client asked for goes
on when the client goes.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Coroutine
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backends.cutover.evacuate import EvacuationPlan, forced, plan_evacuation
from backends.cutover.events import Event, Kind, moves_forward
from backends.cutover.fold import apply, fold
from backends.cutover.forward import Move, next_move
from backends.cutover.migration import Migration
from backends.cutover.rollback import Mode, RollbackPlan
from backends.cutover.rules import Refusal
from backends.cutover.world import SideHealth
from backends.dataset_view import Lag
from backends.engine.backups import Backups
from backends.engine.clock import ObservedClock, boot_id, utc_now
from backends.engine.errors import PreviewChanged
from backends.engine.evacuation import carry_over, give_up
from backends.engine.follow import Followers
from backends.engine.guard import Guard
from backends.engine.journal import Journal
from backends.engine.judge import Judge
from backends.engine.lease import Lease
from backends.engine.moves import block, carry_back, carry_out, change_state, hold, rollback_plan, stay_on_target
from backends.engine.notify import Notifier
from backends.engine.preflight import Preflight
from backends.engine.runner import Runner
from backends.engine.world import LiveWorld
from backends.errors import CutoverError, RefusedByRule
from backends.plan.models import Plan
from backends.snapshot import EngineView, SoakView
from backends.vocabulary import Health, Phase, SideName, State

RECENT = 400
YOUNG = 30.0  # seconds after its start in which an engine may not have seen a side yet
VERSION = version("gpu-cutover")
ASKED_ANEW = 3.0  # seconds; a side that lives answers each second
SUPERSEDED = "superseded by an evacuation"


class Engine:
    """Everything of one migration. Made by `backends.engine.process.serve`."""

    def __init__(self, state: Path, journal: Journal, events: list[Event]) -> None:
        self.state_dir = state
        self.journal = journal
        self.migration: Migration = fold(events)
        self.recent: deque[Event] = deque(events[-RECENT:], maxlen=RECENT)
        self.clock = ObservedClock(self.migration.observed)
        self.started_at: datetime = utc_now()
        self.pid = os.getpid()
        self.recovering = True
        self.plan: Plan
        self.base: Path
        self.plan_hash = ""
        self.world: LiveWorld
        self.runner: Runner
        self.judge: Judge
        self.followers: Followers
        self.guard: Guard
        self.preflight: Preflight
        self.backups: Backups
        self.notifier: Notifier | None = None
        self.lease: Lease | None = None
        self.socket = ""
        self.version = 0  # rises with every change, for streams
        self.stopping = asyncio.Event()
        self.recovered = asyncio.Event()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.keyed: dict[str, tuple[str, asyncio.Task[dict[str, Any]]]] = {}  # idempotency keys of commands under way
        self._forward: asyncio.Task[Any] | None = None
        self._backward: asyncio.Task[State] | None = None
        self._evacuation: asyncio.Task[State] | None = None
        self._backward_mode: Mode = "graceful"
        self._to_be_home: asyncio.Timeout | None = None  # a triggered rollback's limit, while it counts
        self._turn = asyncio.Lock()
        self._back_turn = asyncio.Lock()
        self._recording = asyncio.Lock()

    def adopt_plan(self, plan: Plan, base: Path, plan_hash: str) -> None:
        """The plan and the world that it names."""
        self.plan, self.base, self.plan_hash = plan, base, plan_hash
        self.journal.plan_hash = plan_hash
        self.world = LiveWorld(plan, base, self.state_dir, self)
        self.runner = Runner(self, self.world)
        self.followers = Followers(self)
        self.world.on_round = self.followers.note
        self.judge = Judge(self, self.followers)
        self.guard = Guard(self)
        self.preflight = Preflight(self, self.state_dir)
        self.backups = Backups(self)

    # Journal

    async def record(self, kind: str, data: dict[str, Any], *, actor: str = "engine") -> Event:
        """Make an event durable, fold it, and tell who watches. A journal that cannot be written stops what moves forward, nothing else."""
        # Shielded: what is in the journal is in the fold, also when the one who asked is cancelled meanwhile.
        event: Event = await asyncio.shield(self.spawn(self._record(kind, data, actor), "record"))
        return event

    async def _record(self, kind: str, data: dict[str, Any], actor: str) -> Event:
        async with self._recording:
            may_spill = self.migration.state is State.ROLLING_BACK or not moves_forward(kind, data)
            event = await self.journal.append(kind, data, actor=actor, observed=self.clock.now(), may_spill=may_spill)
            apply(self.migration, event)
            if kind == Kind.INTENT and data["kind"] == "compare" and self._to_be_home is not None:
                self._to_be_home.reschedule(None)  # production is home: what is compared now is given its own time
            self.guard.note(event)
            self.recent.append(event)
            if self.notifier is not None:
                self.notifier.note(event)
            self.touch()
            return event

    def touch(self) -> None:
        """Something that a snapshot shows has changed."""
        self.version += 1

    def observed_now(self) -> float:
        return self.clock.now()

    def stamp(self) -> float:
        return self.clock.stamp()

    def stamp_of(self, observed: float) -> float:
        return self.clock.stamp_of(observed)

    # Decisions

    def soaks(self) -> dict[str, SoakView]:
        """How long each route has been at its weight, and how many samples that has brought."""
        out = {}
        for route in self.plan.routes:
            held = self.migration.route(route.name)
            elapsed = max(0.0, self.clock.now() - held.since) if held.confirmed > 0 else 0.0
            samples = self.judge.samples_since(route.workload, self.stamp_of(held.since))
            needed = route.soak.samples if samples is not None else 0
            out[route.name] = SoakView(elapsed=elapsed, at_least=route.soak.at_least, samples=samples or 0, samples_needed=needed)
        return out

    def keep_lease(self, lease: Lease) -> None:
        """From now on every effect asks it first."""
        self.lease = lease
        self.runner.leased = self.world.leased = lease.require

    def next_move(self, only: str | None = None) -> Move | Refusal:
        if self.lease is not None and (unsure := self.lease.refusal()):
            return Refusal("LEASE", unsure, "it is asked for again and again")
        return next_move(self.world, self.judge.gates(), self.soaks(), only)

    def reverse_lag(self) -> Lag:
        """What target holds and legacy does not yet, over the datasets that target writes."""
        return self.followers.reverse_lag()

    def forward_gap(self) -> Lag:
        """What legacy alone holds of the datasets that an evacuation would hand over by force."""
        return self.followers.forward_gap(forced(self.plan, self.migration))

    async def evacuation_plan(self, accept_unknown: bool = False, goes_on: bool = False) -> EvacuationPlan:
        """Both sides known: legacy by a look that is no older than a few seconds."""
        return self._evacuation_plan(accept_unknown, goes_on, await self._sides_now())

    def _evacuation_plan(self, accept_unknown: bool, goes_on: bool, legacy: SideHealth) -> EvacuationPlan:
        return plan_evacuation(self.world, self.forward_gap(), accept_unknown=accept_unknown, goes_on=goes_on, legacy=legacy)

    def rollback_plan(self, mode: Mode, accept_unknown: bool = False) -> RollbackPlan:
        return rollback_plan(self, mode, accept_unknown)

    # Runs

    async def advance(self, *, actor: str, reason: str = "", only: str | None = None, preview_hash: str | None = None) -> Move:
        """One step forward, to its end; with `preview_hash` the one that was previewed, or none. Raises `RefusedByRule`."""
        async with self._turn:
            if self.is_going_back:
                raise RefusedByRule("SR6", "a rollback is under way", hint="wait for its end")
            if self._forward is not None and not self._forward.done():
                raise RefusedByRule("BUSY", "another advance is in flight", hint="wait for its end")
            move = self.next_move(only)
            if (move.rule if isinstance(move, Refusal) else move.kind) in ("PREFLIGHT", "arm"):
                await self.preflight.prove()  # as it is now, not as it was when somebody last looked
                move = self.next_move(only)
            if isinstance(move, Refusal):
                raise RefusedByRule(move.rule, move.reason, hint=move.would_allow)
            if preview_hash is not None and preview_hash != move.hash(self.plan_hash):
                raise PreviewChanged
            self._forward = self.spawn(carry_out(self, move, actor=actor, reason=reason), "advance")
        try:
            await asyncio.shield(self._forward)
        except asyncio.CancelledError:
            if self._forward.cancelled():
                raise RefusedByRule("SR6", "a rollback has taken precedence") from None
            raise
        return move

    async def rollback(
        self, *, mode: Mode, actor: str, reason: str, accept_unknown: bool = False, limit: float | None = None
    ) -> State:
        """Take production back; returns the state that it ends in. Cancels what moves forward; joins a rollback under way, or turns
        it into an emergency one where that is asked for."""
        async with self._back_turn:
            task = await self._begin_rollback(mode, actor, reason, accept_unknown, limit)
        while task is not None:
            try:
                return await asyncio.shield(task)
            except asyncio.CancelledError:
                if not task.cancelled() or self.stopping.is_set():
                    raise
            async with self._back_turn:  # turned into an emergency one: who asked for the first learns how that ends
                task = self._backward if self._backward is not task else None
            if task is None:
                raise RefusedByRule(
                    "STATE", "an evacuation has taken the rollback's place: legacy is dead", hint="cutover status"
                )
        return State.ROLLBACK_BLOCKED

    async def _begin_rollback(
        self, mode: Mode, actor: str, reason: str, accept_unknown: bool, limit: float | None
    ) -> asyncio.Task[State] | None:
        """The task of a rollback under way or just begun; None where it is blocked."""
        running = self._backward
        if running is not None and not running.done():
            if mode == self._backward_mode or mode == "graceful":
                return running
            await self._stop(running, "turned into an emergency rollback")
        if self.is_evacuating and (blocked := self.rollback_plan(mode, accept_unknown).blocked_by):
            reason = f"an evacuation is under way: {'; '.join(blocked)}"
            await self.record(Kind.REFUSED, {"command": "rollback", "rule": "SR1", "reason": reason}, actor=actor)
            return None
        await self._stop(self._forward, "superseded by a rollback")
        await self.know_legacy()
        plan = self.rollback_plan(mode, accept_unknown)
        if plan.blocked_by:
            await block(self, "; ".join(plan.blocked_by))
            return None
        self._backward_mode = mode
        body = carry_back(self, plan, actor=actor, reason=reason, accept_unknown=accept_unknown)
        self._backward = self.spawn(self._limited(body, limit), "rollback")
        return self._backward

    async def evacuate(
        self, *, actor: str, reason: str, accept_unknown: bool = False, preview_hash: str | None = None, goes_on: bool = False
    ) -> State:
        """All weight to a living target, legacy being dead; returns the state that it ends in. Cancels what moves forward, and
        a rollback under way, which would wait for a dead legacy; joins an evacuation under way. `goes_on`: it was confirmed and begun
        before a restart. Raises `RefusedByRule`."""
        async with self._turn:
            if not self.is_evacuating:
                await self._begin_evacuation(actor, reason, accept_unknown, preview_hash, goes_on)
            task = self._evacuation
        assert task is not None
        return await asyncio.shield(task)

    async def _begin_evacuation(
        self, actor: str, reason: str, accept_unknown: bool, preview_hash: str | None, goes_on: bool
    ) -> None:
        legacy = await self._sides_now()
        async with self._back_turn:  # no rollback begins meanwhile
            for stopped in (False, True):
                plan = self._evacuation_plan(accept_unknown, goes_on, legacy)
                if plan.refused_by:
                    if goes_on or stopped:
                        await give_up(self, plan.reason)
                    raise RefusedByRule(plan.refused_by, plan.reason, hint=plan.would_allow)
                if preview_hash is not None and not stopped and preview_hash != plan.hash(self.plan_hash):
                    raise PreviewChanged
                await self._stop(self._forward, SUPERSEDED)
                await self._stop(self._backward, SUPERSEDED)  # legacy is dead: it waits for what does not come
            self._evacuation = self.spawn(carry_over(self, plan, actor=actor, reason=reason), "evacuation")
        self._forward = self._evacuation

    async def in_turn(self, body: Coroutine[Any, Any, None], name: str) -> None:
        """Run something of the engine's own as the one run in flight, which a rollback cancels; nothing where another is under way."""
        async with self._turn:
            if self.is_moving:
                body.close()
                return
            self._forward = self.spawn(body, name)
        await asyncio.wait([self._forward])

    async def know_legacy(self) -> None:
        """An engine that has just started has no proof of legacy's health yet: look, before a rollback is judged by that."""
        await self._know("legacy")

    async def _sides_now(self) -> SideHealth:
        """Both are known afterwards; returns legacy as it is now. A proof from before it went silent is good enough for a rollback's preview,
        and no reason to refuse an evacuation."""
        await asyncio.gather(self._know("legacy"), self._know("target"))
        seen = self.world.side("legacy")
        if seen.health is Health.ALIVE and (seen.age or 0.0) > ASKED_ANEW:
            return await self.world.look_at_side("legacy")
        return seen

    async def _know(self, side: SideName) -> None:
        if self.world.side(side).age is None and self.uptime() < YOUNG:
            await self.world.look_at_side(side)

    async def _limited(self, body: Coroutine[Any, Any, State], limit: float | None) -> State:
        """A triggered graceful rollback stops and tells when its time is over."""
        try:
            async with asyncio.timeout(limit) as self._to_be_home:
                return await body
        except TimeoutError:
            text = f"the graceful rollback did not end within {limit:.0f} s; an emergency rollback would not wait"
            await self._close_ops(text)
            await self.runner.end(f"blocked: {text}")
            await block(self, await stay_on_target(self, text))
            return State.ROLLBACK_BLOCKED
        finally:
            self._to_be_home = None

    async def _stop(self, task: asyncio.Task[Any] | None, reason: str) -> None:
        """SR6: cancel a run. What it left open is taken as it is worst, so that the rollback's absolute effects undo it."""
        if task is None or task.done():
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await self._close_ops(reason)
        await self.runner.end(reason)

    async def _close_ops(self, reason: str) -> None:
        """What a run that was cut off left open has failed. Whether a weight was set is not known: the larger of the two counts."""
        async with self._recording:
            open_ops = list(self.migration.ops.values())  # with what was being written when the run was cut off
        for op in open_ops:
            data: dict[str, Any] = {"id": op.id, "kind": op.kind, "args": op.args, "reason": reason}
            if op.kind == "weight":
                data["found"] = max(op.args["weight"], self.migration.route(op.args["route"]).confirmed)
            await self.record(Kind.FAILED, data)

    async def resume(self, *, actor: str, reason: str) -> None:
        """Lift every hold. After a rollback: arm anew, which needs a reason; after a block: back to where it was, held."""
        m = self.migration
        if m.needs_resume:
            if m.state is not State.ROLLED_BACK:
                raise RefusedByRule("STATE", f"{m.state}: not settled yet", hint="fence target and settle the gap first")
            if not reason.strip():
                raise RefusedByRule("STATE", "rolled back: a resume needs a reason", hint="cutover resume --reason TEXT")
            await self.record(Kind.RELEASED, {"reason": reason}, actor=actor)
            self.judge.forget()
            await change_state(self, State.PREPARING, Phase.STAGING, reason=reason, rearm=True, actor=actor)
            return
        if m.state is State.ROLLBACK_BLOCKED:
            back = m.before_block or State.SOAKING
            await change_state(self, back, reason=reason, actor=actor)
            await hold(self, "resume", "back from rollback_blocked: look before going on", actor=actor)
            return
        if not m.holds:
            raise RefusedByRule("STATE", "nothing is held", hint="cutover status")
        for name, route in m.routes.items():
            seen = self.guard.seen.get(name)
            if route.foreign is not None and seen is not None:
                await self.guard.adopt(name, seen[0], f"route {name}: {seen[0]} taken over by {actor}")
        await self.record(Kind.RELEASED, {"reason": reason or "-"}, actor=actor)

    # Tasks

    def spawn(self, body: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task of the engine's own: kept, named, and its end looked at."""
        task = asyncio.get_running_loop().create_task(body, name=name)
        self.tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled():
            task.exception()
        self.touch()

    @property
    def is_moving(self) -> bool:
        """Is a run in flight?"""
        return any(t is not None and not t.done() for t in (self._forward, self._backward))

    @property
    def is_going_back(self) -> bool:
        """Is a rollback under way, or begun and not yet in the state?"""
        return self._backward is not None and not self._backward.done()

    @property
    def is_evacuating(self) -> bool:
        """Is an evacuation under way?"""
        return self._evacuation is not None and not self._evacuation.done()

    def uptime(self) -> float:
        """Seconds since this engine started, by the boot clock."""
        return self.clock.uptime()

    def view(self) -> EngineView:
        return EngineView(pid=self.pid, started=self.started_at, socket=self.socket, version=VERSION, recovering=self.recovering)

    async def by_itself(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Start something automatic; a refusal of it is already in the journal."""

        async def body() -> None:
            try:
                await coroutine
            except CutoverError as error:
                await self.record(Kind.NOTE, {"text": f"{name}: {error.message}"})

        self.spawn(body(), name)

    async def tick(self) -> None:
        """Observed time into the journal; a jump of the wall clock is told."""
        jump = self.clock.wall_jump()
        if jump:
            await self.record(Kind.CLOCK_JUMP, {"seconds": round(jump, 1)})
        await self.record(Kind.TICK, {"boot": boot_id(), "observed": round(self.clock.now(), 1)})
