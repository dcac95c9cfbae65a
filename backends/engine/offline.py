"""What a rollback would do, by the journal alone: for a dry run where no engine runs. Nothing is started, asked or written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.cutover.preflight import Proof
from backends.cutover.rollback import Mode, plan_rollback
from backends.cutover.world import SideHealth, World
from backends.engine.errors import EngineGone
from backends.engine.journal import read_events
from backends.engine.snapshots import may_roll_back
from backends.plan.load import parse_plan
from backends.plan.models import Plan
from backends.snapshot import PreviewView, StepView
from backends.vocabulary import SideName


@dataclass(frozen=True, slots=True)
class JournalWorld:
    """The part of a world that planning a rollback reads; neither side has been looked at."""

    plan: Plan
    migration: Migration

    @property
    def proofs(self) -> Mapping[str, Proof]:
        return {}

    def side(self, side: SideName) -> SideHealth:
        return SideHealth(reason="no engine runs")


def preview_offline(state: Path, mode: Mode) -> PreviewView:
    """The executor's own steps from where the journal ends. Raises `EngineGone` where its plan cannot be read any more."""
    m = fold(read_events(state))
    plan = parse_plan(m.plan_text, Path(m.plan_path)).plan
    if plan is None:
        raise EngineGone(
            "no engine runs, and the journal's plan is none of this version", where=str(state), hint="cutover up PLAN"
        )
    # Planning reads plan, migration and sides, and nothing else of a world.
    steps = plan_rollback(cast(World, JournalWorld(plan, m)), mode, accept_unknown=True)
    allowed = may_roll_back(m)
    return PreviewView(
        command="rollback",
        mode=mode,
        hash=steps.hash(m.plan_hash),
        steps=tuple(StepView(text=s.text, seconds=s.seconds) for s in steps.steps),
        allowed=allowed,
        refused_by=None if allowed else "STATE",
        reason="" if allowed else f"{m.state}: there is nothing to roll back",
        would_allow="" if allowed else "a route with weight on target, or an effect not undone",
        seconds=steps.seconds,
        gap=steps.gap,
        warnings=(*_warnings(m), *steps.warnings),
    )


def _warnings(m: Migration) -> list[str]:
    out = ["no engine runs: these are the journal's steps; whether legacy can take the load is seen when one has started"]
    if m.ops:
        out.append(
            f"the engine ended in the middle of {len(m.ops)} operation(s): it looks at the world first, and may need other steps"
        )
    return out
