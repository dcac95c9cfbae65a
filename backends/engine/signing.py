"""Signing for what no machine can check, and waiving what a person answers for: journaled with who, when and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.cutover.checklist import checklist
from backends.cutover.events import Kind
from backends.cutover.migration import WAIVE
from backends.cutover.preflight import may_be_waived, preflight
from backends.errors import RefusedByRule, UsageError
from backends.escape import plain
from backends.plan.nearest import nearest_name

if TYPE_CHECKING:
    from backends.engine.core import Engine


async def sign(engine: Engine, actor: str, item: str, reason: str, *, withdraw: bool = False) -> None:
    """Sign one item, or withdraw a signature. Raises `UsageError` for an item that there is not, `RefusedByRule` for one that nobody may waive."""
    known = signable(engine)
    if item not in known:
        near = nearest_name(item, known)
        hint = f"did you mean {near}?" if near else f"one of {', '.join(known)}" if known else "cutover status tells the items"
        raise UsageError(f"there is no item {plain(item, 80)} to sign", hint=hint)
    if item.startswith(WAIVE) and not withdraw and not may_be_waived(item.removeprefix(WAIVE)):
        raise RefusedByRule("PREFLIGHT", f"{item.removeprefix(WAIVE)} is waived by nobody", hint="mend it: cutover status")
    if not reason.strip() and not withdraw:
        raise UsageError(f"{item}: a signature says why", hint="--reason TEXT")
    await engine.record(Kind.SIGNED, {"item": item, "reason": reason, "withdrawn": withdraw}, actor=actor)


def signable(engine: Engine) -> tuple[str, ...]:
    """Every item that a signature may name now."""
    listed = tuple(item.name for item in checklist(engine.plan, engine.migration))
    return (*listed, *(f"{WAIVE}{item.name}" for item in preflight(engine.world)))
