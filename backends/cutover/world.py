"""What steps and rules may see and touch of the world; the engine gives the real one, tests a model of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from backends.cutover.migration import Migration
from backends.plan.models import Plan
from backends.traffic.base import Route
from backends.vocabulary import Health, SideName
from backends.workloads.base import WorkloadControl

if TYPE_CHECKING:
    from backends.cutover.preflight import Proof

HEALTH_AGE = 60.0  # seconds that a proof of health is good for (SR3)


@dataclass(frozen=True, slots=True)
class SideHealth:
    """Health of a side. `age`: seconds since its last proof; None when there was none yet."""

    health: Health = Health.UNKNOWN
    age: float | None = None
    reason: str = "not looked at yet"

    @property
    def is_fresh(self) -> bool:
        """Alive, with a proof young enough for SR3."""
        return self.health is Health.ALIVE and self.age is not None and self.age <= HEALTH_AGE


@dataclass(frozen=True, slots=True)
class RoundEnd:
    """What the last round of a handover found: lag 0 and proven, or not."""

    in_sync: bool
    proven: bool
    detail: str


class World(Protocol):
    """The migration's surroundings."""

    @property
    def plan(self) -> Plan: ...
    @property
    def migration(self) -> Migration: ...
    @property
    def routes(self) -> Mapping[str, Route]: ...
    @property
    def controls(self) -> Mapping[str, WorkloadControl]: ...

    @property
    def proofs(self) -> Mapping[str, Proof]:
        """What preflight has measured so far, by item."""
        ...

    def side(self, side: SideName) -> SideHealth: ...

    def observed_now(self) -> float:
        """Observed time of the migration, seconds."""
        ...

    def wall_now(self) -> datetime:
        """The wall clock, UTC: for what is on a calendar, and for nothing else."""
        ...

    async def look_at_side(self, side: SideName) -> SideHealth:
        """Ask the side's data plane now, not from memory."""
        ...

    async def round_to_zero(self, dataset: str, *, reverse: bool) -> RoundEnd:
        """Rounds until lag is 0 and proven, or as far as they come."""
        ...

    async def compare(self, dataset: str) -> RoundEnd:
        """Prove both sides equal, object by object."""
        ...

    async def restore(self, dataset: str) -> RoundEnd:
        """Restore from the backup what failed the comparison and is damaged on legacy. In sync: nothing is left that differs."""
        ...

    async def settle_gap(self, dataset: str) -> RoundEnd:
        """Copy what the target alone has to a side prefix on legacy."""
        ...

    async def verify_archive(self, dataset: str) -> None:
        """Prove a dataset of the archive, object by object. Raises `CutoverError` where it is not equal."""
        ...

    async def lower_legacy(self, to: float) -> None:
        """Let legacy's capacity fall to this share, by the plan's command."""
        ...

    async def legacy_lowered(self, to: float) -> tuple[bool, str]:
        """Has it fallen to this share, and how that is known."""
        ...

    async def keep_index(self, dataset: str, epoch: int) -> None:
        """Keep the index of this moment as the handover index."""
        ...
