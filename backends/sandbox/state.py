"""What the parts of the sandbox share: how each side fares at this moment. Scenarios change it, services read it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from backends.vocabulary import SideName


@dataclass(frozen=True, slots=True)
class Ramp:
    """A factor that goes from 1 to `goal` within `seconds` from `since` on (monotonic clock)."""

    goal: float = 1.0
    seconds: float = 0.0
    since: float = 0.0

    def at(self, now: float) -> float:
        if self.seconds <= 0:
            return self.goal
        done = min(1.0, max(0.0, (now - self.since) / self.seconds))
        return 1.0 + (self.goal - 1.0) * done


@dataclass(slots=True)
class SideState:
    """Faults of one side, none at first, and how far its training is."""

    name: SideName
    error_share: float = 0.0
    latency: Ramp = Ramp()
    step_time_factor: float = 1.0
    loss_factor: float = 1.0
    is_silent: bool = False  # serves on, but writes no metrics and no access log
    is_dead: bool = False
    epoch: int = 0
    writes_checkpoints: bool = False


@dataclass(slots=True)
class World:
    """Both sides, the weight that the front door applies, and the instant at which all was up."""

    seed: int
    legacy: SideState = field(default_factory=lambda: SideState("legacy", writes_checkpoints=True))
    target: SideState = field(default_factory=lambda: SideState("target"))
    chat_weight: int = 0
    ready_at: float | None = None  # monotonic

    def side(self, name: SideName) -> SideState:
        return self.legacy if name == "legacy" else self.target

    def chat_share(self, side: SideName) -> float:
        """The part of the clients that goes to a side, 0..1."""
        share = self.chat_weight / 100
        return share if side == "target" else 1.0 - share

    def since_ready(self, now: float | None = None) -> float:
        if self.ready_at is None:
            return 0.0
        return (time.monotonic() if now is None else now) - self.ready_at
