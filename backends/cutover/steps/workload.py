"""What is noted and seen of a workload beside stopping and starting it: what comes back, the step of training, new work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.world import World
from backends.errors import CouldNot
from backends.vocabulary import SideName

TELLING = 2.0  # seconds of a limit that are kept for saying what was not done in it


@dataclass(frozen=True, slots=True)
class Pin(Fields):
    """Note what starting a workload again is to bring back, before it is stopped. On the way back nothing waits for it."""

    workload: str
    side: SideName
    direction: Direction = "forward"
    kind: ClassVar[str] = "pin"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"note how {self.workload} runs on {self.side}"

    @property
    def seconds(self) -> float:
        return 0.5

    @property
    def limit(self) -> float:
        return 20.0

    async def observe(self, world: World) -> Seen:
        try:
            async with asyncio.timeout(self.limit - TELLING):
                pinned = await world.controls[self.workload].pin(self.side)
        except (CouldNot, TimeoutError) as error:
            if self.direction == "forward":
                raise
            return Seen(True, f"not noted: {error.message if isinstance(error, CouldNot) else 'no answer'}")
        told = ", ".join(f"{value} {name}" for name, value in pinned.items())
        return Seen(True, told or "nothing to note: as noted before", extra=(("pinned", pinned),))


@dataclass(frozen=True, slots=True)
class SameStep(Fields):
    """See that training goes on at the step that the other side stopped at. On the way back a difference is told and stops nothing."""

    workload: str
    side: SideName
    at_least: bool = False  # it runs already, and may have gone on
    direction: Direction = "forward"
    limit: float = 20.0
    kind: ClassVar[str] = "same_step"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"see that {self.workload} goes on at the same step on {self.side}"

    @property
    def seconds(self) -> float:
        return 0.5

    async def observe(self, world: World) -> Seen:
        noted = world.migration.at_step.get(self.workload)
        if noted is None:
            return Seen(True, "no step was noted")
        try:
            async with asyncio.timeout(self.limit - TELLING):
                step = await world.controls[self.workload].step(self.side)
        except (CouldNot, TimeoutError) as error:
            if self.direction != "backward":
                raise
            said = error.message if isinstance(error, CouldNot) else "no answer"
            return Seen(True, f"step on {self.side} not seen: {said}", extra=(("same_step", None),))
        is_same = step == noted or (self.at_least and step is not None and step >= noted)
        verb = "is at" if self.at_least else "goes on from"
        said = f"{self.workload} on {self.side} {verb} step {step}; the other side stopped at {noted}"
        return Seen(is_same or self.direction == "backward", said, extra=(("same_step", is_same),))


@dataclass(frozen=True, slots=True)
class StopNewWork(Fields):
    """Once clients have left a side: let a workload take nothing new there. What runs goes on; what cannot be done is told."""

    workload: str
    side: SideName = "target"
    direction: Direction = "backward"
    limit: float = 30.0
    kind: ClassVar[str] = "stop_new_work"
    outlives_us: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"stop new work of {self.workload} on {self.side}"

    @property
    def seconds(self) -> float:
        return 1.0

    async def observe(self, world: World) -> Seen:
        try:
            async with asyncio.timeout(self.limit - TELLING):
                outcome = await world.controls[self.workload].stop_new_work(self.side)
        except CouldNot as error:
            return Seen(True, f"not stopped: {error.message}", extra=(("closed", False),))
        except TimeoutError:
            return Seen(True, f"not stopped within {self.limit:g} s", extra=(("closed", False),))
        return Seen(True, outcome.text, extra=(("closed", True), ("idle", outcome.standing.is_idle)))
