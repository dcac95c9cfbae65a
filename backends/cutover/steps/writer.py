"""Hand a dataset's writing over: stop and start writers, the token, the last round between."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction, Writer
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.steps.workload import TELLING
from backends.cutover.world import World
from backends.errors import CouldNot, CutoverError
from backends.vocabulary import SideName


@dataclass(frozen=True, slots=True)
class Quiesce(Fields):
    """Stop a workload's writing on a side."""

    workload: str
    side: SideName
    direction: Direction = "forward"
    limit: float = 60.0
    kind: ClassVar[str] = "quiesce"
    outlives_us: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"quiesce {self.workload} on {self.side}"

    @property
    def seconds(self) -> float:
        return 2.0

    async def send(self, world: World) -> None:
        await world.controls[self.workload].quiesce(self.side)

    async def observe(self, world: World) -> Seen:
        seen = await world.controls[self.workload].look(self.side)
        said = f"{self.workload} on {self.side}: {seen.text}"
        if seen.state != "quiesced":
            return Seen(False, said)
        try:
            step = await world.controls[self.workload].step(self.side)
        except CouldNot as error:
            if self.direction != "backward":
                raise
            return Seen(True, f"{said}; its step was not seen: {error.message}")
        return Seen(True, said) if step is None else Seen(True, f"{said}, at step {step}", extra=(("at_step", step),))


@dataclass(frozen=True, slots=True)
class Resume(Fields):
    """Start a workload's writing on a side."""

    workload: str
    side: SideName
    direction: Direction = "safety"
    limit: float = 60.0
    kind: ClassVar[str] = "resume"
    outlives_us: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"start {self.workload} on {self.side}"

    @property
    def seconds(self) -> float:
        return 2.0

    @property
    def needs(self) -> SideName | None:
        return self.side

    async def send(self, world: World) -> None:
        pinned = world.migration.pinned.get((self.workload, self.side), {})
        await world.controls[self.workload].resume(self.side, pinned)

    async def observe(self, world: World) -> Seen:
        seen = await world.controls[self.workload].look(self.side)
        return Seen(seen.state == "running" and seen.is_ready is not False, f"{self.workload} on {self.side}: {seen.text}")


@dataclass(frozen=True, slots=True)
class SetToken(Fields):
    """Say who may write a dataset. The journal itself is the authority: CONFIRMED is the effect."""

    dataset: str
    writer: Writer
    epoch: int
    direction: Direction = "forward"
    kind: ClassVar[str] = "token"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"dataset {self.dataset}: writer {self.writer}, epoch {self.epoch}"

    @property
    def seconds(self) -> float:
        return 0.1

    @property
    def limit(self) -> float:
        return 10.0

    async def send(self, world: World) -> None:
        token = world.migration.token(self.dataset)
        if self.writer != "none" and self.epoch > token.epoch:
            await world.keep_index(self.dataset, self.epoch)

    async def observe(self, world: World) -> Seen:
        return Seen(True, f"writer {self.writer}")


@dataclass(frozen=True, slots=True)
class LastRound(Fields):
    """Rounds to lag 0, proven, while nobody writes."""

    dataset: str
    reverse: bool = False
    direction: Direction = "forward"
    limit: float = 600.0
    expected_seconds: float = 3.0
    kind: ClassVar[str] = "last_round"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        way = "target to legacy" if self.reverse else "legacy to target"
        return f"dataset {self.dataset}: last round {way}, to lag 0, proven"

    @property
    def seconds(self) -> float:
        return self.expected_seconds

    @property
    def needs(self) -> SideName | None:
        return "legacy" if self.reverse else None

    async def observe(self, world: World) -> Seen:
        end = await world.round_to_zero(self.dataset, reverse=self.reverse)
        return Seen(end.in_sync and end.proven, end.detail)


@dataclass(frozen=True, slots=True)
class Compare(Fields):
    """Prove both sides of a dataset equal after it was handed back."""

    dataset: str
    direction: Direction = "backward"
    limit: float = 600.0
    kind: ClassVar[str] = "compare"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"dataset {self.dataset}: compare both sides"

    @property
    def seconds(self) -> float:
        return 2.0

    async def observe(self, world: World) -> Seen:
        try:
            async with asyncio.timeout(self.limit - TELLING):
                end = await world.compare(self.dataset)
        except CutoverError as error:  # production is home: that it cannot be shown now takes nothing back
            return Seen(True, f"could not be compared: {error.message}", extra=(("equal", False),))
        except TimeoutError:
            told = f"not compared to the end within {self.limit:.0f} s: cutover verify --dataset {self.dataset} asks again"
            return Seen(True, told, extra=(("equal", False), ("uncompared", True)))
        return Seen(True, end.detail, extra=(("equal", end.in_sync and end.proven),))


@dataclass(frozen=True, slots=True)
class Fence(Fields):
    """By force: stop a workload on the side that is left. While that cannot be done that side is unfenced, and the rest goes on."""

    workload: str
    direction: Direction = "backward"
    limit: float = 30.0
    side: SideName = "target"
    kind: ClassVar[str] = "fence"
    outlives_us: ClassVar[bool] = True

    @property
    def text(self) -> str:
        return f"fence {self.side}: stop {self.workload} there"

    @property
    def seconds(self) -> float:
        return 2.0

    async def observe(self, world: World) -> Seen:
        control = world.controls[self.workload]
        try:
            async with asyncio.timeout(self.limit - TELLING):
                await control.quiesce(self.side)
                seen = await control.look(self.side)
        except CouldNot as error:
            return Seen(True, f"unfenced: {error.message}", extra=(("unfenced", True),))
        except TimeoutError:
            return Seen(True, f"unfenced: {self.workload} has not stopped within the limit", extra=(("unfenced", True),))
        fenced = seen.state == "quiesced"
        return Seen(True, f"{self.workload} on {self.side}: {seen.text}", extra=(("unfenced", not fenced),))


@dataclass(frozen=True, slots=True)
class SettleGap(Fields):
    """After an emergency: what the target alone has is copied to a side prefix on legacy, nothing newer overwritten."""

    dataset: str
    direction: Direction = "backward"
    limit: float = 600.0
    kind: ClassVar[str] = "settle_gap"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"dataset {self.dataset}: keep what only target has, in a side prefix on legacy"

    @property
    def seconds(self) -> float:
        return 5.0

    async def observe(self, world: World) -> Seen:
        end = await world.settle_gap(self.dataset)
        return Seen(True, end.detail, extra=(("settled", end.in_sync),))
