"""After a rollback's comparison: what fails it and is damaged on legacy comes back from the backup."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.steps.workload import TELLING
from backends.cutover.world import World
from backends.errors import CutoverError


@dataclass(frozen=True, slots=True)
class Restore(Fields):
    """Restore what of a dataset failed its comparison and nobody has written on legacy since. What stays is told and takes nothing back."""

    dataset: str
    direction: Direction = "backward"
    limit: float = 3600.0
    kind: ClassVar[str] = "restore"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"dataset {self.dataset}: restore from its backup what is damaged on legacy"

    @property
    def seconds(self) -> float:
        return 1.0

    async def observe(self, world: World) -> Seen:
        if world.migration.compared.get(self.dataset):
            return Seen(True, "nothing to restore: both sides are equal")
        try:
            async with asyncio.timeout(self.limit - TELLING):
                end = await world.restore(self.dataset)
        except CutoverError as error:
            return Seen(True, f"could not be restored: {error.message}", extra=(("equal", False),))
        except TimeoutError:
            return Seen(True, f"could not be restored within {self.limit:g} s", extra=(("equal", False),))
        return Seen(True, end.detail, extra=(("equal", end.in_sync and end.proven),))
