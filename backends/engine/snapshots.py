"""The engine's state as one snapshot, for consoles, scripts and `status`; and what the journal alone says when no engine runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from backends.cutover.backups import backup_views
from backends.cutover.checklist import checklist
from backends.cutover.evacuate import EvacuationPlan
from backends.cutover.events import Event
from backends.cutover.expected import expected_of, expected_seconds
from backends.cutover.forward import next_weight
from backends.cutover.inventory import inventory
from backends.cutover.migration import Migration, RunFold
from backends.cutover.preflight import preflight
from backends.cutover.readiness import readiness
from backends.cutover.rollback import RollbackPlan
from backends.cutover.rules import Refusal
from backends.cutover.states import TABLE
from backends.cutover.steps.base import Step
from backends.cutover.story import QUIET, view
from backends.dataset_view import DatasetView, Lag
from backends.engine.approvals import approval_view, override_views
from backends.engine.clock import utc_now
from backends.plan.calendar import no_changes_now
from backends.plan.load import parse_plan
from backends.snapshot import (
    CheckpointView,
    EventView,
    GateView,
    HoldView,
    PlanView,
    PreviewView,
    ReadinessView,
    RouteView,
    RunView,
    SeatView,
    SideView,
    Snapshot,
    StepView,
    TriggerView,
    WorkloadView,
)
from backends.verdict import Verdict
from backends.vocabulary import SIDES, Phase, SideName, State  # fmt: skip

if TYPE_CHECKING:
    from backends.engine.core import Engine

EVENTS = 60


def snapshot_of(engine: Engine) -> Snapshot:
    """Everything, now."""
    m, plan, now = engine.migration, engine.plan, engine.stamp()
    blind = engine.judge.is_blind()
    window = {State.DUAL: plan.windows.dual, State.RETIRING: plan.windows.retire}.get(m.state)
    return Snapshot(
        name=plan.name,
        at=utc_now(),
        seq=m.seq,
        simulation=plan.simulation,
        engine=engine.view(),
        lease=engine.lease.view() if engine.lease is not None else None,
        plan=PlanView(path=m.plan_path, hash=m.plan_hash, armed_hash=m.armed.plan_hash if m.armed else None, text=m.plan_text),
        state=m.state,
        phase=m.phase,
        held=_holds(m),
        blind=bool(blind),
        blind_reason=blind,
        seat=SeatView(holder=m.seat, since=m.seat_since, uid=m.seat_uid),
        overrides=override_views(m, engine.observed_now()),
        approval=approval_view(m, engine.observed_now()),
        sides={s: _side(engine, s) for s in SIDES},
        routes=tuple(_route(engine, r.name) for r in plan.routes),
        datasets=tuple(engine.followers.view(d.name) for d in plan.datasets),
        gates=engine.judge.gates(),
        triggers=engine.judge.trigger_views(),
        validation=engine.judge.validation_views(now),
        checkpoints=_checkpoints(m),
        hosts=engine.world.fleet.views(now),
        workloads=tuple(_workload(engine, w.name) for w in plan.workloads),
        rollback=ready(engine),
        preflight=preflight(engine.world),
        checklist=checklist(plan, m),
        backups=backup_views(plan, m, engine.world.wall_now(), engine.world.backup_errors),
        inventory=inventory(plan, m) if m.phase is Phase.DECOMMISSION else (),
        legacy_left=m.legacy_left,
        run=_run(m.run),
        next=advance_preview(engine),
        window_elapsed=engine.observed_now() - m.window_from if window and m.window_from is not None else None,
        window_total=window,
        no_changes=_no_changes(engine),
        events=_events(list(engine.recent)),
        journal_ok=engine.journal.emergency is None,
        journal_note=_journal_note(engine),
    )


def _checkpoints(m: Migration) -> tuple[CheckpointView, ...]:
    """What was last kept of each workload; what a newer engine kept otherwise is passed over."""
    views = []
    for told in m.checkpoints.values():
        with contextlib.suppress(ValidationError):
            views.append(CheckpointView.model_validate(told))
    return tuple(views)


def _no_changes(engine: Engine) -> str:
    span = no_changes_now(engine.plan.windows.no_changes, engine.world.wall_now())
    return f"no changes until {span.end:%Y-%m-%d %H:%M} UTC ({span.text})" if span is not None else ""


def _journal_note(engine: Engine) -> str:
    emergency = engine.journal.emergency
    if emergency is not None:
        return f"the journal cannot be written: events go to {emergency}"
    return (
        "the disk is full: the journal goes on in its reserved space, and nothing moves forward"
        if engine.journal.released
        else ""
    )


def ready(engine: Engine) -> ReadinessView:
    """Rollback readiness, now."""
    stale = tuple(engine.guard.route_errors)
    notes = (_journal_note(engine), engine.lease.note if engine.lease is not None else "")
    return readiness(engine.world, reverse_lag=engine.reverse_lag(), notes=notes, stale_routes=stale)


def _holds(m: Migration) -> tuple[HoldView, ...]:
    return tuple(HoldView(by=h.by, reason=h.reason, at=h.at) for h in m.holds)


def _side(engine: Engine, side: SideName) -> SideView:
    seen, spec = engine.world.side(side), engine.plan.side(side)
    return SideView(provider=spec.provider, region=spec.region, health=seen.health, age=seen.age, reason=seen.reason)


def _route(engine: Engine, name: str) -> RouteView:
    spec = next(r for r in engine.plan.routes if r.name == name)
    m = engine.migration.route(name)
    seen = engine.guard.seen.get(name)
    return RouteView(
        name=name, workload=spec.workload, kind=spec.kind, steps=spec.steps, desired=m.desired,
        observed=seen[0] if seen else None, observed_age=time.monotonic() - seen[1] if seen else None,
        data_plane=engine.guard.shares.get(name), advance=spec.advance,
        soak=engine.soaks()[name] if m.confirmed > 0 and next_weight(spec, engine.migration) is not None else None,
        in_flight=m.in_flight, foreign=m.foreign, error=engine.guard.route_errors.get(name),
    )  # fmt: skip


def _workload(engine: Engine, name: str) -> WorkloadView:
    spec = next(w for w in engine.plan.workloads if w.name == name)
    m = engine.migration

    def state(side: SideName) -> Literal["running", "quiesced", "stopped"]:
        if (name, side) in m.quiesced:
            return "quiesced"
        if (name, side) in m.started:
            return "running"
        return "running" if side == "legacy" else "stopped"

    return WorkloadView(name=name, kind=spec.class_, writes=spec.writes, legacy=state("legacy"), target=state("target"))


def _run(run: RunFold | None) -> RunView | None:
    if run is None:
        return None
    steps = tuple(
        StepView(text=s.get("text", s["kind"]), status=status, detail=detail, seconds=s.get("seconds") if took is None else took)
        for s, status, detail, took in zip(run.steps, run.status, run.detail, run.took, strict=True)
    )
    return RunView(
        kind=run.kind, mode=run.mode, reason=run.reason, actor=run.actor, started_at=run.started_at, ended_at=run.ended_at,
        outcome=run.outcome, steps=steps,
    )  # fmt: skip


def _events(events: list[Event]) -> tuple[EventView, ...]:
    told = [e for e in events if e.kind not in QUIET]
    return tuple(view(e) for e in reversed(told[-EVENTS:]))


def advance_preview(engine: Engine, only: str | None = None) -> PreviewView:
    """What `advance` would do now."""
    move = engine.next_move(only)
    if isinstance(move, Refusal):
        return PreviewView(
            command="advance", allowed=False, refused_by=move.rule, reason=move.reason, would_allow=move.would_allow
        )
    steps = _steps(move.steps, engine.migration) or (StepView(text=move.text),)
    seconds = sum(expected_of(move.steps, engine.migration))
    return PreviewView(command="advance", hash=move.hash(engine.plan_hash), steps=steps, seconds=seconds, reason=move.text)


def rollback_preview(engine: Engine, plan: RollbackPlan) -> PreviewView:
    """What a rollback would do now: the executor's own steps."""
    m = engine.migration
    rule, reason, cure = None, "", ""
    if not may_roll_back(m):
        rule, reason = "STATE", f"{m.state}: there is nothing to roll back"
        cure = "a route with weight on target, or an effect not undone"
    elif plan.blocked_by:
        rule, reason, cure = "SR1", "; ".join(plan.blocked_by), "legacy alive and seen"
    return PreviewView(
        command="rollback", mode=plan.mode, hash=plan.hash(engine.plan_hash),
        steps=_steps(plan.steps, m), allowed=rule is None, refused_by=rule,
        reason=reason, would_allow=cure, seconds=plan.seconds, gap=plan.gap, warnings=plan.warnings,
    )  # fmt: skip


def evacuate_preview(engine: Engine, plan: EvacuationPlan) -> PreviewView:
    """What an evacuation would do now: the executor's own steps."""
    return PreviewView(
        command="evacuate", hash=plan.hash(engine.plan_hash), steps=_steps(plan.steps, engine.migration),
        allowed=not plan.refused_by, refused_by=plan.refused_by or None, reason=plan.reason, would_allow=plan.would_allow,
        seconds=plan.seconds, gap=plan.gap, warnings=plan.warnings,
    )  # fmt: skip


def _steps(steps: Iterable[Step], m: Migration) -> tuple[StepView, ...]:
    """Steps that are still to be done, each with how long it will take."""
    return tuple(StepView(text=s.text, seconds=expected_seconds(s, m)) for s in steps)


def may_roll_back(m: Migration) -> bool:
    """From any state with exposure, or with an effect that is not undone."""
    if m.state in (State.ROLLING_BACK, State.RECONCILING, State.ROLLBACK_BLOCKED):
        return True
    return State.ROLLING_BACK in TABLE[m.state].backward and (m.has_effects or TABLE[m.state].is_exposed)


def snapshot_from_journal(m: Migration, events: list[Event], state_dir: Path) -> Snapshot:
    """The journal's last word, with no engine: nothing live is known and nothing live is shown."""
    checked = parse_plan(m.plan_text, Path(m.plan_path))
    plan = checked.plan
    sides = {s: SideView(provider=plan.side(s).provider, region=plan.side(s).region) for s in SIDES} if plan else {}
    routes = tuple(
        RouteView(
            name=r.name, workload=r.workload, kind=r.kind, steps=r.steps, desired=m.route(r.name).desired, advance=r.advance
        )
        for r in (plan.routes if plan else ())
    )
    return Snapshot(
        name=m.name,
        at=utc_now(),
        seq=m.seq,
        simulation=bool(plan and plan.simulation),
        engine=None,
        plan=PlanView(path=m.plan_path, hash=m.plan_hash, armed_hash=m.armed.plan_hash if m.armed else None, text=m.plan_text),
        state=m.state,
        phase=m.phase,
        held=_holds(m),
        seat=SeatView(holder=m.seat, since=m.seat_since, uid=m.seat_uid),
        overrides=override_views(m, m.observed),
        approval=approval_view(m, m.observed),
        sides=sides,
        routes=routes,
        datasets=tuple(_journal_dataset(m, d.name, d.from_, d.to) for d in (plan.datasets if plan else ())),
        gates=tuple(
            GateView(
                name=n,
                phase=Phase(g.phase or "staging"),
                verdict=Verdict(g.verdict),
                reason=g.reason,
                value=g.value,
                limit=g.limit,
            )
            for n, g in m.gates.items()
        ),
        triggers=tuple(
            TriggerView(name=n, measure=n, verdict=Verdict(t.verdict), value=t.value, limit=t.limit, reason=t.reason)
            for n, t in m.triggers.items()
        ),
        checkpoints=_checkpoints(m),
        backups=backup_views(plan, m, utc_now(), {}) if plan else (),
        rollback=ReadinessView(ready=False, blocked_by=("no engine runs: cutover up PLAN, or cutover rollback, starts it",)),
        run=_run(m.run),
        events=_events(events),
    )


def _journal_dataset(m: Migration, name: str, source: str, target: str) -> DatasetView:
    token, last = m.token(name), m.rounds.get(name, {})
    lag = Lag(objects=last.get("lag_objects")) if last else Lag()
    return DatasetView(name=name, source=source, target=target, writer=token.writer, epoch=token.epoch, lag=lag)
