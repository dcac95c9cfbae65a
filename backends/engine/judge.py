"""Watching: figures of both sides are followed, triggers and gates judged, and what follows from a verdict is done.

INCONCLUSIVE and ERROR never promote and never roll back by themselves; where figures are silent or cannot be had while clients are
on the target, they hold. Verdicts are journaled when they change.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Any

from backends.cutover.backups import backup_gates
from backends.cutover.events import Kind
from backends.cutover.rollback import left_behind
from backends.cutover.ttl import ttl_gates
from backends.engine.desk import Desk
from backends.engine.evidence import causes_of_breach, inputs_of
from backends.engine.follow import Followers
from backends.engine.moves import hold
from backends.plan.defaults import gates_of, triggers_of
from backends.plan.models import Gate, Measure, Source, Trigger
from backends.snapshot import GateView, TriggerView, ValidationView
from backends.validation.baseline import Baseline
from backends.validation.followed import Followed
from backends.validation.gate import judge_gate
from backends.validation.memory import capacity_of
from backends.validation.stats import finite_or_none
from backends.validation.trigger import TriggerResult, judge_trigger
from backends.validation.view import Drawn, drawn, validation_view
from backends.verdict import Verdict
from backends.vocabulary import Phase, State

POLL_LIMIT = 15.0
HISTORY = 60
REALTIME_LATENCY_MS = 100.0
DEFAULT_WINDOWS = (120.0, 600.0)
ACTING = (State.SHIFTING, State.SOAKING, State.DUAL, State.COMMITTED, State.RETIRING)
GATED = (State.PREPARING, State.ARMED, State.SOAKING)


class Judge:
    """All measures, triggers and gates of the plan."""

    def __init__(self, engine: Desk, followers: Followers) -> None:
        self._engine = engine
        self._followers = followers
        plan = engine.plan
        self._measures = {m.name: m for m in plan.measures}
        self._capacities = {
            m.name: (capacity_of(plan, m.workload, "legacy"), capacity_of(plan, m.workload, "target")) for m in plan.measures
        }
        self._classes = {w.name: w.class_ for w in plan.workloads}
        self.triggers = triggers_of(plan)
        self._phase_gates = {phase: gates_of(plan, phase) for phase in Phase}
        self._feeds: dict[tuple[str, str], Followed] = {}
        shared: dict[Source, Followed] = {}
        for measure in plan.measures:
            pinned = self._points_of(measure.name)
            for side, source in (("legacy", measure.legacy), ("target", measure.target)):
                feed = shared.get(source) or engine.world.follow(source, pinned)
                shared[source] = self._feeds[measure.name, side] = feed
        self._unique = tuple(shared.values())
        self._drawn: dict[str, Drawn] = {}
        self._results: dict[str, TriggerResult] = {}
        self._refused: set[str] = set()
        self._gates: dict[tuple[Phase, str], GateView] = {}
        self._history: dict[str, deque[float | None]] = {t.name: deque(maxlen=HISTORY) for t in self.triggers}
        shortest = min((self._windows(t)[0] for t in self.triggers), default=20.0)
        self.period = min(5.0, max(0.25, shortest / 4))

    def _points_of(self, measure: str) -> tuple[float, ...]:
        gates = [g for phase in Phase for g in gates_of(self._engine.plan, phase)]
        return tuple(sorted({p for g in gates if g.measure == measure for p in g.at}))

    def _windows(self, trigger: Trigger) -> tuple[float, float]:
        return trigger.windows or DEFAULT_WINDOWS

    async def run(self) -> None:
        """Poll, judge, act; until cancelled."""
        while True:
            started = time.monotonic()
            await asyncio.gather(*(self._poll(feed) for feed in self._unique))
            if not self._engine.recovering:
                await self.judge(self._engine.stamp())
            self._engine.touch()
            await asyncio.sleep(max(0.05, self.period - (time.monotonic() - started)))

    async def _poll(self, feed: Followed) -> None:
        try:
            async with asyncio.timeout(POLL_LIMIT):
                await feed.poll()
        except TimeoutError:
            feed.error = f"no answer within {POLL_LIMIT:.0f} s"

    async def judge(self, now: float) -> None:
        """One look at everything; `now` is a stamp."""
        for trigger in self.triggers:
            result = self._judge_trigger(trigger, now)
            self._results[trigger.name] = result
            self._history[trigger.name].append(result.value)
            told = (trigger.name, result.verdict, result.value, result.limit, result.reason)
            await self._tell(Kind.TRIGGER, *told, measure=self._measures[trigger.measure], unit=result.unit)
            await self._act(trigger, result)
        await self._judge_gates(now)

    def _judge_trigger(self, trigger: Trigger, now: float) -> TriggerResult:
        measure = self._measures[trigger.measure]
        legacy, target = self._feeds[measure.name, "legacy"], self._feeds[measure.name, "target"]
        measure, recorded = self._with_baseline(measure)
        since, exposed = self._exposure(measure.workload)
        return judge_trigger(
            trigger, measure, legacy, target, windows=self._windows(trigger), since=since, now=now, exposed=exposed,
            baseline=recorded.figure(measure) if recorded is not None else None,
            absolute=self._absolute(measure),
            legacy_exposed=self._legacy_exposed(measure.workload),
        )  # fmt: skip

    def _with_baseline(self, measure: Measure) -> tuple[Measure, Baseline | None]:
        """The measure with the noise that the baseline knows, where the plan gives none, and the baseline."""
        told = self._engine.migration.baselines.get(measure.name)
        if told is None:
            return measure, None
        recorded = Baseline.from_json(told)
        if measure.noise is None and recorded.noise is not None:
            measure = measure.model_copy(update={"noise": recorded.noise})
        return measure, recorded

    def _absolute(self, measure: Measure) -> float | None:
        """Realtime workloads have an absolute limit of latency too, in the figures' own unit (milliseconds)."""
        realtime = self._classes.get(measure.workload) == "realtime"
        return REALTIME_LATENCY_MS if realtime and measure.kind == "latency" else None

    def _legacy_exposed(self, workload: str) -> bool:
        """Does legacy still carry some of this workload's clients?"""
        routes = [self._engine.migration.route(r.name) for r in self._engine.plan.routes if r.workload == workload]
        return any(min(r.desired, r.confirmed) < 100 for r in routes)

    def _exposure(self, workload: str) -> tuple[float, bool]:
        """When the present weight began (a stamp), and whether any weight is on target."""
        routes = [self._engine.migration.route(r.name) for r in self._engine.plan.routes if r.workload == workload]
        since = max((r.since for r in routes), default=0.0)
        return self._engine.stamp_of(since) if since else 0.0, any(max(r.desired, r.confirmed) > 0 for r in routes)

    async def _tell(
        self, kind: Kind, name: str, verdict: Verdict, value: float | None, limit: float | None, reason: str, phase: str = "",
        *, measure: Measure | None = None, unit: str = "",
    ) -> None:  # fmt: skip
        """Into the journal where the verdict has changed."""
        m = self._engine.migration
        known = (m.triggers if kind is Kind.TRIGGER else m.gates).get(name)
        if known is not None and known.verdict == verdict.value and known.phase == phase:
            return
        data = {
            "name": name,
            "verdict": verdict.value,
            "value": finite_or_none(value),
            "limit": finite_or_none(limit),
            "reason": reason,
        }
        if unit:
            data["unit"] = unit
        if measure is not None:
            data |= await asyncio.to_thread(self._rests_on, measure, verdict)
        await self._engine.record(kind, data | {"phase": phase})

    def _rests_on(self, measure: Measure, verdict: Verdict) -> dict[str, Any]:
        """The figures that were judged, by hash; of a breach its likely causes."""
        legacy, target = self._feeds[measure.name, "legacy"], self._feeds[measure.name, "target"]
        told: dict[str, Any] = {"inputs": inputs_of(legacy, target)}
        if verdict is Verdict.BREACH:
            runs_on = next(w.runs_on for w in self._engine.plan.workloads if w.name == measure.workload)
            before, after = (
                [view for name in names if (view := self._engine.world.fleet.view(name, self._engine.stamp())) is not None]
                for names in (runs_on.legacy, runs_on.target)
            )
            trained = self._engine.migration.validated.get(measure.workload, {})
            told["causes"] = causes_of_breach(measure, legacy, target, before, after, trained.get("differences", ()))
        return told

    async def _act(self, trigger: Trigger, result: TriggerResult) -> None:
        engine = self._engine
        _, exposed = self._exposure(self._measures[trigger.measure].workload)
        if engine.migration.state is State.ROLLBACK_BLOCKED:
            await self._blocked(trigger, result)
        if engine.migration.state not in ACTING or not exposed:
            return
        by = f"trigger {trigger.name}"
        if result.verdict is Verdict.BREACH:
            await self._breached(trigger, result, by)
        elif trigger.action != "tell" and (result.silent or result.verdict is Verdict.ERROR):
            await hold(engine, by, f"blind: {result.reason}" if result.silent else result.reason)
        elif trigger.action != "tell" and result.too_good and result.verdict is not Verdict.PASS:
            await hold(engine, by, result.reason)

    async def _blocked(self, trigger: Trigger, result: TriggerResult) -> None:
        """A trigger that fires while rollback is blocked: told once for each breach, with what blocks it."""
        breached = result.verdict is Verdict.BREACH and trigger.action == "rollback"
        if not breached:
            self._refused.discard(trigger.name)
        elif trigger.name not in self._refused:
            self._refused.add(trigger.name)
            blocked = "; ".join(self._engine.rollback_plan(trigger.mode).blocked_by) or "an operator decides"
            reason = f"trigger {trigger.name} calls for rollback ({result.reason}), which is blocked: {blocked}"
            await self._engine.record(Kind.REFUSED, {"command": "rollback", "rule": "SR1", "reason": reason})

    async def _breached(self, trigger: Trigger, result: TriggerResult, by: str) -> None:
        engine = self._engine
        if trigger.action == "hold":
            await hold(engine, by, result.reason)
        elif trigger.action == "rollback" and not engine.is_going_back:
            await hold(engine, by, result.reason)
            mode, reason = trigger.mode, result.reason
            left = left_behind(engine.plan, engine.migration, engine.reverse_lag()) if mode == "emergency" else ""
            if left and trigger.emergency_gap != "accepted":
                mode, reason = "graceful", f"{reason}; graceful, since an emergency would leave {left}"
            limit = trigger.limit if mode == "graceful" else None
            await engine.by_itself(engine.rollback(mode=mode, actor=by, reason=reason, limit=limit), "automatic rollback")

    async def _judge_gates(self, now: float) -> None:
        engine = self._engine
        current = engine.migration.phase if engine.migration.state in GATED else None
        for phase, gates in self._phase_gates.items():
            for gate in gates:
                view = self._gate(gate, phase, now)
                self._gates[phase, gate.name] = view
                if phase is current:
                    told = (view.name, view.verdict, view.value, view.limit, view.reason, phase.value)
                    await self._tell(Kind.GATE, *told, measure=self._measures.get(gate.measure or ""))
                    if view.verdict is Verdict.BREACH:
                        await hold(engine, f"gate {view.name}", view.reason)

    def _gate(self, gate: Gate, phase: Phase, now: float) -> GateView:
        if gate.dataset is not None:
            return self._followers.gate(gate.dataset, phase)
        measure = self._measures[gate.measure or ""]
        feeds = self._feeds[measure.name, "legacy"], self._feeds[measure.name, "target"]
        measure, recorded = self._with_baseline(measure)
        result = judge_gate(gate, measure, *feeds, now=now, baseline=recorded, capacities=self._capacities[measure.name])
        return GateView(
            name=gate.name, phase=phase, verdict=result.verdict, reason=result.reason,
            value=finite_or_none(result.value), limit=finite_or_none(result.limit),
        )  # fmt: skip

    def gates(self) -> tuple[GateView, ...]:
        """Every gate of the plan; one that was not judged yet is INCONCLUSIVE."""
        m = self._engine.migration
        out = []
        for phase, gates in self._phase_gates.items():
            for gate in gates:
                view = self._gates.get((phase, gate.name))
                if view is None:
                    view = GateView(name=gate.name, phase=phase, verdict=Verdict.INCONCLUSIVE, reason="not judged yet")
                told = m.gates.get(gate.name)
                at = told.at if told is not None else None
                out.append(view.model_copy(update={"current": phase is m.phase, "at": at}))
        world = self._engine.world
        more = ttl_gates(self._engine.plan, m, self._engine.observed_now())
        more += backup_gates(self._engine.plan, m, world.wall_now(), world.backup_errors)
        return (*out, *(view.model_copy(update={"current": view.phase is m.phase}) for view in more))

    def is_blind(self) -> str:
        """Which figures are silent while clients are on the target; empty where none are."""
        silent = [t for t in self.triggers if t.name in self._results and self._results[t.name].silent]
        reasons = [self._results[t.name].reason for t in silent if self._exposure(self._measures[t.measure].workload)[1]]
        return "; ".join(dict.fromkeys(reasons))

    def samples_since(self, workload: str, since: float) -> int | None:
        """Samples of the target since a time, of the measure that brings most; None where no measure counts."""
        counts = [
            len(self._feeds[m.name, "target"].series.window(since, math.inf))
            for m in self._measures.values()
            if m.workload == workload and m.target.by == "time"
        ]
        return max(counts, default=None)

    def trigger_views(self) -> tuple[TriggerView, ...]:
        """Triggers as the snapshot shows them."""
        return tuple(self._trigger_view(t) for t in self.triggers)

    def _trigger_view(self, trigger: Trigger) -> TriggerView:
        measure, result = self._measures[trigger.measure], self._results.get(trigger.name)
        view = TriggerView(
            name=trigger.name,
            measure=measure.name,
            workload=measure.workload,
            kind=measure.kind,
            action=trigger.action,
            mode=trigger.mode,
            windows=self._windows(trigger),
            period=self.period,
            history=tuple(finite_or_none(v) for v in self._history[trigger.name]),
            verdict=Verdict.INCONCLUSIVE,
            reason="not judged yet",
        )
        if result is None:
            return view
        judged = {
            "verdict": result.verdict,
            "value": finite_or_none(result.value),
            "limit": finite_or_none(result.limit),
            "unit": result.unit,
            "compared_with": result.compared_with,
            "reason": result.reason,
            "age": result.age,
        }
        return view.model_copy(update=judged)

    def validation_views(self, now: float) -> tuple[ValidationView, ...]:
        """Measures that are compared at places or have a gate."""
        return tuple(self._validation(m, now) for m in self._measures.values())

    def _validation(self, measure: Measure, now: float) -> ValidationView:
        gates = tuple(g for phase in self._phase_gates.values() for g in phase if g.measure == measure.name)
        feeds = self._feeds[measure.name, "legacy"], self._feeds[measure.name, "target"]
        measure, recorded = self._with_baseline(measure)
        pictures = self._drawn[measure.name] = drawn(measure, *feeds, gates, self._drawn.get(measure.name))
        return validation_view(
            measure, measure.workload, *feeds, gates, now, pictures=pictures, baseline=recorded,
            capacities=self._capacities[measure.name],
        )  # fmt: skip

    def forget(self) -> None:
        """After a rollback: gates anew."""
        self._gates.clear()
