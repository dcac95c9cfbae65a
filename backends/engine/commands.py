"""What a client may ask of the engine: one function a command, its arguments checked, its answer plain JSON."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from backends.cutover.events import Kind
from backends.cutover.forward import Move, needs_second
from backends.cutover.rollback import Mode
from backends.cutover.rules import OVERRIDABLE
from backends.cutover.tokens import check_token
from backends.engine.approvals import approval_preview, approve, ask, end_override, override, override_views
from backends.engine.baseline import take_baseline
from backends.engine.callers import Caller
from backends.engine.errors import PreviewChanged
from backends.engine.moves import hold
from backends.engine.seat import give_seat, take_seat
from backends.engine.signing import sign, sign_preview
from backends.engine.snapshots import advance_preview, evacuate_preview, may_roll_back, rollback_preview
from backends.errors import CutoverError, RefusedByRule, UsageError
from backends.escape import plain
from backends.plan.units import Duration
from backends.snapshot import CheckpointView, PreviewView
from backends.transfer.restore import Extent
from backends.vocabulary import State

if TYPE_CHECKING:
    from backends.engine.core import Engine

CARRIES = (State.SHIFTING, State.SOAKING, State.DUAL, State.ROLLING_BACK, State.ROLLBACK_BLOCKED, State.COMMITTED, State.RETIRING)


class Args(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReasonArgs(Args):
    reason: str = ""


class AdvanceArgs(ReasonArgs):
    route: str | None = None
    preview_hash: str | None = None


class RollbackArgs(ReasonArgs):
    mode: Mode = "graceful"
    confirm: str = ""
    preview_hash: str | None = None
    accept_unknown: bool = False


class ApproveArgs(ReasonArgs):
    preview_hash: str | None = None


class OverrideArgs(ReasonArgs):
    rule: str
    for_: Duration = Field(default=0.0, alias="for")
    end: bool = False


class NoteArgs(Args):
    text: str = Field(min_length=1, max_length=4000)


class BaselineArgs(Args):
    workload: str | None = None
    runs: dict[str, list[str]] = Field(default_factory=dict)


class ValidatedArgs(Args):
    result: dict[str, Any]


class CheckpointsArgs(Args):
    result: CheckpointView


class EvacuateArgs(ReasonArgs):
    confirm: str = ""
    preview_hash: str | None = None
    accept_unknown: bool = False


class PreviewArgs(Args):
    command: Literal["advance", "hold", "resume", "rollback", "evacuate", "approve", "override", "sign"]
    mode: Mode = "graceful"
    accept_unknown: bool = False
    route: str | None = None
    item: str = ""
    withdraw: bool = False


class SyncArgs(Args):
    dataset: str | None = None
    direction: Literal["forward", "reverse"] = "forward"
    dry_run: bool = False
    retry_failed: bool = False
    accept_empty: bool = False


class BackupArgs(Args):
    dataset: str


class RestoreArgs(Args):
    dataset: str
    number: int | None = Field(default=None, ge=1)
    whole: bool = False
    dry_run: bool = False
    confirm: str = ""


class SeatArgs(Args):
    take: bool = True


class SignArgs(ReasonArgs):
    item: str
    withdraw: bool = False


class DownArgs(Args):
    anyway: bool = False


async def advance(engine: Engine, caller: Caller, args: AdvanceArgs) -> dict[str, Any]:
    """One step forward, to CONFIRMED."""
    _check_route(engine, args.route)
    coming = engine.next_move(args.route)
    if isinstance(coming, Move) and needs_second(engine.plan, coming):
        if args.preview_hash is not None and args.preview_hash != coming.hash(engine.plan_hash):
            raise PreviewChanged
        raise await ask(engine, caller, coming, args.route, args.reason)
    bound = coming.hash(engine.plan_hash) if args.preview_hash is None and isinstance(coming, Move) else args.preview_hash
    move = await engine.advance(actor=caller.text, reason=args.reason, only=args.route, preview_hash=bound)
    return _now(engine) | {"moved": move.text}


async def approve_(engine: Engine, caller: Caller, args: ApproveArgs) -> dict[str, Any]:
    """The second person's yes: what was asked for is done, to CONFIRMED."""
    asked = await approve(engine, caller, args.preview_hash, args.reason)
    reason = f"{asked.reason or asked.what} (approved by {caller.text})"
    move = await engine.advance(actor=asked.by, reason=reason, only=asked.only, preview_hash=asked.hash)
    return _now(engine) | {"moved": move.text, "asked_by": asked.by}


async def override_(engine: Engine, caller: Caller, args: OverrideArgs) -> dict[str, Any]:
    """Lift one rule for a time, or take that back."""
    if args.end:
        await end_override(engine, args.rule, args.reason or "taken back", caller.text)
    else:
        await override(engine, caller, args.rule, args.reason, args.for_)
    views = override_views(engine.migration, engine.observed_now())
    return _now(engine) | {"overrides": [v.model_dump(mode="json") for v in views]}


async def note(engine: Engine, caller: Caller, args: NoteArgs) -> dict[str, Any]:
    """What an operator has learnt, for the report."""
    await engine.record(Kind.LESSON, {"text": args.text}, actor=caller.text)
    return _now(engine)


def _check_route(engine: Engine, route: str | None) -> None:
    names = [r.name for r in engine.plan.routes]
    if route is not None and route not in names:
        raise UsageError(f"the plan has no route {plain(route)}", hint=f"one of {', '.join(names)}")


async def hold_(engine: Engine, caller: Caller, args: ReasonArgs) -> dict[str, Any]:
    """Stop forward movement."""
    await hold(engine, caller.text, args.reason or "held by hand", actor=caller.text, anew=True)
    return _now(engine)


async def resume(engine: Engine, caller: Caller, args: ReasonArgs) -> dict[str, Any]:
    """Lift the holds, or arm anew after a rollback."""
    await engine.resume(actor=caller.text, reason=args.reason)
    return _now(engine)


async def rollback(engine: Engine, caller: Caller, args: RollbackArgs) -> dict[str, Any]:
    """Take production back; the name must have been typed, and the preview must still hold."""
    if args.confirm != engine.plan.name:
        raise RefusedByRule("CONFIRM", "the migration's name was not typed", hint=f"--confirm {engine.plan.name}")
    m = engine.migration
    if not may_roll_back(m):
        raise RefusedByRule("STATE", f"{m.state}: there is nothing to roll back", hint="cutover status")
    if args.preview_hash is not None and not engine.is_going_back:
        plan = engine.rollback_plan(args.mode, args.accept_unknown)
        if args.preview_hash != plan.hash(engine.plan_hash):
            raise PreviewChanged
    reason = args.reason or "asked for by an operator"
    state = await engine.rollback(mode=args.mode, actor=caller.text, reason=reason, accept_unknown=args.accept_unknown)
    if state is State.ROLLBACK_BLOCKED:
        blocked = "; ".join(engine.rollback_plan(args.mode, args.accept_unknown).blocked_by) or _why_blocked(engine)
        raise RefusedByRule("SR1", f"rollback_blocked: {blocked}", hint="cutover status")
    return _now(engine)


async def evacuate(engine: Engine, caller: Caller, args: EvacuateArgs) -> dict[str, Any]:
    """All weight to a living target; the name must have been typed, and the preview must still hold."""
    if args.confirm != engine.plan.name:
        raise RefusedByRule("CONFIRM", "the migration's name was not typed", hint=f"--confirm {engine.plan.name}")
    reason = args.reason or "asked for by an operator"
    await engine.evacuate(
        actor=caller.text, reason=reason, accept_unknown=args.accept_unknown, preview_hash=args.preview_hash
    )  # fmt: skip
    return _now(engine)


def _why_blocked(engine: Engine) -> str:
    """What the journal last said of it: a step that failed, where no rule stands in the way."""
    told = (event.data for event in reversed(engine.recent) if event.kind == Kind.STATE)
    reason = next((str(data.get("reason", "")) for data in told if data["state"] == State.ROLLBACK_BLOCKED.value), "")
    return reason or "see cutover history"


async def preview(engine: Engine, caller: Caller, args: PreviewArgs) -> dict[str, Any]:
    """What a command would do now."""
    if args.command == "rollback":
        await engine.know_legacy()
        view = rollback_preview(engine, engine.rollback_plan(args.mode, args.accept_unknown))
    elif args.command == "evacuate":
        view = evacuate_preview(engine, await engine.evacuation_plan(args.accept_unknown))
    elif args.command == "advance":
        _check_route(engine, args.route)
        view = advance_preview(engine, args.route)
    elif args.command == "sign":
        view = sign_preview(engine, args.item, withdraw=args.withdraw)
    else:
        view = _simple_preview(engine, args.command)
    return view.model_dump(mode="json")


def _simple_preview(engine: Engine, command: str) -> PreviewView:
    m = engine.migration
    if command == "approve":
        return approval_preview(engine)
    if command == "override":
        active = (
            "; ".join(f"{o.rule} for {o.seconds_left:.0f} s more" for o in override_views(m, engine.observed_now())) or "none"
        )
        return PreviewView(command="override", reason=f"one of {', '.join(OVERRIDABLE)}, at most 72 h; active: {active}")
    if command == "hold":
        return PreviewView(command="hold", reason="nothing moves forward until it is lifted; rollback stays possible")
    if m.needs_resume:
        return PreviewView(command="resume", reason="arms the migration anew: phase staging, every gate again; needs a reason")
    if not m.holds and m.state is not State.ROLLBACK_BLOCKED:
        return PreviewView(command="resume", allowed=False, refused_by="STATE", reason="nothing is held")
    held = "; ".join(f"{h.by}: {h.reason}" for h in m.holds)
    return PreviewView(command="resume", reason=f"lifts {held}" if held else "back to where it was, held")


async def sync(engine: Engine, caller: Caller, args: SyncArgs) -> dict[str, Any]:
    """One round of sync now, by the engine's own hand; obeys the writer tokens."""
    names = [d.name for d in engine.plan.datasets]
    if args.dataset is not None and args.dataset not in names:
        raise UsageError(f"the plan has no dataset {plain(args.dataset)}", hint=f"one of {', '.join(names)}")
    results = []
    for name in [args.dataset] if args.dataset else names:
        check_token(engine.migration.token(name).writer, name, args.direction)
        if args.direction == "reverse" and name in engine.migration.forced:
            text = f"{name} was handed over by force: legacy may hold what a copy would overwrite"
            raise RefusedByRule("SR2", text, hint="an emergency rollback, which overwrites nothing")
        result = await engine.world.round(
            name, args.direction, dry_run=args.dry_run, retry_failed=args.retry_failed, accept_empty=args.accept_empty
        )
        results.append(result)
    return {"ok": True, "datasets": [asdict(r) for r in results]}


async def baseline(engine: Engine, caller: Caller, args: BaselineArgs) -> dict[str, Any]:
    """Record legacy's figures: the yardstick of what comes."""
    taken = await take_baseline(engine, args.workload, args.runs, caller.text)
    return {"ok": True, "measures": [t.as_json() for t in taken]}


async def validated(engine: Engine, caller: Caller, args: ValidatedArgs) -> dict[str, Any]:
    """Keep what came of a validation run, which the caller has made."""
    if args.result.get("workload") not in [w.name for w in engine.plan.workloads]:
        raise UsageError("a validation run of no workload of the plan")
    await engine.record(Kind.VALIDATED, args.result, actor=caller.text)
    return _now(engine)


async def checkpoints(engine: Engine, caller: Caller, args: CheckpointsArgs) -> dict[str, Any]:
    """Keep what came of a comparison of two checkpoints, which the caller has made."""
    if args.result.workload and args.result.workload not in [w.name for w in engine.plan.workloads]:
        raise UsageError("checkpoints of no workload of the plan")
    await engine.record(Kind.CHECKPOINTS, args.result.model_dump(mode="json", exclude={"at"}), actor=caller.text)
    return _now(engine)


async def backup(engine: Engine, caller: Caller, args: BackupArgs) -> dict[str, Any]:
    """Take a backup of a dataset now, and try it."""
    held = await engine.backups.take_now(args.dataset)
    told = {"dataset": args.dataset, "number": held.number, "objects": held.objects, "bytes": held.bytes, "where": held.where}
    return _now(engine) | {"backup": told | {"good": held.good, "text": held.tried}}


async def restore(engine: Engine, caller: Caller, args: RestoreArgs) -> dict[str, Any]:
    """Restore what is damaged on legacy from a backup; the whole of it only where the migration's name was typed."""
    if args.whole and not args.dry_run and args.confirm != engine.plan.name:
        raise RefusedByRule("CONFIRM", "the migration's name was not typed", hint=f"--confirm {engine.plan.name}")
    extent: Extent = "whole" if args.whole else "damaged"
    told = await engine.backups.restore(args.dataset, args.number, extent, actor=caller.text, dry_run=args.dry_run)
    return _now(engine) | {"restore": told}


async def seat(engine: Engine, caller: Caller, args: SeatArgs) -> dict[str, Any]:
    """Take the seat; who had it sees so."""
    await (take_seat if args.take else give_seat)(engine, caller)
    return _now(engine) | {"seat": engine.migration.seat}


async def down(engine: Engine, caller: Caller, args: DownArgs) -> dict[str, Any]:
    """End the engine when nothing is in flight."""
    m = engine.migration
    if engine.is_moving:
        raise RefusedByRule("BUSY", "an operation is in flight", hint="wait for its end")
    if m.state in CARRIES and m.exposure != "none" and not args.anyway:
        text = f"{m.state}: target carries traffic and nobody would watch it"
        raise RefusedByRule("STATE", text, hint="--anyway, if that is meant")
    await engine.record(Kind.ENGINE_STOPPED, {"reason": f"cutover down by {caller.text}"}, actor=caller.text)
    engine.stopping.set()
    return _now(engine)


async def sign_(engine: Engine, caller: Caller, args: SignArgs) -> dict[str, Any]:
    """Answer for an item that no machine can check."""
    await sign(engine, caller.text, args.item, args.reason, withdraw=args.withdraw)
    return _now(engine) | {"item": args.item, "signed": not args.withdraw}


def _now(engine: Engine) -> dict[str, Any]:
    m = engine.migration
    weights = {r.name: m.route(r.name).confirmed for r in engine.plan.routes}
    held = [{"by": h.by, "reason": h.reason} for h in m.holds]
    return {
        "ok": True,
        "state": m.state.value,
        "phase": m.phase.value if m.phase else None,
        "routes": weights,
        "held": held,
        "seq": m.seq,
    }


Handler = Callable[[Any, Caller, Any], Awaitable[dict[str, Any]]]

COMMANDS: dict[str, tuple[type[Args], Handler]] = {
    "advance": (AdvanceArgs, advance),
    "hold": (ReasonArgs, hold_),
    "resume": (ReasonArgs, resume),
    "rollback": (RollbackArgs, rollback),
    "evacuate": (EvacuateArgs, evacuate),
    "note": (NoteArgs, note),
    "approve": (ApproveArgs, approve_),
    "override": (OverrideArgs, override_),
    "preview": (PreviewArgs, preview),
    "sync": (SyncArgs, sync),
    "backup": (BackupArgs, backup),
    "restore": (RestoreArgs, restore),
    "seat": (SeatArgs, seat),
    "down": (DownArgs, down),
    "sign": (SignArgs, sign_),
    "baseline": (BaselineArgs, baseline),
    "validated": (ValidatedArgs, validated),
    "checkpoints": (CheckpointsArgs, checkpoints),
}


def error_body(error: CutoverError) -> dict[str, Any]:
    """The contract's error object, with the exit code."""
    body = error.as_json()
    body["error"]["exit_code"] = error.exit_code
    return body
