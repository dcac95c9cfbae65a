"""Legacy taken down in steps: the archive proven first, then its capacity lowered, each step in the journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.world import World


@dataclass(frozen=True, slots=True)
class VerifyArchive(Fields):
    """Prove a dataset that holds the final backup, object by object."""

    dataset: str
    direction: Direction = "forward"
    limit: float = 86400.0
    kind: ClassVar[str] = "verify_archive"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"archive {self.dataset}: prove it, object by object"

    @property
    def seconds(self) -> float:
        return 60.0

    async def send(self, world: World) -> None:
        await world.verify_archive(self.dataset)

    async def observe(self, world: World) -> Seen:
        return Seen(True, f"{self.dataset} is proven")


@dataclass(frozen=True, slots=True)
class LowerLegacy(Fields):
    """Let legacy's capacity fall to this share of what it was, by the plan's command. Safe to repeat."""

    to: float  # a fraction
    direction: Direction = "forward"
    limit: float = 600.0
    kind: ClassVar[str] = "lower_legacy"
    outlives_us: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"legacy's capacity falls to {self.to * 100:g} %"

    @property
    def seconds(self) -> float:
        return 30.0

    async def send(self, world: World) -> None:
        await world.lower_legacy(self.to)

    async def observe(self, world: World) -> Seen:
        lowered, detail = await world.legacy_lowered(self.to)
        return Seen(lowered, detail)
