"""Events of the journal: what happened, as it is folded into the state. Names are part of the journal's schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

SCHEMA = 1


class Kind(StrEnum):
    """Every kind of event there is."""

    CREATED = "created"
    PLAN_LOADED = "plan.loaded"
    ENGINE_STARTED = "engine.started"
    ENGINE_STOPPED = "engine.stopped"
    RECOVERED = "engine.recovered"
    STATE = "state"
    HELD = "held"
    RELEASED = "released"
    ARMED = "armed"
    INTENT = "op.intent"
    SENT = "op.sent"
    OBSERVED = "op.observed"
    CONFIRMED = "op.confirmed"
    FAILED = "op.failed"
    FOREIGN = "op.foreign"
    RUN_STARTED = "run.started"
    RUN_ENDED = "run.ended"
    GATE = "gate"
    TRIGGER = "trigger"
    SIDE = "side"
    ROUND = "sync.round"
    REFUSED = "refused"
    SEAT = "seat"
    SIGNED = "signed"
    INVENTORY = "inventory"
    TICK = "tick"
    CLOCK_JUMP = "clock.jump"
    NOTE = "note"
    MERGED = "journal.merged"
    OVERRIDE = "override"
    OVERRIDE_ENDED = "override.ended"
    ASKED = "approval.asked"
    APPROVED = "approval.given"
    WINDOW_OVER = "window.over"
    LESSON = "lesson"
    BASELINE = "baseline"
    VALIDATED = "validated"
    CHECKPOINTS = "checkpoints"
    COMMAND = "command"
    COMMAND_ENDED = "command.ended"
    BACKUP_TAKEN = "backup.taken"
    BACKUP_TRIED = "backup.tried"
    BACKUP_RESTORED = "backup.restored"
    BACKUP_ENDING = "backup.ending"
    BACKUP_REMOVED = "backup.removed"
    LEASE = "lease"
    LONG_ANSWER = "route.ttl"


_ONWARD = ("preparing", "shifting", "committed", "retiring", "decommissioned")


def moves_forward(kind: str, data: dict[str, Any]) -> bool:
    """Does this event open the way to an effect that must not be before it is in the journal? All others may be merged into it later:
    holds, verdicts and everything on the way back."""
    if data.get("evacuate"):
        return False  # legacy is dead: what brings production to the living side waits for no disk
    if kind in (Kind.CREATED, Kind.PLAN_LOADED, Kind.ARMED, Kind.RELEASED, Kind.SIGNED, Kind.BACKUP_ENDING):
        return True
    if kind == Kind.INTENT:
        return bool(data["direction"] == "forward")
    if kind == Kind.RUN_STARTED:
        return bool(data["kind"] == "advance")
    return kind == Kind.STATE and data["state"] in _ONWARD


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the journal. `observed` is the migration's observed time in seconds (cutover.md, section 7)."""

    seq: int
    at: datetime
    actor: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    plan_hash: str = ""
    observed: float = 0.0
