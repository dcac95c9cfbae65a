"""Look at a side before clients are sent there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.world import World
from backends.vocabulary import Health, SideName


@dataclass(frozen=True, slots=True)
class CheckSide(Fields):
    """See that a side's data plane answers now; with `accept_unknown`, that at least it is not known to be dead."""

    side: SideName
    accept_unknown: bool = False
    direction: Direction = "backward"
    kind: ClassVar[str] = "check_side"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"see that {self.side} is alive and can take the load"

    @property
    def seconds(self) -> float:
        return 0.2

    @property
    def limit(self) -> float:
        return 10.0

    async def observe(self, world: World) -> Seen:
        seen = await world.look_at_side(self.side)
        good = seen.health is Health.ALIVE or (self.accept_unknown and seen.health is Health.UNKNOWN)
        return Seen(good, f"{self.side} {seen.health}: {seen.reason}")
