"""Steps rebuilt from the journal, after a restart."""

from __future__ import annotations

from typing import Any

from backends.cutover.steps.base import Step
from backends.cutover.steps.restore import Restore
from backends.cutover.steps.retire import LowerLegacy, VerifyArchive
from backends.cutover.steps.side import CheckSide
from backends.cutover.steps.ttl import NoteTtl, SetTtl
from backends.cutover.steps.weight import CheckRoute, Drain, Expel, SetWeight
from backends.cutover.steps.workload import Pin, SameStep, StopNewWork
from backends.cutover.steps.writer import Compare, Fence, LastRound, Quiesce, Resume, SettleGap, SetToken

_KINDS: dict[str, Any] = {
    cls.kind: cls
    for cls in (
        CheckRoute,
        CheckSide,
        Compare,
        Drain,
        Expel,
        Fence,
        LastRound,
        LowerLegacy,
        NoteTtl,
        Pin,
        Quiesce,
        Restore,
        Resume,
        SameStep,
        SetToken,
        SetTtl,
        SetWeight,
        SettleGap,
        StopNewWork,
        VerifyArchive,
    )
}


def step_of(kind: str, args: dict[str, Any]) -> Step:
    """The step that a journal's INTENT or run names. Raises KeyError for a kind that this version does not have."""
    step: Step = _KINDS[kind](**args)
    return step


def kinds() -> tuple[str, ...]:
    """All kinds of steps, for tests that walk them."""
    return tuple(_KINDS)
