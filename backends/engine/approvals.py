"""Overrides and the second person: what an operator lifts for a time, and what two have to want."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.cutover.events import Kind
from backends.cutover.expected import expected_seconds
from backends.cutover.forward import Move
from backends.cutover.migration import Asked, Migration
from backends.cutover.rules import LONGEST_OVERRIDE, OVERRIDABLE, RULES
from backends.engine.callers import Caller
from backends.engine.errors import PreviewChanged
from backends.engine.runner import new_id
from backends.errors import RefusedByRule, UsageError
from backends.escape import plain
from backends.snapshot import ApprovalView, OverrideView, PreviewView, StepView

if TYPE_CHECKING:
    from backends.engine.core import Engine
    from backends.engine.desk import Desk


class ApprovalNeeded(RefusedByRule):
    """Asked for, and not done: a second person has to approve it."""

    code = "approval_needed"

    def __init__(self, what: str, minutes: float) -> None:
        hint = f"a second person: cutover approve, within {minutes:.0f} min"
        super().__init__("APPROVAL", f"{what}: a second person has to approve it", hint=hint)


async def ask(engine: Engine, caller: Caller, move: Move, only: str | None, reason: str) -> ApprovalNeeded:
    """Journal what is asked for; one that was asked before is replaced. Returns the refusal that says so."""
    within = engine.plan.approve_within
    data: dict[str, object] = {
        "id": new_id(),
        "what": move.text,
        "only": only,
        "hash": move.hash(engine.plan_hash),
        "reason": reason,
    }
    data |= {"uid": caller.uid, "person": caller.person, "until": engine.observed_now() + within}
    await engine.record(Kind.ASKED, data, actor=caller.text)
    return ApprovalNeeded(move.text, within / 60)


def waiting(m: Migration, now: float) -> Asked | None:
    """What waits for a second person now; None once its time is over."""
    return m.asked if m.asked is not None and m.asked.until > now else None


async def approve(engine: Engine, caller: Caller, preview_hash: str | None, reason: str) -> Asked:
    """The second person's yes, journaled; the move itself is then the engine's. Raises `RefusedByRule`."""
    asked = waiting(engine.migration, engine.observed_now())
    if asked is None:
        raise RefusedByRule("APPROVAL", "nothing waits for a second person", hint="cutover advance asks")
    if preview_hash is not None and preview_hash != asked.hash:
        raise PreviewChanged
    is_other = caller.uid != asked.uid
    if not is_other and (not caller.said or caller.person == asked.person):
        hint = "another uid, or, where you share one, another name: cutover approve --as NAME"
        raise RefusedByRule("APPROVAL", f"{asked.by} has asked for it: the second person must be another", hint=hint)
    how = "verified by uid" if is_other else "unverified: one uid, two names"
    data = {"id": asked.id, "what": asked.what, "person": caller.person, "uid": caller.uid, "how": how, "reason": reason}
    await engine.record(Kind.APPROVED, data, actor=caller.text)
    return asked


def approval_preview(engine: Engine) -> PreviewView:
    """What `approve` would do now: the very move that was asked for."""
    asked = waiting(engine.migration, engine.observed_now())
    if asked is None:
        return PreviewView(command="approve", allowed=False, refused_by="APPROVAL", reason="nothing waits for a second person")
    move = engine.next_move(asked.only)
    if not isinstance(move, Move) or move.hash(engine.plan_hash) != asked.hash:
        reason = "what was asked for is not what would be done now"
        return PreviewView(command="approve", allowed=False, refused_by="PREVIEW", reason=reason, would_allow="asking anew")
    steps = tuple(StepView(text=s.text, seconds=expected_seconds(s, engine.migration)) for s in move.steps) or (
        StepView(text=move.text),
    )
    why = f": {asked.reason}" if asked.reason else ""
    return PreviewView(command="approve", hash=asked.hash, steps=steps, reason=f"asked for by {asked.by}{why}")


async def override(engine: Engine, caller: Caller, rule: str, reason: str, seconds: float) -> None:
    """Lift a rule for a time, observed. Raises `UsageError` and `RefusedByRule`."""
    if rule not in RULES:
        raise UsageError(f"there is no rule {plain(rule, 40)}", hint=f"one of {', '.join(OVERRIDABLE)}")
    if rule not in OVERRIDABLE:
        raise RefusedByRule(rule, f"is never overridden: {RULES[rule]}", hint=f"one of {', '.join(OVERRIDABLE)}")
    if len(reason.strip()) < 3:
        raise UsageError("an override needs a reason", hint="--reason TEXT")
    if not 0 < seconds <= LONGEST_OVERRIDE:
        raise UsageError(f"found an override of {seconds:.0f} s, expected at most 72 h", hint="--for 2h")
    data = {"rule": rule, "reason": reason.strip(), "until": engine.observed_now() + seconds, "hours": f"{seconds / 3600:.2g} h"}
    await engine.record(Kind.OVERRIDE, data | {"uid": caller.uid}, actor=caller.text)


async def end_override(engine: Desk, rule: str, reason: str, actor: str) -> None:
    if rule not in engine.migration.overrides:
        raise RefusedByRule("STATE", f"{plain(rule, 40)} is not overridden", hint="cutover status")
    await engine.record(Kind.OVERRIDE_ENDED, {"rule": rule, "reason": reason}, actor=actor)


async def end_overrides(engine: Desk) -> None:
    """Those whose time is over; they lift nothing since then, this only tells it."""
    m = engine.migration
    for rule in [r for r, held in m.overrides.items() if held.until <= engine.observed_now()]:
        await end_override(engine, rule, "its time is over", "engine")


def override_views(m: Migration, now: float) -> tuple[OverrideView, ...]:
    held = sorted(m.overrides.values(), key=lambda o: o.until)
    return tuple(
        OverrideView(rule=o.rule, reason=o.reason, by=o.by, at=o.at, seconds_left=round(o.until - now, 1))
        for o in held
        if o.until > now
    )


def approval_view(m: Migration, now: float) -> ApprovalView | None:
    asked = waiting(m, now)
    if asked is None:
        return None
    left = round(asked.until - now, 1)
    return ApprovalView(what=asked.what, by=asked.by, uid=asked.uid, reason=asked.reason, seconds_left=left)
