"""Signing for what no machine can check, and waiving what a person answers for: journaled with who, when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.cutover.checklist import checklist
from backends.cutover.events import Kind
from backends.cutover.migration import WAIVE
from backends.cutover.preflight import may_be_waived, not_proven, preflight
from backends.errors import RefusedByRule, UsageError
from backends.escape import plain
from backends.plan.nearest import nearest_name
from backends.snapshot import PreviewView
from backends.vocabulary import Phase

if TYPE_CHECKING:
    from backends.engine.core import Engine


async def sign(engine: Engine, actor: str, item: str, reason: str, *, withdraw: bool = False) -> None:
    """Sign one item, or withdraw a signature. Raises `UsageError` for an item that there is not, `RefusedByRule` for one that nobody may waive."""
    _check(engine, item, withdraw=withdraw)
    if not reason.strip() and not withdraw:
        raise UsageError(f"{item}: a signature says why", hint="--reason TEXT")
    await engine.record(Kind.SIGNED, {"item": item, "reason": reason, "withdrawn": withdraw}, actor=actor)


def sign_preview(engine: Engine, item: str, *, withdraw: bool = False) -> PreviewView:
    """What a signature would answer for; without an item those that wait for one. Raises `UsageError` for an item that there is not."""
    if not item:
        return _all_preview(engine)
    try:
        _check(engine, item, withdraw=withdraw)
    except RefusedByRule as refused:
        allow = next((i.cure for i in preflight(engine.world) if i.name == item.removeprefix(WAIVE)), "")
        return PreviewView(
            command="sign", allowed=False, refused_by=refused.rule, reason=refused.message, would_allow=allow or refused.hint
        )
    signed = engine.migration.signed.get(item)
    if withdraw and signed is None:
        return PreviewView(command="sign", allowed=False, refused_by="STATE", reason=f"{item} is not signed")
    if withdraw and signed is not None:
        return PreviewView(command="sign", reason=f"takes back what {signed.by} signed: {signed.reason}")
    return PreviewView(command="sign", reason=_asks(engine, item))


def _all_preview(engine: Engine) -> PreviewView:
    m = engine.migration
    late = [i.name for i in checklist(engine.plan, m) if i.phase is (m.phase or Phase.DEVELOPMENT) and not i.signed_by]
    late += [f"{WAIVE}{i.name}" for i in not_proven(preflight(engine.world)) if may_be_waived(i.name)]
    if not late:
        return PreviewView(command="sign", allowed=False, refused_by="STATE", reason="nothing waits for a signature")
    return PreviewView(command="sign", reason=f"one of {', '.join(late)}")


def _asks(engine: Engine, item: str) -> str:
    """The item in words: what is answered for, and what is known of it."""
    if item.startswith(WAIVE):
        seen = next(i for i in preflight(engine.world) if i.name == item.removeprefix(WAIVE))
        return f"waives {seen.name}, {seen.verdict}: {seen.evidence}"
    asked = next(i for i in checklist(engine.plan, engine.migration) if i.name == item)
    gate = f"a gate of {asked.phase}" if asked.must else f"usual in {asked.phase}, and stops nothing"
    return f"{asked.text} ({gate})" if asked.text else gate


def _check(engine: Engine, item: str, *, withdraw: bool) -> None:
    known = signable(engine)
    if item not in known:
        near = nearest_name(item, known)
        hint = f"did you mean {near}?" if near else f"one of {', '.join(known)}" if known else "cutover status tells the items"
        raise UsageError(f"there is no item {plain(item, 80)} to sign", hint=hint)
    if item.startswith(WAIVE) and not withdraw and not may_be_waived(item.removeprefix(WAIVE)):
        raise RefusedByRule("PREFLIGHT", f"{item.removeprefix(WAIVE)} is waived by nobody", hint="mend it: cutover status")


def signable(engine: Engine) -> tuple[str, ...]:
    """Every item that a signature may name now."""
    listed = tuple(item.name for item in checklist(engine.plan, engine.migration))
    return (*listed, *(f"{WAIVE}{item.name}" for item in preflight(engine.world)))
