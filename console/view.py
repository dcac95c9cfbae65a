"""What a screen is given: the snapshot, how old it is, and what this console may do. No widget, no I/O."""

from __future__ import annotations

import getpass
import os
import pwd
import socket
from dataclasses import dataclass

from backends.escape import plain
from backends.snapshot import Health, SeatView, Snapshot, State
from console.keymap import Act
from widgets.plan_items import to_sign

SILENT = 5.0  # seconds since legacy last answered, which it does each second
LIFTABLE = (State.ROLLED_BACK, State.ROLLBACK_BLOCKED)


@dataclass(frozen=True, slots=True)
class View:
    """One moment of the console."""

    snapshot: Snapshot | None = None
    gone_for: float | None = None  # seconds since the engine was lost
    gone_reason: str = ""
    observe: bool = False
    actor: str = ""
    uid: int | None = None  # of this console, as the engine will see it

    @property
    def stale(self) -> bool:
        """The engine is gone: what is drawn is the last that was heard."""
        return self.gone_for is not None

    @property
    def holds_seat(self) -> bool:
        """Is the seat ours? Held by a uid, which alone is verified; by name where the engine knows no more.

        One that nobody holds goes to whoever acts first.
        """
        seat = self.snapshot.seat if self.snapshot else SeatView()
        if seat.holder is not None and seat.uid is not None and self.uid is not None:
            return seat.uid == self.uid
        holder = seat.holder
        return holder is None or holder.split(" ")[0] in (self.actor, self.actor.partition("@")[0])

    def why_not(self, act: Act) -> str:
        """Why this console may not act; empty where it may. The engine still decides."""
        if self.observe:
            return f"this console only watches: {self.seat_words()}"
        if act is Act.ROLLBACK:
            return ""
        if act is Act.EVACUATE and self.gone_for is None and self.snapshot is not None and not may_evacuate(self.snapshot):
            return "an evacuation is for a dead legacy and a living target"
        if self.gone_for is not None:
            return f"engine gone since {self.gone_for:.0f} s: `cutover up` brings it back"
        if self.snapshot is None:
            return "nothing heard of the engine yet"
        if act is Act.SEAT and self.snapshot.seat.holder is not None and self.holds_seat:
            return "you hold the seat"
        if act is Act.APPROVE and self.snapshot.approval is None:
            return "nothing waits for a second person"
        if act in (Act.ADVANCE, Act.RESUME, Act.OVERRIDE, Act.SIGN) and not self.holds_seat:
            return f"{self.seat_words()}: T takes it"
        return ""

    def seat_words(self) -> str:
        """Who holds the seat, in words."""
        holder = self.snapshot.seat.holder if self.snapshot else None
        return f"the seat is held by {plain(holder, 60)}" if holder else "nobody holds the seat"

    def offers(self, act: Act) -> bool:
        """Does the act apply now? What does not is dimmed at the foot, and still explains itself when asked."""
        if self.why_not(act):
            return False
        snapshot = self.snapshot
        if snapshot is None:
            return act is Act.ROLLBACK
        match act:
            case Act.ADVANCE:
                return snapshot.next is None or snapshot.next.allowed
            case Act.HOLD:
                return not snapshot.held
            case Act.RESUME:
                return bool(snapshot.held) or snapshot.state in LIFTABLE
            case Act.ROLLBACK:
                return snapshot.rollback.possible
            case Act.EVACUATE:
                return may_evacuate(snapshot)
            case Act.APPROVE | Act.OVERRIDE:
                return True
            case Act.SIGN:
                return bool(to_sign(snapshot))
            case Act.SEAT:
                return not self.holds_seat


def may_evacuate(snapshot: Snapshot) -> bool:
    """Is legacy dead, unseen or silent, target alive, and not all there yet? Then an evacuation is offered; the engine decides."""
    if all(route.desired == 100 for route in snapshot.routes):
        return False
    legacy, target = snapshot.sides.get("legacy"), snapshot.sides.get("target")
    if legacy is None or target is None or target.health is not Health.ALIVE:
        return False
    return legacy.health is not Health.ALIVE or (legacy.age or 0.0) > SILENT


def seat_news(before: View, after: View) -> str:
    """What the operator at this console must be told when the seat has changed hands: both who lost it and who has it."""
    if before.snapshot is None or after.snapshot is None:
        return ""
    old, new = before.snapshot.seat, after.snapshot.seat
    if new.holder is None or (old.holder, old.uid) == (new.holder, new.uid):
        return ""
    if old.holder is not None and before.holds_seat and not after.holds_seat:
        return f"the seat was taken over by {plain(new.holder, 60)}: T takes it back"
    if after.holds_seat and old.holder is not None and not before.holds_seat:
        return f"you hold the seat now; {plain(old.holder, 60)} has been told"
    return ""


def this_actor() -> str:
    """The operator and machine of this console, as the engine names them: `ops@bastion1`."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
